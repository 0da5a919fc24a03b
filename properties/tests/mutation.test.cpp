// The bank of wrong kernels against the judge, and against judges that are wrong themselves.
#include "normproof/properties/mutation.h"

#include <fstream>
#include <iterator>
#include <set>

#include <gmock/gmock.h>

#include "normproof/properties/confusion.h"
#include "normproof/properties/profile.h"

namespace normproof::properties {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Not;

/// What no profile can kill, and why (normproof mutants says more).
const std::set<std::string> excused{"mutant.y_rounded_twice", "mutant.index_32_bit", "mutant.nan_spreads",
                                    "mutant.cuda_index_32_bit"};

std::vector<impls::KernelInfo> kernels_of(const std::filesystem::path& library) {
  return impls::discover(std::span(&library, 1)).kernels;
}

std::vector<Peer> peers() {
  std::ifstream file(NORMPROOF_PEERS);
  return read_peers(std::string(std::istreambuf_iterator<char>(file), {}));
}

const MutationReport& report() {
  static const MutationReport result = [] {
    std::vector<impls::KernelInfo> kernels = kernels_of(impls::mutant_library());
    MutationOptions options;
    options.wrong_kernels = kernels.size();
    for (const auto& library : impls::bundled_libraries())
      if (library.filename().string().find("cpu") != std::string::npos)
        for (const auto& kernel : kernels_of(library))
          kernels.push_back(kernel);
    options.trial.threads = 2;
    options.peers = peers();
    // All of them on every third case; what that spares, alone on the whole profile.
    const std::vector<Recipe> whole = recipes(Profile::quick, 1);
    std::vector<Recipe> third;
    for (std::size_t i = 0; i < whole.size(); i += 3)
      third.push_back(whole[i]);
    MutationReport most = run_mutation(third, kernels, options);
    std::vector<impls::KernelInfo> spared;
    for (std::size_t k = 0; k < options.wrong_kernels; ++k)
      if (!most.rows[k].dead() || most.rows[k].tried <= 20)
        spared.push_back(most.rows[k].kernel);
    options.wrong_kernels = spared.size();
    options.peers.clear();
    for (MutationRow& row : run_mutation(whole, spared, options).rows) {
      const auto old =
          std::ranges::find(most.rows, row.kernel.name, [](const MutationRow& r) { return r.kernel.name; });
      row.peers = old->peers;
      *old = std::move(row);
    }
    return most;
  }();
  return result;
}

std::set<std::string> survivors(std::string_view wrong_judge) {
  std::size_t w = 0;
  while (w < wrong_judges().size() && wrong_judges()[w].name != wrong_judge)
    ++w;
  if (w == wrong_judges().size())
    throw std::invalid_argument("no such judge");
  std::set<std::string> out;
  for (const MutationRow& row : report().rows)
    if (row.killed > 0 && row.wrong[w].refused == 0)
      out.insert(row.kernel.name);
  return out;
}

const MutationRow& row_of(const std::string& kernel) {
  for (const MutationRow& row : report().rows)
    if (row.kernel.name == kernel)
      return row;
  throw std::invalid_argument("no kernel " + kernel);
}

TEST(Mutation, a_wrong_kernel_that_survives_the_quick_profile) {
  std::size_t wrong = 0;
  for (const MutationRow& row : report().rows) {
    if (!row.kernel.name.starts_with("mutant."))
      continue;
    ++wrong;
    EXPECT_EQ(row.dead(), !excused.contains(row.kernel.name)) << row.kernel.name;
    EXPECT_GT(row.tried, row.kernel.name == "mutant.channels_beyond_16_off" ? 5 : 20)
        << row.kernel.name << " was hardly tried";
    EXPECT_THAT(row.declared, Not(IsEmpty())) << row.kernel.name << ": " << row.kernel.summary;
  }
  EXPECT_GE(wrong, 100U);
}

TEST(Mutation, a_correct_kernel_that_is_failed) {
  std::size_t correct = 0;
  for (const MutationRow& row : report().rows) {
    if (row.kernel.name.starts_with("mutant."))
      continue;
    ++correct;
    EXPECT_FALSE(row.dead()) << row.kernel.name;
    EXPECT_GT(row.tried, 20) << row.kernel.name;
  }
  EXPECT_GE(correct, 14U);
}

TEST(Mutation, a_kernel_in_the_extended_domain_that_lives_there_too) {
  EXPECT_GT(row_of("mutant.nan_spreads").extended_killed, 0);
}

/// A matrix in which every judge kills everything would say nothing of the judge.
TEST(Mutation, a_judge_whose_bounds_are_4_times_too_large) {
  EXPECT_THAT(survivors("bounds times 4"), Contains("mutant.invstd_seven_ulps"));
}

TEST(Mutation, a_judge_without_the_clause_on_updates_in_inference) {
  EXPECT_THAT(survivors("without BN-INF-2"), ElementsAre("mutant.inference_updates_running"));
}

TEST(Mutation, a_judge_to_whom_nan_equals_all) {
  MutationOptions options;
  options.trial.gate.extended = true;
  std::vector<impls::KernelInfo> kernels = kernels_of(impls::mutant_library());
  std::erase_if(kernels, [](const impls::KernelInfo& k) {
    return k.name != "mutant.nan_spreads" && k.name != "mutant.nan_squashed" &&
           k.name != "mutant.eps_omitted";
  });
  ASSERT_EQ(kernels.size(), 3U);
  options.wrong_kernels = kernels.size();
  std::vector<Recipe> nasty = recipes(Profile::quick, 1);
  std::erase_if(nasty, [](const Recipe& r) { return r.regime.name != "non_finite"; });
  std::size_t w = 0;
  while (wrong_judges()[w].name != "NaN equals all")
    ++w;
  for (const MutationRow& row : run_mutation(nasty, kernels, options).rows) {
    EXPECT_GT(row.killed, 0) << row.kernel.name;
    EXPECT_EQ(row.wrong[w].refused > 0, row.kernel.name == "mutant.eps_omitted") << row.kernel.name;
  }
}

TEST(Mutation, a_judge_of_links_alone) {
  EXPECT_THAT(survivors("links alone"), Contains("mutant.textbook_variance"));
  EXPECT_THAT(survivors("links alone"), Contains("mutant.tail_dropped"));
}

TEST(Mutation, a_clause_that_a_summary_declares_and_nobody_reads) {
  EXPECT_THAT(declared_clauses("dx, caught by BN-NUM-22, -24, BN-BWD-7 (BN-FWD-15)"),
              ElementsAre("BN-NUM-22", "BN-NUM-24", "BN-BWD-7", "BN-FWD-15"));
  EXPECT_THAT(declared_clauses("var less n - 1, -x"), IsEmpty());
}

TEST(Peers, a_tolerance_that_does_not_see_what_it_is_said_to) {
  // Cut off to 16 bits: within an ulp, which no fixed tolerance of 16 bits notices.
  const auto refused = [](const MutationRow& row, const std::string& peer) {
    const auto all = peers();
    for (std::size_t p = 0; p < all.size(); ++p)
      if (all[p].name == peer)
        return row.peers[p].refused;
    throw std::invalid_argument("no peer " + peer);
  };
  EXPECT_EQ(refused(row_of("mutant.y_truncated"), "pytorch"), 0);
  EXPECT_GT(row_of("mutant.y_truncated").killed, 0);
  EXPECT_GT(refused(row_of("mutant.inverted_momentum"), "miopen"), 0);
  EXPECT_EQ(refused(row_of("mutant.invstd_seven_ulps"), "miopen"), 0);
  EXPECT_GT(refused(row_of("cpu.pairwise_f32"), "onednn"), 0)
      << "what refuses correct kernels too is no tolerance";
}

TEST(Peers, a_table_with_a_mistake) {
  EXPECT_THROW(read_peers("{}"), std::invalid_argument);
  EXPECT_THROW(
      read_peers(R"({"normproof_peers": 1, "peers": [{"name": "a", "title": "", "source": "", "rules":
    [{"passes": ["forward"], "outputs": ["y"], "metric": "ulps", "f32": {"rtol": 1}}]}]})"),
      std::invalid_argument);
  EXPECT_EQ(peers().size(), 7U);
}

