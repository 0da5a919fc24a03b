// The program as its users meet it: exit codes, errors of one line, files whole or not there, a clean stdout.
#include "program.h"

#include <algorithm>
#include <fstream>

#include <gmock/gmock.h>

#include "normproof/properties/case_file.h"
#include "normproof/properties/safetensors.h"
#include "schema.h"
#include "xml.h"

namespace normproof::ci {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::StartsWith;

using Json = nlohmann::ordered_json;

Schema schema(const char* name) {
  return Schema(Json::parse(file_text(std::string(NORMPROOF_SCHEMAS) + "/" + name)));
}

/// A small selection that still has passes, skips and mistrusted judgements.
std::vector<std::string> small(std::vector<std::string> more) {
  std::vector<std::string> words{"check", "--profile", "quick", "--regime", "variance", "--dtype", "f32"};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

struct BadCall {
  std::vector<std::string> words;
  int code;
  std::vector<std::string> named;  ///< what the one line has to say
};

void PrintTo(const BadCall& call, std::ostream* os) {
  for (const std::string& word : call.words)
    *os << word << ' ';
}

class BadCalls : public testing::TestWithParam<BadCall> {};

TEST_P(BadCalls, a_mistake_that_is_not_named_in_one_line) {
  const Scratch scratch;
  std::vector<std::string> words = GetParam().words;
  for (std::string& word : words)
    if (const std::size_t at = word.find("SCRATCH"); at != std::string::npos)
      word.replace(at, 7, scratch / "");
  const Ended ended = normproof(words);
  EXPECT_EQ(ended.code, GetParam().code);
  EXPECT_THAT(ended.out, IsEmpty());
  EXPECT_THAT(ended.err, StartsWith("normproof: "));
  EXPECT_EQ(std::ranges::count(ended.err, '\n'), 1) << ended.err;
  for (const std::string& part : GetParam().named)
    EXPECT_THAT(ended.err, HasSubstr(part));
  EXPECT_THAT(scratch.files(), IsEmpty()) << "something was written";
}

const std::vector<std::string> a_case{"replay", "np1 shape=2x2"};

INSTANTIATE_TEST_SUITE_P(
    , BadCalls,
    testing::Values(
        BadCall{{}, 2, {"subcommand"}}, BadCall{{"chekc"}, 2, {"'chekc'", "nearest is 'check'"}},
        BadCall{{"check", "--grad", "tree"}, 2, {"'--grad'", "'--grade'"}},
        BadCall{{"check", "cpu.welfrd_f32"}, 2, {"kernel 'cpu.welfrd_f32'", "nearest is 'cpu.welford_f32'"}},
        BadCall{{"check", "nosuch.*"}, 2, {"no kernel matches 'nosuch.*'", "cpu.welford_f32"}},
        BadCall{{"check", "--grade", "tre"}, 2, {"grade 'tre'", "nearest is 'tree'"}},
        BadCall{{"check", "--profile", "quik"}, 2, {"profile 'quik'", "'quick'"}},
        BadCall{{"check", "--budget", "soon"}, 2, {"--budget 'soon'", "60s"}},
        BadCall{{"check", "--budget", "-5s"}, 2, {"--budget"}},
        BadCall{{"check", "--timeout", "0s"}, 2, {"--timeout '0s'"}},
        BadCall{{"check", "--memory", "8"}, 2, {"--memory '8'", "8G"}},
        BadCall{{"check", "--seed", "x"}, 2, {"--seed"}},
        BadCall{{"check", "--repeats", "0"}, 2, {"--repeats"}},
        BadCall{{"check", "--pass", "backwards"}, 2, {"pass 'backwards'", "forward-training"}},
        BadCall{{"check", "--layout", "NHCW"}, 2, {"layout 'NHCW'"}},
        BadCall{{"check", "--dtype", "f23"}, 2, {"'f23'", "'f32'"}},
        BadCall{{"check", "--regime", "ofset"}, 2, {"'ofset'", "'offset'"}},
        BadCall{{"check", "--dialect", "pytroch"}, 2, {"'pytroch'", "'pytorch'"}},
        BadCall{{"check", "./nosuch.so"}, 3, {"'./nosuch.so'", "no such file"}},
        BadCall{{"check", NORMPROOF_SCHEMAS "/report-1.json", "--quiet"}, 3, {"report-1.json"}},
        BadCall{{"check", "--json", "-", "--junit", "-"}, 2, {"stdout"}},
        BadCall{{"check", "--json", "SCRATCH/no/such/folder.json"},
                3,
                {"folder.json", "No such file or directory"}},
        BadCall{{"check", "--junit", "SCRATCH"}, 3, {"Is a directory"}},
        BadCall{{"check", "--case", "SCRATCH/none.json", "--json", "SCRATCH/out.json"}, 3, {"none.json"}},
        BadCall{{"check", "--case", NORMPROOF_SCHEMAS "/report-1.json"}, 3, {"report-1.json"}},
        BadCall{{"ulp", "--by", "outputs"}, 2, {"row 'outputs'", "'output'"}},
        BadCall{{"claims", "cpu.*"}, 2, {"'cpu.*' is", "cpu.two_pass_f64"}},
        BadCall{
            {"claims", "cpu.welford_f32", "--layout", "channel-last"}, 2, {"channel-last", "channels-last"}},
        BadCall{{"compare", "cpu.welford_f32"}, 2, {"SECOND"}},
        BadCall{{"compare", "cpu.welford_f32", "cpu.*"}, 2, {"'cpu.*' is", "cpu.two_pass_f64"}},
        BadCall{{"compare", "cpu.welford_f32", "./nosuch.so"}, 3, {"'./nosuch.so'"}},
        BadCall{{"replay"}, 2, {"CASE"}}, BadCall{{"replay", "np1 shpae=2x2"}, 2, {"'shpae=2x2'", "shape="}},
        BadCall{{"replay", "np1 shape=2xx2"}, 2, {"shape=2xx2"}},
        BadCall{{"replay", "np1 regime=pair:5 shape=5x1"}, 2, {"regime=pair:5", "5x1"}},
        BadCall{{"replay", "np2 shape=2x2"}, 2, {"'np2'", "'np1'"}},
        BadCall{{"replay", "shrunk.json"}, 3, {"'shrunk.json'"}},
        BadCall{{"replay", "np1 shape=2x2", "--dump", "SCRATCH/no/x.json"}, 3, {"x.json"}},
        BadCall{{"truth", "none.json"}, 3, {"'none.json'"}},
        BadCall{{"truth", "np1 eps=minus"}, 2, {"eps=minus"}},
        BadCall{{"list", "kernel"}, 2, {"'kernel'", "'kernels'"}},
        BadCall{{"findings", "nowhere"}, 3, {"'nowhere'"}},
        BadCall{{"findings", NORMPROOF_SCHEMAS "/truth-1.json"}, 3, {"truth-1.json"}},
        BadCall{{"vectors", "nowhere"}, 3, {"'nowhere'"}}));

TEST(Check, a_correct_kernel_that_does_not_end_with_0) {
  const Ended ended = normproof(small({"cpu.two_pass_f64"}));
  EXPECT_EQ(ended.code, 0) << ended.out;
  EXPECT_THAT(ended.out, AllOf(HasSubstr("PASS cpu.two_pass_f64"), HasSubstr("CONFORMS")));
  EXPECT_THAT(ended.err, IsEmpty()) << "no terminal, no progress";
  EXPECT_THAT(ended.out, Not(HasSubstr("\x1b"))) << "no terminal, no colour";
}

TEST(Check, a_wrong_kernel_that_does_not_end_with_1_and_a_replay_that_shows_it_again) {
  const Ended ended = normproof(small({"mutant.eps_outside_root"}));
  EXPECT_EQ(ended.code, 1);
  EXPECT_THAT(ended.out, AllOf(HasSubstr("FAIL mutant.eps_outside_root"), HasSubstr("DOES NOT CONFORM"),
                               HasSubstr("BN-NUM-")));
  const std::size_t at = ended.out.find("normproof replay '");
  ASSERT_NE(at, std::string::npos);
  const std::size_t start = at + std::string("normproof replay '").size();
  const std::string recipe = ended.out.substr(start, ended.out.find('\'', start) - start);
  const Ended again = normproof({"replay", recipe, "--impl", "mutant.eps_outside_root"});
  EXPECT_EQ(again.code, 1);
  EXPECT_THAT(again.out, HasSubstr("FAIL"));
  EXPECT_EQ(normproof({"replay", recipe, "--impl", "cpu.two_pass_f64"}).code, 0);
}

TEST(Explain, a_bug_without_its_name) {
  const Ended ended = normproof({"explain", "np1 shape=4x4x4 regime=variance:-12 eps=0x1p-6 seed=3", "--impl",
                                 "mutant.eps_outside_root", "--top", "3"});
  EXPECT_EQ(ended.code, 1);
  EXPECT_THAT(ended.out, HasSubstr("eps outside the root"));
  EXPECT_THAT(ended.out, HasSubstr("as specified"));
  EXPECT_THAT(ended.out, HasSubstr("more (--top)"));
  const Ended json = normproof({"explain", "np1 shape=4x4x4 regime=variance:-12 eps=0x1p-6 seed=3", "--impl",
                                "mutant.eps_outside_root", "--impl", "cpu.two_pass_f64", "--json", "-"});
  const Json explanation = Json::parse(json.out);
  EXPECT_THAT(schema("explanation-1.json").breaches(explanation), IsEmpty());
  EXPECT_EQ(explanation["kernels"].size(), 2U);
  for (const Json& kernel : explanation["kernels"])
    EXPECT_EQ(kernel["names"].empty(), kernel["kernel"] == "cpu.two_pass_f64");
}

TEST(Explain, a_failure_that_is_shown_without_a_diagnosis) {
  const Ended shown = normproof({"replay", "np1 shape=4x4x4 regime=variance:-12 eps=0x1p-6 seed=3", "--impl",
                                 "mutant.eps_outside_root"});
  EXPECT_THAT(shown.out, HasSubstr("diagnosis: eps outside the root"));
  const Ended json = normproof({"replay", "np1 shape=4x4x4 regime=variance:-12 eps=0x1p-6 seed=3", "--impl",
                                "mutant.eps_outside_root", "--json", "-"});
  const Json report = Json::parse(json.out);
  EXPECT_THAT(schema("report-1.json").breaches(report), IsEmpty());
  EXPECT_THAT(report["kernels"][0]["failures"][0]["diagnosis"], HasSubstr("eps outside the root"));
  EXPECT_EQ(report["kernels"][0]["failures"][0]["severity"], "critical");
  EXPECT_FALSE(report["kernels"][0]["failures"][0].contains("let_pass_by")) << "nobody would";
}

/// Shrinking that stops to look at the clause: the two values below are a wrong variance whatever else they
/// are.
TEST(Explain, a_smallest_input_that_fails_otherwise_or_not_at_all) {
  const Scratch scratch;
  const std::string recipe = "np1 shape=8x4x4x4 regime=offset:1000", file = scratch / "small.json";
  const Ended ended =
      normproof({"explain", recipe, "--impl", "mutant.textbook_variance", "--smallest", file});
  EXPECT_EQ(ended.code, 1) << ended.err;
  EXPECT_THAT(ended.out, HasSubstr("smallest: 2x1: x = "));
  const Json again =
      Json::parse(normproof({"replay", file, "--impl", "mutant.textbook_variance", "--json", "-"}).out);
  EXPECT_EQ(again["kernels"][0]["failures"][0]["clause"], "BN-NUM-2");
  const Ended right = normproof({"explain", recipe, "--impl", "cpu.two_pass_f64", "--smallest", file + "2"});
  EXPECT_EQ(right.code, 2);
  EXPECT_THAT(right.err, HasSubstr("does not fail on this case"));
  EXPECT_FALSE(std::filesystem::exists(file + "2"));
}

TEST(Check, a_failure_that_does_not_say_who_would_have_missed_it) {
  const Ended shown =
      normproof({"replay", "np1 dtype=f16 shape=4x4x4 seed=3", "--impl", "mutant.y_truncated"});
  EXPECT_EQ(shown.code, 1);
  EXPECT_THAT(shown.out,
              HasSubstr("severity: minor; the tolerances of pytorch, onednn, miopen, onnx let this"));
}

TEST(Mutants, a_matrix_that_its_schema_does_not_allow) {
  const std::vector<std::string> few{
      "mutants", "--impl",   "mutant.eps_o*", "--impl",   "mutant.index_32_bit",
      "--twins", "cpu.t*",   "--regime",      "variance", "--dtype",
      "f32",     "--layout", "contiguous",    "--quiet"};
  std::vector<std::string> words = few;
  words.insert(words.end(), {"--diagnosis", "--json", "-"});
  const Ended ended = normproof(words);
  EXPECT_EQ(ended.code, 0) << ended.err;
  const Json report = Json::parse(ended.out);
  EXPECT_THAT(schema("mutants-1.json").breaches(report), IsEmpty());
  EXPECT_EQ(report["kernels"].size(), 4U);
  EXPECT_EQ(report["peers"].size(), 7U);
  EXPECT_EQ(report["diagnosis"].size(), 2U);
  for (const Json& kernel : report["kernels"])
    EXPECT_EQ(kernel["killed"], kernel["wrong"] && kernel["excuse"].get<std::string>().empty());
}

TEST(Mutants, a_table_that_is_wider_than_a_terminal) {
  const Ended ended =
      normproof({"mutants", "--impl", "mutant.eps_o*", "--impl", "mutant.index_32_bit", "--twins", "cpu.t*",
                 "--regime", "variance", "--dtype", "f32", "--diagnosis"});
  EXPECT_THAT(ended.out, AllOf(HasSubstr("Kill matrix"), HasSubstr("index_32_bit"), HasSubstr("SOUND"),
                               HasSubstr("left out")));
  std::size_t start = 0;
  while (start < ended.out.size()) {
    const std::size_t end = ended.out.find('\n', start);
    EXPECT_LE(end - start, 80U) << ended.out.substr(start, end - start);
    start = end + 1;
  }
}

/// A kernel that nothing kills and nothing excuses.
TEST(Mutants, a_survivor_that_looks_like_success) {
  const Ended ended = normproof(
      {"mutants", "--impl", "cpu.two_pass_f64", "--twins", "none", "--regime", "variance", "--dtype", "f32"});
  EXPECT_EQ(ended.code, 1);
  EXPECT_THAT(ended.out, HasSubstr("NOT SOUND"));
  EXPECT_EQ(normproof({"mutants", "--impl", "mutant.y_truncated", "--twins", "none", "--dtype", "f32"}).code,
            4);
}

/// One seed's luck: a kernel that some other seed spares.
TEST(Mutants, a_kill_that_hangs_on_the_seed) {
  const auto over_seeds = [](const char* kernel) {
    return normproof({"mutants", "--impl", kernel, "--seeds", "2", "--regime", "variance", "--dtype", "f32"});
  };
  const Ended dead = over_seeds("mutant.eps_omitted");
  EXPECT_EQ(dead.code, 0) << dead.err;
  EXPECT_THAT(dead.out, HasSubstr("1 of 1 wrong kernels"));
  const Ended alive = over_seeds("cpu.two_pass_f64");
  EXPECT_EQ(alive.code, 1);
  EXPECT_THAT(alive.out, AllOf(HasSubstr("too few"), HasSubstr("0 of 1 wrong kernels")));
  EXPECT_EQ(normproof({"mutants", "--seeds", "2", "--diagnosis"}).code, 2);
}

TEST(Check, nothing_verified_that_looks_like_success) {
  EXPECT_EQ(normproof(small({"cpu.inference_folded", "--pass", "forward-training"})).code, 4);
  EXPECT_EQ(normproof({"check", "cpu.two_pass_f64", "--regime", "pair", "--dtype", "bf16"}).code, 4)
      << "no case at all";
}

TEST(Check, stdout_with_more_than_the_report_on_it) {
  const Ended ended = normproof(small({"cpu.two_pass_f64", "--json", "-"}));
  EXPECT_EQ(ended.code, 0);
  EXPECT_THAT(schema("report-1.json").breaches(Json::parse(ended.out)), IsEmpty());
  EXPECT_THAT(ended.err, HasSubstr("CONFORMS"));
  const Ended quiet = normproof(small({"cpu.two_pass_f64", "--junit", "-", "--quiet"}));
  EXPECT_EQ(xml_error(quiet.out), "");
  EXPECT_THAT(quiet.err, IsEmpty());
}

TEST(Check, a_report_that_is_not_written_when_kernels_fail) {
  const Scratch scratch;
  const Ended ended = normproof(
      small({"cpu.*", "mutant.*", "--json", scratch / "r.json", "--junit", scratch / "r.xml", "--quiet"}));
  EXPECT_EQ(ended.code, 1);
  EXPECT_EQ(std::ranges::count(ended.out, '\n'), 2) << "the last line, wrapped: " << ended.out;
  EXPECT_THAT(scratch.files(), testing::UnorderedElementsAre("r.json", "r.xml")) << "no temporary file stays";
  const Json report = Json::parse(file_text(scratch / "r.json"));
  EXPECT_THAT(schema("report-1.json").breaches(report), IsEmpty());
  EXPECT_EQ(report["exit"], 1);
  EXPECT_EQ(xml_error(file_text(scratch / "r.xml")), "");
}

TEST(Check, a_report_that_depends_on_the_threads) {
  const auto report = [](const char* threads) {
    Json out = Json::parse(
        normproof(small({"cpu.*", "mutant.*", "--json", "-", "--quiet", "--threads", threads})).out);
    for (const char* field : {"timings", "machine", "command"})
      out.erase(field);
    return out;
  };
  const Json one = report("1");
  EXPECT_EQ(one, report("2"));
  EXPECT_GT(one["kernels"].size(), 7U);
}

TEST(Check, another_seed_that_gives_the_same_cases) {
  const Ended a = normproof(small({"cpu.two_pass_f64", "--json", "-", "--quiet", "--seed", "1"}));
  const Ended b = normproof(small({"cpu.two_pass_f64", "--json", "-", "--quiet", "--seed", "2"}));
  EXPECT_NE(Json::parse(a.out)["kernels"], Json::parse(b.out)["kernels"]);
}

TEST(Check, a_hostile_library_that_takes_the_program_down) {
  const Ended ended = normproof({"check", NORMPROOF_HOSTILE, "--impl", "hostile.segfault", "--impl",
                                 "hostile.exit_zero", "--regime", "pair"});
  EXPECT_EQ(ended.code, 1);
  EXPECT_THAT(ended.out,
              AllOf(HasSubstr("CRASHED"), HasSubstr("hostile.segfault"), HasSubstr("hostile.exit_zero")));
  EXPECT_THAT(ended.out, HasSubstr("--impl " NORMPROOF_HOSTILE)) << "the replay line has to name the library";
}

TEST(Check, a_gate_that_the_options_do_not_reach) {
  // Welford is no two-pass variance, and no sum in f32 is correctly rounded everywhere.
  EXPECT_EQ(
      normproof({"check", "cpu.welford_f32", "--regime", "offset", "--dtype", "f32", "--no-merged"}).code, 1);
  EXPECT_EQ(normproof(small({"cpu.pairwise_f32", "--grade", "correctly-rounded"})).code, 1);
}

TEST(Check, a_case_file_that_says_something_else_than_its_recipe) {
  const Scratch scratch;
  const std::string recipe = "np1 shape=8x2x3 regime=offset:1000 seed=5";
  EXPECT_EQ(normproof({"replay", recipe, "--impl", "cpu.two_pass_f64", "--dump", scratch / "case.json"}).code,
            0);
  const Ended by_recipe = normproof({"truth", recipe}), by_file = normproof({"truth", scratch / "case.json"});
  EXPECT_EQ(by_recipe.out, by_file.out);
  EXPECT_THAT(by_file.out, HasSubstr("running_var[1]"));
  const Ended ended =
      normproof({"check", "mutant.tail_dropped", "--case", scratch / "case.json", "--junit", "-"});
  EXPECT_EQ(ended.code, 1);
  EXPECT_THAT(ended.out,
              AllOf(HasSubstr("forward-training f32 contiguous mean"), HasSubstr(scratch / "case.json")));
}

TEST(Ulp, a_table_without_its_columns_or_a_kernel_that_is_not_measured) {
  const Ended ended = normproof({"ulp", "cpu.welford_f32", "--regime", "offset", "--dtype", "f32"});
  EXPECT_EQ(ended.code, 0);
  for (const char* part : {"cpu.welford_f32", "E_raw", "E_cond", "p99.9", "best grade", "running_var", "▁",
                           "nearest to its bound", "normproof replay '"})
    EXPECT_THAT(ended.out, HasSubstr(part));
  EXPECT_EQ(normproof({"ulp", "cpu.inference_folded", "--pass", "forward-training"}).code, 4);
}

TEST(Compare, a_difference_that_is_not_shown_or_seen_where_there_is_none) {
  const std::vector<std::string> where{"--regime", "offset", "--dtype", "f32", "--layout", "contiguous"};
  const auto compared = [&](const char* a, const char* b, std::vector<std::string> more = {}) {
    std::vector<std::string> words{"compare", a, b};
    words.insert(words.end(), where.begin(), where.end());
    words.insert(words.end(), more.begin(), more.end());
    return normproof(words);
  };
  const Ended ended = compared("cpu.two_pass_f64", "mutant.textbook_variance");
  EXPECT_EQ(ended.code, 0) << ended.err;
  for (const char* part : {"DIFFERENT: ", "running_var", "largest: ", "normproof replay 'np1 ",
                           "--impl cpu.two_pass_f64 --impl mutant.textbook_variance"})
    EXPECT_THAT(ended.out, HasSubstr(part));
  EXPECT_THAT(compared("cpu.welford_f32", "cpu.welford_f32").out, HasSubstr("THE SAME: "));
  const Ended nothing = compared("cpu.welford_f32", "cpu.inference_folded");
  EXPECT_EQ(nothing.code, 4);
  EXPECT_THAT(nothing.out, HasSubstr("not this kernel's pass"));
  EXPECT_EQ(compared("cpu.two_pass_f64", "hostile.segfault", {"--impl", NORMPROOF_HOSTILE}).code, 4)
      << "a crash is no comparison";
}

TEST(Claims, a_claim_that_is_not_told_or_an_inference_without_its_evidence) {
  const Ended told = normproof({"claims", "cpu.welford_f32"});
  EXPECT_EQ(told.code, 0) << told.err;
  EXPECT_THAT(told.out, AllOf(HasSubstr("forward-training f32 contiguous"), HasSubstr("24 bits (f32)"),
                              HasSubstr("merged"), HasSubstr("at n = 16,384")));
  EXPECT_THAT(told.out, Not(HasSubstr("inferred")));

  const Ended ended = normproof({"claims", "cpu.pairwise_f32", "--infer", "--json", "-"});
  ASSERT_EQ(ended.code, 0) << ended.err;
  const Json claims = Json::parse(ended.out);
  EXPECT_THAT(schema("claims-1.json").breaches(claims), IsEmpty());
  const Json& problem = claims["problems"][0];
  EXPECT_EQ(problem["declared"][0]["accumulator_bits"], 24);
  EXPECT_EQ(problem["inferred"]["explanations"][0]["accumulator_bits"], 24);
  EXPECT_EQ(problem["inferred"]["explanations"][0]["y"], "folded");
  for (const Json& denied : problem["inferred"]["denied"])
    EXPECT_TRUE(denied["ratio"] == "inf" || denied["ratio"] > 1) << denied;
  EXPECT_FALSE(problem["inferred"]["denied"].empty());
}

TEST(Claims, a_kernel_that_completes_nothing_and_looks_explained) {
  const Ended ended = normproof({"claims", "hostile.segfault", "--impl", NORMPROOF_HOSTILE, "--infer"});
  EXPECT_EQ(ended.code, 4);
  EXPECT_THAT(ended.out, AllOf(HasSubstr("crashed"), HasSubstr("INCONCLUSIVE")));
}

TEST(Claims, an_inference_that_says_nothing_of_a_kernel_without_a_forward_in_training) {
  const Ended ended = normproof({"claims", "cpu.inference_folded", "--infer"});
  EXPECT_EQ(ended.code, 0) << ended.err;
  EXPECT_THAT(ended.out, AllOf(HasSubstr("forward-inference f32"), HasSubstr("inferred  folded")));
  EXPECT_THAT(ended.out, Not(AnyOf(HasSubstr("reduction depth"), HasSubstr("variance"))));
}

TEST(Truth, numbers_that_are_not_the_worked_example) {
  // {2, 4, 6, 8} and eps = 0: mean 5, variance 5, invstd 1/sqrt(5).
  const Scratch scratch;
  std::ofstream(scratch / "case.json")
      << R"({"normproof_case": 1, "pass": "forward-training", "dtype": "f64", "shape": [4, 1],
 "layout": "contiguous", "dialect": "documented", "eps": "0x0p+0", "x": ["0x1p+1", "0x1p+2", "0x1.8p+2", "0x1p+3"]})";
  const Ended ended = normproof({"truth", scratch / "case.json", "--json", "-"});
  ASSERT_EQ(ended.code, 0) << ended.err;
  const Json truth = Json::parse(ended.out);
  EXPECT_THAT(schema("truth-1.json").breaches(truth), IsEmpty());
  EXPECT_EQ(truth["outputs"]["mean"]["hex"][0], "0x1.4p+2");
  EXPECT_EQ(truth["outputs"]["var"]["decimal"][0], "5");
  EXPECT_EQ(truth["outputs"]["mean"]["off"][0], 0.0);
  EXPECT_EQ(truth["outputs"]["invstd"]["hex"][0], "0x1.c9f25c5bfedd9p-2");
  EXPECT_NE(truth["outputs"]["invstd"]["off"][0], 0.0);
  EXPECT_EQ(truth["outputs"]["y"]["hex"].size(), 4U);
}

