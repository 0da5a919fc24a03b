// A profile that skips a class of problems would let every bug of that class pass: each class must be
// reached.
#include "normproof/properties/profile.h"

#include <algorithm>
#include <map>
#include <set>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "random.h"

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

/// Of what dialects differ in as far as numbers go; written apart from the profile's own classes.
std::string class_of(const Dialect& dialect) {
  const Semantics& s = dialect.semantics;
  const bool updates =
      std::ranges::find(dialect.not_applicable, "running-variance") == dialect.not_applicable.end();
  return std::string(s.running == VarianceKind::biased ? "biased " : "unbiased ") +
         (s.momentum == MomentumSense::weight_of_new ? "new " : "old ") +
         (updates ? "updates" : "no updates");
}

std::string key_of(const Recipe& r) {
  return std::string(to_string(r.pass)) + " " + std::string(r.dtype.name) + " " +
         std::string(to_string(r.layout));
}

/// A verdict is given per key, and a dialect has its own code: each pair must be tried.
TEST_P(EveryProfile, TriesEveryClassOfDialectUnderEveryPassFormatAndLayout) {
  std::set<std::string> met;
  for (const Recipe& r : list)
    met.insert(key_of(r) + " " + class_of(*dialect_named(r.dialect)));
  for (const Pass pass : all_passes)
    for (const Format& dtype : formats())
      for (const Layout layout : all_layouts)
        for (const Dialect& dialect : dialects()) {
          Recipe r;
          r.pass = pass;
          r.dtype = dtype;
          r.layout = layout;
          // A class of which no member has the pass (a gradient at given statistics) is no class of that
          // pass.
          const bool has =
              is_forward(pass) || !is_inference(pass) ||
              std::ranges::any_of(dialects(), [&](const Dialect& other) {
                return class_of(other) == class_of(dialect) && other.semantics.inference_gradient;
              });
          EXPECT_EQ(met.contains(key_of(r) + " " + class_of(dialect)), has)
              << key_of(r) << " " << class_of(dialect);
        }
}

TEST_P(EveryProfile, TriesEveryDialectInEveryPassThatItHas) {
  std::set<std::pair<Pass, std::string>> met;
  for (const Recipe& r : list)
    met.insert({r.pass, r.dialect});
  for (const Pass pass : all_passes)
    for (const Dialect& dialect : dialects())
      EXPECT_EQ(met.contains({pass, std::string(dialect.name)}),
                is_forward(pass) || !is_inference(pass) || dialect.semantics.inference_gradient)
          << to_string(pass) << " " << dialect.name;
}

/// Mixed and equal formats are two kernels.
TEST_P(EveryProfile, TriesNarrowAndWideStatisticsInEveryPassAndLayout) {
  for (const Pass pass : all_passes)
    for (const Layout layout : all_layouts)
      for (const Format& dtype : {f16, bf16})
        for (const Format& stats : {f32, dtype})
          reaches(
              "stats",
              [&](const Recipe& r) {
                return r.pass == pass && r.layout == layout && r.dtype == dtype && stats_of(r) == stats;
              },
              2);
}

/// The forward passes in f32 and f64 meet every regime under every key even in the shortest run; everything
/// else meets it per pass, and under every key in the longer ones.
TEST_P(EveryProfile, TriesEveryRegime) {
  std::map<std::string, std::set<std::string>> keys;
  std::map<std::string, std::set<Pass>> passes;
  std::map<std::string, std::set<std::string>> rooms;
  for (const Recipe& r : list) {
    keys[r.regime.name].insert(key_of(r));
    passes[r.regime.name].insert(r.pass);
    rooms[r.regime.name].insert(std::string(r.dtype.name) + std::string(to_string(r.layout)));
  }
  for (const RegimeInfo& info : regimes()) {
    const std::string name(info.name);
    const bool about_dy = name == "cancelling_dy" || name == "large_dy";
    EXPECT_EQ(passes[name].size(), all_passes.size() - (about_dy ? 2U : 0U)) << name;
    EXPECT_GE(rooms[name].size(), 3U) << name;
    if (!about_dy)
      for (const Pass pass : {Pass::forward_training, Pass::forward_inference})
        for (const Format& dtype : {f32, f64})
          for (const Layout layout : {Layout::contiguous, Layout::channels_last}) {
            Recipe r;
            r.pass = pass;
            r.dtype = dtype;
            r.layout = layout;
            EXPECT_TRUE(keys[name].contains(key_of(r))) << name << " " << key_of(r);
          }
    if (GetParam() != Profile::quick) {
      EXPECT_EQ(keys[name].size(), 12 * (all_passes.size() - (about_dy ? 2U : 0U))) << name;
    }
  }
}

TEST_P(EveryProfile, StridedLayoutsDiffer) {
  std::set<std::uint64_t> seeds;
  for (const Recipe& r : list)
    if (r.layout == Layout::strided)
      seeds.insert(r.layout_seed);
  EXPECT_GE(seeds.size(), 50U);
}

TEST_P(EveryProfile, ReachesTheEdgesOfTheWholeAlgorithm) {
  for (const Pass pass : all_passes)
    for (const Format& dtype : formats())
      for (const std::int64_t n : {1, 2, 3})
        reaches("few values",
                [&](const Recipe& r) { return r.pass == pass && r.dtype == dtype && n_of(r) == n; });
  reaches("sums of dy of depth", [](const Recipe& r) { return takes_dy(r.pass) && n_of(r) >= 2048; }, 4);
  reaches("no gamma in double backward",
          [](const Recipe& r) { return r.pass == Pass::double_backward && !r.affine; });
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
  const auto early = std::vector<Recipe>(list.begin(), list.begin() + 240);
  std::set<std::string> met, keys;
  std::int64_t elements = 0;
  for (const Recipe& r : early) {
    met.insert(r.regime.name);
    keys.insert(key_of(r));
    elements += r.shape.elements();
  }
  EXPECT_EQ(met.size(), regimes().size());
  EXPECT_EQ(keys.size(), 12 * all_passes.size());
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
  EXPECT_GE(quick.first, 600U);
  EXPECT_LE(quick.first, 1000U);
  EXPECT_LE(quick.second, 5'500'000);
  EXPECT_GE(standard.first, 8 * quick.first);
  EXPECT_LE(standard.second, 70'000'000);
  EXPECT_GE(deep.first, 80 * quick.first);
  EXPECT_LE(deep.second, 1'000'000'000);
}

TEST(Profiles, QuickHoldsEnoughJudgements) {
  std::int64_t judgements = 0;
  for (const Recipe& r : recipes(Profile::quick, 1))
    judgements += r.shape.channels * (r.pass == Pass::forward_inference ? 1 : (r.running ? 6 : 4));
  EXPECT_GE(judgements, 3000);
}

/// What a report of yesterday says must be found again: the forward recipes of the first release keep their
/// lines, seeds and order, whatever comes between them.
TEST(Profiles, TheForwardRecipesOfTheFirstReleaseStayAsTheyWere) {
  const Draw seeds(1, Stream::recipe, 1);
  std::uint64_t found = 0, hash = 0xCBF29CE484222325;
  for (const Recipe& r : recipes(Profile::quick, 1))
    if (r.seed == seeds.word(found) >> 40) {
      ++found;
      for (const char c : to_string(r) + "\n")
        hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3;
    }
  EXPECT_EQ(found, 403U);
  EXPECT_EQ(hash, 0x6d8e38ce99114617U);
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
