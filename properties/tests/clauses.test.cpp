// The forward clauses one by one, each named after the wrong rewrite that it catches: the bundled kernels
// keep it, and something that breaks it is seen to.
#include "clauses.h"

#include <gmock/gmock.h>

namespace normproof::properties {
namespace {

using impls::Observation;
using impls::Outcome;
using testing::Contains;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::Not;

constexpr int training_kernels = 9, inference_kernels = 2;

// ---- meaning: the perfect answer to another question must not pass

/// BN-FWD-1
TEST(Statistics, are_taken_over_the_batch_alone_or_over_a_value_of_another_channel) {
  const Case c = small_case();
  EXPECT_TRUE(passes_as(c, c));
  EXPECT_FALSE(passes_when(c, [](Case& m) { m.x[0] = m.x[23]; }))
      << "a value of the last channel instead of its own";
  // Per position: every place of the plane is a channel of its own.
  Case places = c;
  places.problem.shape = {3, 8, {}};
  for (auto* values : {&places.gamma, &places.beta, &places.running_mean, &places.running_var})
    values->insert(values->end(), values->begin(), values->end());
  Observation seen = perfect(c);
  seen.outputs[index(Output::y)] = perfect(places)[Output::y];
  EXPECT_TRUE(verdict(c, seen).failed());
}

/// BN-FWD-2
TEST(Statistics, the_unbiased_variance_normalises) {
  EXPECT_FALSE(
      passes_when(small_case(), [](Case& m) { m.problem.semantics.normalising = VarianceKind::unbiased; }));
}

/// BN-FWD-3
TEST(Statistics, eps_stands_elsewhere) {
  for (const EpsPlacement eps : {EpsPlacement::outside_root, EpsPlacement::added_to_deviation,
                                 EpsPlacement::omitted, EpsPlacement::doubled, EpsPlacement::clamped})
    EXPECT_FALSE(passes_when(small_case(), [&](Case& m) { m.problem.semantics.eps = eps; }))
        << static_cast<int>(eps);
}

/// BN-FWD-4
TEST(Affine, gamma_and_beta_are_swapped_or_left_out_or_shifted_by_a_channel) {
  for (const Pass pass : {Pass::forward_training, Pass::forward_inference}) {
    const Case c = small_case(pass);
    EXPECT_FALSE(passes_when(c, [](Case& m) { std::swap(m.gamma, m.beta); }));
    EXPECT_FALSE(passes_when(c, [](Case& m) { m.gamma.assign(4, 1.0); }));
    EXPECT_FALSE(passes_when(c, [](Case& m) { m.beta.assign(4, 0.0); }));
    EXPECT_FALSE(
        passes_when(c, [](Case& m) { std::rotate(m.gamma.begin(), m.gamma.begin() + 1, m.gamma.end()); }));
    // Absent: 1 and 0. Given as such or not given is the same problem.
    Case absent = c, given = c;
    absent.problem.affine = false;
    absent.gamma.clear();
    absent.beta.clear();
    given.gamma.assign(4, 1.0);
    given.beta.assign(4, 0.0);
    EXPECT_TRUE(passes_as(absent, given));
    EXPECT_FALSE(passes_as(absent, c));
    EXPECT_GE(
        each_kernel(absent, [&](const std::string& name,
                                auto run) { EXPECT_THAT(broken(absent, run(absent)), IsEmpty()) << name; }),
        inference_kernels);
  }
}

/// BN-RUN-1, BN-RUN-2, BN-RUN-3
TEST(Running, another_weight_or_another_variance_is_mixed_in) {
  Case c = small_case();
  EXPECT_FALSE(passes_when(c, [](Case& m) { m.problem.semantics.momentum = MomentumSense::weight_of_old; }));
  for (const char* dialect : {"documented", "pytorch/native_batch_norm"}) {
    c.problem.dialect = dialect;
    c.problem.semantics = dialect_named(dialect)->semantics;
    EXPECT_FALSE(passes_when(c, [](Case& m) {
      VarianceKind& fed = m.problem.semantics.running;
      fed = fed == VarianceKind::biased ? VarianceKind::unbiased : VarianceKind::biased;
    })) << dialect;
  }
  c = small_case();
  c.problem.momentum.reset();
  c.num_batches_tracked = 3;
  for (const std::int64_t counted : {2, 4}) {  // counted after the update, or not at all
    EXPECT_FALSE(passes_when(c, [&](Case& m) { m.num_batches_tracked = counted; })) << counted;
  }
  EXPECT_FALSE(passes_when(c, [](Case& m) { m.problem.momentum = 0.1; })) << "the default instead";
  EXPECT_GE(each_kernel(c, [&](const std::string& name,
                               auto run) { EXPECT_THAT(broken(c, run(c)), IsEmpty()) << name; }),
            training_kernels);
}

/// BN-RUN-4
TEST(Running, the_counter_stands_still_or_counts_twice) {
  for (const std::optional<double> momentum : {std::optional(0.25), std::optional<double>()}) {
    Case c = small_case();
    c.problem.momentum = momentum;
    for (const int by : {0, 2}) {
      Observation seen = perfect(c);
      seen.num_batches_tracked = c.num_batches_tracked + by;
      EXPECT_THAT(broken(c, seen), ElementsAre("BN-RUN-4"));
    }
    EXPECT_GE(each_kernel(c,
                          [&](const std::string& name, auto run) {
                            EXPECT_EQ(run(c).num_batches_tracked, c.num_batches_tracked + 1) << name;
                          }),
              training_kernels);
  }
}

/// BN-RUN-6
TEST(Running, statistics_that_nobody_gave_are_written_or_change_the_rest) {
  const Case with = small_case();
  Case without = with;
  without.problem.running = false;
  without.running_mean.clear();
  without.running_var.clear();
  without.num_batches_tracked = 0;
  const auto holds = [](const Observation& a, const Observation& b) {
    for (const Output o : {Output::y, Output::mean, Output::var, Output::invstd})
      if (!same(a[o], b[o]))
        return false;
    return b[Output::running_mean].empty() && b[Output::running_var].empty() && b.breaches.empty();
  };
  EXPECT_GE(each_kernel(with,
                        [&](const std::string& name, auto run) {
                          const Observation a = run(with);
                          Observation b = run(without);
                          EXPECT_EQ(b.outcome, Outcome::completed) << name << b.detail;
                          EXPECT_TRUE(holds(a, b)) << name;
                          b.outputs[index(Output::running_mean)] = a[Output::running_mean];
                          EXPECT_FALSE(holds(a, b));
                          b = run(without);
                          b.outputs[index(Output::invstd)][0] = stepped(f32, b[Output::invstd][0], 1);
                          EXPECT_FALSE(holds(a, b));
                        }),
            training_kernels);
}

/// BN-RUN-7
TEST(Running, momentum_0_still_moves_them) {
  for (const char* regime : {"normal", "offset"}) {
    Recipe r;
    r.regime = {regime, regime[0] == 'o' ? 1000 : 0};
    r.momentum = 0;
    const Case c = expand(r);
    const auto holds = [&](const Observation& seen) {
      return seen[Output::running_mean] == c.running_mean && seen[Output::running_var] == c.running_var;
    };
    Case moved = c;
    moved.problem.momentum = 0x1p-20;
    EXPECT_FALSE(holds(perfect(moved)));
    EXPECT_GE(each_kernel(c, [&](const std::string& name, auto run) { EXPECT_TRUE(holds(run(c))) << name; }),
              training_kernels);
  }
}

/// BN-INF-1
TEST(Inference, the_batch_normalises_itself) {
  const Case c = small_case(Pass::forward_inference);
  Case training = c;
  training.problem.pass = Pass::forward_training;
  Observation seen = perfect(c);
  seen.outputs[index(Output::y)] = perfect(training)[Output::y];
  EXPECT_THAT(broken(c, seen), ElementsAre("BN-NUM-7"));
}

/// BN-INF-2
TEST(Inference, running_statistics_change) {
  const Case c = small_case(Pass::forward_inference);
  EXPECT_EQ(each_kernel(c,
                        [&](const std::string& name, auto run) {
                          Observation seen = run(c);
                          EXPECT_THAT(broken(c, seen), IsEmpty()) << name;
                          seen.running_changed = true;
                          EXPECT_THAT(broken(c, seen), ElementsAre("BN-INF-2"));
                        }),
            inference_kernels);
}

// ---- independence

/// BN-FWD-14
TEST(Independence, a_channel_leaks_into_another) {
  for (const Pass pass : {Pass::forward_training, Pass::forward_inference})
    for (const Layout layout : {Layout::contiguous, Layout::channels_last}) {
      Case c = small_case(pass, {5, 19, {3}});
      c.problem.layout = layout;
      Case changed = c;
      for (std::size_t i = 0; i < 15; ++i)
        changed.x[4 * 15 + i] = round_to(f32, 1e6 - c.x[4 * 15 + i]);
      changed.gamma[4] = -3;
      changed.beta[4] = 1e3;
      changed.running_mean[4] = -77;
      changed.running_var[4] = 99;
      EXPECT_GE(each_kernel(c,
                            [&](const std::string& name, auto run) {
                              const Observation a = run(c);
                              Observation b = run(changed);
                              EXPECT_THAT(differing_channels(c, a, b), ElementsAre(4U)) << name;
                              double& leak = b.outputs[index(Output::y)][5 * 15];
                              leak = stepped(f32, leak, 1);
                              EXPECT_THAT(differing_channels(c, a, b), ElementsAre(4U, 5U));
                            }),
                inference_kernels);
    }
}

/// BN-INF-4
TEST(Independence, an_element_in_inference_depends_on_its_neighbours) {
  const Case c = small_case(Pass::forward_inference, {5, 3, {7}});
  for (const double value : {1e3, nan_value, inf_value, -inf_value}) {
    Case changed = c;
    changed.x[40] = value;
    changed.gamma[1] = 0;
    changed.x[80] = value;
    const Case zero_gamma = [&] {
      Case z = c;
      z.gamma[1] = 0;
      return z;
    }();
    EXPECT_EQ(each_kernel(c,
                          [&](const std::string& name, auto run) {
                            const Observation a = run(zero_gamma);
                            Observation b = run(changed);
                            const std::set<std::size_t> wanted = std::isfinite(value)
                                                                     ? std::set<std::size_t>{80}
                                                                     : std::set<std::size_t>{40, 80};
                            EXPECT_EQ(differing_elements(a[Output::y], b[Output::y]), wanted)
                                << name << ' ' << value;
                            if (!std::isfinite(value)) {
                              EXPECT_TRUE(std::isnan(b[Output::y][40])) << name << ": 0 times it is NaN";
                              EXPECT_TRUE(same(b[Output::y][80], c.gamma[2] * value)) << name;
                            }
                            b.outputs[index(Output::y)][41] = nan_value;
                            EXPECT_NE(differing_elements(a[Output::y], b[Output::y]), wanted);
                            if (std::isfinite(value)) {
                              EXPECT_THAT(broken(changed, b), ElementsAre("BN-NUM-7"));
                            }
                          }),
              inference_kernels);
  }
}

/// BN-FWD-13
TEST(NonFinite, a_value_spreads_or_is_swallowed) {
  struct Kind {
    double first, second;
    bool one_sign;
  };
  for (const Kind& kind :
       {Kind{nan_value, 0, false}, Kind{inf_value, -inf_value, false}, Kind{inf_value, 1, true},
        Kind{-inf_value, 1, true}, Kind{inf_value, inf_value, true}})
    for (const Layout layout : {Layout::contiguous, Layout::channels_last}) {
      Case clean = small_case(Pass::forward_training, {5, 19, {3}});
      clean.problem.layout = layout;
      clean.gamma[6] = 0;
      Case c = clean;
      for (const std::size_t channel : {4U, 6U}) {
        c.x[channel * 15 + 7] = kind.first;
        c.x[channel * 15 + 9] = kind.second;
      }
      const auto holds = [&](const Observation& a, const Observation& b) {
        if (differing_channels(c, a, b) != std::set<std::size_t>{4, 6})
          return false;
        for (const std::size_t k : {4U, 6U}) {
          for (std::size_t i = 0; i < 15; ++i)
            if (!std::isnan(b[Output::y][k * 15 + i]))
              return false;
          for (const Output o : {Output::var, Output::invstd, Output::running_var})
            if (!b[o].empty() && !std::isnan(b[o][k]) &&
                !(!std::isnan(kind.first) && b[o][k] == (o == Output::invstd ? 0 : inf_value)))
              return false;
          for (const Output o : {Output::mean, Output::running_mean})
            if (!b[o].empty() && !std::isnan(b[o][k]) && !(kind.one_sign && b[o][k] == kind.first))
              return false;
        }
        return true;
      };
      EXPECT_GE(each_kernel(c,
                            [&](const std::string& name, auto run) {
                              const Observation a = run(clean);
                              Observation b = run(c);
                              EXPECT_TRUE(holds(a, b)) << name << ' ' << kind.first << ' ' << kind.second;
                              EXPECT_THAT(broken(c, b), IsEmpty()) << name;
                              b.outputs[index(Output::y)][6 * 15] =
                                  clean.beta[6];  // gamma = 0 taken as a shortcut
                              EXPECT_FALSE(holds(a, b));
                              b = run(c);
                              b.outputs[index(Output::y)][0] = nan_value;
                              EXPECT_FALSE(holds(a, b));
                              b = run(c);
                              b.outputs[index(Output::invstd)][4] = 1;
                              EXPECT_FALSE(holds(a, b));
                              EXPECT_TRUE(verdict(c, b).failed());
                            }),
                training_kernels);
      EXPECT_FALSE(holds(perfect(clean), perfect(clean))) << "swallowed";
    }
}

/// BN-FWD-15
TEST(Layouts, one_layout_is_read_as_another) {
  for (const Pass pass : {Pass::forward_training, Pass::forward_inference})
    for (const Shape& shape :
         {Shape{4, 6, {3, 5}}, Shape{2, 17, {4}}, Shape{3, 2, {2, 3, 2}}, Shape{9, 4, {}}})
      for (const Layout layout : all_layouts) {
        Case c = small_case(pass, shape);
        c.problem.layout = layout;
        c.problem.layout_seed = layout == Layout::strided ? 11 : 0;
        const auto kernel = [&](const std::string& name, auto run) {
          EXPECT_THAT(broken(c, run(c)), IsEmpty())
              << name << ' ' << to_string(layout) << ' ' << to_string(shape);
        };
        EXPECT_GE(each_kernel(c, kernel), inference_kernels) << to_string(layout);
      }
  // Channels-last data taken for contiguous ones.
  const Case c = small_case(Pass::forward_training, {2, 3, {4}});
  EXPECT_FALSE(passes_when(c, [&](Case& m) {
    for (std::size_t b = 0; b < 2; ++b)
      for (std::size_t k = 0; k < 3; ++k)
        for (std::size_t s = 0; s < 4; ++s) {
          const std::size_t place = s * 3 + k;  // in the storage of one sample
          m.x[k * 8 + b * 4 + s] = c.x[place / 4 * 8 + b * 4 + place % 4];
        }
  }));
}

// ---- negation

/// BN-NUM-16
TEST(Negation, an_offset_that_keeps_its_sign) {
  for (const Pass pass : {Pass::forward_training, Pass::forward_inference})
    for (const char* regime : {"normal", "offset", "near_constant"}) {
      Recipe r;
      r.pass = pass;
      r.shape = {7, 5, {9}};
      r.regime = {regime, regime[0] == 'n' && regime[1] == 'o' ? 0 : 4};
      const Case c = expand(r);
      Case minus = c;
      for (auto* values : {&minus.x, &minus.beta, &minus.running_mean})
        negate(*values);
      const auto holds = [](const Observation& a, const Observation& b) {
        for (const Output odd : {Output::y, Output::mean, Output::running_mean})
          if (!negated(a[odd], b[odd]))
            return false;
        for (const Output even : {Output::var, Output::invstd, Output::running_var})
          if (!same(a[even], b[even]))
            return false;
        return true;
      };
      EXPECT_GE(each_kernel(c,
                            [&](const std::string& name, auto run) {
                              const Observation a = run(c);
                              Observation b = run(minus);
                              EXPECT_TRUE(holds(a, b)) << name << ' ' << regime;
                              // Half an ulp of y added before rounding, whatever the sign: rounding towards
                              // +Inf.
                              double& y = b.outputs[index(Output::y)][3];
                              y = round_to(f32, y + 0x1p-22 * std::abs(y));
                              EXPECT_FALSE(holds(a, b));
                            }),
                inference_kernels);
    }
}

// ---- edges of the problem

Case of_dialect(Case c, const char* dialect) {
  c.problem.dialect = dialect_named(dialect)->name;
  c.problem.semantics = dialect_named(dialect)->semantics;
  return c;
}

/// BN-FWD-12, BN-FWD-5
TEST(Refusal, what_must_be_refused_is_computed_and_what_is_valid_is_refused) {
  Case single = of_dialect(small_case(Pass::forward_training, {1, 3, {}}), "pytorch/F.batch_norm");
  Case no_eps = of_dialect(small_case(), "pytorch/F.batch_norm");
  no_eps.problem.eps = 0;
  Case negative = small_case();
  negative.problem.eps = -1;
  for (const Case& c : {single, no_eps, negative}) {
    Observation seen;
    seen.outcome = Outcome::completed;
    EXPECT_THAT(broken(c, seen), ElementsAre("BN-FWD-12"));
    EXPECT_GE(each_kernel(c,
                          [&](const std::string& name, auto run) {
                            seen = run(c);
                            EXPECT_EQ(seen.outcome, Outcome::rejected) << name;
                            EXPECT_THAT(broken(c, seen), IsEmpty());
                            for (const Output o : all_outputs)
                              EXPECT_THAT(seen[o], IsEmpty()) << name;
                          }),
              training_kernels);
  }
  Observation refusal;
  refusal.outcome = Outcome::rejected;
  EXPECT_THAT(broken(small_case(), refusal), ElementsAre("BN-FWD-5"));
  refusal.outcome = Outcome::failed;
  EXPECT_THAT(broken(small_case(), refusal), ElementsAre("BN-FWD-5"));
}

/// BN-FWD-9
TEST(ZeroVariance, the_dialect_is_not_asked) {
  Case c = small_case();
  c.problem.eps = 0;
  std::fill(c.x.begin(), c.x.begin() + 6, 2.0);
  const Case native = of_dialect(c, "pytorch/native_batch_norm");
  EXPECT_FALSE(passes_as(c, native));
  EXPECT_FALSE(passes_as(native, c));
  const auto kernels = [](const Case& tried) {
    return each_kernel(tried, [&](const std::string& name, auto run) {
      EXPECT_THAT(broken(tried, run(tried)), IsEmpty()) << name << ' ' << tried.problem.dialect;
    });
  };
  EXPECT_GE(kernels(c), training_kernels);
  EXPECT_GE(kernels(native), training_kernels);
}

/// BN-FWD-10, BN-RUN-5
TEST(SingleValue, the_dialect_is_not_asked) {
  const Case c = small_case(Pass::forward_training, {1, 3, {}});
  const Case native = of_dialect(c, "pytorch/native_batch_norm");
  EXPECT_FALSE(passes_as(c, native));
  EXPECT_FALSE(passes_as(native, c)) << "the unbiased variance of one value is NaN";
  for (const Case& tried : {c, native})
    EXPECT_GE(each_kernel(tried,
                          [&](const std::string& name, auto run) {
                            Observation seen = run(tried);
                            EXPECT_THAT(broken(tried, seen), IsEmpty()) << name;
                            if (seen.claims.affine == NP_AFFINE_CENTRED) {
                              EXPECT_EQ(seen[Output::y], c.beta) << name;
                            }
                            EXPECT_THAT(seen[Output::var], testing::Each(0.0)) << name;
                            seen.outputs[index(Output::y)][1] = stepped(f32, c.beta[1], 1e4);
                            EXPECT_TRUE(verdict(tried, seen).failed());
                          }),
              training_kernels);
  // One sample with more than one position is an ordinary problem.
  const Case plane = small_case(Pass::forward_training, {1, 3, {4}});
  EXPECT_GE(
      each_kernel(of_dialect(plane, "pytorch/F.batch_norm"),
                  [&](const std::string& name, auto run) {
                    EXPECT_EQ(run(of_dialect(plane, "pytorch/F.batch_norm")).outcome, Outcome::completed)
                        << name;
                  }),
      training_kernels);
}

/// BN-FWD-11, BN-INF-3
TEST(EmptyBatch, is_a_crash_or_turns_the_running_statistics_into_nan) {
  for (const Pass pass : {Pass::forward_training, Pass::forward_inference})
    for (const Dialect& dialect : dialects()) {
      Case c = of_dialect(small_case(pass), std::string(dialect.name).c_str());
      c.problem.shape = {0, 4, {2}};
      c.x.clear();
      const reference::Ruling ruling = reference::admission_of(c).ruling;
      const auto holds = [&](const Observation& seen) {
        if (seen.outcome == Outcome::rejected)
          return ruling != reference::Ruling::accept;
        const auto kept = [&](Output o, const std::vector<double>& before) {
          return seen[o].empty() || same(seen[o], before);
        };
        const std::int64_t counted = seen.num_batches_tracked.value_or(c.num_batches_tracked);
        return seen.outcome == Outcome::completed && ruling != reference::Ruling::reject &&
               seen[Output::y].empty() && kept(Output::running_mean, c.running_mean) &&
               kept(Output::running_var, c.running_var) && !seen.running_changed &&
               counted - c.num_batches_tracked <= (pass == Pass::forward_training ? 1 : 0);
      };
      EXPECT_GE(each_kernel(c,
                            [&](const std::string& name, auto run) {
                              const Observation seen = run(c);
                              // The bundled kernels refuse every empty batch in training, also where the
                              // dialect wants it accepted.
                              EXPECT_TRUE(holds(seen) || seen.outcome == Outcome::rejected ||
                                          seen.outcome == Outcome::unsupported)
                                  << name << ' ' << dialect.name << ' ' << to_string(pass) << ' '
                                  << seen.detail;
                            }),
                ruling == reference::Ruling::accept ? 0 : 1)  // no bundled kernel has what is accepted there
          << dialect.name;
      Observation wrong;
      wrong.outcome = Outcome::rejected;
      EXPECT_EQ(!broken(c, wrong).empty(), ruling == reference::Ruling::accept) << dialect.name;
      wrong.outcome = Outcome::completed;
      if (ruling == reference::Ruling::reject) {
        EXPECT_THAT(broken(c, wrong), ElementsAre("BN-FWD-12"));
      }
      wrong.outputs[index(Output::running_mean)].assign(4, nan_value);
      EXPECT_FALSE(holds(wrong));
      wrong = {};
      wrong.outcome = Outcome::crashed;
      EXPECT_FALSE(holds(wrong));
    }
}

/// BN-INF-5, BN-INF-6
TEST(InferenceEdges, a_negative_or_zero_radicand_gives_a_number) {
  Case c = small_case(Pass::forward_inference);
  c.running_var[1] = -1;
  const auto holds = [&](const Observation& seen) {
    if (seen.outcome == Outcome::rejected)
      return true;
    for (std::size_t i = 0; i < c.x.size(); ++i)
      if ((i / 6 == 1) != std::isnan(seen[Output::y][i]))
        return false;
    return true;
  };
  EXPECT_EQ(each_kernel(c,
                        [&](const std::string& name, auto run) {
                          Observation seen = run(c);
                          EXPECT_TRUE(holds(seen)) << name;
                          if (seen.outcome == Outcome::completed) {
                            seen.outputs[index(Output::y)][7] = 0;
                            EXPECT_FALSE(holds(seen));
                          }
                        }),
            inference_kernels);

  Case zero = small_case(Pass::forward_inference);
  zero.problem.eps = 0;
  zero.running_var[1] = 0;
  zero.x[6] = zero.running_mean[1];
  zero.running_var[2] = 0;
  zero.gamma[2] = 0;
  EXPECT_EQ(each_kernel(zero,
                        [&](const std::string& name, auto run) {
                          Observation seen = run(zero);
                          EXPECT_THAT(broken(zero, seen), IsEmpty()) << name;
                          EXPECT_TRUE(std::isnan(seen[Output::y][6])) << name << ": 0 times infinity";
                          EXPECT_TRUE(std::isinf(seen[Output::y][7])) << name;
                          EXPECT_TRUE(std::isnan(seen[Output::y][12])) << name << ": gamma = 0";
                          seen.outputs[index(Output::y)][7] *= -1;
                          EXPECT_TRUE(verdict(zero, seen).failed());
                        }),
            inference_kernels);
}

/// BN-FWD-17
TEST(Flushed, a_subnormal_result_that_became_zero_counts_as_exact) {
  Case c = small_case(Pass::forward_inference, {2, 1, {}});
  c.problem.eps = 0;
  c.gamma = {0x1p-130};
  c.beta = {0};
  c.running_mean = {0};
  c.running_var = {1};
  c.x = {1, 3};
  Observation seen = perfect(c);
  const std::size_t y = index(Output::y);
  EXPECT_EQ(verdict(c, seen).accuracy[y].flushed, 0);
  seen.outputs[y][0] = 0;
  const CaseVerdict v = verdict(c, seen);
  EXPECT_EQ(v.accuracy[y].flushed, 1);
  EXPECT_EQ(v.accuracy[y].max_raw, 0x1p-130 / 0x1p-149) << "its error is |exact|, in ulps";
  EXPECT_EQ(v.accuracy[y].correctly_rounded, 1);
}

// ---- the contract of the call: each breach is named by its clause

/// BN-FWD-6, BN-FWD-7, BN-FWD-8, BN-FWD-16
TEST(Contract, a_breach_is_put_down_to_another_clause) {
  const Case c = small_case();
  Observation seen = perfect(c);
  EXPECT_THAT(broken(c, seen), IsEmpty());
  seen.breaches = {"y: 1 of 24 elements left unwritten"};
  EXPECT_THAT(broken(c, seen), ElementsAre("BN-FWD-6"));
  seen.breaches = {"x: an input was changed"};
  EXPECT_THAT(broken(c, seen), ElementsAre("BN-FWD-7"));
  seen = perfect(c);
  seen.environment_changed = true;
  EXPECT_THAT(broken(c, seen), ElementsAre("BN-FWD-8"));
  seen = perfect(c);
  seen.repeatable = false;
  seen.claims.deterministic = true;
  EXPECT_THAT(broken(c, seen), ElementsAre("BN-FWD-16"));
}

/// BN-FWD-16, and BN-FWD-6 to BN-FWD-8 for kernels as they are.
TEST(Contract, a_bundled_kernel_breaks_it) {
  impls::Runner runner({.in_process = true, .repeats = 3});
  for (const Pass pass : {Pass::forward_training, Pass::forward_inference}) {
    Case c = small_case(pass, {6, 5, {7}});
    c.problem.threads = 3;
    int count = 0;
    for (const impls::KernelInfo& kernel : bundled_kernels()) {
      const Observation seen = runner.run(kernel, c);
      if (seen.outcome == Outcome::unsupported)
        continue;
      ++count;
      EXPECT_EQ(seen.outcome, Outcome::completed) << kernel.name;
      EXPECT_THAT(seen.breaches, IsEmpty()) << kernel.name;
      EXPECT_FALSE(seen.environment_changed) << kernel.name;
      EXPECT_TRUE(seen.repeatable) << kernel.name;
      EXPECT_TRUE(seen.claims.deterministic) << kernel.name;
    }
    EXPECT_GE(count, inference_kernels);
  }
}

// ---- numeric clauses: an error that grows crosses the bound of that clause and no other

/// BN-NUM-1 to BN-NUM-8 with nothing else reported, BN-NUM-12 to BN-NUM-15 where the stage before is.
TEST(Numeric, an_error_is_held_to_the_bound_of_another_clause) {
  const Case c = small_case(Pass::forward_training, {8, 2, {5}});
  const Gate centred{.folded = false};
  using enum Output;
  EXPECT_EQ(first_broken(c, mean, {mean}), "BN-NUM-1");
  EXPECT_EQ(first_broken(c, var, {var}), "BN-NUM-2");
  EXPECT_EQ(first_broken(c, invstd, {invstd}), "BN-NUM-3");
  EXPECT_EQ(first_broken(c, running_mean, {running_mean}), "BN-NUM-8");
  EXPECT_EQ(first_broken(c, running_var, {running_var}), "BN-NUM-8");
  EXPECT_EQ(first_broken(c, invstd, {var, invstd}), "BN-NUM-12");
  EXPECT_EQ(first_broken(c, y, {mean, invstd, y}), "BN-NUM-13");
  EXPECT_EQ(first_broken(c, running_mean, {mean, running_mean}), "BN-NUM-14");
  EXPECT_EQ(first_broken(c, running_var, {var, running_var}), "BN-NUM-14");
  EXPECT_EQ(first_broken(c, y, {y}), "BN-NUM-15");
  const Case inference = small_case(Pass::forward_inference, {8, 2, {5}});
  EXPECT_EQ(first_broken(inference, y, {y}, centred), "BN-NUM-6");
  EXPECT_EQ(first_broken(inference, y, {y}), "BN-NUM-7");
}

/// BN-NUM-4, BN-NUM-5
TEST(Numeric, y_as_a_whole_is_held_to_no_bound_of_its_own) {
  // Every y scaled by one factor is explained by another invstd: no link sees it, the bound of y does.
  const Case c = small_case(Pass::forward_training, {8, 2, {5}});
  const auto clause = [&](const Gate& gate) -> std::set<std::string> {
    for (double factor = 0x1p-22; factor < 1; factor *= 2) {
      const Observation right = perfect(c);
      Observation seen;
      seen.outcome = Outcome::completed;
      for (std::size_t i = 0; i < c.x.size(); ++i) {
        const double beta = c.beta[i / 40];
        seen.outputs[index(Output::y)].push_back(
            round_to(f32, beta + (right[Output::y][i] - beta) * (1 + factor)));
      }
      if (const auto clauses = broken(c, seen, gate); !clauses.empty())
        return clauses;
    }
    return {};
  };
  const auto folded = clause({}), centred = clause({.folded = false});
  EXPECT_THAT(folded, testing::AnyOf(Contains("BN-NUM-5"), ElementsAre("BN-NUM-15")));
  EXPECT_THAT(centred, testing::AnyOf(Contains("BN-NUM-4"), ElementsAre("BN-NUM-15")));
}

/// BN-NUM-9, BN-NUM-10
TEST(Exact, one_step_is_forgiven) {
  Recipe r;
  r.shape = {16, 2, {4}};
  r.regime = {"exact", 3};
  r.eps = 0.5;
  const Case exact = expand(r);
  r.shape = {2, 3, {}};
  r.regime = {"pair", 10002};
  const Case pair = expand(r);
  const auto one_step = [](const Case& c, Output o, const Gate& gate) {
    Observation seen = perfect(c);
    seen.outputs[index(o)][1] = stepped(f32, seen[o][1], 1);
    return broken(c, seen, gate);
  };
  for (const Output o : {Output::mean, Output::var}) {
    EXPECT_THAT(one_step(exact, o, {.merged = false}), Contains("BN-NUM-9"));
    EXPECT_THAT(one_step(pair, o, {}), Contains("BN-NUM-10"));
  }
  for (const Case& c : {exact, pair})
    EXPECT_GE(each_kernel(c, [&](const std::string& name,
                                 auto run) { EXPECT_THAT(broken(c, run(c)), IsEmpty()) << name; }),
              training_kernels);
}

/// BN-NUM-11
TEST(Exact, a_constant_channel_is_given_noise) {
  // n and K as every family allows: n = 2^m, K a small multiple of a power of two.
  Case c = small_case(Pass::forward_training, {16, 3, {4}});
  const double constants[]{5, -0.375, 0};
  for (std::size_t i = 0; i < c.x.size(); ++i)
    c.x[i] = constants[i / 64];
  const auto holds = [&](const Observation& seen, bool folded) {
    for (std::size_t k = 0; k < 3; ++k) {
      if (seen[Output::mean][k] != constants[k] || seen[Output::var][k] != 0)
        return false;
      for (std::size_t i = 0; i < 64; ++i)
        if (!(folded && constants[k] != 0) && seen[Output::y][k * 64 + i] != c.beta[k])
          return false;
    }
    return true;
  };
  EXPECT_GE(each_kernel(c,
                        [&](const std::string& name, auto run) {
                          Observation seen = run(c);
                          const bool folded = seen.claims.affine == NP_AFFINE_FOLDED;
                          EXPECT_TRUE(holds(seen, folded)) << name;
                          EXPECT_THAT(broken(c, seen), IsEmpty()) << name;
                          seen.outputs[index(Output::var)][0] = 0x1p-40;
                          EXPECT_FALSE(holds(seen, folded));
                          EXPECT_TRUE(verdict(c, seen).failed()) << "variance is exactly 0";
                        }),
            training_kernels);
  Observation seen = perfect(c);
  seen.outputs[index(Output::y)][130] = stepped(f32, c.beta[2], 1);
  EXPECT_FALSE(holds(seen, true)) << "y is exactly beta, in both forms where K = 0";
}

}  // namespace
}  // namespace normproof::properties
