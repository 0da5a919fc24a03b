// Runner and discover(): a case goes to a worker and an observation comes back.
#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <map>
#include <optional>
#include <stdexcept>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include "arena.h"
#include "execute.h"
#include "library.h"
#include "normproof/impls/kernels.h"
#include "paths.h"
#include "worker_process.h"

namespace normproof::impls {
namespace {

using Clock = WorkerProcess::Clock;
using Answer = WorkerProcess::Answer;

/// Loading is not the kernel's time: a framework takes seconds from a cold disk.
constexpr std::chrono::seconds load_limit{120};

/// How long the tensors are watched after a run that left something running.
constexpr std::chrono::milliseconds grace{20};

constexpr int cuda_device_type = 2;  // DLPack's

constexpr std::array scratch_breaches{std::pair{workspace_before, "workspace: written before its start"},
                                      std::pair{workspace_after, "workspace: written past its end"},
                                      std::pair{reserve_before, "reserve: written before its start"},
                                      std::pair{reserve_after, "reserve: written past its end"}};

np_dtype dtype_of(const Format& format) {
  return {static_cast<std::uint8_t>(format == bf16 ? 4 : 2), static_cast<std::uint8_t>(8 * format.bytes), 1};
}

/// Why a kernel cannot even be asked, or nothing.
std::optional<std::string> inexpressible(const Problem& problem) {
  if (problem.semantics.eps != EpsPlacement::inside_root)
    return "the interface asks for eps inside the root only";
  if (problem.semantics.normalising != VarianceKind::biased)
    return "the interface asks for the biased variance to normalise by only";
  return std::nullopt;
}

std::int32_t pass_of(Pass pass) {
  switch (pass) {
  case Pass::forward_training:
    return NP_FORWARD_TRAINING;
  case Pass::forward_inference:
    return NP_FORWARD_INFERENCE;
  case Pass::backward_training:
    return NP_BACKWARD_TRAINING;
  case Pass::backward_inference:
    return NP_BACKWARD_INFERENCE;
  case Pass::gradient:
    return NP_GRADIENT;
  case Pass::double_backward:
    return NP_DOUBLE_BACKWARD;
  case Pass::double_backward_inference:
    return NP_DOUBLE_BACKWARD_INFERENCE;
  }
  return 0;
}

np_problem to_abi(const Problem& problem, const std::array<Buffer, slot_count>& buffers) {
  np_problem p{};
  p.pass = pass_of(problem.pass);
  p.data_dtype = dtype_of(problem.data);
  p.stats_dtype = dtype_of(problem.stats);
  p.threads = problem.threads;

  std::vector<std::int64_t> axes{problem.shape.batch, problem.shape.channels};
  axes.insert(axes.end(), problem.shape.spatial.begin(), problem.shape.spatial.end());
  p.ndim = static_cast<std::int32_t>(axes.size());
  std::copy(axes.begin(), axes.end(), p.shape);
  const bool forward = buffers[index(Slot::y)].offset != 0;
  std::ranges::copy(buffers[index(Slot::x)].strides, p.x_strides);
  std::ranges::copy(buffers[index(forward ? Slot::y : Slot::dy)].strides, p.y_strides);

  p.eps = {problem.eps, dtype_of(f64)};
  p.has_momentum = problem.momentum.has_value();
  p.momentum = {problem.momentum.value_or(0), dtype_of(f64)};
  p.has_affine = problem.affine;
  p.has_running = buffers[index(Slot::running_mean)].offset != 0;
  const Semantics& s = problem.semantics;
  p.running_variance = s.running == VarianceKind::biased ? NP_VARIANCE_BIASED : NP_VARIANCE_UNBIASED;
  p.momentum_sense = s.momentum == MomentumSense::weight_of_new ? NP_WEIGHT_OF_NEW : NP_WEIGHT_OF_OLD;
  switch (s.single_value) {
  case SingleValue::defined:
    p.single_value = NP_SINGLE_DEFINED;
    break;
  case SingleValue::unbiased_is_nan:
    p.single_value = NP_SINGLE_NAN;
    break;
  case SingleValue::rejected:
    p.single_value = NP_SINGLE_REJECTED;
    break;
  }
  switch (s.zero_eps) {
  case ZeroEps::formula:
    p.zero_eps = NP_ZERO_EPS_FORMULA;
    break;
  case ZeroEps::zero_invstd:
    p.zero_eps = NP_ZERO_EPS_ZERO_INVSTD;
    break;
  case ZeroEps::rejected:
    p.zero_eps = NP_ZERO_EPS_REJECTED;
    break;
  }
  return p;
}

Outcome outcome_of(std::int32_t status) {
  switch (status) {
  case NP_OK:
    return Outcome::completed;
  case NP_UNSUPPORTED:
    return Outcome::unsupported;
  case NP_REJECTED:
    return Outcome::rejected;
  case NP_NO_DEVICE:
    return Outcome::no_device;
  default:
    return Outcome::failed;
  }
}

/// An unknown number from a kernel is no claim rather than an enumerator that does not exist.
Claims claims_of(const np_claims& claims) {
  Claims c;
  c.accumulator_bits = claims.accumulator_bits;
  c.reduction_depth = claims.reduction_depth;
  if (claims.variance_family > NP_FAMILY_UNKNOWN && claims.variance_family <= NP_TEXTBOOK)
    c.family = static_cast<np_family>(claims.variance_family);
  if (claims.affine_form > NP_AFFINE_UNKNOWN && claims.affine_form <= NP_AFFINE_FOLDED)
    c.affine = static_cast<np_affine>(claims.affine_form);
  c.rsqrt_ulps = claims.rsqrt_ulps;
  c.deterministic = claims.deterministic != 0;
  c.uses_reported = claims.uses_reported != 0;
  c.extended_domain = claims.extended_domain != 0;
  return c;
}

Head head_of(const std::byte* memory) {
  Head head;
  if (memory != nullptr)
    std::memcpy(&head, memory, sizeof head);
  return head;
}

std::string stage_text(const Head& head) {
  const bool inside = head.stage > static_cast<std::uint32_t>(Stage::idle) &&
                      head.stage <= static_cast<std::uint32_t>(Stage::destroy);
  return fmt::format("{}{}", inside ? "in " : "", stage_name(static_cast<Stage>(head.stage)));
}

/// " (write past the end of mean, 4 bytes behind its last)", or nothing where no fault was written down.
std::string fault_text(const Fault& fault, const Arena& arena) {
  if (fault.signal == 0)
    return {};
  const std::string_view verb = fault.access == Fault::Access::read    ? "read"
                                : fault.access == Fault::Access::write ? "write"
                                                                       : "access";
  const auto scratch = [&](std::string_view name) {
    const auto bytes = static_cast<std::int64_t>(fault.bytes);
    if (fault.offset < 0)
      return fmt::format(": {} before the start of {}, at byte {}", verb, name, fault.offset);
    return fmt::format(": {} past the end of {}, at byte {} of {}", verb, name, fault.offset, bytes);
  };
  switch (fault.where) {
  case Fault::Where::tensors:
    return fmt::format(": {} {}", verb, arena.place_of(fault.offset));
  case Fault::Where::workspace:
    return scratch("workspace");
  case Fault::Where::reserve:
    return scratch("reserve");
  case Fault::Where::stack:
    return ": its stack is used up";
  case Fault::Where::elsewhere:
    break;
  }
  return fault.address == 0 ? "" : fmt::format(": {} at address {:#x}", verb, fault.address);
}

/// The pages take turns: by the case, so that a report does not depend on who ran before, and from repeat to
/// repeat.
Side side_of(const Case& c, int repeat) {
  std::uint64_t h = static_cast<std::uint64_t>(c.problem.shape.elements());
  const auto mix = [&h](double value) {
    h = (h ^ std::bit_cast<std::uint64_t>(value)) * 0x9E37'79B9'7F4A'7C15;
    h ^= h >> 32;
  };
  for (const std::vector<double>* values : {&c.x, &c.gamma, &c.dy})
    if (!values->empty()) {
      mix(values->front());
      mix(values->back());
    }
  return (h + static_cast<std::uint64_t>(repeat)) % 2 == 0 ? Side::tail : Side::head;
}

std::string with_words(std::string detail, const WorkerProcess& worker) {
  if (const std::string words = worker.last_words(); !words.empty())
    detail += "; it printed: " + words;
  return detail;
}

/// A worker whose library is loaded, or the reason why there is none.
struct Loaded {
  std::unique_ptr<WorkerProcess> worker;
  Hello hello;
  Outcome failure = Outcome::failed;
  std::string reason;
};

Loaded load(const std::filesystem::path& library) {
  Loaded loaded;
  auto worker = std::make_unique<WorkerProcess>(worker_program(), library);
  switch (worker->await_hello(loaded.hello, Clock::now() + load_limit)) {
  case Answer::received:
    if (loaded.hello.loaded != 0)
      loaded.worker = std::move(worker);
    else
      loaded.reason = loaded.hello.message.view();
    break;
  case Answer::died:
    loaded.failure = Outcome::crashed;
    loaded.reason =
        with_words(fmt::format("{} while loading {}", worker->death(), library.string()), *worker);
    break;
  case Answer::over_memory:  // no limit while loading
  case Answer::timed_out:
    loaded.failure = Outcome::timed_out;
    loaded.reason = fmt::format("loading {} took more than {} s", library.string(), load_limit.count());
    break;
  }
  return loaded;
}

}  // namespace

std::string_view to_string(Outcome outcome) {
  switch (outcome) {
  case Outcome::completed:
    return "completed";
  case Outcome::unsupported:
    return "unsupported";
  case Outcome::rejected:
    return "rejected";
  case Outcome::no_device:
    return "no_device";
  case Outcome::failed:
    return "failed";
  case Outcome::crashed:
    return "crashed";
  case Outcome::timed_out:
    return "timed_out";
  }
  return "?";
}

Catalogue discover(std::span<const std::filesystem::path> libraries) {
  Catalogue catalogue;
  for (const std::filesystem::path& library : libraries) {
    if (!std::filesystem::exists(library)) {
      catalogue.errors.push_back({library, "no such file"});
      continue;
    }
    Loaded loaded = load(library);
    if (!loaded.worker) {
      catalogue.errors.push_back({library, loaded.reason});
      continue;
    }
    for (int k = 0; k < loaded.hello.kernel_count; ++k) {
      Request request;
      request.command = Request::Command::describe;
      request.kernel_index = k;
      Description d;
      if (!loaded.worker->send(request) ||
          loaded.worker->receive(d, Clock::now() + load_limit) != Answer::received) {
        catalogue.errors.push_back(
            {library, fmt::format("it died ({}) after loading", loaded.worker->death())});
        break;
      }
      catalogue.kernels.push_back({.name = std::string(d.name.view()),
                                   .summary = std::string(d.summary.view()),
                                   .worst_known = std::string(d.worst_known.view()),
                                   .library = library,
                                   .library_name = std::string(loaded.hello.library_name.view()),
                                   .library_version = std::string(loaded.hello.library_version.view()),
                                   .device_type = d.device_type});
    }
  }
  return catalogue;
}

class Runner::Impl {
public:
  explicit Impl(RunOptions options) : options_(options) {}

