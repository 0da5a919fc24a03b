// The diagnosis: its alternative truths are those of the oracle where the oracle has the knob, correct
// kernels are as specified, wrong ones get their name or none.
#include "normproof/properties/diagnosis.h"

#include <cmath>

#include <gmock/gmock.h>

#include "alternative.h"
#include "normproof/impls/kernels.h"
#include "normproof/properties/judge.h"
#include "normproof/properties/profile.h"
#include "normproof/properties/recipe.h"
#include "normproof/reference/ulp.h"

namespace normproof::properties {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

Case case_of(const std::string& line) {
  const auto parsed = parse_recipe(line);
  if (const auto* wrong = std::get_if<std::string>(&parsed))
    throw std::invalid_argument(*wrong);
  return expand(std::get<Recipe>(parsed));
}

impls::KernelInfo kernel_named(const std::string& name) {
  std::vector<std::filesystem::path> libraries = impls::bundled_libraries();
  libraries.push_back(impls::mutant_library());
  for (const impls::KernelInfo& kernel : impls::discover(libraries).kernels)
    if (kernel.name == name)
      return kernel;
  throw std::invalid_argument("no kernel " + name);
}

Diagnosis diagnosed(const std::string& kernel, const std::string& line, const std::string& without = {}) {
  static impls::Runner runner;
  const impls::KernelInfo info = kernel_named(kernel);
  const Case c = case_of(line);
  DiagnosisOptions options{without, [&](const Case& other) {
                             return runner.run(info, other);
                           }};
  return diagnose(c, reference::truth_of(c), runner.run(info, c), {}, options);
}

/// Truths and predictions agree to far below what an f64 can tell apart.
void expect_equal(const Case& c, const Alternative& alternative, const std::string& what) {
  const reference::Truth truth = reference::truth_of(c);
  Case asked = c;
  asked.problem.semantics = Semantics{};
  asked.problem.semantics.running = c.problem.semantics.running;
  const impls::Observation nothing;
  const Model model(asked, truth, nothing, {});
  for (std::int64_t k = 0; k < c.problem.shape.channels; ++k) {
    const Prediction prediction = model.predict(alternative, k);
    for (const Output output : all_outputs) {
      const auto& values = prediction[output];
      const auto first = per_element(output) ? k * c.problem.shape.per_channel() : k;
      for (std::size_t i = 0; i < values.size(); ++i) {
        const auto at = static_cast<std::size_t>(first) + i;
        const double rn = truth[output].rn[at];
        const double gap = reference::spacing(format_of(c.problem, output), rn);
        const double off = static_cast<double>(values[i].v - reference::DoubleDouble(rn)) / gap;
        ASSERT_NEAR(off, truth[output].off[at], 0x1p-30)
            << what << ", " << to_string(output) << " " << c.origin;
      }
    }
  }
}

TEST(Alternatives, a_formula_other_than_that_of_the_specification) {
  for (const std::string pass : {"forward-training", "forward-inference", "backward-training",
                                 "backward-inference", "gradient", "double-backward"})
    for (const std::string dtype : {"f32", "f64", "f16"})
      for (const std::string regime : {"normal", "offset:10", "variance:-3"}) {
        const Case c =
            case_of("np1 pass=" + pass + " dtype=" + dtype + " shape=3x3x5 regime=" + regime + " seed=5");
        expect_equal(c, {}, "as specified");
      }
}

TEST(Alternatives, a_knob_that_turns_another_way_than_the_oracles) {
  for (const std::string pass : {"forward-training", "forward-inference"})
    for (const EpsPlacement eps : {EpsPlacement::outside_root, EpsPlacement::added_to_deviation,
                                   EpsPlacement::omitted, EpsPlacement::doubled, EpsPlacement::clamped}) {
      Case c = case_of("np1 pass=" + pass + " dtype=f32 shape=4x3x5 regime=variance:-8 eps=0x1p-8 seed=5");
      c.problem.semantics.eps = eps;
      Alternative alternative;
      alternative.eps = eps;
      expect_equal(c, alternative, "eps");
    }
  Case c = case_of("np1 dtype=f32 shape=4x3x5 momentum=0x1.99999ap-4 seed=5");
  Alternative alternative;
  c.problem.semantics.momentum = MomentumSense::weight_of_old;
  alternative.weight = Weight::inverted;
  expect_equal(c, alternative, "momentum");
}

TEST(Alternatives, a_correct_kernel_that_is_not_as_specified) {
  impls::Runner runner;
  std::vector<std::filesystem::path> library;
  for (const auto& each : impls::bundled_libraries())
    if (each.filename().string().find("cpu") != std::string::npos)
      library.push_back(each);
  const auto kernels = impls::discover(library).kernels;
  ASSERT_FALSE(kernels.empty());
  const std::vector<Recipe> all = recipes(Profile::quick, 3);
  std::int64_t compared = 0;
  for (std::size_t i = 0; i < all.size(); ++i) {
    const Case c = expand(all[i]);
    if (c.domain != Domain::core || !reference::must_reject(c).empty() || c.problem.shape.elements() > 5000)
      continue;
    const reference::Truth truth = reference::truth_of(c);
    for (const impls::KernelInfo& kernel : kernels) {
      const impls::Observation seen = runner.run(kernel, c);
      if (seen.outcome != impls::Outcome::completed)
        continue;
      const Diagnosis d = diagnose(c, truth, seen, {});
      EXPECT_LE(d.spec_misfit, 1) << kernel.name << " " << d.sentence << " " << c.origin;
      ++compared;
    }
  }
  EXPECT_GT(compared, 2000);
}

constexpr const char* small_variance = "np1 shape=4x4x4 regime=variance:-12 eps=0x1p-6 seed=3";

TEST(Diagnosis, eps_outside_the_root_under_another_name) {
  const Diagnosis d = diagnosed("mutant.eps_outside_root", small_variance);
  EXPECT_THAT(d.names, ElementsAre("eps outside the root"));
  EXPECT_EQ(d.clause, "BN-FWD-3");
  EXPECT_THAT(d.sentence, ::testing::HasSubstr("1/sqrt(var) + eps"));
  EXPECT_TRUE(d.ranking.front().fits);
  EXPECT_GT(d.spec_misfit, 1e3);
}

TEST(Diagnosis, a_name_for_a_bug_that_it_does_not_know) {
  const Diagnosis d = diagnosed("mutant.eps_outside_root", small_variance, "eps outside the root");
  EXPECT_THAT(d.names, IsEmpty()) << d.sentence;
  EXPECT_THAT(d.sentence, ::testing::HasSubstr("nothing known fits"));
}

/// 1/(sqrt(v) + eps), 1/sqrt(v + 2 eps) and 1/(v + eps) agree to first order at v = 1.
TEST(Diagnosis, one_of_two_bugs_that_agree_here) {
  const auto at_variance = [](double half_distance) {
    Case c = case_of("np1 shape=2x1 regime=normal eps=0x1p-16 seed=3");
    c.x = {100 - half_distance, 100 + half_distance};
    impls::Runner runner;
    return diagnose(c, reference::truth_of(c), runner.run(kernel_named("mutant.eps_added_to_deviation"), c),
                    {});
  };
  const Diagnosis same = at_variance(1);
  EXPECT_THAT(same.names,
              UnorderedElementsAre("eps added to the deviation", "eps counted twice", "root missing"))
      << same.sentence;
  EXPECT_EQ(same.clause, "");
  EXPECT_THAT(same.sentence, ::testing::HasSubstr("cannot be told apart"));
  EXPECT_THAT(at_variance(0.0625).names, ElementsAre("eps added to the deviation"));
}

TEST(Diagnosis, numerical_bugs_without_a_name) {
  EXPECT_THAT(diagnosed("mutant.textbook_variance", "np1 shape=8x4x4x4 regime=offset:1000 seed=1").names,
              ElementsAre("textbook variance"));
  EXPECT_THAT(
      diagnosed("mutant.half_accumulator", "np1 dtype=f16 shape=8x4x4x4 regime=offset:10 seed=1").names,
      ElementsAre("narrower arithmetic"));
  EXPECT_THAT(diagnosed("mutant.dx_one_channel_off", "np1 pass=backward-training shape=8x4x4x4 seed=1").names,
              ElementsAre("a factor on some channels"));
  EXPECT_THAT(
      diagnosed("mutant.dy_strides_ignored", "np1 pass=backward-training shape=3x4x5 layout=strided:3 seed=1")
          .names,
      ElementsAre("layout"));
}

TEST(Diagnosis, a_correct_kernel_with_a_bug) {
  const Diagnosis d = diagnosed("cpu.two_pass_f64", "np1 shape=8x4x4x4 seed=1");
  EXPECT_THAT(d.names, ::testing::Not(Contains("eps outside the root")));
  EXPECT_LE(d.spec_misfit, 1);
}

/// Values that no algorithm gives: every element off by its own amount.
TEST(Diagnosis, a_name_for_noise) {
  const Case c = case_of("np1 shape=4x3x4 regime=normal seed=9");
  const reference::Truth truth = reference::truth_of(c);
  impls::Observation seen;
  seen.outcome = impls::Outcome::completed;
  for (const Output output : all_outputs)
    if (!truth[output].empty())
      seen.outputs[index(output)] = truth[output].rn;
  auto& y = seen.outputs[index(Output::y)];
  for (std::size_t i = 0; i < y.size(); ++i)
    y[i] = round_to(f32, y[i] * (1 + 1e-3 * static_cast<double>((i * 7919) % 13)) + 1e-3);
  const Diagnosis d = diagnose(c, truth, seen, {});
  EXPECT_THAT(d.names, IsEmpty()) << d.sentence;
  EXPECT_THAT(d.sentence, ::testing::HasSubstr("nothing known fits"));
}

TEST(Diagnosis, several_cases_that_say_different_things) {
  Diagnosis a, b, both, none;
  a.names = {"a"};
  b.names = {"b"};
  both.names = {"a", "b"};
  a.sentence = b.sentence = both.sentence = none.sentence = "said";
  EXPECT_THAT(combined(std::vector{a, both, both}).names, ElementsAre("a"));
  EXPECT_THAT(combined(std::vector{a, b}).names, IsEmpty());
  EXPECT_THAT(combined(std::vector{both, both}).names, ElementsAre("a", "b"));
  EXPECT_THAT(combined(std::vector{a, none, none}).names, IsEmpty());
  EXPECT_EQ(combined({}).sentence, "");
}

}  // namespace
}  // namespace normproof::properties
