// The recipe language and what an expansion promises whatever the regime.
#include "normproof/properties/recipe.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <sstream>
#include <string>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "normproof/properties/arbitrary_recipe.h"

namespace normproof::properties {
namespace {

using ::testing::HasSubstr;

Recipe parsed(const std::string& line) {
  const auto result = parse_recipe(line);
  if (const auto* error = std::get_if<std::string>(&result))
    throw std::runtime_error(*error);
  return std::get<Recipe>(result);
}

std::string error_of(const std::string& line) {
  const auto result = parse_recipe(line);
  return std::holds_alternative<std::string>(result) ? std::get<std::string>(result) : "";
}

// ---- the line
// -----------------------------------------------------------------------------------------------------

TEST(RecipeLine, CanonicalWithEveryFieldInItsOrder) {
  Recipe r;
  r.regime = {"offset", 1000};
  EXPECT_EQ(to_string(r),
            "np1 pass=" + std::string(normproof::to_string(Pass::forward_training)) +
                " dtype=f32 shape=8x4x4x4 layout=contiguous dialect=documented regime=offset:1000 "
                "eps=0x1.4f8b58p-17 momentum=0x1.99999ap-4 affine=1 running=1 threads=1 seed=1");
}

RC_GTEST_PROP(RecipeLine, ParsesBackToItself, (const Recipe& r)) {
  const auto back = parse_recipe(to_string(r));
  RC_ASSERT(std::holds_alternative<Recipe>(back));
  RC_ASSERT(std::get<Recipe>(back) == r);
}

RC_GTEST_PROP(RecipeLine, EveryGeneratedRecipeIsPossible, (const Recipe& r)) {
  RC_ASSERT(impossible(r) == "");
}

RC_GTEST_PROP(RecipeLine, FieldsMayComeInAnyOrder, (const Recipe& r)) {
  std::istringstream words(to_string(r));
  std::vector<std::string> fields{std::istream_iterator<std::string>(words), {}};
  std::string reversed = fields.front();
  for (std::size_t i = fields.size(); i-- > 1;)
    reversed += "  " + fields[i];
  RC_ASSERT(parsed(reversed) == r);
}

TEST(RecipeLine, AFieldLeftOutHasItsDefault) {
  const Recipe defaults;
  EXPECT_EQ(parsed("np1"), defaults);
  EXPECT_EQ(parsed("np1 regime=offset").regime, (Regime{"offset", 1000}));
  EXPECT_EQ(parsed("np1 momentum=none").momentum, std::nullopt);
}

TEST(RecipeLine, ADecimalMeansTheNearestDouble) {
  EXPECT_EQ(parsed("np1 eps=1e-5").eps, 1e-5);
  EXPECT_EQ(parsed("np1 momentum=0.1").momentum, 0.1);
  EXPECT_NE(parsed("np1 eps=1e-5").eps, parsed("np1 eps=0x1.4f8b58p-17").eps);
}

TEST(RecipeLine, StatisticsAreWrittenOnlyWhereTheyAreNotTheUsualOnes) {
  EXPECT_EQ(parsed("np1 dtype=f16 stats=f16").stats, f16);
  EXPECT_THAT(to_string(parsed("np1 stats=bf16 dtype=bf16")), HasSubstr("dtype=bf16 stats=bf16 shape="));
  for (const char* usual : {"np1 dtype=f16 stats=f32", "np1 stats=f32", "np1 stats=f64 dtype=f64"}) {
    EXPECT_EQ(parsed(usual).stats, std::nullopt);
    EXPECT_EQ(to_string(parsed(usual)).find("stats="), std::string::npos);
  }
  EXPECT_EQ(stats_of(parsed("np1 dtype=bf16")), f32);
  EXPECT_EQ(stats_of(parsed("np1 dtype=f64")), f64);
}

TEST(RecipeLine, AStridedLayoutCarriesItsSeed) {
  const Recipe r = parsed("np1 layout=strided:18446744073709551615");
  EXPECT_EQ(r.layout, Layout::strided);
  EXPECT_EQ(r.layout_seed, 18446744073709551615U);
  EXPECT_THAT(to_string(r), HasSubstr("layout=strided:18446744073709551615 "));
  EXPECT_EQ(parsed("np1 layout=strided"), parsed("np1 layout=strided:0"));
  EXPECT_EQ(expand(r).problem.layout_seed, r.layout_seed);
  EXPECT_EQ(to_string(parsed("np1 layout=channels-last")).find("channels-last:"), std::string::npos);
}

TEST(RecipeLine, AFamilyNameMeansItsFirstEntryPoint) {
  EXPECT_EQ(parsed("np1 dialect=pytorch").dialect, "pytorch/native_batch_norm");
}

struct Mistake {
  std::string line, offending, choice;
};

TEST(RecipeLine, AMistakeIsNamedWithTheNearestChoice) {
  const std::string training(normproof::to_string(Pass::forward_training));
  const std::vector<Mistake> mistakes{
      {"", "''", "'np1'"},
      {"np2 seed=1", "'np2'", "'np1'"},
      {"np1 sead=1", "'sead=1'", "'seed='"},
      {"np1 seed", "'seed'", "'seed='"},
      {"np1 seed=1 seed=1", "'seed=1'", "leave one out"},
      {"np1 seed=-1", "'seed=-1'", "'seed=1'"},
      {"np1 seed=18446744073709551616", "'seed=18446744073709551616'", "'seed=1'"},
      {"np1 pass=forwrd", "'pass=forwrd'", "pass=forward"},
      {"np1 dtype=f23", "'dtype=f23'", "'dtype=f32'"},
      {"np1 shape=8", "'shape=8'", "'shape=8x1'"},
      {"np1 shape=8x-4x4", "'shape=8x-4x4'", "'shape=8x4x4'"},
      {"np1 shape=8x4xx4", "'shape=8x4xx4'", "'shape=8x4x4'"},
      {"np1 layout=channel_last", "'layout=channel_last'", "layout=channels"},
      {"np1 layout=strded:3", "'layout=strded:3'", "'layout=strided'"},
      {"np1 layout=strided:x", "'layout=strided:x'", "'layout=strided:1'"},
      {"np1 layout=contiguous:3", "'layout=contiguous:3'", "'layout=contiguous'"},
      {"np1 stats=f31", "'stats=f31'", "'stats=f32'"},
      {"np1 pass=double_backward", "'pass=double_backward'", "'pass=double-backward'"},
      {"np1 dialect=documentd", "'dialect=documentd'", "'dialect=documented'"},
      {"np1 regime=ofset:10", "'regime=ofset:10'", "'regime=offset:1000'"},
      {"np1 regime=offset:ten", "'regime=offset:ten'", "'regime=offset:1000'"},
      {"np1 regime=offset:", "'regime=offset:'", "'regime=offset:1000'"},
      {"np1 regime=offset:0", "'regime=offset:0'", "'regime=offset:1'"},
      {"np1 regime=offset:99999999", "'regime=offset:99999999'", "'regime=offset:10000000'"},
      {"np1 regime=normal:3", "'regime=normal:3'", "'regime=normal'"},
      {"np1 eps=-1", "'eps=-1'", "'eps=0x0p+0'"},
      {"np1 eps=inf", "'eps=inf'", "'eps=0x1.4f8b58p-17'"},
      {"np1 eps=nan", "'eps=nan'", "'eps="},
      {"np1 eps=1e-5f", "'eps=1e-5f'", "'eps="},
      {"np1 momentum=2", "'momentum=2'", "'momentum=0x1p+0'"},
      {"np1 momentum=None", "'momentum=None'", "'momentum=none'"},
      {"np1 affine=yes", "'affine=yes'", "'affine=1'"},
      {"np1 running=false", "'running=false'", "'running=0'"},
      {"np1 threads=0", "'threads=0'", "'threads=1'"},
      {"np1 threads=9999999999", "'threads=9999999999'", "'threads=1024'"},
  };
  for (const Mistake& m : mistakes) {
    const std::string error = error_of(m.line);
    EXPECT_THAT(error, HasSubstr(m.offending)) << m.line;
    EXPECT_THAT(error, HasSubstr(m.choice)) << m.line;
    EXPECT_EQ(error.find('\n'), std::string::npos);
  }
}

TEST(Impossible, NamesTheRegimeAndWhatItNeeds) {
  const std::vector<std::pair<std::string, std::string>> wanted{
      {"np1 regime=pair shape=3x2", "n = batch * space of 2, not 3"},
      {"np1 regime=exact:3 shape=3x2 eps=0x1p-1", "power of two"},
      {"np1 regime=exact:3 shape=4x2", "eps=0x1p-1"},
      {"np1 regime=exact:1048576 shape=1024x2 eps=0x1p-1", "at most 4096"},
      {"np1 regime=witness_var shape=5x2", "even n"},
      {"np1 regime=outlier:3 shape=1x2", "at least 2"},
      {"np1 regime=huge:60 dtype=f16", "at most"},
      {"np1 regime=offset:100000 dtype=f16", "largest"},
      {"np1 pass=" + std::string(normproof::to_string(Pass::forward_inference)) + " running=0", "running=1"},
      {"np1 pass=backward-inference running=0", "running=1"},
      {"np1 dtype=f64 stats=f32", "stats=f64"},
      {"np1 dtype=f32 stats=f16", "stats=f32"},
      {"np1 dtype=f16 stats=bf16", "stats=f32"},
      {"np1 dtype=bf16 stats=f64", "same format, or of f32"},
      {"np1 regime=cancelling_dy", "about dy, which forward-training is not given"},
      {"np1 regime=large_dy:20 pass=gradient dtype=f16", "possible are -6 to 11"},
      {"np1 regime=pixels pass=backward-inference dialect=onnx", "no gradient at given statistics"},
      {"np1 dialect=onednn", "running=0"},
      {"np1 dialect=keras momentum=none", "no cumulative average"},
      {"np1 regime=outlier:4 dtype=f16", "largest"},
      {"np1 regime=pair:300 dtype=bf16 shape=2x2", "at most 254"},
      {"np1 regime=paired:1000 dtype=f16", "at most 504"},
      {"np1 shape=4x0", "at least one channel"},
      {"np1 shape=65536x65536", "2^31"},
  };
  for (const auto& [line, reason] : wanted) {
    const Recipe r = parsed(line);
    EXPECT_THAT(impossible(r), HasSubstr(reason)) << line;
    EXPECT_THROW(expand(r), std::invalid_argument) << line;
  }
  Recipe by_hand;
  by_hand.regime = {"ofset", 3};
  EXPECT_THAT(impossible(by_hand), HasSubstr("offset"));
  by_hand.regime = {"offset", 0};
  EXPECT_THAT(impossible(by_hand), HasSubstr("offset:1"));
  by_hand.regime = {"normal", 3};
  EXPECT_NE(impossible(by_hand), "");
  by_hand.regime = {};
  by_hand.layout_seed = 3;
  EXPECT_THAT(impossible(by_hand), HasSubstr("only a strided layout takes a seed"));
  by_hand.layout_seed = 0;
  by_hand.dialect = "kerass";
  EXPECT_THAT(impossible(by_hand), HasSubstr("dialect"));
}

// ---- the case
// -----------------------------------------------------------------------------------------------------

RC_GTEST_PROP(Expand, EveryValueIsRepresentable, (const Recipe& r)) {
  const Case c = expand(r);
  const auto all = [](const std::vector<double>& values, const Format& format) {
    return std::ranges::all_of(values,
                               [&](double v) { return std::isnan(v) || is_representable(format, v); });
  };
  for (const auto* tensor : {&c.x, &c.dy, &c.v_x})
    RC_ASSERT(all(*tensor, c.problem.data));
  for (const auto* tensor : {&c.gamma, &c.beta, &c.running_mean, &c.running_var, &c.saved_mean,
                             &c.saved_invstd, &c.v_gamma, &c.v_beta})
    RC_ASSERT(all(*tensor, c.problem.stats));
  RC_ASSERT(std::ranges::all_of(c.running_var, [](double v) { return v >= 0 && std::isfinite(v); }));
  for (const auto* tensor : {&c.running_mean, &c.saved_mean, &c.saved_invstd})
    RC_ASSERT(std::ranges::all_of(*tensor, [](double v) { return std::isfinite(v); }));
  RC_ASSERT(std::ranges::all_of(c.saved_invstd, [](double v) { return v > 0; }));
}

RC_GTEST_PROP(Expand, TheProblemIsTheRecipes, (const Recipe& r)) {
  const Case c = expand(r);
  const auto channels = static_cast<std::size_t>(r.shape.channels);
  RC_ASSERT(c.x.size() == static_cast<std::size_t>(r.shape.elements()));
  RC_ASSERT(c.gamma.size() == (r.affine ? channels : 0));
  RC_ASSERT(c.beta.size() == (r.affine ? channels : 0));
  RC_ASSERT(c.running_mean.size() == (r.running ? channels : 0));
  RC_ASSERT(c.running_var.size() == (r.running ? channels : 0));
  RC_ASSERT(c.dy.size() == (takes_dy(r.pass) ? c.x.size() : 0));
  RC_ASSERT(c.saved_mean.size() == (takes_saved(r.pass) ? channels : 0));
  RC_ASSERT(c.saved_invstd.size() == c.saved_mean.size());
  if (is_second_order(r.pass)) {
    RC_ASSERT(c.v_x.empty() || c.v_x.size() == c.x.size());
    for (const auto* tensor : {&c.v_gamma, &c.v_beta})
      RC_ASSERT(tensor->empty() || (r.affine && tensor->size() == channels));
    RC_ASSERT(c.x.empty() || c.v_x.size() + c.v_gamma.size() + c.v_beta.size() > 0);
  } else {
    RC_ASSERT(c.v_x.size() + c.v_gamma.size() + c.v_beta.size() == 0);
  }
  RC_ASSERT(c.problem.data == r.dtype);
  RC_ASSERT(c.problem.stats == stats_of(r));
  RC_ASSERT(c.problem.shape == r.shape);
  RC_ASSERT(c.problem.eps == r.eps);
  RC_ASSERT(c.problem.momentum == r.momentum);
  RC_ASSERT(c.problem.semantics == dialect_named(r.dialect)->semantics);
  RC_ASSERT(c.origin == to_string(r));
}

RC_GTEST_PROP(Expand, ThreadsLayoutAndDialectLeaveTheNumbersAlone, (const Recipe& r)) {
  Recipe other = r;
  other.threads = r.threads == 1 ? 2 : 1;
  other.layout = r.layout == Layout::contiguous ? Layout::channels_last : Layout::contiguous;
  other.layout_seed = 0;
  other.dialect = "documented";
  Case a = expand(r), b = expand(other);
  RC_ASSERT(fingerprint(a) != fingerprint(b));
  b.problem = a.problem;
  RC_ASSERT(fingerprint(a) == fingerprint(b));
}

RC_GTEST_PROP(Expand, AChannelDoesNotDependOnTheOnesAfterIt, (const Recipe& r)) {
  RC_PRE(r.regime.name != "non_finite");  // which channel is afflicted depends on how many there are
  Recipe more = r;
  ++more.shape.channels;
  const Case a = expand(r), b = expand(more);
  RC_ASSERT(std::equal(a.x.begin(), a.x.end(), b.x.begin()));
  for (const auto tensor :
       {&Case::gamma, &Case::dy, &Case::saved_mean, &Case::saved_invstd, &Case::v_x, &Case::v_gamma})
    RC_ASSERT((b.*tensor).size() >= (a.*tensor).size() &&
              std::equal((a.*tensor).begin(), (a.*tensor).end(), (b.*tensor).begin()));
}

TEST(Expand, OnManyThreadsAtOnceTheSameBits) {
  const Recipe r = parsed("np1 shape=64x8x8x8 regime=mixture seed=42");
  const std::uint64_t alone = fingerprint(expand(r));
  std::array<std::uint64_t, 4> together{};
  std::vector<std::thread> threads;
  for (std::uint64_t& slot : together)
    threads.emplace_back([&slot, &r] { slot = fingerprint(expand(r)); });
  for (std::thread& thread : threads)
    thread.join();
  for (const std::uint64_t hash : together)
    EXPECT_EQ(hash, alone);
}

TEST(Expand, AnotherSeedIsAnotherCase) {
  for (const RegimeInfo& info : regimes()) {
    if (info.name == "witness_mean" || info.name == "witness_var" || info.name == "constant" ||
        info.name == "pair")
      continue;  // few choices each
    Recipe r;
    r.pass = Pass::backward_training;
    r.shape = {16, 8, {4}};
    r.regime = {std::string(info.name), info.standard};
    if (info.name == "exact")
      r.eps = 0.5;
    Recipe s = r;
    s.seed = 2;
    EXPECT_NE(expand(r).x, expand(s).x) << info.name;
  }
}

TEST(Expand, NoValuesPerChannelIsACaseToo) {
  const Case c = expand(parsed("np1 shape=0x3x2"));
  EXPECT_TRUE(c.x.empty());
  EXPECT_EQ(c.gamma.size(), 3U);
}

TEST(Fingerprint, SeesEveryNumber) {
  const Case c = expand(parsed("np1 shape=4x3x2"));
  const std::uint64_t hash = fingerprint(c);
  const auto changed = [&](auto change) {
    Case other = c;
    change(other);
    return fingerprint(other) != hash;
  };
  EXPECT_TRUE(changed([](Case& o) { o.x.back() = -o.x.back(); }));
  EXPECT_TRUE(changed([](Case& o) { o.x[0] = -o.x[0], o.x[1] = -o.x[1]; }));  // two signs must not cancel
  EXPECT_TRUE(changed([](Case& o) { std::swap(o.x[3], o.x[4]); }));
  EXPECT_TRUE(changed([](Case& o) { o.gamma[1] *= 2; }));
  EXPECT_TRUE(changed([](Case& o) { o.beta[1] *= 2; }));
  EXPECT_TRUE(changed([](Case& o) { o.running_mean[2] *= 2; }));
  EXPECT_TRUE(changed([](Case& o) { o.running_var[2] *= 2; }));
  EXPECT_TRUE(changed([](Case& o) { ++o.num_batches_tracked; }));
  EXPECT_TRUE(changed([](Case& o) { o.problem.eps *= 2; }));
  EXPECT_TRUE(changed([](Case& o) { o.problem.momentum.reset(); }));
  EXPECT_TRUE(changed([](Case& o) { o.problem.momentum = 0; }));
  EXPECT_TRUE(changed([](Case& o) { o.problem.pass = Pass::forward_inference; }));
  EXPECT_TRUE(changed([](Case& o) { o.problem.layout = Layout::channels_last; }));
  EXPECT_TRUE(changed([](Case& o) { o.problem.shape = {4, 3, {1, 2}}; }));
  EXPECT_TRUE(changed([](Case& o) { o.problem.dialect = "x"; }));
  EXPECT_TRUE(changed([](Case& o) { o.problem.data = f64; }));
  EXPECT_TRUE(changed([](Case& o) { o.problem.layout = Layout::strided; }));
}

TEST(Fingerprint, SeesEveryNumberOfTheBackwardPasses) {
  const Case c = expand(parsed("np1 pass=double-backward shape=4x3x2 layout=strided:1 seed=3"));
  ASSERT_FALSE(c.v_x.empty() || c.v_gamma.empty() || c.v_beta.empty());
  const std::uint64_t hash = fingerprint(c);
  std::set<std::uint64_t> met{hash};
  const auto change = [&](auto changed) {
    Case other = c;
    changed(other);
    met.insert(fingerprint(other));
  };
  for (const auto tensor :
       {&Case::dy, &Case::saved_mean, &Case::saved_invstd, &Case::v_x, &Case::v_gamma, &Case::v_beta}) {
    change([&](Case& o) { (o.*tensor).back() = -(o.*tensor).back(); });
    change([&](Case& o) { (o.*tensor).clear(); });
  }
  change(
      [&](Case& o) { std::swap(o.v_gamma, o.v_beta); });  // one of them absent must not look like the other
  change([&](Case& o) { std::swap(o.saved_mean, o.saved_invstd); });
  change([&](Case& o) { o.problem.layout_seed = 2; });
  change([&](Case& o) { o.problem.stats = f64; });
  EXPECT_EQ(met.size(), 17U);
}

// ---- golden hashes
// ------------------------------------------------------------------------------------------------

struct Frozen {
  const char* line;
  Pass pass;
  std::uint64_t hash;
};
constexpr Pass training = Pass::forward_training, inference = Pass::forward_inference,
               backward = Pass::backward_training, eval = Pass::backward_inference, gradient = Pass::gradient,
               second = Pass::double_backward;
constexpr Frozen golden[] = {
    {"np1", training, 0xbc3feae4ab16ce1c},
    {"np1 dtype=f64", training, 0x87f3e686ec5ec67b},
    {"np1 dtype=f16", training, 0xe46f74835b200554},
    {"np1 dtype=bf16", training, 0x61d209456617cc06},
    {"np1 seed=0", training, 0x6016670fc8485d84},
    {"np1 seed=18446744073709551615", training, 0x8f7c0f3d423bbfd2},
    {"np1 shape=1x1", training, 0x6c9009c4a59b224b},
    {"np1 shape=0x3", training, 0xe41f686ab723c891},
    {"np1 shape=64x8 regime=uniform", training, 0xbb54b01be5207c29},
    {"np1 regime=offset:1000 dialect=pytorch/native_batch_norm", training, 0x54275ed2dc3e4f68},
    {"np1 regime=offset:10000000 dtype=f64", training, 0xcec583a3615d6c2b},
    {"np1 regime=variance:-40", training, 0xc2cd1b2dc28867d2},
    {"np1 regime=variance:40 dtype=f64", training, 0x2d5078ea35713174},
    {"np1 regime=near_constant:1", training, 0x457f5ba03f582acf},
    {"np1 regime=near_constant:1000 dtype=f64", training, 0x473d761658db19e1},
    {"np1 regime=constant shape=3x32", training, 0x93c470150d0f86c8},
    {"np1 regime=outlier:8 shape=5x3x7", training, 0xf32d8b1d93c63d78},
    {"np1 regime=pixels shape=16x3x16x16", training, 0xdf59f1b8ec2a2814},
    {"np1 regime=sparse:100 shape=100x4", training, 0x979f2d87895f1fe7},
    {"np1 regime=graded:40", training, 0x471ccf1785e93e68},
    {"np1 regime=paired:1000 shape=7x3x3", training, 0x12c9d8dcbb0e2adc},
    {"np1 regime=paired:0 dtype=f64", training, 0x81f4fb70653ee6a5},
    {"np1 regime=pair:10002 shape=2x8", training, 0xdc26aeda3130162b},
    {"np1 regime=exact:3 eps=0x1p-1", training, 0xb16b443471b6017c},
    {"np1 regime=exact:0 eps=0x1p-1 shape=64x2x64 dtype=f64", training, 0x3a2d96e2b5b3d0d9},
    {"np1 regime=mixture shape=8x16x4", training, 0x127217feebd34b86},
    {"np1 regime=witness_mean shape=64x4", training, 0x7078218383bdd3d0},
    {"np1 regime=witness_var shape=64x4", training, 0x7476e6f9248ab910},
    {"np1 regime=witness_var shape=64x4 dtype=f64", training, 0x536e17f3da76d5aa},
    {"np1 regime=subnormal", training, 0xad927c0ba3df247a},
    {"np1 regime=huge:40", training, 0xecbc78dbd14a3081},
    {"np1 regime=non_finite shape=4x5x2", training, 0xe9ee7e64c88150f4},
    {"np1 momentum=none affine=0", training, 0xd82d11249c85a273},
    {"np1 running=0 eps=0x0p+0", training, 0x92b377795eb26ad6},
    {"np1 regime=offset:1000", inference, 0x66542a8a358f11ae},
    {"np1 regime=constant shape=4x16", inference, 0xfe58b6945941b545},
    {"np1 regime=exact:7 eps=0x1p-1 dtype=f64", inference, 0xa44020a26b2af20d},
    {"np1 regime=near_constant:4", inference, 0x82c41891fcc7141b},
    {"np1 regime=huge:1 dtype=f64", inference, 0x6a86b3139793abf2},
    {"np1", backward, 0x6710c759822ecd2d},
    {"np1", eval, 0xc49dfd9617502ed6},
    {"np1", gradient, 0x2614df4ae9f1cce9},
    {"np1", second, 0x8dabfc62beb0d1f2},
    {"np1 dtype=f64 seed=3", backward, 0xe3edeb9e96f57e96},
    {"np1 dtype=f64 shape=7x5x3 seed=4", second, 0xe8bb5075dc1ef3ac},
    {"np1 dtype=f16 stats=f16 shape=16x8x3x5", backward, 0xd2a9b8aea1a9b2d0},
    {"np1 dtype=bf16 stats=bf16 shape=16x8x3x5", backward, 0x26d4e3c0f8f63939},
    {"np1 dtype=bf16 shape=16x8x3x5 layout=strided:9", gradient, 0xab6e998dd15a8be3},
    {"np1 dtype=f16 stats=f16 regime=pixels", training, 0xeafb3e7af7385e43},
    {"np1 dtype=f16 regime=offset:100", eval, 0xf5a7135488b74637},
    {"np1 shape=64x16 regime=cancelling_dy", backward, 0xf2696eeca6930da6},
    {"np1 shape=63x16 dtype=f16 regime=cancelling_dy", eval, 0xcf5d31b2f619dc94},
    {"np1 shape=64x16 regime=large_dy:16", backward, 0xda49bfc5d3b3928d},
    {"np1 shape=64x16 dtype=bf16 stats=bf16 regime=large_dy:-16", gradient, 0x8192d1c3f786cf9e},
    {"np1 shape=64x8 regime=exact:3 eps=0x1p-1", backward, 0x7bf45453dc857895},
    {"np1 shape=64x8 dtype=f16 regime=exact:3 eps=0x1p-1", second, 0x70e364e13c1119ae},
    {"np1 shape=64x4 regime=witness_mean", backward, 0x6bed38824cfc568a},
    {"np1 shape=64x4 regime=witness_var", backward, 0x9c3e9e92872f9ef3},
    {"np1 shape=64x4 regime=non_finite seed=5", backward, 0x9d6ce7ddf5c58ff2},
    {"np1 regime=huge:40", backward, 0xab023aa351106ee0},
    {"np1 regime=subnormal dtype=f64", backward, 0x3c0e7841dc480b7c},
    {"np1 regime=constant eps=0x0p+0 shape=4x16", backward, 0xbfd04b074d19e889},
    {"np1 regime=variance:-40 eps=0x1.197998p-40 dtype=f64", second, 0x968492a1dca64cb8},
    {"np1 affine=0 running=0", second, 0xe5e75eb797a8b9e8},
    {"np1 layout=strided:3", training, 0x5e442322905acae1},
    {"np1 dialect=keras-fused momentum=0x1.8p-1", training, 0xabdd77b8d8a7af4a},
};

/// A recipe means the same bits for ever: a failure here means that old lines no longer replay. Then the
/// expansion is wrong, or it is a new language and needs a new version word.
TEST(Golden, OldRecipesStillMeanTheSameBits) {
  for (const auto& [line, pass, hash] : golden) {
    Recipe r = parsed(line);
    r.pass = pass;
    const std::uint64_t now = fingerprint(expand(r));
    EXPECT_EQ(now, hash) << "now {\"" << line << "\", " << to_string(pass) << ", 0x" << std::hex << now
                         << "},";
  }
}

TEST(Golden, CoversEveryRegime) {
  std::set<std::string> met;
  for (const auto& [line, pass, hash] : golden)
    met.insert(parsed(line).regime.name);
  for (const RegimeInfo& info : regimes())
    EXPECT_TRUE(met.contains(std::string(info.name))) << info.name;
}

// ---- the generator shrinks
// ----------------------------------------------------------------------------------------

/// RapidCheck must walk from any counterexample to a small one: here, the smallest recipe with a million in
/// it.
TEST(Arbitrary, ShrinksToThePlainestRecipeThatStillFails) {
  const auto smallest = [](auto fails) {
    const rc::Gen<Recipe> gen = rc::gen::arbitrary<Recipe>();
    for (std::uint64_t seed = 1;; ++seed) {
      auto at = gen(rc::Random(seed), 100);
      if (!fails(at.value()))
        continue;
      for (bool again = true; again;) {
        again = false;
        auto shrinks = at.shrinks();
        while (auto next = shrinks.next())
          if (fails(next->value())) {
            at = *next;
            again = true;
            break;
          }
      }
      return at.value();
    }
  };
  const Recipe any = smallest([](const Recipe&) { return true; });
  Recipe plain;
  plain.shape = {1, 1, {}};
  EXPECT_EQ(any, plain);

  const Recipe wide =
      smallest([](const Recipe& r) { return r.shape.channels >= 3 && r.layout != Layout::contiguous; });
  plain.shape = {1, 3, {}};
  plain.layout = Layout::channels_last;
  EXPECT_EQ(wide, plain);

  const Recipe narrow =
      smallest([](const Recipe& r) { return r.dtype.p < f32.p && r.pass != Pass::forward_training; });
  plain = Recipe{};
  plain.shape = {1, 1, {}};
  plain.dtype = f16;
  plain.pass = Pass::forward_inference;
  EXPECT_EQ(narrow, plain);

  const Recipe many = smallest([](const Recipe& r) { return r.shape.per_channel() >= 20; });
  EXPECT_LE(many.shape.per_channel(), 24);
  EXPECT_EQ(many.regime.name, "normal");
  EXPECT_EQ(many.shape.channels, 1);
}

}  // namespace
}  // namespace normproof::properties