  Observation run(const KernelInfo& kernel, const Case& c) {
    Observation observation;
    if (const auto reason = inexpressible(c.problem)) {
      observation.outcome = Outcome::unsupported;
      observation.detail = *reason;
      return observation;
    }
    const bool on_device = kernel.device_type == cuda_device_type;
    if (kernel.device_type != 1 && !on_device) {
      observation.outcome = Outcome::no_device;
      observation.detail = fmt::format("tensors on device type {} are not offered", kernel.device_type);
      return observation;
    }

    Arena arena(c);
    Request request;
    request.command = Request::Command::run;
    request.kernel = kernel.name;
    request.dialect = c.problem.dialect;
    request.problem = to_abi(c.problem, arena.slots());
    request.problem.device = {kernel.device_type, 0};
    for (int repeat = 0; repeat < std::max(options_.repeats, 1); ++repeat) {
      // On a device the sides are two alignments: to 4096 bytes, and to nothing but the element.
      const Side side = side_of(c, repeat);
      request.side = options_.in_process || on_device ? Side::none : side;
      arena.place(on_device ? side : request.side, on_device ? device_red_zone : 0);
      request.slots = arena.slots();
      if (!once(kernel, arena, request, repeat, observation))
        break;
    }
    return observation;
  }

private:
  /// One run on fresh buffers into the observation; false when there is no point in another.
  bool once(const KernelInfo& kernel, Arena& arena, Request& request, int repeat, Observation& observation) {
    Observation seen;
    Reply reply;
    const std::byte* const memory = options_.in_process ? run_here(kernel, arena, request, reply, seen)
                                                        : run_there(kernel, arena, request, reply, seen);
    if (memory == nullptr) {
      observation.outcome = seen.outcome;
      observation.detail = repeat == 0 ? seen.detail : fmt::format("on run {}: {}", repeat + 1, seen.detail);
      observation.breaches.insert(observation.breaches.end(), seen.breaches.begin(), seen.breaches.end());
      return false;
    }

    seen.outcome = reply.device_lost != 0 ? Outcome::crashed : outcome_of(reply.status);
    spoiled_ |= reply.device_lost != 0;
    seen.detail = reply.message.view();
    seen.claims = claims_of(reply.claims);
    seen.environment = environment_at_load(kernel);
    if (const std::string_view words = reply.environment.view(); !words.empty())
      seen.environment += fmt::format("{}{}", seen.environment.empty() ? "" : "; ", words);
    seen.environment_changed = !seen.environment.empty();
    seen.seconds = reply.seconds;
    arena.inspect(memory, reply.outputs, seen);
    for (const auto& [bit, words] : scratch_breaches)
      if ((reply.scratch_touched & bit) != 0)
        seen.breaches.emplace_back(words);
    std::uint64_t fingerprint = 0;
    if (seen.outcome == Outcome::completed) {
      // The first run's outputs are kept; a later one is compared bit by bit through its hash.
      if (repeat == 0 || !seen.breaches.empty())
        arena.collect(memory, reply.outputs, seen);
      if (options_.repeats > 1)
        fingerprint = arena.fingerprint(memory, reply.outputs);
    }
    if (std::exchange(spoiled_, false))
      workers_.erase(kernel.library);

    if (repeat == 0) {
      observation = std::move(seen);
      first_fingerprint_ = fingerprint;
    } else {
      observation.repeatable &= seen.outcome == observation.outcome && fingerprint == first_fingerprint_;
      observation.environment_changed |= seen.environment_changed;
      if (observation.environment.empty())
        observation.environment = seen.environment;
      for (const std::string& breach : seen.breaches)
        if (std::find(observation.breaches.begin(), observation.breaches.end(), breach) ==
            observation.breaches.end())
          observation.breaches.push_back(breach);
      if (observation.outcome == Outcome::completed && seen.outcome != Outcome::completed) {
        observation.outcome = seen.outcome;
        observation.detail = fmt::format("on run {}: {}", repeat + 1, seen.detail);
      }
    }
    return observation.outcome == Outcome::completed;
  }

