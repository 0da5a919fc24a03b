// Trials end to end: real kernels in real workers. The bundled kernels conform, each wrong one fails on the
// clause it was planted for, and a report does not depend on the number of threads.
#include "normproof/properties/trial.h"

#include <algorithm>
#include <set>

#include <gtest/gtest.h>

#include "normproof/properties/profile.h"

namespace normproof::properties {
namespace {

const std::vector<Recipe>& quick() {
  static const std::vector<Recipe> recipes_of_quick = recipes(Profile::quick, 1);
  return recipes_of_quick;
}

std::vector<impls::KernelInfo> kernels_of(const std::filesystem::path& library) {
  const auto catalogue = impls::discover(std::vector{library});
  for (const auto& error : catalogue.errors)
    ADD_FAILURE() << error.library << ": " << error.reason;
  return catalogue.kernels;
}

std::filesystem::path cpu_library() {
  for (const auto& library : impls::bundled_libraries()) {
    if (library.filename().string().find("cpu") != std::string::npos)
      return library;
  }
  ADD_FAILURE() << "no cpu library beside this test";
  return {};
}

TEST(Trial, a_bound_that_fails_correct_kernels_is_wrong) {
  const auto kernels = kernels_of(cpu_library());
  ASSERT_GE(kernels.size(), 6U);
  const TrialReport report = run_trial(quick(), kernels, {.threads = 2});
  EXPECT_EQ(report.exit(), Exit::conforms);
  EXPECT_GE(report.audit.audited, report.cases_tried) << "the oracle was not audited";
  EXPECT_EQ(report.audit.disagreeing, 0) << report.audit.first;
  for (const KernelReport& kernel : report.kernels) {
    EXPECT_TRUE(kernel.conforms(report.gate)) << kernel.kernel.name;
    EXPECT_GT(kernel.count(Status::pass), 500) << kernel.kernel.name;
    for (const Judgement& j : kernel.failures)
      ADD_FAILURE() << kernel.kernel.name << " " << j.clause << " " << j.origin;
  }
}

TEST(Trial, each_wrong_kernel_fails_on_the_clause_it_breaks) {
  const std::map<std::string, std::set<std::string>> expected{
      {"mutant.textbook_variance", {"BN-NUM-2", "BN-NUM-10"}},
      {"mutant.eps_outside_root", {"BN-NUM-12"}},
      {"mutant.eps_added_to_deviation", {"BN-NUM-12"}},
      {"mutant.inverted_momentum", {"BN-NUM-14"}},
      {"mutant.biased_running_variance", {"BN-NUM-14"}},
      {"mutant.inference_updates_running", {"BN-INF-2"}},
      {"mutant.tail_dropped", {"BN-NUM-1", "BN-NUM-2"}},
      {"mutant.half_accumulator", {"BN-NUM-1", "BN-NUM-9"}},
      {"mutant.half_squares", {"BN-NUM-2"}},
      {"mutant.half_centre", {"BN-NUM-2", "BN-NUM-9"}},
      {"mutant.y_truncated", {"BN-NUM-13"}},
      {"mutant.byte_offset_ignored", {"BN-NUM-1", "BN-NUM-13"}},
      {"mutant.channel_stride_ignored", {"BN-NUM-13"}},
      {"mutant.dx_mean_term_dropped", {"BN-NUM-24", "BN-NUM-25"}},
      {"mutant.dx_xhat_term_dropped", {"BN-NUM-24", "BN-NUM-25"}},
      {"mutant.dx_not_divided_by_n", {"BN-NUM-24", "BN-NUM-25"}},
      {"mutant.dx_divided_by_one_less", {"BN-NUM-24", "BN-NUM-25"}},
      {"mutant.dx_gamma_missing", {"BN-NUM-24", "BN-NUM-25", "BN-NUM-27"}},
      {"mutant.dx_wrong_sign", {"BN-NUM-24", "BN-NUM-25"}},
      {"mutant.dx_one_channel_off", {"BN-NUM-24", "BN-NUM-25", "BN-NUM-27"}},
      {"mutant.dx_three_ulps", {"BN-NUM-25", "BN-NUM-27"}},
      {"mutant.dx_truncated", {"BN-NUM-25", "BN-NUM-27"}},
      {"mutant.eval_gradient_in_training", {"BN-NUM-24", "BN-NUM-25"}},
      {"mutant.training_gradient_in_eval", {"BN-NUM-27"}},
      {"mutant.dgamma_uncentred", {"BN-NUM-21", "BN-NUM-23", "BN-NUM-26", "BN-NUM-28"}},
      {"mutant.dgamma_without_invstd", {"BN-NUM-21", "BN-NUM-23", "BN-NUM-28"}},
      {"mutant.dgamma_accumulated", {"BN-NUM-21"}},
      {"mutant.invstd_taken_for_variance", {"BN-NUM-21", "BN-NUM-25"}},
      {"mutant.saved_statistics_ignored", {"BN-NUM-21", "BN-NUM-25", "BN-NUM-26"}},
      {"mutant.backward_eps_twice", {"BN-NUM-23", "BN-NUM-27", "BN-NUM-28"}},
      {"mutant.dbeta_misses_a_batch_item", {"BN-NUM-20", "BN-NUM-26"}},
      {"mutant.gradients_over_batch_only", {"BN-NUM-20", "BN-NUM-23", "BN-NUM-26"}},
      {"mutant.dy_strides_ignored", {"BN-NUM-20", "BN-NUM-21", "BN-NUM-27"}},
      {"mutant.second_order_v_gamma_ignored", {"BN-NUM-29", "BN-NUM-31"}},
      {"mutant.second_order_invstd_missing", {"BN-NUM-30"}},
      {"mutant.second_order_grad_gamma_uncentred", {"BN-NUM-30"}},
      {"mutant.second_order_term_once", {"BN-NUM-31"}},
      {"mutant.second_order_statistics_constant", {"BN-NUM-31"}},
  };
  const auto mutants = kernels_of(impls::mutant_library());
  TrialOptions options;
  options.threads = 2;
  options.keep_failures = 10000;
  const TrialReport report = run_trial(quick(), mutants, options);
  std::size_t met = 0;
  std::set<std::string> broken_by_someone;
  for (const KernelReport& kernel : report.kernels) {
    const auto wanted = expected.find(kernel.kernel.name);
    if (wanted == expected.end())
      continue;
    ++met;
    EXPECT_FALSE(kernel.conforms(report.gate)) << kernel.kernel.name;
    std::set<std::string> broken;
    for (const Judgement& j : kernel.failures) {
      if (j.status == Status::fail)
        broken.insert(j.clause);
    }
    for (const std::string& clause : wanted->second)
      EXPECT_TRUE(broken.count(clause)) << kernel.kernel.name << " " << clause;
    broken_by_someone.merge(broken);
  }
  EXPECT_EQ(met, expected.size());
  EXPECT_GE(broken_by_someone.size(), 20U);
}

TEST(Trial, the_report_does_not_depend_on_the_number_of_threads) {
  const std::vector<Recipe> some(quick().begin(), quick().begin() + 60);
  const auto kernels = kernels_of(cpu_library());
  const TrialReport one = run_trial(some, kernels, {.threads = 1});
  const TrialReport two = run_trial(some, kernels, {.threads = 2});
  ASSERT_EQ(one.kernels.size(), two.kernels.size());
  for (std::size_t k = 0; k < one.kernels.size(); ++k) {
    EXPECT_EQ(one.kernels[k].counts, two.kernels[k].counts);
    ASSERT_EQ(one.kernels[k].rows.size(), two.kernels[k].rows.size());
    for (std::size_t r = 0; r < one.kernels[k].rows.size(); ++r) {
      EXPECT_EQ(one.kernels[k].rows[r].accuracy.max_raw, two.kernels[k].rows[r].accuracy.max_raw);
      EXPECT_EQ(one.kernels[k].rows[r].nearest.at.origin, two.kernels[k].rows[r].nearest.at.origin);
    }
  }
}

TEST(Trial, nothing_verified_is_not_a_pass) {
  std::vector<Recipe> inference = quick();
  std::erase_if(inference, [](const Recipe& r) { return r.pass != Pass::forward_inference; });
  auto kernels = kernels_of(cpu_library());
  std::erase_if(kernels, [](const impls::KernelInfo& k) { return k.name != "cpu.welford_f32"; });
  ASSERT_EQ(kernels.size(), 1U);
  const TrialReport report = run_trial(inference, kernels, {});
  EXPECT_EQ(report.exit(), Exit::inconclusive);
  EXPECT_FALSE(report.kernels[0].skips.empty());
}

}  // namespace
}  // namespace normproof::properties
