// Every clause of the specification is tied to tests that CTest executed in this run. Run last, on the real
// files; and each complaint is shown a wrong thing.
//
// NORMPROOF_ACCEPT=BN-NUM-1,BN-NUM-2 (or all) records the present wording of those clauses in
// spec/clause_index.json.
#include "clause_index.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace normproof::ci {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
namespace fs = std::filesystem;

const fs::path source{NORMPROOF_SOURCE}, build{NORMPROOF_BUILD};
const fs::path index_file = source / "spec" / "clause_index.json";

std::string text_of(const fs::path& path) {
  std::ifstream in(path);
  if (!in)
    throw std::runtime_error(path.string() + " cannot be read");
  return {std::istreambuf_iterator<char>(in), {}};
}

std::string formulas_of(const std::string& derivation) {
  return fenced_blocks(text_of(source / "spec" / derivation));
}

const std::vector<ClauseText>& page() {
  static const std::vector<ClauseText> clauses = clauses_of_page(text_of(source / "spec" / "batch_norm.md"));
  return clauses;
}

std::vector<Indexed> recorded() {
  return parse_index(text_of(index_file));
}

/// Source -> binary, for the tests of this build whose mention of a clause makes them a property of it. The
/// tests of ci mention clauses as texts of a report.
std::map<std::string, std::string> binaries() {
  std::map<std::string, std::string> out;
  std::istringstream list(text_of(build / "executed.list"));
  for (std::string binary, file; list >> binary && std::getline(list >> std::ws, file);)
    out[file] = binary;
  return out;
}

std::vector<Citation> citations() {
  std::vector<Citation> out;
  for (const char* folder : {"spec", "reference", "impls", "properties", "fuzz", "ci"}) {
    const fs::path tests = source / folder / "tests";
    if (!fs::is_directory(tests))
      continue;
    for (const auto& entry : fs::directory_iterator(tests)) {
      if (!entry.is_regular_file())
        continue;
      const std::vector<Citation> found = citations_of(text_of(entry.path()), entry.path().string());
      out.insert(out.end(), found.begin(), found.end());
    }
  }
  return out;
}

void expect_none(const Complaints& complaints) {
  for (const std::string& complaint : complaints)
    ADD_FAILURE() << complaint;
}

// ---- the real files

TEST(ClauseIndex, a_list_of_clauses_that_is_not_the_pages) {
  ASSERT_GT(page().size(), 80U);
  expect_none(page_against_list(page(), clause_entries(text_of(source / "spec" / "clauses.json"))));
}

TEST(ClauseIndex, a_reworded_clause_whose_tests_nobody_looked_at) {
  const std::vector<Indexed> now = reworded_index(page(), recorded(), formulas_of);
  if (const char* accepted = std::getenv("NORMPROOF_ACCEPT")) {
    const std::string ids = ',' + std::string(accepted) + ',';
    std::vector<Indexed> written;
    for (const Indexed& clause : now) {
      const std::vector<Indexed> before = recorded();
      const auto old = std::ranges::find(before, clause.id, &Indexed::id);
      if (ids == ",all," || ids.find(',' + clause.id + ',') != ids.npos)
        written.push_back(clause);
      else if (old != before.end())
        written.push_back(*old);
    }
    std::ofstream(index_file) << index_json(written);
  }
  expect_none(rewordings(recorded(), now));
}

TEST(ClauseIndex, a_clause_in_force_without_a_test) {
  expect_none(untested(page(), recorded()));
  const auto planned = std::ranges::count_if(page(), &ClauseText::planned);
  std::set<std::string> tests;
  std::size_t ties = 0;
  for (const Indexed& clause : recorded()) {
    ties += clause.tests.size();
    tests.insert(clause.tests.begin(), clause.tests.end());
  }
  fmt::print("{} clauses in force, {} planned; {} tests, {} ties\n", std::ssize(page()) - planned, planned,
             tests.size(), ties);
}

TEST(ClauseIndex, a_listed_test_that_this_run_did_not_execute) {
  Executed executed;
  std::set<std::string> known;
  for (const auto& [file, binary] : binaries()) {
    known.insert(binary);
    const fs::path xml = build / "executed" / (binary + ".xml");
    if (fs::exists(xml))
      executed[binary] = completed_tests(text_of(xml));
  }
  ASSERT_GT(known.size(), 5U);
  expect_none(not_executed(recorded(), executed, known));
}

