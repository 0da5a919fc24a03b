// Findings: what a file must say before it counts as one.
#include "normproof/properties/finding.h"

#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "normproof/properties/case_file.h"

namespace normproof::properties {
namespace {

using testing::AllOf;
using testing::HasSubstr;

const std::string recipe = R"("recipe": "np1 pass=backward-training dtype=bf16 shape=2x4")";
const std::string given = R"("case": {"normproof_case": 1, "pass": "forward-training", "dtype": "f64",
  "shape": [2, 1], "eps": "0x1p-1", "x": ["0x1p+0", "0x1p+1"]})";

std::string file(const std::string& shown_by, const std::string& status = "FAIL") {
  return R"({"normproof_finding": 1, "id": "a-b", "title": "t", "library": "l", "version": "v", "build": "b",
    "kernel": "k", "grade": "tree", "status": ")" +
         status + R"(", "clause": "c", "output": "dgamma", "measured": "0x1.8p+1", "permitted": "inf",
    "explanation": "e", )" +
         shown_by + "}";
}

std::string refusal(const std::string& text) {
  try {
    parse_finding(text, "f.json");
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "accepted";
}

TEST(Finding, a_field_that_is_read_into_another) {
  const Finding f = parse_finding(file(recipe, "CONSEQUENCE"), "f.json");
  EXPECT_EQ(f.id + f.title + f.library + f.version + f.build + f.kernel + f.clause + f.explanation,
            "a-btlvbkce");
  EXPECT_EQ(f.recipe, "np1 pass=backward-training dtype=bf16 shape=2x4");
  EXPECT_FALSE(f.given);
  EXPECT_EQ(f.grade, Grade::tree);
  EXPECT_EQ(f.status, Status::consequence);
  EXPECT_EQ(f.output, Output::dgamma);
  EXPECT_EQ(f.measured, 3);
  EXPECT_EQ(f.permitted, HUGE_VAL);
}

TEST(Finding, a_case_that_is_lost_or_keeps_the_name_of_its_file) {
  const Finding f = parse_finding(file(given), "f.json");
  ASSERT_TRUE(f.given);
  EXPECT_EQ(f.given->x, (std::vector<double>{1, 2}));
  EXPECT_EQ(f.given->origin, "a-b");
  EXPECT_TRUE(f.recipe.empty());
}

TEST(Finding, one_that_shows_nothing_or_two_things) {
  EXPECT_THAT(refusal(file(recipe + ", " + given)), HasSubstr("one of the fields 'recipe' and 'case'"));
  std::string nothing = file(recipe);
  nothing.erase(nothing.find(", " + recipe), recipe.size() + 2);
  EXPECT_THAT(refusal(nothing), HasSubstr("one of the fields 'recipe' and 'case'"));
}

TEST(Finding, one_that_could_never_be_replayed) {
  EXPECT_THAT(refusal(file(R"("recipe": "np1 shape=2")")),
              AllOf(HasSubstr("f.json"), HasSubstr("'shape=2'")));
  EXPECT_THAT(refusal(file(R"("recipe": "np1 regime=pair shape=3x1")")), HasSubstr("regime=pair"));
  EXPECT_THAT(refusal(file(R"("case": {"normproof_case": 1})")), HasSubstr("'pass' is missing"));
  EXPECT_THAT(refusal(file(R"("case": 1)")), HasSubstr("no JSON object"));
}

TEST(Finding, a_word_without_a_meaning) {
  EXPECT_THAT(refusal(file(recipe, "PASS")), AllOf(HasSubstr("'status' is 'PASS'"), HasSubstr("nearest")));
  EXPECT_THAT(refusal(file(recipe + R"(, "recpie": "")")),
              HasSubstr("unknown field 'recpie'; the nearest is 'recipe'"));
  EXPECT_THAT(refusal("{"), HasSubstr("'f.json' is no finding"));
  EXPECT_THAT(refusal("[]"), HasSubstr("'f.json' is no finding"));
  EXPECT_THAT(refusal(R"({"normproof_finding": 2})"), HasSubstr("version 1"));
}

}  // namespace
}  // namespace normproof::properties
