// What stands for a device in tests: the stages as loops over their threads, in an order that depends on the
// seed, on memory that held other things before. What a test has done to memory between stages stands for a
// wrong stage.
#pragma once

#include <cstring>
#include <functional>
#include <map>
#include <numeric>
#include <vector>

#include "device_stages.h"

namespace normproof::testing_cases {

class ScrambledMachine : public reference::StageMachine {
public:
  using Stage = reference::Stage;
  using StageArguments = reference::StageArguments;
  using Meddle = std::function<void(Stage, std::int64_t threads, StageArguments&)>;

  ScrambledMachine(std::int64_t width, std::uint64_t seed) : width_(width), seed_(seed) {}

  Meddle before, after;  ///< called around every stage; changes of the arguments last for that stage

  std::int64_t width() const override { return width_; }
  void* memory(reference::Memory which, std::size_t bytes) override {
    std::vector<double>& block = memory_[which];
    block.assign(bytes / sizeof(double) + 1, -0x1.a5a5a5a5a5a5ap300);
    return block.data();
  }
  void clear(void* memory, std::size_t bytes) override { std::memset(memory, 0, bytes); }
  void put(void* memory, const void* from, std::size_t bytes) override { std::memcpy(memory, from, bytes); }
  void fetch(void* to, const void* memory, std::size_t bytes) override { std::memcpy(to, memory, bytes); }

  void run(Stage stage, const Format& data, std::int64_t threads, const StageArguments& arguments) override {
    StageArguments a = arguments;
    if (before)
      before(stage, threads, a);
    reference::stages::with_stage(stage, data, a, [&](const auto& carry_out) {
      // Every thread once: a stride without a common divisor, from anywhere.
      std::int64_t stride = static_cast<std::int64_t>(seed_ % 1009) + 1;
      while (std::gcd(stride, threads) != 1)
        ++stride;
      std::int64_t thread = static_cast<std::int64_t>(seed_ >> 20) % threads;
      for (std::int64_t k = 0; k < threads; ++k, thread = (thread + stride) % threads)
        carry_out(thread, threads);
    });
    if (after)
      after(stage, threads, a);
  }

private:
  std::int64_t width_;
  std::uint64_t seed_;
  std::map<reference::Memory, std::vector<double>> memory_;
};

}  // namespace normproof::testing_cases