TEST(ClauseIndex, a_property_without_a_clause) {
  const std::map<std::string, std::string> binary = binaries();
  const std::vector<Citation> cited = citations();
  ASSERT_GT(cited.size(), 20U);
  expect_none(unlisted(cited, recorded(), [&](const std::string& file) {
    const auto found = binary.find(file);
    const bool view = fs::path(file).parent_path() == source / "ci" / "tests";
    return found == binary.end() || view ? std::string() : found->second;
  }));
}

// ---- a wrong thing for each complaint. Ids are written in two pieces: they are no mention of a clause.

const std::string id1 = "BN-"
                        "FWD-1",
                  id2 = "BN-"
                        "NUM-2";
const std::string markdown = "# Page\n\n**" + id1 + "** One title. Text of\nit.\n\n| a |\n\n**" + id2 +
                             "** Another. Derivation: `bounds/b.md`.\n\n## Next\n\nno clause\n";
const std::string list_json =
    R"({"clauses": [{"id": ")" + id1 +
    R"(", "title": "One title", "kind": "semantic", "status": "in force"}, {"id": ")" + id2 +
    R"(", "title": "Another", "kind": "numeric", "status": "in force"}]})";

std::string formulas(const std::string&) {
  return "B = 2 u\n";
}

std::vector<Indexed> right_index() {
  std::vector<Indexed> index = reworded_index(clauses_of_page(markdown), {}, formulas);
  index[0].tests = {"some_tests:Suite.one"};
  index[1].tests = {"some_tests:Suite.one", "some_tests:Every.instance"};
  return index;
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  return text.replace(text.find(from), from.size(), to);
}

TEST(ClauseText, the_paragraph_ends_with_the_next_clause_or_heading) {
  const std::vector<ClauseText> clauses = clauses_of_page(markdown);
  ASSERT_EQ(clauses.size(), 2U);
  EXPECT_EQ(clauses[0].text, "One title. Text of it. | a |");
  EXPECT_EQ(clauses[1].text, "Another. Derivation: `bounds/b.md`.");
  EXPECT_EQ(clauses[1].derivation(), "bounds/b.md");
  EXPECT_EQ(fenced_blocks("a\n```text\nb\n```\nc\n```\nd\n```\n"), "b\nd\n");
}

TEST(ClauseText, a_hash_that_is_not_fnv_1a) {
  EXPECT_EQ(text_hash(""), "cbf29ce484222325");
  EXPECT_EQ(text_hash("foobar"), "85944171f73967e8");  // of the published test vectors
  EXPECT_EQ(text_hash(" a\n  b "), text_hash("a b")) << "reflowing is no rewording";
}

TEST(PageAgainstList, titles_status_and_ids_that_differ) {
  const auto complaints = [](const std::string& md, const std::string& json) {
    return page_against_list(clauses_of_page(md), clause_entries(json));
  };
  EXPECT_THAT(complaints(markdown, list_json), IsEmpty());
  EXPECT_THAT(complaints(replaced(markdown, "One title", "Some title"), list_json),
              ElementsAre(HasSubstr("'One title'")));
  EXPECT_THAT(complaints(replaced(markdown, "Text of", "*planned* Text of"), list_json),
              ElementsAre(HasSubstr("'in force'")));
  EXPECT_THAT(complaints(markdown, replaced(list_json, "in force", "in farce")),
              ElementsAre(HasSubstr("'in farce'")));
  EXPECT_THAT(complaints(replaced(markdown, "Derivation: `bounds/b.md`", ""), list_json),
              ElementsAre(HasSubstr("derivation")));
  EXPECT_THAT(complaints(replaced(markdown, id1, id1 + "1"), list_json).size(), 2);
  EXPECT_THAT(complaints(markdown + markdown, list_json), testing::SizeIs(2));
}

TEST(Rewordings, a_word_or_a_formula_that_changed) {
  const auto complaints = [](const std::string& md, const std::string& formula) {
    return rewordings(right_index(),
                      reworded_index(clauses_of_page(md), right_index(), [&](auto&) { return formula; }));
  };
  EXPECT_THAT(complaints(markdown, "B  =  2 u"), IsEmpty());
  const ClauseText reworded{id1, "One title. Words of it. | a |"};
  EXPECT_THAT(complaints(replaced(markdown, "Text", "Words"), "B = 2 u"),
              ElementsAre(AllOf(HasSubstr("reworded"), HasSubstr(text_hash(reworded.text)))));
  EXPECT_THAT(complaints(markdown, "B = 3 u"), ElementsAre(AllOf(HasSubstr(id2), HasSubstr("formulas"))));
  EXPECT_THAT(complaints(replaced(markdown, id1, id1 + "1"), "B = 2 u"),
              testing::UnorderedElementsAre(HasSubstr("not in the index"), HasSubstr("no clause")));
}