TEST(Truth, a_refused_case_that_gets_numbers) {
  const Ended ended = normproof({"truth", "np1 shape=1x3 dialect=pytorch/F.batch_norm", "--json", "-"});
  EXPECT_EQ(ended.code, 0);
  const Json truth = Json::parse(ended.out);
  EXPECT_THAT(schema("truth-1.json").breaches(truth), IsEmpty());
  EXPECT_TRUE(truth.contains("refused"));
}

TEST(Findings, a_recorded_finding_that_is_gone_or_other_and_goes_unnoticed) {
  const Scratch scratch;
  const std::string recipe = "np1 shape=8x2x3 regime=normal seed=5";
  const Ended replayed = normproof({"replay", recipe, "--impl", "mutant.tail_dropped", "--json", "-"});
  const Json failure = Json::parse(replayed.out)["kernels"][0]["failures"][0];
  Json finding{{"normproof_finding", 1},
               {"id", "tail"},
               {"title", "the tail is dropped"},
               {"library", "normproof mutants"},
               {"version", "1"},
               {"build", "any"},
               {"kernel", "mutant.tail_dropped"},
               {"recipe", recipe},
               {"grade", "blocked"},
               {"status", failure["status"]},
               {"clause", failure["clause"]},
               {"output", failure["output"]},
               {"measured", "0x1p+0"},
               {"permitted", "0x1p-1"},
               {"explanation", "on purpose"}};
  EXPECT_THAT(schema("finding-1.json").breaches(finding), IsEmpty());
  const auto run = [&](const Json& f) {
    std::ofstream(scratch / "f.json") << f;
    return normproof({"findings", "--run", scratch / "f.json"});
  };
  EXPECT_EQ(run(finding).code, 0);
  EXPECT_THAT(run(finding).out, AllOf(HasSubstr("still there"),
                                      HasSubstr("1 finding: 1 still there, 0 gone, 0 other, 0 SKIPPED")));
  Json gone = finding;
  gone["kernel"] = "cpu.two_pass_f64";
  EXPECT_EQ(run(gone).code, 1);
  EXPECT_THAT(run(gone).out, HasSubstr("1 gone"));
  Json other = finding;
  other["clause"] = "BN-INF-2";
  EXPECT_EQ(run(other).code, 1);
  EXPECT_THAT(run(other).out, HasSubstr("1 other"));
  Json absent = finding;
  absent["kernel"] = "vendor.batch_norm";
  EXPECT_EQ(run(absent).code, 4) << "only skipped: nothing was verified";
  EXPECT_THAT(run(absent).out, HasSubstr("1 SKIPPED"));
  absent["kernel"] = "onednn.nosuch";  // built or not: nothing to run
  EXPECT_THAT(run(absent).out, HasSubstr("1 SKIPPED"));
}

