// The views of a report, on reports made by hand: what each must show, and what must never happen to it.
#include "normproof/ci/report.h"

#include <cmath>
#include <fstream>
#include <sstream>

#include <gmock/gmock.h>

#include "normproof/ci/words.h"
#include "schema.h"
#include "specimen.h"
#include "xml.h"

namespace normproof::ci {
namespace {

using namespace properties;
using testing::AnyOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::StartsWith;

std::vector<std::string> lines(const std::string& text) {
  std::vector<std::string> out;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);)
    out.push_back(line);
  return out;
}

std::vector<std::string> too_wide(const std::string& text) {
  std::vector<std::string> out;
  for (const std::string& line : lines(text))
    if (columns(line) > 80 && line.find("normproof replay '") == std::string::npos)
      out.push_back(line);
  return out;
}

nlohmann::ordered_json schema(const char* name) {
  std::ifstream file(std::string(NORMPROOF_SCHEMAS) + "/" + name);
  return nlohmann::ordered_json::parse(file);
}

TEST(CheckText, a_line_wider_than_a_terminal) {
  EXPECT_THAT(too_wide(check_text(specimen(), {})), IsEmpty());
}

TEST(CheckText, an_oracle_that_contradicts_itself) {
  Report report = specimen();
  report.trial.kernels.clear();
  report.trial.audit.audited = 40;
  EXPECT_THAT(check_text(report, {}), HasSubstr("40 of them decided again in multiprecision"));
  report.trial.audit.disagreeing = 1;
  report.trial.audit.first = "y[3] of np1";
  EXPECT_THAT(check_text(report, {}), HasSubstr("1 of 40 audited values disagree"));
  EXPECT_THAT(check_text(report, {}), HasSubstr("y[3] of np1"));
  EXPECT_THAT(summary_line(report, {}), StartsWith("ORACLE IN DOUBT"));
  EXPECT_EQ(report.exit(), properties::Exit::could_not_run);
}

TEST(AccuracyText, a_table_wider_than_a_terminal) {
  for (const Rows rows : {Rows::by_output, Rows::by_regime, Rows::all})
    EXPECT_THAT(too_wide(accuracy_text(specimen(), {}, rows)), IsEmpty());
}

TEST(CheckText, a_failure_without_its_numbers_or_its_replay_line) {
  const std::string text = check_text(specimen(), {});
  for (const char* part : {"FAIL cpu.bad", "PASS cpu.good", "INCONCLUSIVE cuda.idle", "SKIPPED libtorch",
                           "BN-NUM-2", "80.25", "0x1.41p+6", "79.2", "158", "12 MISTRUSTED",
                           "f64 is not supported", "no device", "--impl cpu.bad", "tree denied by", "1,246"})
    EXPECT_THAT(text, HasSubstr(part));
  EXPECT_THAT(text, HasSubstr(std::string("normproof replay '") + specimen_recipe + "' --impl cpu.bad"));
}

TEST(CheckText, failures_of_one_kind_that_crowd_out_another) {
  // Five of running_var come before the one of y: two places must show both kinds.
  const std::string text = check_text(specimen(), {}, 2);
  EXPECT_THAT(text, HasSubstr("y of forward-training"));
  EXPECT_THAT(text, HasSubstr("and 28 more"));
}

TEST(SummaryLine, a_failure_that_the_last_line_forgets) {
  Report report = specimen();
  EXPECT_THAT(summary_line(report, {}), StartsWith("DOES NOT CONFORM"));
  EXPECT_EQ(report.exit(), Exit::does_not_conform);
  report.trial.kernels.erase(report.trial.kernels.begin() + 1);
  EXPECT_THAT(summary_line(report, {}), StartsWith("CONFORMS"));
  report.trial.kernels.erase(report.trial.kernels.begin());
  EXPECT_THAT(summary_line(report, {}), StartsWith("INCONCLUSIVE"));
  EXPECT_EQ(report.exit(), Exit::inconclusive);
  report.trial.kernels.clear();
  EXPECT_EQ(report.exit(), Exit::inconclusive) << "no kernel at all must not look like success";
}

