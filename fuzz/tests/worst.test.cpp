// The worst known inputs: every kernel still keeps its bounds on them and is still as far off as recorded.
#include "normproof/fuzz/worst.h"

#include <filesystem>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels.h"
#include "normproof/properties/case_file.h"
#include "normproof/properties/recipe.h"

namespace normproof::fuzz {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
namespace fs = std::filesystem;

TEST(Worst, known_inputs_break_no_bound_and_are_as_bad_as_recorded) {
  const std::vector<Worst> entries = read_worst(NORMPROOF_WORST);
  ASSERT_FALSE(entries.empty());
  for (const Worst& entry : entries) {
    Probe probe(kernel_of(entry.kernel), {entry.output, entry.objective, {}});
    const Case c = properties::read_case_file(fs::path(NORMPROOF_WORST) / entry.file);
    EXPECT_THAT(complaint(entry, probe(c)), IsEmpty()) << entry.file;
    EXPECT_EQ(entry.file, worst_file_name(entry.kernel, c.problem, entry.output, entry.objective));
  }
}

TEST(Worst, no_case_file_lies_beside_the_index_without_an_entry) {
  std::set<std::string> known{"worst.json"}, there;
  for (const Worst& entry : read_worst(NORMPROOF_WORST))
    known.insert(entry.file);
  for (const auto& file : fs::directory_iterator(NORMPROOF_WORST))
    there.insert(file.path().filename().string());
  EXPECT_EQ(known, there);
}

TEST(Worst, a_wrong_kernel_on_a_known_input_is_named) {
  const std::vector<Worst> entries = read_worst(NORMPROOF_WORST);
  const auto entry = std::ranges::find_if(entries, [](const Worst& w) { return w.output == Output::var; });
  ASSERT_NE(entry, entries.end());
  Probe wrong(kernel_of("mutant.textbook_variance"), {entry->output, entry->objective, {}});
  const Case c = properties::read_case_file(fs::path(NORMPROOF_WORST) / entry->file);
  EXPECT_FALSE(complaint(*entry, wrong(c)).empty());
}

TEST(Worst, a_value_that_is_no_longer_reproduced_is_named) {
  Worst entry;
  entry.value = 0.5;
  Score now;
  now.value = now.ratio = 0.5;
  EXPECT_THAT(complaint(entry, now), IsEmpty());
  now.value = 0.49;
  EXPECT_THAT(complaint(entry, now), HasSubstr("0.5 is recorded"));
  now.ratio = 1.01;
  EXPECT_THAT(complaint(entry, now), HasSubstr("breaks its bound"));
  EXPECT_THAT(complaint(entry, Score{}), HasSubstr("proves nothing"));
}

TEST(Worst, a_milder_case_does_not_take_the_place_of_a_worse_one) {
  const fs::path folder = fs::path(testing::TempDir()) / "normproof_worst";
  fs::remove_all(folder);
  const Case c = properties::expand(properties::Recipe{});
  Worst entry{.kernel = "cpu.some", .value = 0.5, .ratio = 0.25, .label = "searched"};
  EXPECT_TRUE(keep_worst(folder, entry, c));
  entry.value = 0.4;
  EXPECT_FALSE(keep_worst(folder, entry, c));
  entry.value = 0.6;
  EXPECT_TRUE(keep_worst(folder, entry, c));
  const std::vector<Worst> entries = read_worst(folder);
  ASSERT_EQ(entries.size(), 1U);
  EXPECT_EQ(entries[0].value, 0.6);
  EXPECT_EQ(properties::read_case_file(folder / entries[0].file).x, c.x);
}

TEST(Worst, an_index_that_is_none_is_refused_with_its_reason) {
  const auto refusal = [](const char* text) {
    try {
      parse_worst(text, "here");
    } catch (const std::invalid_argument& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_THAT(refusal("{"), HasSubstr("here"));
  EXPECT_THAT(refusal(R"({"normproof_worst": 2, "entries": []})"), HasSubstr("is not 1"));
  EXPECT_THAT(
      refusal(R"({"normproof_worst": 1, "entries": [{"case": "../a.json", "kernel": "k", "label": ""}]})"),
      HasSubstr("'case' is '../a.json'"));
  EXPECT_THAT(
      refusal(
          R"({"normproof_worst": 1, "entries": [{"case": "a", "kernel": "k", "label": "", "output": "z", "objective": "ratio"}]})"),
      HasSubstr("'output'"));
}

}  // namespace
}  // namespace normproof::fuzz