TEST(Findings, a_finding_that_comes_along_and_breaks_its_schema) {
  const std::filesystem::path folder = std::filesystem::path(NORMPROOF_SCHEMAS).parent_path() / "findings";
  if (!std::filesystem::is_directory(folder))
    GTEST_SKIP() << "there is no finding yet";
  const Schema valid = schema("finding-1.json");
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    if (entry.path().extension() == ".json") {
      const Json finding = Json::parse(file_text(entry.path().string()));
      EXPECT_THAT(valid.breaches(finding), IsEmpty()) << entry.path();
      EXPECT_EQ(finding["id"], entry.path().stem().string());
    }
}

TEST(Vectors, a_vector_that_is_wrong_and_goes_unnoticed) {
  const Scratch scratch;
  Json vectors = Json::parse(
      R"({"normproof_vectors": 1, "flags": {"f": "flag"}, "vectors": [{"id": "one/f64", "comment": "c",
    "flags": ["f"], "provenance": {"source": "s", "computed": "c"}, "result": "valid", "outcome": "outputs",
    "case": {"normproof_case": 1, "pass": "forward-training", "dtype": "f64", "shape": [4, 1], "layout": "contiguous",
             "dialect": "documented", "eps": "0x0p+0", "x": ["0x1p+1", "0x1p+2", "0x1.8p+2", "0x1p+3"]},
    "expected": {"mean": ["0x1.4p+2"], "var": ["0x1.4p+2"]}}]})");
  const auto run = [&] {
    std::ofstream(scratch / "v.json") << vectors;
    return normproof({"vectors", scratch / ""});
  };
  EXPECT_EQ(run().code, 0) << run().out;
  vectors["vectors"][0]["expected"]["mean"][0] = "0x1.41p+2";
  EXPECT_EQ(run().code, 1) << "a valid value that is not the oracle's";
  vectors["vectors"][0]["result"] = "acceptable";
  EXPECT_EQ(run().code, 1) << "an acceptable value that the judge fails";
  vectors["vectors"][0]["result"] = "invalid";
  EXPECT_EQ(run().code, 0) << "an invalid value that the judge fails";
  vectors["vectors"][0]["expected"]["mean"][0] = "0x1.4p+2";
  EXPECT_EQ(run().code, 1) << "an invalid value that the judge lets pass";
}

