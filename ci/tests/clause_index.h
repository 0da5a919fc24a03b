// The clause index: which executed tests stand for which clause, and for which wording of it.
//
// spec/batch_norm.md is prose, spec/clauses.json its list of ids and titles, spec/clause_index.json names the
// tests of every clause beside a hash of the text that they were written for. The functions here read those
// and complain; each complaint is one line that says what to do. They are pure, so that the tests can show
// each of them a wrong thing.
#pragma once

#include <algorithm>
#include <cctype>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace normproof::ci {

using Complaints = std::vector<std::string>;

/// A clause as the page has it: its paragraph up to the next clause, heading or rule, whitespace normalised.
struct ClauseText {
  std::string id, text;
  bool planned() const { return text.find("*planned*") != text.npos; }
  /// "bounds/mean.md" where the clause names its derivation.
  std::string derivation() const {
    std::smatch found;
    return std::regex_search(text, found, std::regex("Derivation: `([^`]+)`")) ? found[1].str()
                                                                               : std::string();
  }
};

/// A clause as spec/clauses.json has it.
struct ClauseEntry {
  std::string id, title, status;
};

/// What spec/clause_index.json records of a clause. `bound` is the hash of the formulas of its derivation,
/// empty for clauses that have none; a test is "binary:Suite.test".
struct Indexed {
  std::string id, text, bound;
  std::vector<std::string> tests;
};

/// A clause id in a test source. `test` is "Suite.test", empty outside of any test.
struct Citation {
  std::string clause, test, file;
  int line = 0;
};

/// By binary: the tests that it completed in this run of CTest. Absent: it wrote nothing.
using Executed = std::map<std::string, std::set<std::string>>;

inline const std::regex& clause_id() {
  static const std::regex id("BN-[A-Z]{3}-[0-9]+");
  return id;
}

/// Runs of white space become one space: a reflowed paragraph is the same text.
inline std::string one_spaced(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (std::isspace(static_cast<unsigned char>(c)) == 0)
      out += c;
    else if (!out.empty() && out.back() != ' ')
      out += ' ';
  }
  if (!out.empty() && out.back() == ' ')
    out.pop_back();
  return out;
}

/// FNV-1a of 64 bits over the text with its white space normalised, as 16 hexadecimal digits.
inline std::string text_hash(std::string_view text) {
  std::uint64_t h = 0xcbf29ce484222325;
  for (const char c : one_spaced(text))
    h = (h ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return fmt::format("{:016x}", h);
}

inline std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);)
    lines.push_back(line);
  return lines;
}

inline std::vector<ClauseText> clauses_of_page(const std::string& markdown) {
  std::vector<ClauseText> clauses;
  bool inside = false;
  for (const std::string& line : lines_of(markdown)) {
    std::smatch found;
    if (std::regex_search(line, found, std::regex("^\\*\\*(BN-[A-Z]+-[0-9]+)\\*\\* "))) {
      clauses.push_back({found[1], found.suffix()});
      inside = true;
    } else if (line.starts_with('#') || line == "---") {
      inside = false;
    } else if (inside) {
      clauses.back().text += '\n' + line;
    }
  }
  for (ClauseText& clause : clauses)
    clause.text = one_spaced(clause.text);
  return clauses;
}

/// Everything between fences, in order: the formulas of a derivation.
inline std::string fenced_blocks(const std::string& markdown) {
  std::string blocks;
  bool inside = false;
  for (const std::string& line : lines_of(markdown)) {
    if (line.starts_with("```"))
      inside = !inside;
    else if (inside)
      blocks += line + '\n';
  }
  return blocks;
}

inline std::vector<ClauseEntry> clause_entries(const std::string& json) {
  std::vector<ClauseEntry> entries;
  const nlohmann::json whole = nlohmann::json::parse(json);
  for (const auto& c : whole.at("clauses"))
    entries.push_back({c.at("id"), c.at("title"), c.at("status")});
  return entries;
}

inline std::vector<Indexed> parse_index(const std::string& json) {
  std::vector<Indexed> index;
  const nlohmann::json whole = nlohmann::json::parse(json);
  for (const auto& c : whole.at("clauses"))
    index.push_back({c.at("id"), c.at("text"), c.value("bound", ""), c.at("tests")});
  return index;
}

/// The head of a clause in the index: the line to paste when its wording was accepted.
inline std::string index_line(const Indexed& clause) {
  std::string line = fmt::format(R"({{"id": "{}", "text": "{}", )", clause.id, clause.text);
  if (!clause.bound.empty())
    line += fmt::format(R"("bound": "{}", )", clause.bound);
  return line + "\"tests\": [";
}

