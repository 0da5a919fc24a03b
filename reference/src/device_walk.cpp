// A pass of the device oracle as the host leads it: the device sums, the host draws the lines and rounds the
// results of channels, the device tests elements, and the host settles what channels are left.
#include <algorithm>
#include <bit>
#include <stdexcept>
#include <string>

#include <fmt/format.h>

#include "device_pass.h"
#include "raw_job.h"

namespace normproof::reference {
namespace {

/// Values that are worth a thread.
constexpr std::int64_t least_share = 16;
constexpr std::int64_t warp = 32;
/// Values of a channel that are fetched at once.
constexpr std::int64_t most_fetched = 1 << 22;

std::string text_of(const std::vector<std::int64_t>& strides) {
  std::string text;
  for (const std::int64_t stride : strides)
    text += (text.empty() ? "" : " ") + std::to_string(stride);
  return text;
}

/// The tensor with space as one axis.
DeviceTensor tensor_of(const char* name, const Shape& shape, const Placement& where, const Format& format,
                       const void* data) {
  if (where.strides.size() != shape.spatial.size() + 2)
    throw std::invalid_argument("a placement has one stride for each axis: N, C and those of space");
  DeviceTensor t;
  t.start = const_cast<char*>(static_cast<const char*>(data)) + where.offset * format.bytes;
  t.batch = where.strides[0];
  t.channel = where.strides[1];
  std::int64_t extent = 1;
  for (std::size_t k = shape.spatial.size(); k-- > 0;) {
    if (shape.spatial[k] == 1)
      continue;
    if (extent == 1)
      t.space = where.strides[k + 2];
    else if (where.strides[k + 2] != t.space * extent)
      throw std::invalid_argument(fmt::format(
          "the device oracle takes a tensor whose spatial axes are one of equal steps; those of {}, "
          "{} with strides {}, are not: copy it to a contiguous or a channels-last one",
          name, to_string(shape), text_of(where.strides)));
    extent *= shape.spatial[k];
  }
  return t;
}

}  // namespace

/// One run of a job on a machine.
class RawJob::OnDevice {
public:
  OnDevice(RawJob& job, StageMachine& machine) : job_(job), t_(job.t_), machine_(machine), a_(arguments()) {}

  DeviceEffort run() {
    DeviceEffort effort;
    effort.elements = t_.shape.elements();
    effort.channels = t_.shape.channels;
    if (effort.elements == 0)
      return effort;
    sum();
    draw();
    test(effort);
    settle(effort);
    return effort;
  }

private:
  bool is_packed(const StageArguments& a, const DeviceTensor& t) const {
    const std::int64_t width = pack_bytes / t_.data.bytes;
    return t.space == 1 && a.plane % width == 0 && t.batch % width == 0 && t.channel % width == 0 &&
           reinterpret_cast<std::uintptr_t>(t.start) % pack_bytes == 0;
  }
  StageArguments arguments() const {
    const RawTensors& t = job_.t_;
    StageArguments a{.grid = job_.grid_};
    a.channels = t.shape.channels;
    a.plane = t.shape.plane();
    a.n = job_.n_;
    a.x = tensor_of("x", t.shape, t.x_placement, t.data, t.x);
    if (t.w != nullptr)
      a.w = tensor_of("dy", t.shape, t.w_placement, t.data, t.w);
    a.y = tensor_of(t.w == nullptr ? "y" : "dx", t.shape, t.y_placement, t.data, t.y);
    a.across = a.x.channel == 1 && (a.plane > 1 ? a.x.space : a.x.batch) != 1;
    a.packed = !a.across && is_packed(a, a.x) && is_packed(a, a.y) && (t.w == nullptr || is_packed(a, a.w));
    const std::int64_t width = machine_.width();
    const std::int64_t fill = width / std::max<std::int64_t>(1, a.channels);
    a.parts = std::clamp<std::int64_t>(std::min(fill, a.n / least_share), 1, width);
    if (!a.across && a.parts > warp)
      a.parts -= a.parts % warp;
    return a;
  }

  template <class T>
  T* memory(Memory which, std::int64_t count) const {
    return static_cast<T*>(machine_.memory(which, sizeof(T) * static_cast<std::size_t>(count)));
  }
  template <class T>
  void put(T* to, const std::vector<T>& from) const {
    machine_.put(to, from.data(), sizeof(T) * from.size());
  }
  template <class T>
  std::vector<T> fetch(const T* from, std::int64_t count) const {
    std::vector<T> to(static_cast<std::size_t>(count));
    machine_.fetch(to.data(), from, sizeof(T) * to.size());
    return to;
  }
  void carry_out(Stage stage, std::int64_t threads) const { machine_.run(stage, t_.data, threads, a_); }

