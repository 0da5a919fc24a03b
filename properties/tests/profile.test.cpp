// A profile that skips a class of problems would let every bug of that class pass: each class must be
// reached.
#include "normproof/properties/profile.h"

#include <algorithm>
#include <map>
#include <set>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace normproof::properties {
namespace {

using ::testing::HasSubstr;

std::int64_t n_of(const Recipe& r) {
  return r.shape.per_channel();
}

class EveryProfile : public ::testing::TestWithParam<Profile> {
protected:
  std::vector<Recipe> list = recipes(GetParam(), 1);

  template <class Holds>
  void reaches(const char* what, Holds holds, std::ptrdiff_t at_least = 1) const {
    EXPECT_GE(std::ranges::count_if(list, holds), at_least) << what;
  }
};
INSTANTIATE_TEST_SUITE_P(Profiles, EveryProfile,
                         ::testing::Values(Profile::quick, Profile::standard, Profile::deep),
                         [](const auto& profile) { return std::string(to_string(profile.param)); });

TEST_P(EveryProfile, HoldsOnlyWhatIsPossibleAndNothingTwice) {
  std::set<std::string> lines;
  for (const Recipe& r : list) {
    EXPECT_EQ(impossible(r), "");
    EXPECT_TRUE(lines.insert(to_string(r)).second) << to_string(r);
    EXPECT_EQ(std::get<Recipe>(parse_recipe(to_string(r))), r);
    if (r.layout == Layout::channels_last) {
      EXPECT_GT(r.shape.channels, 1) << to_string(r);
      EXPECT_GT(r.shape.plane(), 1) << to_string(r);
    }
  }
}

TEST_P(EveryProfile, TriesEveryRegimeUnderEveryKey) {
  std::map<std::string, std::set<std::string>> keys;
  for (const Recipe& r : list)
    keys[r.regime.name].insert(std::string(to_string(r.pass)) + std::string(r.dtype.name) +
                               std::string(to_string(r.layout)));
  for (const RegimeInfo& info : regimes())
    EXPECT_EQ(keys[std::string(info.name)].size(), 8U) << info.name;
}

TEST_P(EveryProfile, TriesEveryDialectUnderEveryKey) {
  std::set<std::string> met;
  for (const Recipe& r : list)
    met.insert(std::string(to_string(r.pass)) + std::string(r.dtype.name) + std::string(to_string(r.layout)) +
               r.dialect);
  EXPECT_EQ(met.size(), 8 * dialects().size());
}

TEST_P(EveryProfile, ReachesEveryClassOfSize) {
  for (const Format& dtype : {f32, f64}) {
    const auto n_is = [&](std::int64_t low, std::int64_t high) {
      return [=](const Recipe& r) {
        return r.dtype == dtype && r.pass == Pass::forward_training && n_of(r) >= low && n_of(r) <= high;
      };
    };
    reaches("n = 0", n_is(0, 0));
    reaches("n = 1", n_is(1, 1), 4);
    reaches("n = 2", n_is(2, 2), 4);
    reaches("n = 3", n_is(3, 3), 2);
    reaches("n = 4 to 79, where all grades coincide", n_is(4, 79), 20);
    reaches("n = 80 to 512", n_is(80, 512), 20);
    reaches("n = 2^11 on", n_is(2048, 1 << 20), 2);
  }
  reaches("n = 10^6", [](const Recipe& r) { return n_of(r) == 1'000'000; }, 2);
  reaches("n = 10^6 in channels-last, mean/std 1000, one thread", [](const Recipe& r) {
    return n_of(r) == 1'000'000 && r.layout == Layout::channels_last && r.regime == Regime{"offset", 1000} &&
           r.threads == 1 && r.dtype == f32;
  });
  reaches("a real layer", [](const Recipe& r) { return r.shape == Shape{8, 64, {28, 28}}; });
  reaches(
      "a batch of one with space",
      [](const Recipe& r) { return r.shape.batch == 1 && n_of(r) > 1 && r.pass == Pass::forward_training; },
      10);
  for (const std::size_t axes : {0U, 1U, 2U, 3U})
    reaches("every number of axes", [=](const Recipe& r) { return r.shape.spatial.size() == axes; }, 4);
}

TEST_P(EveryProfile, ReachesEveryEpsMomentumAndOption) {
  for (const Format& dtype : {f32, f64}) {
    for (const double eps : {0.0, 0x1.197998p-40, 0x1.4f8b58p-17, 1e-5, 0x1.0624dep-10, 0.1, 0.5, 1.0})
      reaches("eps", [&](const Recipe& r) { return r.dtype == dtype && r.eps == eps; });
    for (const std::optional<double>& momentum :
         {std::optional<double>{}, std::optional(0.0), std::optional(0.5), std::optional(0x1.99999ap-4),
          std::optional(1.0)})
      reaches(
          "momentum",
          [&](const Recipe& r) {
            return r.dtype == dtype && r.momentum == momentum && r.running &&
                   r.pass == Pass::forward_training;
          },
          4);
  }
  reaches("affine absent", [](const Recipe& r) { return !r.affine; }, 10);
  reaches("running absent", [](const Recipe& r) { return !r.running; }, 5);
  reaches("two threads", [](const Recipe& r) { return r.threads == 2; }, 50);
  reaches("one thread", [](const Recipe& r) { return r.threads == 1; }, 50);
}

TEST_P(EveryProfile, HoldsProblemsThatMustBeRefused) {
  const std::string_view entry = "pytorch/F.batch_norm";
  reaches(
      "n = 1",
      [&](const Recipe& r) { return r.dialect == entry && n_of(r) == 1 && r.pass == Pass::forward_training; },
      2);
  reaches("n = 0", [](const Recipe& r) { return n_of(r) == 0; });
  reaches("eps = 0", [&](const Recipe& r) { return r.dialect == entry && r.eps == 0; });
  // But few: a rejected problem proves little else.
  const auto refused = std::ranges::count_if(list, [&](const Recipe& r) {
    return n_of(r) == 0 ||
           (r.dialect == entry && (r.eps == 0 || (n_of(r) == 1 && r.pass == Pass::forward_training)));
  });
  EXPECT_LT(refused * 20, static_cast<std::ptrdiff_t>(list.size()));
}

TEST_P(EveryProfile, AFairSampleComesFirst) {
  const auto early = std::vector<Recipe>(list.begin(), list.begin() + 120);
  std::set<std::string> met, keys;
  std::int64_t elements = 0;
  for (const Recipe& r : early) {
    met.insert(r.regime.name);
    keys.insert(std::string(to_string(r.pass)) + std::string(r.dtype.name) +
                std::string(to_string(r.layout)));
    elements += r.shape.elements();
  }
  EXPECT_EQ(met.size(), regimes().size());
  EXPECT_EQ(keys.size(), 8U);
  EXPECT_LT(elements, 1'000'000);
}

TEST(Profiles, AreOfTheSizeTheyPromise) {
  const auto size = [](Profile profile) {
    std::pair<std::size_t, std::int64_t> total{};
    for (const Recipe& r : recipes(profile, 1)) {
      ++total.first;
      total.second += r.shape.elements();
    }
    return total;
  };
  const auto quick = size(Profile::quick), standard = size(Profile::standard), deep = size(Profile::deep);
  EXPECT_GE(quick.first, 300U);
  EXPECT_LE(quick.first, 600U);
  EXPECT_LE(quick.second, 5'000'000);
  EXPECT_GE(standard.first, 8 * quick.first);
  EXPECT_LE(standard.second, 60'000'000);
  EXPECT_GE(deep.first, 80 * quick.first);
  EXPECT_LE(deep.second, 1'000'000'000);
}

TEST(Profiles, QuickHoldsEnoughJudgements) {
  std::int64_t judgements = 0;
  for (const Recipe& r : recipes(Profile::quick, 1))
    judgements += r.shape.channels * (r.pass == Pass::forward_inference ? 1 : (r.running ? 6 : 4));
  EXPECT_GE(judgements, 3000);
}

TEST(Profiles, SameSeedSameListOtherSeedOtherData) {
  EXPECT_EQ(recipes(Profile::quick, 7), recipes(Profile::quick, 7));
  const auto a = recipes(Profile::quick, 7), b = recipes(Profile::quick, 8);
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    EXPECT_NE(a[i].seed, b[i].seed);
    Recipe same = a[i];
    same.seed = b[i].seed;
    EXPECT_EQ(same, b[i]);
  }
}

// ---- filters
// ------------------------------------------------------------------------------------------------------

TEST(Filters, KeepWhatTheyNameAndChangeNothingElse) {
  const auto all = recipes(Profile::quick, 1);
  const auto kept = [&](const Filter& filter, auto holds) {
    std::vector<Recipe> want;
    std::ranges::copy_if(all, std::back_inserter(want), holds);
    EXPECT_FALSE(want.empty());
    EXPECT_LT(want.size(), all.size());
    EXPECT_EQ(recipes(Profile::quick, 1, filter), want);
  };
  Filter filter;
  filter.passes = {Pass::forward_inference};
  kept(filter, [](const Recipe& r) { return r.pass == Pass::forward_inference; });
  filter = {};
  filter.dtypes = {"f64"};
  kept(filter, [](const Recipe& r) { return r.dtype == f64; });
  filter = {};
  filter.layouts = {std::string(to_string(Layout::channels_last))};
  kept(filter, [](const Recipe& r) { return r.layout == Layout::channels_last; });
  filter = {};
  filter.regimes = {"offset"};
  kept(filter, [](const Recipe& r) { return r.regime.name == "offset"; });
  filter.regimes = {"offset:1000", "normal"};
  kept(filter,
       [](const Recipe& r) { return r.regime == Regime{"offset", 1000} || r.regime.name == "normal"; });
  filter = {};
  filter.dialects = {"pytorch"};
  kept(filter, [](const Recipe& r) { return r.dialect.starts_with("pytorch/"); });
  filter.dialects = {"documented"};
  kept(filter, [](const Recipe& r) { return r.dialect == "documented"; });
  filter = {};
  filter.extended = false;
  kept(filter, [](const Recipe& r) {
    return r.regime.name != "subnormal" && r.regime.name != "huge" && r.regime.name != "non_finite";
  });
}

TEST(Filters, AnUnknownNameIsAnErrorNotAnEmptyRun) {
  const auto error = [](const Filter& filter) -> std::string {
    try {
      recipes(Profile::quick, 1, filter);
    } catch (const std::invalid_argument& e) {
      return e.what();
    }
    return "";
  };
  Filter filter;
  filter.dtypes = {"f33"};
  EXPECT_THAT(error(filter), HasSubstr("'f33'"));
  filter = {};
  filter.layouts = {"channelslast"};
  EXPECT_THAT(error(filter), HasSubstr("layout"));
  filter = {};
  filter.regimes = {"ofset"};
  EXPECT_THAT(error(filter), HasSubstr("'offset'"));
  filter = {};
  filter.dialects = {"pytorhc"};
  EXPECT_THAT(error(filter), HasSubstr("'pytorch'"));
}

TEST(Profiles, NamesComeBack) {
  for (const Profile profile : {Profile::quick, Profile::standard, Profile::deep})
    EXPECT_EQ(parse_profile(to_string(profile)), profile);
  EXPECT_EQ(parse_profile("fast"), std::nullopt);
}

}  // namespace
}  // namespace normproof::properties