TEST(ReplayLine, a_replay_under_another_gate) {
  Report report = specimen();
  report.trial.gate = {Grade::tree, false, false, false};
  report.libraries = {"./my folder/libgood.so"};
  EXPECT_EQ(replay_line(report, report.trial.kernels[0].kernel, "case.json"),
            "normproof replay case.json --impl cpu.good --impl './my folder/libgood.so' --grade tree "
            "--no-merged --no-folded");
}

TEST(AccuracyText, rounding_up_to_100_percent) {
  EXPECT_THAT(accuracy_text(specimen(), {}), AllOf(HasSubstr(">99.9"), Not(HasSubstr("100.0"))));
}

TEST(AccuracyText, a_nan_that_hides_in_a_number) {
  EXPECT_THAT(accuracy_text(specimen(), {}), HasSubstr("3 NaN or infinite where the truth is not"));
}

TEST(AccuracyText, a_histogram_that_loses_its_ends) {
  const std::string text = accuracy_text(specimen(), {});
  const std::size_t at = text.find("height the logarithm");
  ASSERT_NE(at, std::string::npos);
  const std::vector<std::string> block = lines(text.substr(at));
  // From 2^-8 and less to the open end: 65 columns behind the name, none of them empty.
  EXPECT_EQ(columns(block.at(1)), 13 + 65);
  EXPECT_THAT(block.at(1).substr(13), Not(HasSubstr(" ")));
}

TEST(AccuracyText, regimes_that_are_left_out_of_the_full_table) {
  Report report = specimen();
  AccuracyRow other = report.trial.kernels[0].rows[0];
  other.regime = "normal";
  report.trial.kernels[0].rows.push_back(other);
  EXPECT_THAT(accuracy_text(report, {}, Rows::all),
              AllOf(HasSubstr("mean normal"), HasSubstr("mean offset:1000")));
  EXPECT_THAT(accuracy_text(report, {}, Rows::by_regime), HasSubstr("\nnormal"));
}

TEST(Json, a_report_that_its_schema_does_not_allow) {
  const Schema valid(schema("report-1.json"));
  const auto document = nlohmann::ordered_json::parse(to_json(specimen()));
  EXPECT_THAT(valid.breaches(document), IsEmpty());

  auto broken = document;
  broken["kernels"][0]["accuracy"][0]["elements"] = -1;
  EXPECT_THAT(valid.breaches(broken), Not(IsEmpty()));
  broken = document;
  broken["kernels"][1]["failures"][0]["got"]["hex"] = "80.25";
  EXPECT_THAT(valid.breaches(broken), Not(IsEmpty()));
  broken = document;
  broken["kernels"][1].erase("verdict");
  EXPECT_THAT(valid.breaches(broken), Not(IsEmpty()));
  broken = document;
  broken["surprise"] = 1;
  EXPECT_THAT(valid.breaches(broken), Not(IsEmpty()));
}

TEST(Json, an_infinity_that_becomes_null) {
  EXPECT_THAT(to_json(specimen()), Not(HasSubstr(": null,\n     \"max_cond\"")));
  const auto document = nlohmann::ordered_json::parse(to_json(specimen()));
  EXPECT_EQ(document["kernels"][0]["accuracy"][0]["max_cond"], "inf");
  EXPECT_EQ(document["kernels"][1]["failures"][5]["got"]["hex"], "nan");
  EXPECT_EQ(document["kernels"][1]["failures"][5]["ratio"], "inf");
  EXPECT_EQ(document["kernels"][1]["failures"][0]["got"]["hex"], "0x1.41p+6");
}

TEST(Json, times_outside_their_own_field) {
  Report slow = specimen(), fast = specimen();
  slow.trial.seconds = 99;
  slow.trial.truth_seconds = 98;
  slow.trial.kernels[0].seconds = 97;
  slow.machine.threads = 2;
  auto a = nlohmann::ordered_json::parse(to_json(slow)), b = nlohmann::ordered_json::parse(to_json(fast));
  EXPECT_NE(a, b);
  for (const char* field : {"timings", "machine", "command"}) {
    a.erase(field);
    b.erase(field);
  }
  EXPECT_EQ(a, b);
}