  /// Shifts, and sums where the pass has any to make: in inference the statistics are given, and say all.
  void sum() {
    const std::int64_t channels = a_.channels;
    a_.shifts = memory<double>(Memory::shifts, channels);
    if (job_.shift_of(0)) {
      for (std::int64_t c = 0; c < channels; ++c)
        shifts_.push_back(*job_.shift_of(c));
      if (t_.w == nullptr)
        return;
      put(a_.shifts, shifts_);
    } else {
      carry_out(Stage::shifts, channels);
    }
    a_.sums = memory<DeviceSums>(Memory::sums, channels * a_.parts);
    DeviceSums* other =
        memory<DeviceSums>(Memory::joined, channels * ((a_.parts + join_width - 1) / join_width));
    carry_out(Stage::sums, channels * a_.parts);
    const std::int64_t width = a_.packed ? pack_bytes / t_.data.bytes : 1;
    deepest_ = (a_.n / width + a_.parts - 1) / a_.parts * width;
    DeviceSums* sums = a_.sums;
    for (a_.parts_from = a_.parts; a_.parts_from > 1; a_.parts_from = a_.parts_to) {
      a_.parts_to = (a_.parts_from + join_width - 1) / join_width;
      a_.from = sums;
      a_.to = other;
      carry_out(Stage::join, channels * a_.parts_to);
      std::swap(sums, other);
      deepest_ += join_depth;
    }
    sums_ = fetch(sums, channels);
    if (shifts_.empty())
      shifts_ = fetch(a_.shifts, channels);
  }

  /// What is known of a channel from its sums; false where that is not all that its elements need.
  bool know(std::int64_t c, Known& known) const {
    known.shift = shifts_[static_cast<std::size_t>(c)];
    Moments& m = known.moments;
    m.most_d = m.most_w = 0x1p299;  // the stages refuse what is larger
    if (!sums_.empty()) {
      const DeviceSums& s = sums_[static_cast<std::size_t>(c)];
      const bool weighted = t_.w != nullptr;
      std::copy_n(s.first, 2, weighted ? m.w : m.d);
      std::copy_n(s.second, 2, weighted ? m.wd : m.dd);
      if (weighted) {
        m.dd[0] = s.norm_d;
        m.ww[0] = s.norm_w;
      }
      if (!std::isfinite(m.dd[0]) || !std::isfinite(m.dd[1]) || !std::isfinite(m.ww[0]))
        return false;
      // No value is larger than the root of the sum of their squares.
      m.most_d = 1.001 * std::sqrt(m.dd[0]) + squares_underflow;
      m.most_w = 1.001 * std::sqrt(m.ww[0]) + squares_underflow;
      m.deepest = deepest_;
    }
    if (!(m.most_d < 0x1p300))
      return false;
    if (!job_.grid_.wide)
      job_.draw(c, known);
    job_.draw_precisely(c, known);
    return known.form && (job_.grid_.wide || known.line) && job_.put_results(c, known);
  }

  /// Lines and forms of all channels, and their results.
  void draw() {
    known_.resize(static_cast<std::size_t>(a_.channels));
    constexpr std::int64_t together = 256;
    in_parallel((a_.channels + together - 1) / together, t_.threads, [&](std::int64_t block, int) {
      for (std::int64_t c = block * together; c < std::min(a_.channels, (block + 1) * together); ++c) {
        DeviceChannel& to = known_[static_cast<std::size_t>(c)];
        Known known;
        to.known = know(c, known);
        to.line = known.line.value_or(Line{});
        to.form = known.form.value_or(Form{});
      }
    });
    auto* const known = memory<DeviceChannel>(Memory::known, a_.channels);
    put(known, known_);
    a_.known = known;
  }

  void test(DeviceEffort& effort) {
    constexpr std::int64_t few = 4096;
    constexpr std::int64_t seldom = 256;  // more often than that, a channel is the host's
    a_.capacity = few + effort.elements / seldom;
    a_.doubtful = memory<std::int64_t>(Memory::doubtful, a_.capacity);
    a_.open = memory<std::uint64_t>(Memory::counters, a_.channels + 1);
    a_.doubts = a_.open + a_.channels;
    machine_.clear(a_.open, sizeof(std::uint64_t) * static_cast<std::size_t>(a_.channels + 1));
    carry_out(Stage::elements, a_.channels * a_.parts);
    if (!job_.grid_.wide)
      carry_out(Stage::retest, few);
    open_ = fetch(a_.open, a_.channels + 1);
    effort.doubtful = static_cast<std::int64_t>(open_.back());
  }