inline std::string index_json(const std::vector<Indexed>& index) {
  std::string out = "{\n \"normproof_clause_index\": 1,\n \"clauses\": [";
  for (const Indexed& clause : index) {
    out += fmt::format("{}\n  {}", &clause == index.data() ? "" : ",", index_line(clause));
    for (const std::string& test : clause.tests)
      out += fmt::format("{}\n   \"{}\"", &test == clause.tests.data() ? "" : ",", test);
    out += "]}";
  }
  return out + "\n ]\n}\n";
}

/// The clause ids of a test source, each with the test that it stands in. A test begins with its macro, or
/// with the comment above that, at the start of a line, and ends with a brace there.
inline std::vector<Citation> citations_of(const std::string& source, const std::string& file) {
  static const std::regex begin("^(TEST|TEST_F|TEST_P|TYPED_TEST|RC_GTEST_PROP)\\((\\w+), *(\\w+)");
  const std::vector<std::string> lines = lines_of(source);
  std::vector<std::string> test_of(lines.size());
  std::string current;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    std::smatch found;
    if (std::regex_search(lines[i], found, begin)) {
      current = found[2].str() + '.' + found[3].str();
      for (std::size_t above = i; above > 0 && lines[above - 1].starts_with("//"); --above)
        test_of[above - 1] = current;
    }
    if (!current.empty())
      test_of[i] = current;
    if (lines[i].starts_with('}'))
      current.clear();
  }
  std::vector<Citation> out;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    for (std::sregex_iterator at(lines[i].begin(), lines[i].end(), clause_id()), end; at != end; ++at)
      out.push_back({at->str(), test_of[i], file, static_cast<int>(i) + 1});
  }
  return out;
}

/// Of GoogleTest's XML: "Suite.test" of every test case that ran to its end, skipped ones left out. A
/// parametrised test counts under its plain name as soon as one instance did.
inline std::set<std::string> completed_tests(const std::string& xml) {
  std::set<std::string> completed;
  const auto attribute = [](const std::string& tag, const std::string& name) {
    const std::size_t at = tag.find(' ' + name + "=\"");
    if (at == tag.npos)
      return std::string();
    const std::size_t start = at + name.size() + 3;
    return tag.substr(start, tag.find('"', start) - start);
  };
  for (std::size_t at = xml.find("<testcase "); at != xml.npos; at = xml.find("<testcase ", at + 1)) {
    const std::string tag = xml.substr(at, xml.find('>', at) - at);
    if (attribute(tag, "status") != "run" || attribute(tag, "result") != "completed")
      continue;
    std::string suite = attribute(tag, "classname"), name = attribute(tag, "name");
    // Prefix/Suite and name/0 of TEST_P, Suite/0 of TYPED_TEST.
    name = name.substr(0, name.find('/'));
    if (const std::size_t slash = suite.rfind('/'); slash != suite.npos) {
      const bool numbered = std::isdigit(static_cast<unsigned char>(suite[slash + 1])) != 0;
      suite = numbered ? suite.substr(0, slash) : suite.substr(slash + 1);
    }
    completed.insert(suite + '.' + name);
  }
  return completed;
}

// ---- complaints

/// The page and its list must be of the same clauses, in the same order.
inline Complaints page_against_list(const std::vector<ClauseText>& page,
                                    const std::vector<ClauseEntry>& list) {
  Complaints out;
  std::map<std::string, const ClauseEntry*> listed;
  for (const ClauseEntry& entry : list)
    if (!listed.emplace(entry.id, &entry).second)
      out.push_back(entry.id + " stands twice in clauses.json");
  std::set<std::string> seen;
  for (const ClauseText& clause : page) {
    if (!seen.insert(clause.id).second)
      out.push_back(clause.id + " stands twice in batch_norm.md");
    if (!listed.contains(clause.id)) {
      out.push_back(clause.id + " is in batch_norm.md and not in clauses.json");
      continue;
    }
    const ClauseEntry& entry = *listed[clause.id];
    if (!clause.text.starts_with(one_spaced(entry.title) + '.'))
      out.push_back(fmt::format("{}: clauses.json has the title '{}', batch_norm.md begins '{}'", clause.id,
                                entry.title, clause.text.substr(0, entry.title.size() + 10)));
    if (entry.status != "planned" && entry.status != "in force")
      out.push_back(
          fmt::format("{}: status '{}' is neither 'planned' nor 'in force'", clause.id, entry.status));
    if (clause.planned() != (entry.status == "planned"))
      out.push_back(fmt::format("{}: clauses.json says '{}', batch_norm.md {} it *planned*", clause.id,
                                entry.status, clause.planned() ? "calls" : "does not call"));
    if (clause.id.starts_with("BN-NUM") && clause.derivation().empty())
      out.push_back(clause.id + ": a numeric clause names its derivation");
  }
  for (const ClauseEntry& entry : list)
    if (!seen.contains(entry.id))
      out.push_back(entry.id + " is in clauses.json and not in batch_norm.md");
  if (out.empty() && !std::ranges::equal(page, list, {}, &ClauseText::id, &ClauseEntry::id))
    out.push_back("clauses.json and batch_norm.md have the clauses in different orders");
  return out;
}