Peer peer_of(const std::string& metric, const std::string& limit) {
  return read_peers(R"({"normproof_peers": 1, "peers": [{"name": "a", "title": "", "source": "", "rules":
    [{"passes": ["forward-inference"], "outputs": ["y"], "metric": ")" +
                    metric + R"(", "f32": )" + limit + "}]}]}")
      .front();
}

/// One value of 16 is off by 2 ulp of 1.
TEST(Peers, a_metric_that_measures_something_else) {
  Case c;
  c.problem.pass = Pass::forward_inference;
  c.problem.shape = {16, 1, {}};
  reference::Truth truth;
  truth.channels.resize(1);
  truth.outputs[index(Output::y)] = {std::vector<double>(16, 1.0), std::vector<double>(16, 0.0)};
  impls::Observation seen;
  seen.outcome = impls::Outcome::completed;
  seen.outputs[index(Output::y)] = std::vector<double>(16, 1.0);
  seen.outputs[index(Output::y)][3] = 1 + 0x1p-22;
  const auto said = [&](const std::string& metric, double limit) {
    return verdict_of(peer_of(metric, "{\"rtol\": " + std::to_string(limit * 1e9) + "e-9}"), c, truth, seen);
  };
  EXPECT_EQ(said("ulps", 2), PeerVerdict::accepts);
  EXPECT_EQ(said("ulps", 1), PeerVerdict::refuses);
  EXPECT_EQ(said("elementwise", 0x1.01p-22), PeerVerdict::accepts);
  EXPECT_EQ(said("elementwise", 0x1.fp-23), PeerVerdict::refuses);
  EXPECT_EQ(said("relative-or-absolute", 0x1.fp-23), PeerVerdict::refuses);
  EXPECT_EQ(said("rms", 0x1.01p-24), PeerVerdict::accepts);
  EXPECT_EQ(said("rms", 0x1.fp-25), PeerVerdict::refuses);
  EXPECT_EQ(said("l2", 0x1.01p-24), PeerVerdict::accepts);
  EXPECT_EQ(said("l2", 0x1.fp-25), PeerVerdict::refuses);
  seen.outputs[index(Output::y)][3] = std::numeric_limits<double>::quiet_NaN();
  EXPECT_EQ(said("ulps", 1e6), PeerVerdict::refuses);
  c.problem.pass = Pass::forward_training;
  EXPECT_EQ(said("ulps", 2), PeerVerdict::not_covered);
}