  /// Channels that have something open, as a whole by the host's own stages.
  void settle(DeviceEffort& effort) {
    std::vector<std::int64_t> left;
    for (std::int64_t c = 0; c < a_.channels; ++c)
      if (!known_[static_cast<std::size_t>(c)].known || open_[static_cast<std::size_t>(c)] != 0)
        left.push_back(c);
    effort.host_channels = static_cast<std::int64_t>(left.size());
    if (left.empty())
      return;
    const auto threads = static_cast<std::size_t>(std::max(1, t_.threads));
    job_.efforts_.assign(threads, {});
    job_.spaces_.resize(threads);
    const auto bytes = static_cast<std::size_t>(a_.n * t_.data.bytes);
    struct Run {
      std::vector<char> x, w, y;
    };
    std::vector<Run> runs(std::min(threads, left.size()));
    for (std::size_t first = 0; first < left.size(); first += runs.size()) {
      const std::size_t count = std::min(runs.size(), left.size() - first);
      for (std::size_t k = 0; k < count; ++k) {
        for (std::vector<char>* run : {&runs[k].x, &runs[k].w, &runs[k].y})
          run->resize(run == &runs[k].w && t_.w == nullptr ? 0 : bytes);
        gather(left[first + k], a_.x, runs[k].x);
        gather(left[first + k], a_.w, runs[k].w);
      }
      in_parallel(static_cast<std::int64_t>(count), t_.threads, [&](std::int64_t k, int thread) {
        Run& run = runs[static_cast<std::size_t>(k)];
        const Rows rows{1, a_.n, a_.n};
        job_.channel(
            left[first + static_cast<std::size_t>(k)],
            {{run.x.data(), rows}, {run.w.empty() ? nullptr : run.w.data(), rows}, {run.y.data(), rows}},
            thread);
      });
      for (std::size_t k = 0; k < count; ++k)
        scatter(left[first + k], runs[k].y);
    }
    for (const CertifiedEffort& own : job_.efforts_)
      effort.host += own;
    effort.host.channels = effort.host_channels;
    effort.host.elements = effort.host_channels * a_.n;
  }

  /// f(argument, bytes) for one piece of a channel after the other.
  template <class Move>
  void in_pieces(std::int64_t c, const Move& move) {
    a_.of_channel = c;
    for (a_.first = 0; a_.first < a_.n; a_.first += a_.count) {
      a_.count = std::min(most_fetched, a_.n - a_.first);
      const auto bytes = static_cast<std::size_t>(a_.count * t_.data.bytes);
      a_.run = machine_.memory(Memory::run, bytes);
      move(a_.first * t_.data.bytes, bytes);
    }
  }
  void gather(std::int64_t c, const DeviceTensor& from, std::vector<char>& to) {
    if (to.empty())
      return;
    StageArguments& a = a_;
    const DeviceTensor x = a.x;
    a.x = from;
    in_pieces(c, [&](std::int64_t start, std::size_t bytes) {
      carry_out(Stage::gather, std::min(machine_.width(), a_.count));
      machine_.fetch(to.data() + start, a_.run, bytes);
    });
    a.x = x;
  }
  void scatter(std::int64_t c, const std::vector<char>& from) {
    in_pieces(c, [&](std::int64_t start, std::size_t bytes) {
      machine_.put(a_.run, from.data() + start, bytes);
      carry_out(Stage::scatter, std::min(machine_.width(), a_.count));
    });
  }

  RawJob& job_;
  const RawTensors& t_;
  StageMachine& machine_;
  StageArguments a_;
  std::int64_t deepest_ = 0;
  std::vector<double> shifts_;
  std::vector<DeviceSums> sums_;
  std::vector<DeviceChannel> known_;
  std::vector<std::uint64_t> open_;
};

DeviceEffort RawJob::run(StageMachine& machine) {
  return OnDevice(*this, machine).run();
}

void require_ieee_arithmetic(StageMachine& machine) {
  constexpr double near_one = 1 + 0x1p-30;
  const double questions[] = {0x1p-1022, 0x1p-1074, 0x1p-149, 1, near_one, 1 + 0x1p-29};
  const double expected[] = {0x1p-1023, 0x1p-74, 0x1p-149, 1, 0, 0x1p-60};
  constexpr std::size_t count = std::size(expected);
  double answers[count] = {};
  StageArguments a{.grid = Grid(f64)};
  auto* const memory = static_cast<double*>(machine.memory(Memory::probe, sizeof questions + sizeof answers));
  machine.put(memory, questions, sizeof questions);
  a.questions = memory;
  a.answers = memory + count;
  machine.run(Stage::probe, f64, 1, a);
  machine.fetch(answers, a.answers, sizeof answers);
  const char* const wrong[] = {"flushes subnormal results to 0",
                               "reads subnormal operands as 0",
                               "flushes subnormal floats to 0",
                               "reads subnormal floats as 0",
                               "fuses products and sums that are to be rounded each",
                               "rounds the product of a fused multiply-add"};
  for (std::size_t k = 0; k < count; ++k)
    if (std::bit_cast<std::uint64_t>(answers[k]) != std::bit_cast<std::uint64_t>(expected[k]))
      throw std::runtime_error(fmt::format("the device {}: the oracle's bounds do not hold", wrong[k]));
}

}  // namespace normproof::reference