/// The index as it should be for the wording at hand: `formulas` gives the text of a derivation's fenced
/// blocks.
inline std::vector<Indexed> reworded_index(const std::vector<ClauseText>& page,
                                           const std::vector<Indexed>& index,
                                           const std::function<std::string(const std::string&)>& formulas) {
  std::vector<Indexed> out;
  for (const ClauseText& clause : page) {
    Indexed now{clause.id, text_hash(clause.text), "", {}};
    if (!clause.derivation().empty())
      now.bound = text_hash(formulas(clause.derivation()));
    const auto before = std::ranges::find(index, clause.id, &Indexed::id);
    if (before != index.end())
      now.tests = before->tests;
    out.push_back(now);
  }
  return out;
}

/// (1) Every clause is in the index, with the hashes of the wording at hand.
inline Complaints rewordings(const std::vector<Indexed>& recorded, const std::vector<Indexed>& now) {
  Complaints out;
  for (const Indexed& clause : now) {
    const auto before = std::ranges::find(recorded, clause.id, &Indexed::id);
    if (before == recorded.end())
      out.push_back(fmt::format("{} is not in the index: write its tests, then record\n    {}", clause.id,
                                index_line(clause)));
    else if (before->text != clause.text)
      out.push_back(fmt::format("{} was reworded: look at its tests, then record\n    {}", clause.id,
                                index_line(clause)));
    else if (before->bound != clause.bound)
      out.push_back(
          fmt::format("the formulas that {} rests on changed: look at its tests, then record\n    {}",
                      clause.id, index_line(clause)));
  }
  for (const Indexed& clause : recorded) {
    if (std::ranges::count(recorded, clause.id, &Indexed::id) > 1)
      out.push_back(clause.id + " stands twice in the index");
    if (std::ranges::find(now, clause.id, &Indexed::id) == now.end())
      out.push_back(clause.id + " is in the index and no clause: take it out, and its tests' mention of it");
  }
  return out;
}

/// (2) A clause in force has a test.
inline Complaints untested(const std::vector<ClauseText>& page, const std::vector<Indexed>& index) {
  Complaints out;
  for (const ClauseText& clause : page) {
    const auto indexed = std::ranges::find(index, clause.id, &Indexed::id);
    if (!clause.planned() && (indexed == index.end() || indexed->tests.empty()))
      out.push_back(
          fmt::format("{} is in force and has no test: write one, or mark the clause *planned*", clause.id));
  }
  return out;
}

/// (3) Every test of the index was executed in this run. `known` are the binaries of this build.
inline Complaints not_executed(const std::vector<Indexed>& index, const Executed& executed,
                               const std::set<std::string>& known) {
  Complaints out;
  std::set<std::string> silent;
  for (const Indexed& clause : index) {
    for (const std::string& test : clause.tests) {
      const std::size_t colon = test.find(':');
      const std::string binary = test.substr(0, colon);
      if (std::ranges::count(clause.tests, test) > 1)
        out.push_back(fmt::format("{}: {} is listed twice", clause.id, test));
      if (colon == test.npos || !known.contains(binary))
        out.push_back(fmt::format(
            "{}: '{}' names no test binary of this build; 'binary:Suite.test' is wanted", clause.id, test));
      else if (!executed.contains(binary))
        silent.insert(binary);
      else if (!executed.at(binary).contains(test.substr(colon + 1)))
        out.push_back(
            fmt::format("{}: {} was not executed: no test of that name ran to its end", clause.id, test));
    }
  }
  for (const std::string& binary : silent)
    out.push_back(fmt::format(
        "executed/{}.xml is missing: {} was not part of this run of CTest, or it crashed. Run all "
        "of ctest (ci/test), without -R or -L",
        binary, binary));
  return out;
}

/// (4) A test cites only clauses that exist, and is listed under each. `binary_of` gives the binary of a
/// source, empty for sources whose mention of a clause is no property (helpers, the views of a report).
inline Complaints unlisted(const std::vector<Citation>& citations, const std::vector<Indexed>& index,
                           const std::function<std::string(const std::string&)>& binary_of) {
  std::set<std::string> out;
  for (const Citation& c : citations) {
    const auto clause = std::ranges::find(index, c.clause, &Indexed::id);
    if (clause == index.end()) {
      out.insert(fmt::format("{}:{}: there is no clause {}", c.file, c.line, c.clause));
      continue;
    }
    const std::string binary = binary_of(c.file);
    if (c.test.empty() || binary.empty())
      continue;
    const std::string test = binary + ':' + c.test;
    if (std::ranges::find(clause->tests, test) == clause->tests.end())
      out.insert(fmt::format("{}: {} cites {}: list it there as \"{}\"", c.file, c.test, c.clause, test));
  }
  return {out.begin(), out.end()};
}

}  // namespace normproof::ci