TEST(Vectors, one_that_comes_along_and_is_not_as_it_says) {
  const Ended ended = normproof({"vectors"});
  EXPECT_EQ(ended.code, 0) << ended.out;
}

TEST(Shapes, layers_that_are_not_tried) {
  const auto run = [](std::vector<std::string> more) {
    std::vector<std::string> words{
        "check", "cpu.two_pass_f64", "cpu.inference_folded", "--json", "-", "--dtype", "f32"};
    words.insert(words.end(), more.begin(), more.end());
    return normproof(words);
  };
  const Scratch scratch;
  std::ofstream(scratch / "mine.txt") << "# a layer\n2x3x5x5\n4x7\n";
  const Ended own = run({"--shapes", scratch / "mine.txt"});
  ASSERT_EQ(own.code, 0) << own.err;
  const Json report = Json::parse(own.out);
  EXPECT_EQ(report["profile"], "shapes");
  EXPECT_GE(report["cases_tried"], 6);
  EXPECT_GT(report["kernels"][0]["judgements"], 0);
  const Ended named = run({"--shapes", "resnet50", "--batch", "1", "--pass", "forward-inference"});
  EXPECT_EQ(named.code, 0) << named.err;
  const Ended unknown = run({"--shapes", "resnet51"});
  EXPECT_EQ(unknown.code, 2);
  EXPECT_THAT(unknown.err, HasSubstr("resnet50"));
  EXPECT_EQ(run({"--shapes", "no/file"}).code, 3);
  EXPECT_EQ(run({"--shapes", "resnet50", "--case", "c.json"}).code, 2);
}

