// The device oracle's stages, carried out by the host thread by thread: the bits of the truth whatever the
// number and the order of threads, and a wrong stage shows.
#include <cfenv>
#include <cmath>
#include <cstdio>
#include <functional>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "line.h"
#include "raw_trial.h"
#include "real.h"
#include "scrambled_machine.h"

namespace normproof::reference {
namespace {

using testing_cases::compare_backward;
using testing_cases::compare_forward;
using testing_cases::data;
using testing_cases::Numbers;
using testing_cases::plain_case;
using testing_cases::random_case;
using testing_cases::ScrambledMachine;
using testing_cases::Stored;
using testing_cases::stored;
using testing_cases::Tally;
using Meddle = ScrambledMachine::Meddle;

DeviceEffort certified(const ForwardBuffers& b, StageMachine& machine) {
  return certified_forward(b, machine);
}
DeviceEffort certified(const BackwardBuffers& b, StageMachine& machine) {
  return certified_backward(b, machine);
}

/// What a number of cases came to.
struct Trial {
  Tally tally;
  std::int64_t elements = 0, doubtful = 0, channels = 0, host_channels = 0;
};

/// The case on a machine, against its truth.
void try_case(const Case& c, Layout x_layout, Layout y_layout, ScrambledMachine& machine, Trial& trial) {
  const auto run = [&](auto& b) {
    b.threads = 2;
    const DeviceEffort effort = certified(b, machine);
    trial.elements += effort.elements;
    trial.doubtful += effort.doubtful;
    trial.channels += effort.channels;
    trial.host_channels += effort.host_channels;
  };
  if (c.problem.pass == Pass::backward_training)
    compare_backward(c, x_layout, y_layout, trial.tally, run);
  else
    compare_forward(c, x_layout, y_layout, trial.tally, run);
}

/// Any width: one thread, a share of a few values for each, more threads than values.
ScrambledMachine any_machine(Numbers& numbers) {
  const std::int64_t widths[]{1, 7, 64, 100, 1 << 18};
  return {widths[numbers.integer(0, 5)], numbers.bits()};
}

constexpr std::pair<Format, Format> types[]{{f64, f64}, {f32, f32},  {f16, f32},
                                            {f16, f16}, {bf16, f32}, {bf16, bf16}};
constexpr Pass passes[]{Pass::forward_training, Pass::forward_inference, Pass::backward_training};
constexpr Layout dense[]{Layout::contiguous, Layout::channels_last};

TEST(DeviceOracle, HasTheBitsOfTheTruthWhateverTheThreadsAndTheirOrder) {
  Numbers numbers(61);
  for (const Pass pass : passes)
    for (const auto& [data_format, stats] : types)
      for (const Layout layout : dense) {
        Trial trial;
        while (trial.tally.compared < 20000 ||
               (pass == Pass::forward_training && trial.tally.updated < 100)) {
          const Case c = plain_case(numbers, pass, data_format, stats);
          ScrambledMachine machine = any_machine(numbers);
          try_case(c, layout, dense[numbers.bits() % 2], machine, trial);
          ASSERT_EQ(trial.tally.differing, 0)
              << to_string(pass) << " " << data_format.name << "/" << stats.name << " " << to_string(layout)
              << " " << to_string(c.problem.shape) << ": " << trial.tally.first;
        }
        std::printf(
            "%s %s/%s %s: %lld compared; %lld elements, %lld doubtful; %lld channels, %lld the host's\n",
            std::string(to_string(pass)).c_str(), std::string(data_format.name).c_str(),
            std::string(stats.name).c_str(), std::string(to_string(layout)).c_str(),
            static_cast<long long>(trial.tally.compared), static_cast<long long>(trial.elements),
            static_cast<long long>(trial.doubtful), static_cast<long long>(trial.channels),
            static_cast<long long>(trial.host_channels));
        // Half of the families of random_case are made for the host; the device has to do the other half.
        EXPECT_LT(trial.host_channels, trial.channels * 9 / 10);
      }
}

}  // namespace
}  // namespace normproof::reference
