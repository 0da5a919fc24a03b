// `normproof findings`: what normproof has found in libraries, as data files; --run asks whether it is still
// so.
#include <algorithm>
#include <array>
#include <memory>

#include <fmt/format.h>

#include "command.h"
#include "console.h"
#include "data.h"
#include "failure.h"
#include "normproof/ci/words.h"
#include "normproof/properties/finding.h"
#include "selection.h"

namespace normproof::ci {
namespace {

using namespace properties;

Finding read_finding(const std::filesystem::path& path) {
  try {
    return parse_finding(read_text(path), path.string());
  } catch (const std::invalid_argument& error) {
    throw could_not(error.what());
  }
}

std::vector<Finding> read_findings(const std::vector<std::string>& places) {
  std::vector<std::filesystem::path> files;
  const auto add_folder = [&](const std::filesystem::path& folder) {
    for (const auto& entry : std::filesystem::directory_iterator(folder))
      if (entry.path().extension() == ".json")
        files.push_back(entry.path());
  };
  for (const std::string& place : places) {
    if (!std::filesystem::exists(place))
      throw could_not(fmt::format("cannot read '{}': there is no such file or folder", place));
    if (std::filesystem::is_directory(place))
      add_folder(place);
    else
      files.emplace_back(place);
  }
  if (const auto folder = data_folder() / "findings"; places.empty() && std::filesystem::is_directory(folder))
    add_folder(folder);
  std::ranges::sort(files);
  std::vector<Finding> out;
  out.reserve(files.size());
  for (const auto& file : files)
    out.push_back(read_finding(file));
  return out;
}

/// What a replay says about a finding.
struct Now {
  enum class State { still_there, gone, other, skipped } state = State::skipped;
  std::string detail;
};

std::string in_words(const Judgement& j) {
  return fmt::format("{} {} {}, measured {}, permitted {}", to_string(j.status), j.clause,
                     to_string(j.output), brief(j.measured), brief(j.permitted));
}

Now compare(const Finding& f, const Report& report) {
  if (report.trial.kernels.empty())
    return {Now::State::skipped,
            report.absent.empty() ? "the kernel is not there" : report.absent.front().reason};
  const KernelReport& kernel = report.trial.kernels.front();
  const auto counted_as = [&](Status status) {
    return kernel.count(status) + kernel.extended_counts[static_cast<std::size_t>(status)];
  };
  if (counted_as(Status::skipped) > 0)
    return {Now::State::skipped, kernel.skips.empty() ? std::string("skipped") : kernel.skips.begin()->first};

  std::vector<Judgement> seen = kernel.failures;
  seen.insert(seen.end(), kernel.extended_failures.begin(), kernel.extended_failures.end());
  std::vector<Judgement> denials;  // of single classes: failures where no class is left
  for (const KeyVerdict& key : kernel.keys)
    if (key.explained_by.empty())
      for (Judgement j : key.unexplained) {
        j.status = Status::fail;
        denials.push_back(std::move(j));
      }
  std::string version;
  if (kernel.kernel.library_version != f.version)
    version =
        fmt::format(" (with {} {}, recorded with {})", f.library, kernel.kernel.library_version, f.version);
  // Of several channels the worst one is the one that was recorded.
  const Judgement* same = nullptr;
  for (const std::vector<Judgement>* list : {&seen, &denials}) {
    if (same != nullptr)
      break;
    for (const Judgement& j : *list)
      if (j.status == f.status && j.clause == f.clause && j.output == f.output &&
          (!same || j.ratio() > same->ratio()))
        same = &j;
  }
  if (same) {
    std::string detail =
        fmt::format("measured {}, permitted {}", brief(same->measured), brief(same->permitted));
    if (same->measured != f.measured || same->permitted != f.permitted)
      detail += fmt::format("; recorded: {} and {}", brief(f.measured), brief(f.permitted));
    return {Now::State::still_there, detail + version};
  }
  seen.insert(seen.end(), denials.begin(), denials.end());
  if (seen.empty())
    return {Now::State::gone, "no failure" + version};
  return {Now::State::other, in_words(seen.front()) + version};
}

std::string how_to_see(const Finding& f) {
  if (f.given)
    return "normproof findings --run --only " + f.id;
  const bool usual = to_string(f.grade) == Manner{}.grade;
  return fmt::format("normproof replay {} --impl {}{}", shell_word(f.recipe), shell_word(f.kernel),
                     usual ? "" : fmt::format(" --grade {}", to_string(f.grade)));
}

struct Options {
  std::vector<std::string> places;
  std::string only;
  bool run = false;
  Manner manner;
};

Exit findings(const Options& o) {
  std::vector<Finding> all = read_findings(o.places);
  if (!o.only.empty()) {
    std::vector<std::string> ids;
    ids.reserve(all.size());
    for (const Finding& f : all)
      ids.push_back(f.id);
    if (std::ranges::find(ids, o.only) == ids.end())
      throw unknown("finding", o.only, ids);
    std::erase_if(all, [&](const Finding& f) { return f.id != o.only; });
  }
  const Style style = style_of_stdout();
  std::array<std::int64_t, 4> states{};
  for (const Finding& f : all) {
    fmt::print("{}", paint(style, Colour::bold, f.id) + "\n" + wrapped("     ", f.title, style.width));
    if (!o.run) {
      fmt::print("{}", wrapped("     ",
                               fmt::format("{} {} ({}), {}: {} {} {}, measured {}, permitted {}", f.library,
                                           f.version, f.build, f.kernel, to_string(f.status), f.clause,
                                           to_string(f.output), brief(f.measured), brief(f.permitted)),
                               style.width));
      fmt::print("{}", wrapped("     ", f.explanation, style.width));
      fmt::print("     {}\n\n", paint(style, Colour::dim, how_to_see(f)));
      continue;
    }
    Manner manner = o.manner;
    manner.grade = to_string(f.grade);
    manner.extended = true;
    Now now;
    try {
      now = compare(f, tried_on(f.given ? *f.given : case_of(f.recipe),
                                {.patterns = {f.kernel}, .mutants = false}, manner, false));
    } catch (const Failure& failure) {
      if (failure.exit() != Exit::usage)
        throw;
      now = {Now::State::skipped, failure.what()};
    }
    ++states[static_cast<std::size_t>(now.state)];
    constexpr std::array words{"still there", "gone", "other", "SKIPPED"};
    constexpr std::array colours{Colour::green, Colour::red, Colour::red, Colour::yellow};
    const auto at = static_cast<std::size_t>(now.state);
    fmt::print("{}", wrapped("     " + paint(style, colours[at], words[at]) + ": ", now.detail, style.width));
    std::fflush(stdout);
  }
  const auto n = static_cast<std::int64_t>(all.size());
  if (!o.run) {
    fmt::print("{}\n", counted(n, "finding"));
    return Exit::conforms;
  }
  const auto [there, gone, other, skipped] = states;
  fmt::print("{}: {} still there, {} gone, {} other, {} SKIPPED\n", counted(n, "finding"), there, gone, other,
             skipped);
  if (gone + other > 0)
    return Exit::does_not_conform;
  return there > 0 ? Exit::conforms : Exit::inconclusive;
}

}  // namespace

void add_findings(CLI::App& app, Run& run) {
  CLI::App* command =
      app.add_subcommand("findings", "Show what was found in libraries; --run: is it still so?");
  auto options = std::make_shared<Options>();
  command
      ->add_option("PLACE", options->places,
                   "files or folders of findings; those that come along if left out")
      ->type_name("PATH");
  command->add_flag("--run", options->run, "replay each and compare with what is recorded");
  command->add_option("--only", options->only, "the finding of that id")->type_name("ID");
  command->add_option("--timeout", options->manner.timeout, "limit for one run of one kernel")
      ->type_name("TIME")
      ->capture_default_str();
  command->footer(
      "A finding is 'still there' when the same output breaks the same clause in the same way, 'gone' when\n"
      "nothing fails, 'other' when something else fails, SKIPPED when its kernel is not built.\n\n"
      "Exit codes: 0 all that ran are still there, 1 one is gone or other, 2 a mistake in the call,\n"
      "3 something could not be read, 4 none was run.");
  command->callback([options, &run] {
    run = [options] {
      return findings(*options);
    };
  });
}

}  // namespace normproof::ci