TEST(Json, a_kernel_whose_message_is_no_utf8) {
  Report report = specimen();
  report.trial.kernels[0].kernel.summary = "\xff\xfe";
  EXPECT_TRUE(nlohmann::ordered_json::accept(to_json(report)));
}

TEST(Junit, xml_that_is_not_well_formed) {
  Report report = specimen();
  report.trial.kernels[1].failures[0].note = "a < b && \"c\" > 'd'\x01 \xff end";
  report.trial.kernels[0].kernel.name = "<evil>&\"";
  EXPECT_EQ(xml_error(to_junit(report)), "");
  EXPECT_NE(xml_error("<a><b></a>"), "") << "the checker itself must fail on what is wrong";
  EXPECT_NE(xml_error("<a b=\"<\"/>"), "");
  EXPECT_NE(xml_error("<a>&nothing;</a>"), "");
}

TEST(Junit, a_test_case_per_key_and_output_with_its_failure) {
  const std::string xml = to_junit(specimen());
  EXPECT_THAT(
      xml, HasSubstr(
               R"(<testcase classname="cpu.good" name="forward-training f32 channels-last var" time="0"/>)"));
  EXPECT_THAT(
      xml,
      HasSubstr(
          R"(<testcase classname="cpu.bad" name="forward-training f32 channels-last running_var" time="0">)"));
  EXPECT_THAT(xml,
              HasSubstr("<failure type=\"FAIL\" message=\"FAIL BN-NUM-2 running_var: got 80.25, want 1"));
  EXPECT_THAT(xml, HasSubstr("one algorithm explains all"));
  EXPECT_THAT(xml, HasSubstr("<skipped message=\"2 cases: f64 is not supported &lt;here&gt;"));
  EXPECT_THAT(
      xml, HasSubstr("<testsuite name=\"libtorch\" tests=\"1\" failures=\"0\" errors=\"0\" skipped=\"1\""));
}

TEST(Junit, a_failing_kernel_whose_failures_were_not_kept) {
  Report report = specimen();
  report.trial.kernels[1].failures.clear();
  report.trial.kernels[1].keys.clear();
  EXPECT_THAT(to_junit(report), HasSubstr("<testsuite name=\"cpu.bad\" tests=\"2\" failures=\"1\""));
}

TEST(Junit, a_kernel_that_did_nothing_and_looks_green) {
  EXPECT_THAT(
      to_junit(specimen()),
      HasSubstr("<testsuite name=\"cuda.idle\" tests=\"2\" failures=\"0\" errors=\"0\" skipped=\"2\""));
}

TEST(Words, numbers_that_do_not_fit_their_column) {
  for (const double value : {0.0, 1e-300, 9.9e-4, 0.00123456, 0.5, 9.9994, 9.9996, 99.94, 99.96, 1234.5,
                             99999.4, 99999.6, 1.7e300, HUGE_VAL, -HUGE_VAL, std::nan("")})
    EXPECT_LE(columns(brief(value)), 7) << value;
  for (std::int64_t n = 1; n < std::int64_t{1} << 60; n = n * 3 + 1)
    EXPECT_LE(columns(brief_count(n)), 5) << n;
}

TEST(Words, a_decimal_that_reads_back_as_another_number) {
  for (const float value : {0.1F, 0x1.fffffep127F, 0x1p-149F, 3.0F, -0.0F})
    EXPECT_EQ(std::strtof(decimal(static_cast<double>(value)).c_str(), nullptr), value) << value;
  for (const double value : {0.1, 0x1p-1074, 1e300, 0x1.0000000000001p+0, 16777217.0})
    EXPECT_EQ(std::strtod(decimal(value).c_str(), nullptr), value) << value;
  EXPECT_EQ(decimal(static_cast<double>(0.1F)), "0.1");
}

TEST(Words, a_shell_that_takes_a_word_apart) {
  EXPECT_EQ(shell_word("a b"), "'a b'");
  EXPECT_EQ(shell_word("it's"), "'it'\\''s'");
  EXPECT_EQ(shell_word("cpu.welford_f32"), "cpu.welford_f32");
  EXPECT_EQ(shell_word(""), "''");
}

}  // namespace
}  // namespace normproof::ci
