// Reports made by hand: what a trial could have found, with every field that a view has to show.
#pragma once

#include <limits>

#include "normproof/ci/report.h"

namespace normproof::ci {

inline const char* const specimen_recipe =
    "np1 pass=forward-training dtype=f32 shape=4x16x500x500 layout=channels-last "
    "dialect=pytorch/native_batch_norm "
    "regime=offset:1000 eps=0x1.4f8b58p-17 momentum=0x1.99999ap-4 affine=1 running=1 threads=1 seed=7";

inline properties::Judgement specimen_failure() {
  properties::Judgement j;
  j.status = properties::Status::fail;
  j.clause = "BN-NUM-2";
  j.output = Output::running_var;
  j.channel = 3;
  j.got = 80.25;
  j.want = 1.0;
  j.ulps = 6.6e8;
  j.measured = 79.25;
  j.permitted = 0.5;
  j.note = "more than any algorithm of the grade can be off, by a margin that makes this line longer than a "
           "terminal is wide";
  j.origin = specimen_recipe;
  return j;
}

/// One kernel that passes, one that fails, one that did nothing; one library that is not there.
inline Report specimen() {
  using namespace properties;
  Report report;
  report.version = "0.0.0";
  report.command = {"normproof", "check"};
  report.profile = "quick";
  report.seed = 7;
  report.absent = {{"libtorch", "built without LibTorch"}};
  report.clauses = {
      {"BN-NUM-2", "The variance keeps the bound of its class, whatever the order in which it is summed"}};
  TrialReport& trial = report.trial;
  trial.cases_planned = 10;
  trial.cases_tried = 9;
  trial.seconds = 1.5;

  KernelReport good;
  good.kernel = {
      "cpu.good", "two passes, with a summary that goes on for longer than eighty columns to be wrapped",
      "",         "lib/libgood.so",
      "good",     "1",
      1};
  good.cases = 9;
  good.counts[static_cast<std::size_t>(Status::pass)] = 1234;
  good.counts[static_cast<std::size_t>(Status::mistrusted)] = 12;
  good.skips["f64 is not supported <here> & \"now\""] = 2;
  KeyVerdict key;
  key.key = {Pass::forward_training, "f32", Layout::channels_last};
  key.judgements = 1246;
  key.explained_by = {Class{Family::merged, Form::centred}};
  GradeMet met;
  met.output = Output::var;
  met.best = Grade::blocked;
  met.by = {Family::merged, Form::centred};
  met.ratio = 0.75;
  met.denied = Grade::tree;
  met.witness = specimen_failure();
  key.grades = {met};
  good.keys = {key};
  for (const Output output : all_outputs) {
    AccuracyRow row;
    row.output = output;
    row.dtype = "f32";
    row.regime = "offset:1000";
    row.layout = Layout::channels_last;
    row.accuracy.count = 2'000'000'000;
    row.accuracy.correctly_rounded = 1'999'999'999;
    row.accuracy.special = 3;
    row.accuracy.max_raw = 6.6e8;
    row.accuracy.max_cond = std::numeric_limits<double>::infinity();
    for (int octave = -10; octave < 58; ++octave)
      row.accuracy.histogram.add(octave == 57 ? HUGE_VAL : 1.5 * std::ldexp(1.0, octave));
    row.nearest = {158.5, true, specimen_failure()};
    good.rows.push_back(row);
  }

  KernelReport bad = good;
  bad.kernel.name = "cpu.bad";
  bad.counts[static_cast<std::size_t>(Status::fail)] = 30;
  bad.failures = std::vector<Judgement>(6, specimen_failure());
  bad.failures[5].output = Output::y;
  bad.failures[5].permitted = 0;
  bad.failures[5].got = std::numeric_limits<double>::quiet_NaN();
  bad.failures[5].ulps = std::numeric_limits<double>::infinity();
  bad.keys[0].explained_by.clear();
  bad.keys[0].unexplained = {specimen_failure()};
  bad.unexplained = true;

  KernelReport idle;
  idle.kernel.name = "cuda.idle";
  idle.cases = 9;
  idle.counts[static_cast<std::size_t>(Status::skipped)] = 9;
  idle.skips["no device"] = 9;
  trial.kernels = {good, bad, idle};
  return report;
}

}  // namespace normproof::ci
