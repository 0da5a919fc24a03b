// The certified oracle against the oracle's definition on as many elements as one cares to wait for: every
// pass, format and layout, random and nasty data. Prints what each stage decided; ends in 1 on a wrong bit.
//
//   oracle_audit [--elements N] [--seconds S] [--seed K]
//
// Each value that certified.h writes is held against truth_of(), whose own fast path rests on other sums
// (exact ones) and other evaluations; a sample of those truths is decided again in multiprecision (audit()).
// Most data is small integers over a power of two and short normal channels: a case is cheap then and meets
// ties and exact results; every fourth case comes from the nasty families of the tests.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>
#include <vector>

#include "../tests/random_cases.h"
#include "../tests/raw_cases.h"
#include "normproof/reference/certified.h"
#include "normproof/reference/truth.h"

namespace normproof::reference {
namespace {

using testing_cases::data;
using testing_cases::each_place;
using testing_cases::Numbers;
using testing_cases::Stored;
using testing_cases::stored;

struct Counts {
  std::int64_t compared = 0, differing = 0, audited = 0, contradicted = 0;
  CertifiedEffort effort;
};

/// Sum of twelve uniform numbers: near enough to normal, and the same everywhere.
double bell(Numbers& numbers) {
  double sum = 0;
  for (int k = 0; k < 3; ++k) {
    const std::uint64_t bits = numbers.bits();
    for (int part = 0; part < 4; ++part)
      sum += static_cast<double>((bits >> (16 * part)) & 0xffff) * 0x1p-16;
  }
  return sum - 6;
}

/// A large case of plain data.
Case plain_case(Numbers& numbers, Pass pass, const Format& format, const Format& stats) {
  Case c;
  Problem& p = c.problem;
  p.pass = pass;
  p.data = format;
  p.stats = stats;
  p.running = pass == Pass::forward_training;
  p.semantics.running = numbers.bits() % 2 == 0 ? VarianceKind::biased : VarianceKind::unbiased;
  const std::int64_t spatial[]{49, 64, 7, 196, 1};
  const std::int64_t plane = spatial[numbers.integer(0, 5)];
  const std::int64_t n = numbers.integer(1, 12) * (plane == 1 ? 300 : 8);
  p.shape = plane == 1 ? Shape{n, numbers.integer(1, 40), {}} : Shape{n, numbers.integer(1, 40), {plane}};
  const double offsets[]{0, 0, 1, 100, 1e5};
  const double offset = offsets[numbers.integer(0, 5)];
  const bool integers = numbers.integer(0, 3) == 0;
  const auto value = [&] {
    return integers ? static_cast<double>(numbers.integer(-64, 65)) * 0x1p-5 : bell(numbers);
  };
  const auto fill = [&](std::vector<double>& to, double around) {
    to.resize(static_cast<std::size_t>(p.shape.elements()));
    for (double& v : to)
      v = round_to(format, around + value());
  };
  fill(c.x, offset);
  for (std::int64_t k = 0; k < p.shape.channels; ++k) {
    c.gamma.push_back(round_to(stats, integers ? 1 : value()));
    if (pass == Pass::backward_training) {
      c.saved_mean.push_back(round_to(stats, offset + 0.01 * value()));
      c.saved_invstd.push_back(round_to(stats, std::abs(value()) + 0.125));
    } else {
      c.beta.push_back(round_to(stats, value()));
      if (pass == Pass::forward_inference || p.running) {
        c.running_mean.push_back(round_to(stats, offset + value()));
        c.running_var.push_back(round_to(stats, std::abs(value())));
      }
    }
  }
  if (pass == Pass::backward_training)
    fill(c.dy, 0);
  return c;
}

Case nasty_case(Numbers& numbers, Pass pass, const Format& format, const Format& stats) {
  for (;;) {
    Case c = testing_cases::random_case(numbers, pass, format, stats);
    c.problem.semantics = {};
    c.problem.semantics.running = numbers.bits() % 2 == 0 ? VarianceKind::biased : VarianceKind::unbiased;
    c.problem.dialect = "documented";
    if (must_reject(c).empty())
      return c;
  }
}

/// Runs the case on buffers and compares every value with the truth.
void compare(const Case& c, Layout layout, int threads, std::uint64_t seed, Counts& counts) {
  const Problem& p = c.problem;
  const Truth truth = truth_of(c);
  const Audit again = audit(c, truth, 2, seed);
  counts.audited += again.audited;
  counts.contradicted += again.disagreeing;
  const Placement where = placement(p.shape, layout, 7, 0);
  const Stored x = stored(p.shape, p.data, where, c.x);
  Stored out = stored(p.data, where);
  const Stored gamma = stored(p.stats, c.gamma);
  const std::vector<double> none(static_cast<std::size_t>(p.shape.channels));
  Stored first = stored(p.stats, none);
  Stored second = stored(p.stats, none);
  Stored third = stored(p.stats, none);
  const auto see = [&](const Format& format, std::uint64_t got, double want) {
    ++counts.compared;
    const bool same = std::isnan(want) ? std::isnan(decode(format, got)) : got == encode(format, want);
    if (!same && counts.differing++ == 0)
      std::printf("WRONG: %s %s/%s %s %s: %a for %a\n", std::string(to_string(p.pass)).c_str(),
                  std::string(p.data.name).c_str(), std::string(p.stats.name).c_str(),
                  std::string(to_string(layout)).c_str(), to_string(p.shape).c_str(), decode(format, got),
                  want);
  };
  const auto see_all = [&](Output output, const Stored& got) {
    for (std::int64_t k = 0; k < p.shape.channels; ++k)
      see(p.stats, got.bits(k), truth[output].rn[static_cast<std::size_t>(k)]);
  };
  if (p.pass == Pass::backward_training) {
    const Stored dy = stored(p.shape, p.data, where, c.dy);
    const Stored mean = stored(p.stats, c.saved_mean);
    const Stored invstd = stored(p.stats, c.saved_invstd);
    BackwardBuffers b;
    b.shape = p.shape;
    b.data = p.data;
    b.stats = p.stats;
    b.x_placement = b.dy_placement = b.dx_placement = where;
    b.x = data(x), b.dy = data(dy), b.dx = data(out), b.gamma = data(gamma);
    b.saved_mean = data(mean), b.saved_invstd = data(invstd);
    b.dgamma = data(first), b.dbeta = data(second);
    b.threads = threads;
    counts.effort += certified_backward(b);
    see_all(Output::dgamma, first);
    see_all(Output::dbeta, second);
  } else {
    const bool training = p.pass == Pass::forward_training;
    const Stored beta = stored(p.stats, c.beta);
    const Stored mean = stored(p.stats, training ? std::vector<double>() : c.running_mean);
    const Stored variance = stored(p.stats, training ? std::vector<double>() : c.running_var);
    ForwardBuffers f;
    f.shape = p.shape;
    f.data = p.data;
    f.stats = p.stats;
    f.x_placement = f.y_placement = where;
    f.x = data(x), f.y = data(out), f.gamma = data(gamma), f.beta = data(beta), f.eps = p.eps;
    f.given_mean = data(mean), f.given_variance = data(variance);
    if (training)
      f.mean = data(first), f.variance = data(second), f.invstd = data(third);
    const bool running = training && p.running && p.momentum;
    const Stored running_mean = stored(p.stats, running ? c.running_mean : std::vector<double>());
    const Stored running_variance = stored(p.stats, running ? c.running_var : std::vector<double>());
    Stored new_mean = stored(p.stats, running ? none : std::vector<double>());
    Stored new_variance = stored(p.stats, running ? none : std::vector<double>());
    f.running_mean = data(running_mean), f.running_variance = data(running_variance);
    f.new_running_mean = data(new_mean), f.new_running_variance = data(new_variance);
    f.momentum = p.momentum.value_or(0), f.running_kind = p.semantics.running;
    f.threads = threads;
    counts.effort += certified_forward(f);
    if (running) {
      see_all(Output::running_mean, new_mean);
      see_all(Output::running_var, new_variance);
    }
    if (training) {
      see_all(Output::mean, first);
      see_all(Output::var, second);
      see_all(Output::invstd, third);
    }
  }
  const auto& want = truth[p.pass == Pass::backward_training ? Output::dx : Output::y].rn;
  each_place(p.shape, where,
             [&](std::int64_t place, std::size_t i) { see(p.data, out.bits(place), want[i]); });
}

int run(int argc, char** argv) {
  std::int64_t elements = 1'000'000;
  double seconds = 60;
  std::uint64_t seed = 1;
  for (int i = 1; i < argc; i += 2) {
    const std::string name = argv[i];
    const char* value = i + 1 < argc ? argv[i + 1] : nullptr;
    if (name == "--elements" && value != nullptr) {
      elements = std::atoll(value);
    } else if (name == "--seconds" && value != nullptr) {
      seconds = std::atof(value);
    } else if (name == "--seed" && value != nullptr) {
      seed = static_cast<std::uint64_t>(std::atoll(value));
    } else {
      std::fprintf(stderr, "oracle_audit: '%s' is not known; it takes --elements N, --seconds S, --seed K\n",
                   name.c_str());
      return 2;
    }
  }
  const std::pair<Format, Format> types[]{{f64, f64}, {f32, f32},  {f16, f32},
                                          {f16, f16}, {bf16, f32}, {bf16, bf16}};
  const Pass passes[]{Pass::forward_training, Pass::forward_inference, Pass::backward_training};
  Numbers numbers(seed);
  std::map<std::string, Counts> table;
  Counts total;
  const auto start = std::chrono::steady_clock::now();
  const auto spent = [&] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  std::uint64_t turn = 0;
  std::uint64_t round = 0;
  while (total.compared < elements && spent() < seconds)
    for (const Pass pass : passes)
      for (const auto& [format, stats] : types)
        for (const Layout layout : all_layouts) {
          const bool nasty = turn++ % 4 == 3;
          Counts counts;
          const int threads = round % 16 == 0 ? 2 : 1;
          // Nasty cases are small: many of them, so that they are a good part of the elements.
          for (int k = 0; k < (nasty ? 60 : 1); ++k) {
            const Case c =
                nasty ? nasty_case(numbers, pass, format, stats) : plain_case(numbers, pass, format, stats);
            compare(c, layout, threads, ++round, counts);
          }
          Counts& row = table[std::string(nasty ? "nasty " : "plain ") + std::string(to_string(pass)) + " " +
                              std::string(format.name) + "/" + std::string(stats.name)];
          for (Counts* to : {&row, &total}) {
            to->compared += counts.compared;
            to->differing += counts.differing;
            to->audited += counts.audited;
            to->contradicted += counts.contradicted;
            to->effort += counts.effort;
          }
        }
  std::printf("%-36s %10s %9s %9s %9s %5s\n", "values", "compared", "retested", "dbl-dbl", "exactly",
              "wrong");
  const auto print = [](const char* name, const Counts& c) {
    const auto rate = [&](std::int64_t k) {
      return static_cast<double>(k) / static_cast<double>(std::max<std::int64_t>(1, c.effort.elements));
    };
    std::printf("%-36s %10lld %9.2g %9.2g %9.2g %5lld\n", name, static_cast<long long>(c.compared),
                rate(c.effort.retested), rate(c.effort.double_double), rate(c.effort.exact),
                static_cast<long long>(c.differing));
  };
  for (const auto& [name, counts] : table)
    print(name.c_str(), counts);
  print("all", total);
  std::printf("audited in multiprecision: %lld, contradicted: %lld; %.0f s\n",
              static_cast<long long>(total.audited), static_cast<long long>(total.contradicted), spent());
  return total.differing == 0 && total.contradicted == 0 ? 0 : 1;
}

}  // namespace
}  // namespace normproof::reference

int main(int argc, char** argv) {
  return normproof::reference::run(argc, argv);
}