  /// In this process. The memory that holds the result, or nullptr with `seen` filled in.
  const std::byte* run_here(const KernelInfo& kernel, Arena& arena, const Request& request, Reply& reply,
                            Observation& seen) {
    auto found = libraries_.find(kernel.library);
    try {
      if (found == libraries_.end())
        found = libraries_.emplace(kernel.library, Library(kernel.library)).first;
    } catch (const std::runtime_error& error) {
      seen.detail = error.what();
      return nullptr;
    }
    const np_kernel* const entry = found->second.find(kernel.name);
    if (entry == nullptr) {
      seen.detail = no_such_kernel(kernel);
      return nullptr;
    }
    memory_.require(arena.bytes());
    arena.fill(memory_.data());
    reply = execute(*entry, request, memory_.data());
    return memory_.data();
  }

  /// In the library's worker, which is started or restarted as needed. As run_here.
  const std::byte* run_there(const KernelInfo& kernel, Arena& arena, Request& request, Reply& reply,
                             Observation& seen) {
    // A worker found dead before it took the request (killed from outside, or by what an earlier call left
    // running) says nothing of this case: one fresh start.
    for (int attempt = 0;; ++attempt) {
      WorkerProcess* const worker = worker_for(kernel, seen);
      if (worker == nullptr)
        return nullptr;
      worker->memory().require(arena.bytes());
      request.memory_bytes = worker->memory().mapped();
      arena.fill(worker->memory().data());
      worker->forget_words();
      worker->limit_memory(options_.memory_limit);
      if (worker->send(request))
        return conclude(*worker, kernel, arena, reply, seen);
      workers_.erase(kernel.library);
      if (attempt == 1) {
        seen.outcome = Outcome::crashed;
        seen.detail = "the worker dies before it takes a request";
        return nullptr;
      }
    }
  }