TEST(Confusion, a_wrong_name_that_counts_as_anything_else) {
  Diagnosis right, both, other, none;
  right.names = {"a"};
  both.names = {"b", "a"};
  other.names = {"b"};
  EXPECT_EQ(naming(right, "a", false), Naming::right);
  EXPECT_EQ(naming(both, "a", false), Naming::among);
  EXPECT_EQ(naming(other, "a", false), Naming::wrong);
  EXPECT_EQ(naming(none, "a", false), Naming::abstained);
  EXPECT_EQ(naming(none, "a", true), Naming::right);
  EXPECT_EQ(naming(other, "a", true), Naming::wrong);
}

/// Over a few bugs of each kind; the whole table is that of `normproof mutants --diagnosis`.
TEST(Confusion, a_bug_with_the_name_of_another) {
  const std::map<std::string, std::string> bugs{{"mutant.eps_outside_root", "eps outside the root"},
                                                {"mutant.inverted_momentum", "momentum inverted"},
                                                {"mutant.dx_mean_term_dropped", "mean of dy missing"},
                                                {"mutant.dgamma_uncentred", "dgamma not centred"},
                                                {"mutant.tail_dropped", "values missing from the sums"},
                                                {"mutant.dx_truncated", "truncated"},
                                                {"mutant.dy_strides_ignored", "layout"},
                                                {"mutant.second_order_term_once", "3 xhat W H counted once"}};
  const std::vector<ConfusionRow> rows = run_confusion(report(), bugs, {}, 6);
  EXPECT_EQ(rows.size(), bugs.size());
  std::int64_t right = 0, wrong = 0, all = 0, unknown_named = 0, unknown = 0;
  for (const ConfusionRow& row : rows) {
    for (const Setting setting : {Setting::as_found, Setting::perturbed}) {
      const auto& cases = row.cases[static_cast<std::size_t>(setting)];
      right += cases[static_cast<std::size_t>(Naming::right)];
      wrong += cases[static_cast<std::size_t>(Naming::wrong)];
      for (const std::int64_t count : cases)
        all += count;
      EXPECT_NE(row.verdict[static_cast<std::size_t>(setting)], Naming::wrong) << row.kernel;
    }
    const auto& left_out = row.cases[static_cast<std::size_t>(Setting::left_out)];
    unknown +=
        left_out[static_cast<std::size_t>(Naming::right)] + left_out[static_cast<std::size_t>(Naming::wrong)];
    unknown_named += left_out[static_cast<std::size_t>(Naming::wrong)];
  }
  EXPECT_GT(all, 80);
  EXPECT_GE(right * 10, all * 8) << right << " of " << all;
  EXPECT_LE(wrong * 50, all) << wrong << " of " << all;
  EXPECT_LE(unknown_named * 4, unknown) << unknown_named << " of " << unknown;
}

}  // namespace
}  // namespace normproof::properties
