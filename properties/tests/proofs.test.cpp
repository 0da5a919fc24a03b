// The straight-line parts of the bounds, proved by machine: spec/bounds/*.g, run by gappa.
//
// The scripts name their constants, ${c_root}; the values are read off the code that judges, and the page
// beside the script must say the same, so that proof, page and code cannot drift apart. Each constant is
// needed: with less of it the proof fails.
#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "normproof/properties/bounds.h"

namespace normproof::properties {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

constexpr double u = 0x1p-24;
const Reduction f32_arithmetic{u, 0, 0, false};

// ---- What the code permits, per unit of what multiplies it.
// ------------------------------------------------

/// Relative, of invstd: variance 1 without error, eps 0.
double root(double rsqrt_ulps) {
  ChannelProblem channel;
  return permitted_invstd_link(channel, {1, 0}, f32_arithmetic, rsqrt_ulps);
}

/// Of y with statistics given exactly: over gamma r |x - m|, over |x|, over |m| and over |beta|.
LinearBound affine(Form form, double mean, double beta) {
  ChannelProblem channel;
  channel.beta = beta;
  return permitted_y_link(channel, {mean, 0}, {1, 0}, f32_arithmetic, form);
}

/// Of y in inference, over |gamma (x - mu) r|, where v and eps share what is under the root.
double inference(double variance, double eps) {
  ChannelProblem channel;
  channel.training = false;
  channel.eps = eps;
  channel.facts.n = 1;
  channel.facts.variance = variance;
  channel.facts.deviation = std::sqrt(variance);
  channel.facts.invstd = 1 / std::sqrt(variance + eps);
  return permitted(channel, f32_arithmetic, {Family::centred, Form::centred}).y.per_deviation /
         channel.facts.invstd;
}

/// Of an updated statistic, over w |stat|.
double running() {
  ChannelProblem channel;
  channel.weight = 0.5;
  return permitted_running_link(channel, 0, {1, 0}, 1, f32_arithmetic) / channel.weight;
}

struct Constant {
  const char* name;
  double value;
  double too_little;  ///< this part of it does not suffice
};

struct Proof {
  const char* script;
  std::vector<Constant> constants;
};

std::vector<Proof> proofs() {
  return {{"invstd.g", {{"c_root", root(2), 0.81}}},
          {"invstd_rounded.g", {{"c_rounded", root(1), 0.7}}},
          {"y_centred.g", {{"c_centred", affine(Form::centred, 0, 0).per_deviation, 0.85}}},
          {"y_inference.g", {{"exact", inference(1, 0), 0.8}}},
          {"y_inference_converted.g", {{"converted", inference(0, 1), 0.8}}},
          {"y_folded.g",
           {{"of_t", affine(Form::folded, 0, 0).per_deviation, 0.33},
            {"of_x", affine(Form::folded, 0, 0).per_value, 0.99},
            {"of_m", affine(Form::folded, 1, 0).constant, 0.99},
            {"of_beta", affine(Form::folded, 0, 1).constant, 0.99}}},
          {"running.g", {{"c_running", running(), 0.79}}}};
}

// ---- Gappa.
// -------------------------------------------------------------------------------------------------

std::string text_of(const fs::path& path) {
  std::ifstream in(path);
  EXPECT_TRUE(in) << path;
  return {std::istreambuf_iterator<char>(in), {}};
}

/// The script with its constants; each is written below its value.
std::string filled_in(std::string script, const std::vector<Constant>& constants) {
  for (const Constant& c : constants) {
    const std::string token = fmt::format("${{{}}}", c.name);
    EXPECT_THAT(script, HasSubstr(token));
    for (std::size_t at = script.find(token); at != std::string::npos; at = script.find(token))
      script.replace(at, token.size(), fmt::format("{:.17e}", c.value * (1 - 0x1p-50)));
  }
  EXPECT_EQ(script.find("${"), std::string::npos) << script;
  return script;
}

bool proved(const std::string& script) {
  const fs::path file = fs::path(testing::TempDir()) / fmt::format("proof-{}.g", ::getpid());
  std::ofstream(file) << script;
  const std::string command = fmt::format("'{}' '{}' >/dev/null 2>&1", NORMPROOF_GAPPA, file.string());
  const int status = std::system(command.c_str());
  fs::remove(file);
  return status == 0;
}

class Proofs : public testing::Test {
protected:
  void SetUp() override {
    if (std::string(NORMPROOF_GAPPA).empty())
      GTEST_SKIP() << "gappa was not found when this was configured: no bound is proved by machine";
  }
  const fs::path folder = NORMPROOF_BOUNDS;
};

TEST_F(Proofs, hold_with_the_constants_of_the_code) {
  for (const Proof& proof : proofs())
    EXPECT_TRUE(proved(filled_in(text_of(folder / proof.script), proof.constants))) << proof.script;
}

TEST_F(Proofs, fail_when_a_constant_is_cut) {
  for (const Proof& proof : proofs())
    for (std::size_t i = 0; i < proof.constants.size(); ++i) {
      std::vector<Constant> cut = proof.constants;
      cut[i].value *= cut[i].too_little;
      EXPECT_FALSE(proved(filled_in(text_of(folder / proof.script), cut)))
          << proof.script << ": " << cut[i].name << " is more than is needed";
    }
}

TEST(Scripts, each_is_among_the_proofs) {
  std::vector<std::string> known, there;
  for (const Proof& proof : proofs())
    known.emplace_back(proof.script);
  for (const auto& file : fs::directory_iterator(NORMPROOF_BOUNDS))
    if (file.path().extension() == ".g")
      there.push_back(file.path().filename().string());
  EXPECT_THAT(there, testing::UnorderedElementsAreArray(known));
}

/// The k of gamma(k), from its value.
std::string gamma_of(double value) {
  return fmt::format("gamma({:.3g})", value / u / (1 + value));
}

TEST(Scripts, the_pages_state_the_constants_of_the_code) {
  const fs::path folder = NORMPROOF_BOUNDS;
  const std::string invstd = text_of(folder / "invstd.md"), y = text_of(folder / "y.md");
  EXPECT_THAT(invstd, HasSubstr(fmt::format("c        = {} ", gamma_of(root(2)))));
  EXPECT_EQ(gamma_of(root(1)), "gamma(3.5)");  // gamma(2 k + 1.5)
  EXPECT_THAT(invstd, HasSubstr("gamma(2 k + 1.5) for a kernel"));
  EXPECT_THAT(
      y, HasSubstr(fmt::format("F_centred = {} T", gamma_of(affine(Form::centred, 0, 0).per_deviation))));
  const LinearBound folded = affine(Form::folded, 0, 0);
  EXPECT_THAT(y, HasSubstr(fmt::format(
                     "F_folded  = {} T + {:.4g} u (|gamma| r (1 + rho) (|x| + {:.4g} (|mu| + e)) + |beta|)",
                     gamma_of(folded.per_deviation), folded.per_value / u,
                     affine(Form::folded, 1, 0).constant / folded.per_value)));
  EXPECT_NEAR(affine(Form::folded, 0, 1).constant, folded.per_value, 1e-3 * u);
  EXPECT_THAT(text_of(folder / "running.md"),
              HasSubstr(fmt::format("B_run = W B_stat + {} (", gamma_of(running()))));
}

}  // namespace
}  // namespace normproof::properties