  const std::byte* conclude(WorkerProcess& worker, const KernelInfo& kernel, const Arena& arena, Reply& reply,
                            Observation& seen) {
    const Answer answer = worker.receive(reply, Clock::now() + options_.time_limit);
    const std::byte* const memory = worker.memory().data();
    if (answer == Answer::received) {
      if (reply.kernel_found == 0) {
        seen.detail = no_such_kernel(kernel);
        return nullptr;
      }
      if (outcome_of(reply.status) == Outcome::failed)
        reply.message = with_words(std::string(reply.message.view()), worker);
      if (reply.left_running != 0)
        watch_leftovers(arena, memory, seen);
      return memory;
    }
    const Head head = head_of(memory);
    const std::string stage = stage_text(head);
    switch (answer) {
    case Answer::died:
      seen.outcome = Outcome::crashed;
      seen.detail = head.lost != 0
                        ? "it closed its worker's descriptors"
                        : fmt::format("{} {}{}", worker.death(), stage, fault_text(head.fault, arena));
      break;
    case Answer::over_memory:
      seen.outcome = Outcome::crashed;
      seen.detail =
          fmt::format("ended for more than {} MiB of resident memory {}", options_.memory_limit >> 20, stage);
      break;
    default:
      seen.outcome = Outcome::timed_out;
      seen.detail = fmt::format("more than {} ms {}", options_.time_limit.count(), stage);
    }
    seen.detail = with_words(seen.detail, worker);
    arena.inspect(memory, ~0u, seen);
    workers_.erase(kernel.library);
    return nullptr;
  }