TEST(Safetensors, an_answer_in_another_order_or_format) {
  const Scratch scratch;
  const std::string path = scratch / "t.safetensors";
  const std::string recipe = "np1 dtype=bf16 shape=2x3x2 regime=normal seed=4";
  ASSERT_EQ(normproof({"truth", recipe, "--safetensors", path}).code, 0);
  const auto content = properties::parse_safetensors(file_text(path), path);
  const Json truth = Json::parse(normproof({"truth", recipe, "--json", "-"}).out);
  const auto& y = content.tensors.at("y");
  EXPECT_EQ(y.format.name, "bf16");
  EXPECT_EQ(y.shape, (std::vector<std::int64_t>{2, 3, 2}));
  // Channel 2 of sample 1, place 1 is element 3 of its channel.
  const double value =
      *properties::parse_hex_float(truth["outputs"]["y"]["hex"][2 * 4 + 3].get<std::string>());
  EXPECT_EQ(y.values[(1 * 3 + 2) * 2 + 1], value);
  EXPECT_EQ(content.tensors.at("mean").shape, std::vector<std::int64_t>{3});
  EXPECT_EQ(content.tensors.at("y.off").values[(1 * 3 + 2) * 2 + 1], truth["outputs"]["y"]["off"][11]);
  const Ended refused =
      normproof({"truth", "np1 shape=1x3 dialect=pytorch/F.batch_norm", "--safetensors", scratch / "no"});
  EXPECT_EQ(refused.code, 3);
  EXPECT_FALSE(std::filesystem::exists(scratch / "no")) << "half-written";
}