TEST(Rewordings, an_index_that_is_written_otherwise_than_it_is_read) {
  const std::vector<Indexed> index = right_index(), back = parse_index(index_json(index));
  ASSERT_EQ(back.size(), 2U);
  EXPECT_EQ(back[1].bound, index[1].bound);
  EXPECT_EQ(back[1].tests, index[1].tests);
  EXPECT_THAT(rewordings(back, index), IsEmpty());
}

TEST(Untested, a_clause_that_lost_its_last_test_unless_it_is_planned) {
  std::vector<Indexed> index = right_index();
  EXPECT_THAT(untested(clauses_of_page(markdown), index), IsEmpty());
  index[0].tests.clear();
  EXPECT_THAT(untested(clauses_of_page(markdown), index), ElementsAre(HasSubstr(id1)));
  EXPECT_THAT(untested(clauses_of_page(replaced(markdown, "Text of", "*planned* Text of")), index),
              IsEmpty());
}

const std::string xml = R"(<testsuites><testsuite name="Suite">
  <testcase name="one" file="a.cpp" line="1" status="run" result="completed" time="0." classname="Suite" />
  <testcase name="skipped" status="run" result="skipped" classname="Suite"><skipped message="no"/></testcase>
  <testcase name="DISABLED_off" status="notrun" result="suppressed" classname="Suite" />
  <testcase name="instance/0" value_param="a &gt; b" status="run" result="completed" classname="All/Every" />
  <testcase name="typed" type_param="float" status="run" result="completed" classname="Typed/0" />
</testsuite></testsuites>)";

TEST(NotExecuted, a_test_that_was_skipped_disabled_renamed_or_left_out) {
  EXPECT_THAT(completed_tests(xml), ElementsAre("Every.instance", "Suite.one", "Typed.typed"));
  const Executed executed{{"some_tests", completed_tests(xml)}};
  const std::set<std::string> known{"some_tests", "other_tests"};
  EXPECT_THAT(not_executed(right_index(), executed, known), IsEmpty());
  const auto complaints = [&](const std::string& test) {
    std::vector<Indexed> index = right_index();
    index[0].tests = {test};
    return not_executed(index, executed, known);
  };
  EXPECT_THAT(complaints("some_tests:Suite.skipped"), ElementsAre(HasSubstr("was not executed")));
  EXPECT_THAT(complaints("some_tests:Suite.DISABLED_off"), ElementsAre(HasSubstr("was not executed")));
  EXPECT_THAT(complaints("some_tests:Suite.gone"), ElementsAre(HasSubstr("was not executed")));
  EXPECT_THAT(complaints("no_tests:Suite.one"), ElementsAre(HasSubstr("no test binary")));
  EXPECT_THAT(complaints("Suite.one"), ElementsAre(HasSubstr("binary:Suite.test")));
  EXPECT_THAT(complaints("other_tests:Suite.one"),
              ElementsAre(HasSubstr("executed/other_tests.xml is missing")));
}

TEST(Unlisted, a_property_that_nobody_listed_and_a_clause_that_nobody_wrote) {
  const std::string code =
      "// file: " + id1 + "\n\n/// As in " + id2 + ".\nTEST(Suite, one) {\n  f();\n}\nint helper(\"" + id1 +
      "\");\nRC_GTEST_PROP(Suite, two, (int i)) {\n  EXPECT_EQ(clause, \"" + id1 + "\");\n}\n";
  const auto complaints = [](const std::string& text, const std::string& binary) {
    return unlisted(citations_of(text, "s.cpp"), right_index(), [&](auto&) { return binary; });
  };
  EXPECT_THAT(complaints(code, "some_tests"), ElementsAre(AllOf(HasSubstr("Suite.two"), HasSubstr(id1))));
  EXPECT_THAT(complaints(code, ""), IsEmpty());
  EXPECT_THAT(complaints("// BN-"
                         "XYZ-7\n",
                         ""),
              ElementsAre(HasSubstr("s.cpp:1: there is no clause")));
}

}  // namespace
}  // namespace normproof::ci
