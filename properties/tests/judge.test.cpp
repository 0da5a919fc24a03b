// The judge can fail: each test plants one wrong output in an otherwise right observation.
#include "normproof/properties/judge.h"

#include <limits>

#include <gtest/gtest.h>

#include "normproof/properties/affine.h"
#include "normproof/properties/recipe.h"
#include "normproof/reference/truth.h"
#include "normproof/reference/ulp.h"
#include "simulated.h"

namespace normproof::properties {
namespace {

Recipe recipe(std::string regime, std::int64_t parameter, Shape shape) {
  Recipe r;
  r.regime = {std::move(regime), parameter};
  r.shape = std::move(shape);
  return r;
}

struct Trial {
  Case c;
  reference::Truth truth;

  explicit Trial(const Recipe& r) : c(expand(r)), truth(reference::truth_of(c)) {}
  explicit Trial(Case given) : c(std::move(given)), truth(reference::truth_of(c)) {}

  /// An observation that is the rounded truth everywhere.
  impls::Observation perfect() const {
    impls::Observation seen;
    seen.outcome = impls::Outcome::completed;
    for (const Output o : all_outputs)
      seen.outputs[index(o)] = truth[o].rn;
    seen.num_batches_tracked = c.num_batches_tracked + 1;
    return seen;
  }
  CaseVerdict verdict(const impls::Observation& seen, Gate gate = {}) const {
    return judge(c, truth, seen, gate);
  }
};

double steps(double v, int count) {
  const double toward =
      count > 0 ? std::numeric_limits<double>::infinity() : -std::numeric_limits<double>::infinity();
  float f = static_cast<float>(v);
  for (int i = 0; i < std::abs(count); ++i)
    f = std::nextafterf(f, static_cast<float>(toward));
  return f;
}

const Judgement* first_failure(const CaseVerdict& v) {
  for (const Judgement& j : v.notable) {
    if (is_failure(j.status))
      return &j;
  }
  return nullptr;
}

TEST(Judge, the_rounded_truth_meets_every_grade) {
  const Trial trial(recipe("normal", 0, {8, 4, {4, 4}}));
  for (const Grade grade : all_grades) {
    const CaseVerdict v = trial.verdict(trial.perfect(), {.grade = grade});
    EXPECT_FALSE(v.failed()) << to_string(grade);
    EXPECT_GT(v.count(Status::pass), 0) << to_string(grade);
  }
}

// Most elements are told by a product that they are no worse than one before (channel_judge.h). A product
// that says so of the worst one lets a kernel pass.
TEST(Judge, the_worst_element_is_found_wherever_it_stands) {
  struct Wanted {
    Pass pass;
    Output output;
    const char* link;
  };
  for (const Wanted& wanted : {Wanted{Pass::forward_training, Output::y, "BN-NUM-13"},
                               Wanted{Pass::forward_inference, Output::y, ""},
                               Wanted{Pass::backward_training, Output::dx, "BN-NUM-25"},
                               Wanted{Pass::double_backward, Output::grad_x, ""}}) {
    Recipe r = recipe("normal", 0, {599, 1, {}});
    r.pass = wanted.pass;
    const Trial trial(r);
    impls::Observation all = trial.perfect();
    CaseVerdict worst;  // of one wrong element at a time
    double worst_link = 0;
    std::uint64_t bits = 20261121;
    for (std::size_t i = 0; i < 599; ++i) {
      bits = bits * 6364136223846793005 + 1442695040888963407;
      impls::Observation one = trial.perfect();
      double& value = one.outputs[index(wanted.output)][i];
      value = steps(value, static_cast<int>(bits >> 33) % 400);
      all.outputs[index(wanted.output)][i] = value;
      const CaseVerdict v = trial.verdict(one);
      for (std::size_t g = 0; g < grade_count; ++g)
        for (std::size_t k = 0; k < class_count; ++k) {
          Extreme& most = worst.evidence[index(wanted.output)][g][k];
          const Extreme& own = v.evidence[index(wanted.output)][g][k];
          most.seen = most.seen || own.seen;
          most.ratio = std::max(most.ratio, own.ratio);
        }
      for (const Judgement& j : v.notable)
        if (j.clause == wanted.link)
          worst_link = std::max(worst_link, j.ratio());
    }
    const CaseVerdict together = trial.verdict(all);
    for (std::size_t g = 0; g < grade_count; ++g)
      for (std::size_t k = 0; k < class_count; ++k) {
        const Extreme& most = worst.evidence[index(wanted.output)][g][k];
        const Extreme& found = together.evidence[index(wanted.output)][g][k];
        EXPECT_EQ(found.seen, most.seen) << to_string(wanted.pass);
        EXPECT_EQ(found.ratio, most.ratio) << to_string(wanted.pass) << " grade " << g << " class " << k;
      }
    double link = 0;
    for (const Judgement& j : together.notable)
      if (j.clause == wanted.link)
        link = std::max(link, j.ratio());
    EXPECT_EQ(link, worst_link) << to_string(wanted.pass);
    EXPECT_EQ(link > 1, *wanted.link != 0) << to_string(wanted.pass);
  }
}

TEST(Judge, an_infinite_x_in_inference_excuses_or_fails_its_whole_channel) {
  Recipe r = recipe("normal", 0, {6, 2, {3}});
  r.pass = Pass::forward_inference;
  Case c = expand(r);
  c.x[4] = std::numeric_limits<double>::infinity();
  const Trial trial(c);
  impls::Observation seen = trial.perfect();
  double& other = seen.outputs[index(Output::y)][5];
  other = steps(other, 1);
  EXPECT_FALSE(trial.verdict(seen).failed());
  other = steps(other, 1000);
  EXPECT_TRUE(trial.verdict(seen).failed());
  seen = trial.perfect();
  seen.outputs[index(Output::y)][4] *= -1;
  EXPECT_TRUE(trial.verdict(seen).failed());
}

TEST(Judge, a_variance_of_a_constant_channel_is_within_some_bound) {
  Case c = expand(recipe("normal", 0, {4, 2, {2}}));
  std::fill(c.x.begin(), c.x.end(), 3);
  const Trial trial(c);
  EXPECT_FALSE(trial.verdict(trial.perfect()).failed());
  impls::Observation seen = trial.perfect();
  seen.outputs[index(Output::var)][1] = 0x1p-140;
  const CaseVerdict v = trial.verdict(seen);
  ASSERT_NE(first_failure(v), nullptr);
  EXPECT_EQ(first_failure(v)->clause, "BN-NUM-11");
}

TEST(Judge, a_kernel_that_claims_the_extended_domain_is_spared_there) {
  const Trial trial(recipe("subnormal", 0, {4, 2, {2}}));
  impls::Observation seen = trial.perfect();
  EXPECT_FALSE(trial.verdict(seen).gates);
  EXPECT_TRUE(trial.verdict(seen, {.extended = true}).gates);
  EXPECT_FALSE(trial.verdict(seen, {.extended = true}).core);
  seen.claims.extended_domain = true;
  EXPECT_TRUE(trial.verdict(seen).core);
}

TEST(Judge, simulated_correct_kernels_pass) {
  for (const std::uint64_t seed : {1U, 2U, 3U}) {
    Recipe r = recipe("normal", 0, {4, 3, {5}});
    r.seed = seed;
    const Trial trial(r);
    for (const Family family : {Family::centred, Family::merged}) {
      for (const Form form : {Form::centred, Form::folded}) {
        const CaseVerdict v = trial.verdict(simulate<float>(trial.c, {.family = family, .form = form}));
        EXPECT_FALSE(v.failed()) << (first_failure(v) ? first_failure(v)->clause : "");
      }
    }
  }
}

TEST(Judge, nan_is_not_equal_to_a_number) {
  const Trial trial(recipe("normal", 0, {8, 4, {4, 4}}));
  impls::Observation seen = trial.perfect();
  seen.outputs[index(Output::y)][17] = std::numeric_limits<double>::quiet_NaN();
  const CaseVerdict v = trial.verdict(seen);
  ASSERT_TRUE(v.failed());
  EXPECT_EQ(first_failure(v)->output, Output::y);
  EXPECT_EQ(first_failure(v)->element, 17);
}

TEST(Judge, an_infinity_is_not_a_large_number_that_a_wide_bound_forgives) {
  const Trial trial(recipe("normal", 0, {8, 4, {4, 4}}));
  for (const Output o : all_outputs) {
    impls::Observation seen = trial.perfect();
    if (seen[o].empty())
      continue;
    seen.outputs[index(o)][1] = std::numeric_limits<double>::infinity();
    EXPECT_TRUE(trial.verdict(seen).failed()) << to_string(o);
  }
}

TEST(Judge, all_zero_output_does_not_pass) {
  const Trial trial(recipe("normal", 0, {8, 4, {4, 4}}));
  for (const Output o : all_outputs) {
    impls::Observation seen = trial.perfect();
    if (seen[o].empty())
      continue;
    for (double& value : seen.outputs[index(o)])
      value = 0;
    EXPECT_TRUE(trial.verdict(seen).failed()) << to_string(o);
  }
}

TEST(Judge, swapped_outputs_do_not_pass) {
  const Trial trial(recipe("offset", 10, {8, 4, {4, 4}}));
  impls::Observation seen = trial.perfect();
  std::swap(seen.outputs[index(Output::mean)], seen.outputs[index(Output::var)]);
  EXPECT_TRUE(trial.verdict(seen).failed());
  seen = trial.perfect();
  std::swap(seen.outputs[index(Output::running_mean)], seen.outputs[index(Output::running_var)]);
  EXPECT_TRUE(trial.verdict(seen).failed());
}

TEST(Judge, one_step_on_exact_data_is_a_failure_of_mean_and_variance) {
  Recipe r = recipe("exact", 0, {16, 2, {4}});
  r.eps = 0.5;
  const Trial trial(r);
  for (const Output o : {Output::mean, Output::var}) {
    impls::Observation seen = trial.perfect();
    double& value = seen.outputs[index(o)][1];
    value = steps(value, 1);
    // No class of the centred family can be off; a merged one may, so the run decides, not the case.
    const CaseVerdict v = trial.verdict(seen, {.merged = false});
    ASSERT_TRUE(v.failed()) << to_string(o);
    EXPECT_EQ(first_failure(v)->clause, "BN-NUM-9");
    EXPECT_FALSE(trial.verdict(seen).failed()) << to_string(o);
  }
}

TEST(Judge, the_pair_sees_a_textbook_variance) {
  const Trial trial(channel_of({10001, 10003}));
  const CaseVerdict v = trial.verdict(simulate<float>(trial.c, {.family = Family::textbook}));
  ASSERT_TRUE(v.failed());
  EXPECT_EQ(first_failure(v)->clause, "BN-NUM-10");
  EXPECT_EQ(first_failure(v)->output, Output::var);
}

TEST(Judge, eps_added_to_the_deviation_is_blamed_once_on_the_link) {
  const Trial trial(recipe("normal", 0, {64, 1, {8, 8}}));  // n = 4096: end to end it is within the bound
  impls::Observation seen = simulate<float>(trial.c);
  const double var = seen.outputs[index(Output::var)][0];
  const double wrong = round_to(f32, 1 / (std::sqrt(var) + trial.c.problem.eps));
  const double right = seen.outputs[index(Output::invstd)][0];
  seen.outputs[index(Output::invstd)][0] = wrong;
  const double mean = seen.outputs[index(Output::mean)][0];
  for (std::size_t i = 0; i < trial.c.x.size(); ++i) {
    seen.outputs[index(Output::y)][i] =
        round_to(f32, (trial.c.x[i] - mean) * wrong * trial.c.gamma[0] + trial.c.beta[0]);
  }
  ASSERT_NE(wrong, right);
  const CaseVerdict v = trial.verdict(seen);
  EXPECT_EQ(v.count(Status::fail), 1);
  ASSERT_NE(first_failure(v), nullptr);
  EXPECT_EQ(first_failure(v)->clause, "BN-NUM-12");
}

TEST(Judge, a_wrong_variance_is_one_failure_and_its_followers_are_consequences) {
  const Trial trial(recipe("normal", 0, {16, 1, {}}));
  Case shifted = trial.c;
  impls::Observation seen = simulate<float>(trial.c);
  // Twice the variance, and everything after it computed from that.
  const double var = 2 * seen.outputs[index(Output::var)][0];
  const double mean = seen.outputs[index(Output::mean)][0];
  const double invstd = round_to(f32, 1 / std::sqrt(var + trial.c.problem.eps));
  seen.outputs[index(Output::var)][0] = var;
  seen.outputs[index(Output::invstd)][0] = invstd;
  for (std::size_t i = 0; i < trial.c.x.size(); ++i) {
    seen.outputs[index(Output::y)][i] =
        round_to(f32, (trial.c.x[i] - mean) * invstd * trial.c.gamma[0] + trial.c.beta[0]);
  }
  const double w = *trial.c.problem.momentum;
  seen.outputs[index(Output::running_var)][0] = round_to(f32, (1 - w) * trial.c.running_var[0] + w * var);
  const CaseVerdict v = trial.verdict(seen);
  EXPECT_EQ(v.count(Status::fail), 1);
  EXPECT_EQ(v.count(Status::consequence), 3);
  EXPECT_EQ(first_failure(v)->output, Output::var);
}

TEST(Judge, one_wrong_element_at_a_large_condition_number_is_seen_without_any_report) {
  const Trial trial(recipe("offset", 10000, {8, 1, {8}}));
  const Gate gate;
  impls::Observation seen = simulate<float>(trial.c, {.reports = false});
  EXPECT_FALSE(trial.verdict(seen, gate).failed());
  double& y = seen.outputs[index(Output::y)][40];
  y = round_to(f32, y + 0.03);
  const CaseVerdict v = trial.verdict(seen, gate);
  ASSERT_TRUE(v.failed());
  EXPECT_EQ(first_failure(v)->clause, "BN-NUM-15");
  EXPECT_LE(v.nearest[index(Output::y)].ratio, 1) << "end to end it is within the bound";
}

TEST(Judge, a_trivial_answer_within_the_bound_is_mistrusted_not_passed) {
  const Trial trial(recipe("offset", 10000000, {128, 1, {32}}));
  const CaseVerdict v = trial.verdict(trial.perfect());
  EXPECT_GT(v.count(Status::mistrusted), 0);
}

TEST(Judge, a_bound_that_is_infinite_is_not_a_pass) {
  Case c = channel_of({1, 1 + 0x1p-23, 1, 1}, 0);
  const Trial trial(std::move(c));
  const CaseVerdict v = trial.verdict(trial.perfect());
  EXPECT_GT(v.count(Status::unprovable), 0);
}

TEST(Judge, a_nan_where_the_bound_is_infinite_is_unprovable_not_a_failure) {
  // eps = 0 at a condition number of 1e7: a correct f32 kernel finds variance 0, invstd infinite and y NaN.
  Recipe r = recipe("offset", 10000000, {2, 2, {1}});
  r.eps = 0;
  r.seed = 14948294;
  const Trial trial(r);
  const impls::Observation seen = simulate<float>(trial.c, {.family = Family::merged, .form = Form::folded});
  ASSERT_TRUE(std::isnan(seen[Output::y][0]) || std::isnan(seen[Output::y][1]));
  const CaseVerdict v = trial.verdict(seen);
  EXPECT_FALSE(v.failed());
  EXPECT_GT(v.count(Status::unprovable), 0);
}

TEST(Judge, a_broken_claim_is_named_though_the_grade_is_met) {
  const Trial trial(recipe("normal", 0, {64, 1, {64}}));
  impls::Observation seen = simulate<float>(trial.c);
  EXPECT_FALSE(trial.verdict(seen).failed());
  seen.claims.accumulator_bits = 53;
  seen.claims.family = NP_CENTRED;
  seen.claims.affine = NP_AFFINE_CENTRED;
  seen.claims.rsqrt_ulps = 1;
  const CaseVerdict v = trial.verdict(seen);
  EXPECT_GT(v.count(Status::claim_broken), 0);
}

TEST(Judge, a_refusal_is_right_only_where_it_is_demanded) {
  Trial trial(recipe("normal", 0, {8, 4, {4, 4}}));
  impls::Observation seen;
  seen.outcome = impls::Outcome::rejected;
  seen.detail = "no";
  EXPECT_TRUE(trial.verdict(seen).failed());
}

TEST(Judge, what_a_worker_reports_becomes_its_status) {
  const Trial trial(recipe("normal", 0, {8, 4, {4, 4}}));
  impls::Observation seen;
  seen.outcome = impls::Outcome::crashed;
  EXPECT_EQ(trial.verdict(seen).count(Status::crashed), 1);
  seen.outcome = impls::Outcome::timed_out;
  EXPECT_EQ(trial.verdict(seen).count(Status::timed_out), 1);
  seen.outcome = impls::Outcome::unsupported;
  EXPECT_EQ(trial.verdict(seen).count(Status::skipped), 1);
  EXPECT_FALSE(trial.verdict(seen).failed());
  seen = trial.perfect();
  seen.breaches = {"input x changed"};
  EXPECT_EQ(trial.verdict(seen).count(Status::corrupted), 1);
  seen = trial.perfect();
  seen.num_batches_tracked = trial.c.num_batches_tracked;
  EXPECT_TRUE(trial.verdict(seen).failed());
}

TEST(Judge, inference_that_updates_the_running_statistics_fails) {
  Recipe r = recipe("normal", 0, {4, 2, {4}});
  r.pass = Pass::forward_inference;
  const Trial trial(r);
  impls::Observation seen = simulate<float>(trial.c);
  EXPECT_FALSE(trial.verdict(seen).failed());
  seen.running_changed = true;
  const CaseVerdict v = trial.verdict(seen);
  ASSERT_NE(first_failure(v), nullptr);
  EXPECT_EQ(first_failure(v)->clause, "BN-INF-2");
}

TEST(Judge, a_crash_on_an_empty_batch_breaks_no_clause) {
  Recipe r = recipe("normal", 0, {0, 2, {}});
  impls::Observation seen;
  for (const auto outcome : {impls::Outcome::crashed, impls::Outcome::timed_out}) {
    seen.outcome = outcome;
    r.pass = Pass::backward_training;
    const CaseVerdict v = Trial(r).verdict(seen);
    ASSERT_NE(first_failure(v), nullptr);
    EXPECT_EQ(first_failure(v)->clause, "BN-BWD-12");
  }
}

TEST(Affine, one_point_for_all_strips) {
  std::vector<Strip> strips;
  for (int i = -10; i <= 10; ++i) {
    const double truth = 0.25 * i + 0.5;  // p = 0.25, q = 0.5
    strips.push_back({static_cast<double>(i), truth - 1e-3, truth + 1e-3, 1e-3});
  }
  EXPECT_FALSE(contradiction(strips, 1, 1));
  EXPECT_TRUE(contradiction(strips, 0.2, 1)) << "p = 0.25 lies outside the rectangle";
  strips[13].low += 0.01;
  strips[13].high += 0.01;
  EXPECT_TRUE(contradiction(strips, 1, 1));
  const double factor = contradiction_factor(strips, 1, 1);
  EXPECT_GT(factor, 1);
  EXPECT_FALSE(contradiction(strips, 1, 1, factor));
}

// ---- severity

TEST(Severity, a_lost_digit_that_weighs_as_much_as_a_lost_value) {
  const auto of = [](double want, double measured, double permitted, double ulps) {
    Judgement j;
    j.status = Status::fail;
    j.want = want;
    j.got = want + measured;
    j.measured = measured;
    j.permitted = permitted;
    j.ulps = ulps;
    return severity(j);
  };
  constexpr double u = 0x1p-24;
  EXPECT_EQ(of(1, 60 * u, 4 * u, 30), Severity::minor) << "within 16 times the bound";
  EXPECT_EQ(of(1, 256 * u, 4 * u, 128), Severity::minor) << "6 of 22 bits";
  EXPECT_EQ(of(1, 0x1p12 * u, 4 * u, 0x1p11), Severity::minor) << "10 of 22 bits";
  EXPECT_EQ(of(1, 0x1p13 * u, 4 * u, 0x1p12), Severity::major) << "11 of 22 bits";
  EXPECT_EQ(of(1, 1, 4 * u, 0x1p23), Severity::critical) << "a zero";
  EXPECT_EQ(of(1, 0x1p-3, 0x1p-6, 0x1p20), Severity::minor) << "8 times a wide bound";
  EXPECT_EQ(of(1, 2 * u, 0, 1), Severity::minor) << "one step where none is permitted";
  EXPECT_EQ(of(1, 1, 0, 0x1p23), Severity::critical);
  EXPECT_EQ(of(1, HUGE_VAL, 4 * u, HUGE_VAL), Severity::critical);
  Judgement crash;
  crash.status = Status::crashed;
  EXPECT_EQ(severity(crash), Severity::critical);
}

}  // namespace
}  // namespace normproof::properties