  /// Threads or processes that outlive run(): a pool that waits for work is no offence, one that still writes
  /// is, and would write into the next kernel's tensors: that worker is not used again.
  void watch_leftovers(const Arena& arena, const std::byte* memory, Observation& seen) {
    const std::uint64_t before = arena.digest(memory);
    std::this_thread::sleep_for(grace);
    if (head_of(memory).returned_twice != 0)
      seen.breaches.emplace_back("process: run() forked, and returned in the child too");
    if (arena.digest(memory) != before)
      seen.breaches.emplace_back("thread or process: still writing to the tensors after run() returned");
    spoiled_ = !seen.breaches.empty();
  }

  WorkerProcess* worker_for(const KernelInfo& kernel, Observation& seen) {
    if (const auto found = workers_.find(kernel.library); found != workers_.end())
      return found->second.get();
    Loaded loaded = load(kernel.library);
    if (!loaded.worker) {
      seen.outcome = loaded.failure;
      seen.detail = loaded.reason;
      return nullptr;
    }
    at_load_[kernel.library] = loaded.hello.environment.view();
    return (workers_[kernel.library] = std::move(loaded.worker)).get();
  }

  /// What loading the library did to the floating-point environment. In process that is the host's: not seen.
  std::string environment_at_load(const KernelInfo& kernel) const {
    const auto found = at_load_.find(kernel.library);
    return found == at_load_.end() || found->second.empty() ? "" : "loading left " + found->second;
  }

  static std::string no_such_kernel(const KernelInfo& kernel) {
    return fmt::format("{} holds no kernel {}", kernel.library.string(), kernel.name);
  }

  RunOptions options_;
  std::map<std::filesystem::path, std::unique_ptr<WorkerProcess>> workers_;
  std::map<std::filesystem::path, std::string> at_load_;
  std::map<std::filesystem::path, Library> libraries_;
  SharedMemory memory_;
  std::uint64_t first_fingerprint_ = 0;
  bool spoiled_ = false;  ///< the worker of the last run is not to be used again
};

Runner::Runner(RunOptions options) : impl_(std::make_unique<Impl>(options)) {}
Runner::~Runner() = default;
Runner::Runner(Runner&&) noexcept = default;
Runner& Runner::operator=(Runner&&) noexcept = default;

Observation Runner::run(const KernelInfo& kernel, const Case& c) {
  return impl_->run(kernel, c);
}

}  // namespace normproof::impls