std::string first_line_beyond_80(const std::string& text) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);)
    if (line.size() > 80 && line.find("normproof ") == line.npos)  // a command to copy stays in one piece
      return line;
  return "";
}

TEST(Help, a_command_without_examples_or_exit_codes) {
  const Ended help = normproof({"--help"});
  EXPECT_EQ(help.code, 0);
  EXPECT_EQ(first_line_beyond_80(help.out), "");
  for (const char* command : {"check", "ulp", "compare", "claims", "replay", "explain", "truth", "mutants",
                              "list", "findings", "vectors", "hunt", "exhaustive"}) {
    EXPECT_THAT(help.out, HasSubstr(std::string("\n  ") + command));
    const Ended own = normproof({command, "--help"});
    EXPECT_EQ(own.code, 0);
    EXPECT_THAT(own.out, HasSubstr("Exit codes:")) << command;
    EXPECT_EQ(first_line_beyond_80(own.out), "") << command;
  }
  const Ended version = normproof({"--version"});
  EXPECT_EQ(version.code, 0);
  EXPECT_THAT(version.out, StartsWith("normproof " NORMPROOF_VERSION));
}

TEST(List, a_section_that_is_missing_or_empty) {
  const Ended ended = normproof({"list"});
  EXPECT_EQ(ended.code, 0);
  for (const char* part : {"cpu.welford_f32", "mutant.textbook_variance", "documented",
                           "pytorch/F.batch_norm", "correctly-rounded", "offset", "BN-NUM-1", "quick"})
    EXPECT_THAT(ended.out, HasSubstr(part));
}

}  // namespace
}  // namespace normproof::ci
