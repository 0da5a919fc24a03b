#include "selection.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <fstream>
#include <thread>

#include <fmt/format.h>

#include "console.h"
#include "data.h"
#include "diagnoses.h"
#include "failure.h"
#include "normproof/ci/words.h"
#include "normproof/properties/case_file.h"
#include "normproof/properties/profile.h"
#include "normproof/properties/shapes.h"
#include "version.h"

namespace normproof::ci {

using namespace properties;

namespace {

constexpr const char* sanitizer_note =
#ifdef __SANITIZE_ADDRESS__
    " with sanitizers";
#else
    "";
#endif

std::vector<std::string>& command_words() {
  static std::vector<std::string> words;
  return words;
}

template <class Range, class Name>
std::vector<std::string> names(const Range& range, Name name) {
  std::vector<std::string> out;
  for (const auto& item : range)
    out.emplace_back(name(item));
  return out;
}

/// Dashes and underscores are both typed for the words of the vocabulary.
template <class Value, class Parse>
Value parse_word(std::string text, std::string_view what, Parse parse,
                 const std::vector<std::string>& choices) {
  if (const auto value = parse(text))
    return *value;
  const std::string typed = text;
  for (const auto& [from, to] : {std::pair{'-', '_'}, {'_', '-'}}) {
    std::ranges::replace(text, from, to);
    if (const auto value = parse(text))
      return *value;
  }
  throw unknown(what, typed, choices);
}

Pass pass_named(const std::string& text) {
  return parse_word<Pass>(
      text, "pass", [](const std::string& t) { return parse_pass(t); },
      names(all_passes, [](Pass p) { return normproof::to_string(p); }));
}

std::string layout_named(const std::string& text) {
  const Layout layout = parse_word<Layout>(
      text, "layout", [](const std::string& t) { return parse_layout(t); },
      names(all_layouts, [](Layout l) { return normproof::to_string(l); }));
  return std::string(normproof::to_string(layout));
}

bool is_path(const std::string& text) {
  return text.find('/') != std::string::npos || text.ends_with(".so");
}

bool is_glob(const std::string& text) {
  return text.find_first_of("*?[") != std::string::npos;
}

/// LibTorch's kernels by name while their library is not built: absent, not unknown.
bool names_libtorch(const std::string& pattern) {
  return pattern.starts_with("libtorch") || pattern.starts_with("torch");
}

std::string default_processor() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);)
    if (line.starts_with("model name"))
      if (const std::size_t colon = line.find(": "); colon != std::string::npos)
        return line.substr(colon + 2);
  return {};
}

std::string compiler_name() {
#if defined(__clang__)
  return fmt::format("clang {}.{}.{}{}", __clang_major__, __clang_minor__, __clang_patchlevel__,
                     sanitizer_note);
#elif defined(__GNUC__)
  return fmt::format("gcc {}.{}.{}{}", __GNUC__, __GNUC_MINOR__, __GNUC_PATCHLEVEL__, sanitizer_note);
#else
  return "unknown";
#endif
}

Report empty_report(const Chosen& chosen, const Manner& manner) {
  Report report;
  report.version = version_text();
  report.command = command_words();
  report.machine = {compiler_name(), default_processor(), manner.threads};
  report.absent = chosen.absent;
  report.libraries = chosen.libraries;
  report.clauses = clause_titles();
  return report;
}

std::string shown_in_error(const std::string& text) {
  return text.size() <= 60 ? text : text.substr(0, 57) + "...";
}

}  // namespace

void remember_command(int argc, const char* const* argv) {
  command_words().assign(argv, argv + argc);
  if (!command_words().empty())
    command_words().front() = "normproof";
}

const std::vector<std::string>& command_line() {
  return command_words();
}

void add_options(CLI::App& command, KernelSelection& selection, bool positional) {
  constexpr const char* what =
      "kernels on trial: names, patterns ('cpu.*'), or libraries with the kernel interface "
      "(./mine.so); all bundled ones if none is given";
  if (positional)
    command.add_option("KERNEL,--impl", selection.patterns, what)->type_name("KERNEL");
  else
    command.add_option("--impl", selection.patterns, what)->type_name("KERNEL")->allow_extra_args(false);
  command.add_flag("--mutants", selection.mutants,
                   "let patterns, or the lack of any, take in the kernels that are wrong on purpose");
}

void add_options(CLI::App& command, Manner& manner) {
  command
      .add_option("--grade", manner.grade,
                  "how accurate reductions have to be: correctly-rounded, wide, tree, blocked, sequential")
      ->type_name("GRADE")
      ->capture_default_str()
      ->group("Gate");
  command
      .add_flag("--no-merged", manner.no_merged,
                "only two-pass variances: Welford and Chan do not explain a kernel")
      ->group("Gate");
  command
      .add_flag("--no-folded", manner.no_folded,
                "y must subtract the mean first: x a + b does not explain a kernel")
      ->group("Gate");
  command
      .add_flag("--extended", manner.extended,
                "failures in the extended domain (subnormals, squares that overflow) count too")
      ->group("Gate");
  command
      .add_option("--threads", manner.threads,
                  "cases in flight; 0: one for each processor. No verdict depends on it")
      ->type_name("N")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str()
      ->group("Running");
  command.add_option("--timeout", manner.timeout, "limit for one run of one kernel")
      ->type_name("TIME")
      ->capture_default_str()
      ->group("Running");
  command
      .add_option("--memory", manner.memory,
                  "limit for the resident memory of a kernel's process, beside the tensors; 0: none")
      ->type_name("SIZE")
      ->capture_default_str()
      ->group("Running");
  command
      .add_option("--repeats", manner.repeats, "runs of each kernel on each case; their bits are compared")
      ->type_name("N")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str()
      ->group("Running");
  command
      .add_flag("--in-process", manner.in_process,
                "run kernels in this process, for a debugger: no time limit, and a crash ends everything")
      ->group("Running");
}

void add_options(CLI::App& command, CaseSelection& selection) {
  command.add_option("--profile", selection.profile, "how many cases: quick, standard, deep")
      ->type_name("PROFILE")
      ->capture_default_str()
      ->group("Cases");
  command.add_option("--budget", selection.budget, "begin no new case after this time, e.g. 60s, 5m")
      ->type_name("TIME")
      ->group("Cases");
  command.add_option("--seed", selection.seed, "of all random data")
      ->type_name("N")
      ->capture_default_str()
      ->group("Cases");
  const auto filter = [&](const char* name, std::vector<std::string>& list, const char* what) {
    command.add_option(name, list, what)->type_name("NAME")->allow_extra_args(false)->group("Cases");
  };
  filter("--pass", selection.passes,
         "only this pass: forward-training, backward-training, ... (all filters may be repeated)");
  filter("--dtype", selection.dtypes, "only tensors of this format: f64, f32, f16, bf16");
  filter("--layout", selection.layouts, "only this layout: contiguous, channels-last, strided");
  filter("--regime", selection.regimes,
         "only this kind of data: offset, offset:1000, ... (normproof list regimes)");
  filter("--dialect", selection.dialects,
         "only this reading of batch normalisation (normproof list dialects)");
  command
      .add_option("--shapes", selection.shapes,
                  "instead of a profile, the layers of a network (normproof list shapes), or the shapes of a "
                  "file, one 32x64x56x56 per line")
      ->type_name("NAME|FILE")
      ->group("Cases");
  command.add_option("--batch", selection.batch, "batch size of the layers of a network")
      ->type_name("N")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str()
      ->group("Cases");
  command.add_option("--case", selection.files, "try this case file instead of a profile (may be repeated)")
      ->type_name("FILE")
      ->allow_extra_args(false)
      ->group("Cases");
}

std::chrono::milliseconds parse_duration(const std::string& text, const std::string& option) {
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const std::string unit(end, text.data() + text.size());
  const double scale = unit == "ms"                   ? 1
                       : unit.empty() || unit == "s"  ? 1e3
                       : unit == "m" || unit == "min" ? 60e3
                       : unit == "h"                  ? 3600e3
                                                      : 0;
  if (error != std::errc{} || scale == 0 || !(number > 0) || number * scale > 1e11)
    throw usage(fmt::format("{} '{}': a time is a number above 0 with a unit, e.g. 250ms, 60s, 5m, 2h",
                            option, shown_in_error(text)));
  return std::chrono::milliseconds(static_cast<std::int64_t>(number * scale + 0.5));
}

std::uint64_t parse_size(const std::string& text, const std::string& option) {
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const std::string unit(end, text.data() + text.size());
  const double scale = unit == "M"                     ? 0x1p20
                       : unit == "G"                   ? 0x1p30
                       : unit == "T"                   ? 0x1p40
                       : (unit.empty() && number == 0) ? 1
                                                       : 0;
  if (error != std::errc{} || scale == 0 || !(number >= 0) || number * scale > 0x1p60)
    throw usage(fmt::format("{} '{}': a size is a number with a unit, e.g. 512M, 8G, or 0 for no limit",
                            option, shown_in_error(text)));
  return static_cast<std::uint64_t>(number * scale);
}

Chosen choose(const KernelSelection& selection) {
  Chosen chosen;
  std::vector<std::string> patterns;
  std::vector<std::filesystem::path> given;
  for (const std::string& pattern : selection.patterns) {
    if (!is_path(pattern)) {
      patterns.push_back(pattern);
      continue;
    }
    if (!std::filesystem::exists(pattern))
      throw could_not(fmt::format("cannot load '{}': there is no such file", pattern));
    given.push_back(std::filesystem::absolute(pattern));
    chosen.libraries.push_back(pattern);
  }

  // A library given by hand.
  const impls::Catalogue own = impls::discover(given);
  if (!own.errors.empty())
    throw could_not(
        fmt::format("cannot load '{}': {}", own.errors.front().library.string(), own.errors.front().reason));
  if (patterns.empty() && !given.empty()) {
    chosen.kernels = own.kernels;
    if (chosen.kernels.empty())
      throw could_not(fmt::format("'{}' holds no kernel", selection.patterns.front()));
    return chosen;
  }

  // The bundled ones.
  const std::vector<std::filesystem::path> bundled = impls::bundled_libraries();
  const impls::Catalogue catalogue = impls::discover(bundled);
  std::vector<Absent> absent;
  for (const impls::LibraryError& error : catalogue.errors)
    absent.push_back({error.library.filename().string(), "could not be loaded: " + error.reason});
  const auto has = [&](std::string_view word) {
    return std::ranges::any_of(
        bundled, [&](const auto& path) { return path.filename().string().find(word) != std::string::npos; });
  };
  if (!has("torch"))
    absent.push_back({"libtorch", "built without LibTorch (ci/setup adds it)"});

  std::vector<impls::KernelInfo> tame = own.kernels, wrong;
  tame.insert(tame.end(), catalogue.kernels.begin(), catalogue.kernels.end());
  if (const std::filesystem::path library = impls::mutant_library(); !library.empty()) {
    const impls::Catalogue mutants = impls::discover(std::span(&library, 1));
    wrong = mutants.kernels;
    for (const impls::LibraryError& error : mutants.errors)
      if (selection.mutants)
        absent.push_back({error.library.filename().string(), "could not be loaded: " + error.reason});
  }

  if (patterns.empty()) {
    chosen.kernels = tame;
    chosen.absent = absent;
    if (selection.mutants)
      chosen.kernels.insert(chosen.kernels.end(), wrong.begin(), wrong.end());
    if (chosen.kernels.empty() && chosen.absent.empty())
      throw could_not("there is no kernel: no bundled library was found beside the program");
    return chosen;
  }

  const auto take = [&](const impls::KernelInfo& kernel) {
    const bool there = std::ranges::any_of(chosen.kernels, [&](const impls::KernelInfo& k) {
      return k.name == kernel.name && k.library == kernel.library;
    });
    if (!there)
      chosen.kernels.push_back(kernel);
  };
  for (const std::string& pattern : patterns) {
    bool found = false;
    const auto search = [&](const std::vector<impls::KernelInfo>& kernels, bool by_pattern) {
      for (const impls::KernelInfo& kernel : kernels)
        if (kernel.name == pattern || (by_pattern && matches(pattern, kernel.name))) {
          take(kernel);
          found = true;
        }
    };
    search(tame, true);
    search(wrong, selection.mutants ||
                      !std::ranges::any_of(tame, [&](const auto& k) { return matches(pattern, k.name); }));
    if (found)
      continue;
    if (names_libtorch(pattern) && !absent.empty()) {
      const bool listed = std::ranges::any_of(
          chosen.absent, [&](const Absent& a) { return a.library == absent.back().library; });
      if (!listed)
        chosen.absent.push_back(absent.back());
      continue;
    }
    if (pattern.starts_with("onednn") && !has("onednn")) {  // optional, so absent only where it is asked for
      chosen.absent.push_back({"onednn", "built without oneDNN (ci/setup --with-onednn adds it)"});
      continue;
    }
    std::vector<std::string> choices = names(tame, [](const auto& k) { return k.name; });
    for (const impls::KernelInfo& kernel : wrong)
      choices.push_back(kernel.name);
    if (is_glob(pattern))
      throw usage(fmt::format("no kernel matches '{}'; there are {}", pattern, joined(choices, ", ")));
    throw unknown("kernel", pattern, choices);
  }
  return chosen;
}

TrialOptions trial_options(const Manner& manner) {
  TrialOptions options;
  const auto grade = parse_grade(manner.grade);
  if (!grade)
    throw unknown("grade", manner.grade, names(all_grades, [](Grade g) { return to_string(g); }));
  options.gate = {*grade, !manner.no_merged, !manner.no_folded, manner.extended};
  options.run.time_limit = parse_duration(manner.timeout, "--timeout");
  options.run.memory_limit = parse_size(manner.memory, "--memory");
  options.run.in_process = manner.in_process;
  options.run.repeats = manner.repeats;
  options.threads = manner.threads > 0 ? manner.threads
                                       : std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  options.keep_failures = 100;
  return options;
}

TrialOptions trial_options(const Manner& manner, const CaseSelection& cases) {
  TrialOptions options = trial_options(manner);
  if (!cases.budget.empty())
    options.budget =
        std::max(std::chrono::seconds(1),
                 std::chrono::ceil<std::chrono::seconds>(parse_duration(cases.budget, "--budget")));
  return options;
}

Case case_of(const std::string& origin) {
  std::string_view start = origin;
  start.remove_prefix(std::min(start.find_first_not_of(" \t\r\n"), start.size()));
  const std::string_view first = start.substr(0, start.find_first_of(" \t\r\n"));
  const bool recipe_like =
      first.starts_with("np") && first.find_first_not_of("0123456789", 2) == std::string_view::npos;
  if (!recipe_like && std::filesystem::exists(origin)) {
    read_text(origin);  // says why it cannot be read
    try {
      return read_case_file(origin);
    } catch (const std::invalid_argument& error) {
      throw could_not(error.what());
    }
  }
  if (!recipe_like && origin.find('=') == std::string::npos)
    throw could_not(fmt::format("cannot read '{}': there is no such file, and a recipe starts with 'np1'",
                                shown_in_error(origin)));
  const auto parsed = parse_recipe(origin);
  if (const std::string* wrong = std::get_if<std::string>(&parsed))
    throw usage("not a recipe: " + *wrong);
  const Recipe& recipe = std::get<Recipe>(parsed);
  if (const std::string reason = impossible(recipe); !reason.empty())
    throw usage("impossible recipe: " + reason);
  return expand(recipe);
}

namespace {

/// A file where there is one, else a name.
std::vector<Recipe> of_layers(const CaseSelection& cases, const Filter& filter) {
  const bool file = std::filesystem::exists(cases.shapes) || cases.shapes.find('/') != std::string::npos;
  try {
    const ShapeList list = file ? read_shapes(cases.shapes) : shape_list(cases.shapes, cases.batch);
    return recipes_for_shapes(list, cases.seed, filter);
  } catch (const std::invalid_argument& error) {
    throw file ? could_not(error.what()) : usage(fmt::format("--shapes: {}", error.what()));
  }
}

}  // namespace

std::vector<Recipe> recipes_of(const CaseSelection& cases, bool with_extended) {
  const auto profile = parse_profile(cases.profile);
  if (!profile)
    throw unknown("profile", cases.profile,
                  names(std::array{Profile::quick, Profile::standard, Profile::deep},
                        [](Profile p) { return to_string(p); }));
  Filter filter;
  for (const std::string& pass : cases.passes)
    filter.passes.push_back(pass_named(pass));
  for (const std::string& layout : cases.layouts)
    filter.layouts.push_back(layout_named(layout));
  filter.dtypes = cases.dtypes;
  filter.regimes = cases.regimes;
  filter.dialects = cases.dialects;
  filter.extended = with_extended;
  if (!cases.shapes.empty() && !cases.files.empty())
    throw usage("--shapes and --case: give one of them");
  if (!cases.shapes.empty())
    return of_layers(cases, filter);
  return cases.files.empty() ? recipes(*profile, cases.seed, filter) : std::vector<Recipe>{};
}

namespace {

std::vector<Case> given_cases(const CaseSelection& cases) {
  std::vector<Case> given;
  for (const std::string& file : cases.files)
    given.push_back(case_of(file));
  return given;
}

}  // namespace

CaseList chosen_cases(const CaseSelection& cases, bool with_extended) {
  std::vector<Recipe> recipe_list = recipes_of(cases, with_extended);
  std::vector<Case> case_list = given_cases(cases);
  if (!case_list.empty())
    return {case_list.size(), [list = std::move(case_list)](std::size_t i) {
              return list[i];
            }};
  return {recipe_list.size(), [list = std::move(recipe_list)](std::size_t i) {
            return expand(list[i]);
          }};
}

impls::KernelInfo chosen_kernel(const std::string& word, const std::vector<std::string>& more) {
  KernelSelection selection;
  selection.patterns = {word};
  if (!is_path(word))
    selection.patterns.insert(selection.patterns.end(), more.begin(), more.end());
  const Chosen chosen = choose(selection);
  if (chosen.kernels.size() == 1)
    return chosen.kernels.front();
  if (chosen.kernels.empty())
    throw could_not(fmt::format("'{}': {}", word, chosen.absent.front().reason));
  throw usage(fmt::format("'{}' is {} kernels, one is wanted: {}", word, chosen.kernels.size(),
                          joined(names(chosen.kernels, [](const auto& k) { return k.name; }), ", ")));
}

Report tried(const KernelSelection& kernels, const Manner& manner, const CaseSelection& cases,
             bool with_extended, bool quiet) {
  TrialOptions options = trial_options(manner, cases);

  const std::vector<Recipe> recipe_list = recipes_of(cases, with_extended || manner.extended);
  const std::vector<Case> case_list = given_cases(cases);

  const Chosen chosen = choose(kernels);
  Report report = empty_report(chosen, manner);
  report.machine.threads = options.threads;
  report.profile = !cases.shapes.empty() ? "shapes" : cases.files.empty() ? cases.profile : "cases";
  report.seed = cases.seed;
  for (const Case& c : case_list)
    report.keys[c.origin] = {c.problem.pass, std::string(c.problem.data.name), c.problem.layout};

  ProgressLine progress(!quiet);
  options.progress = [&](const Progress& p) {
    progress.show(p);
  };
  report.trial = cases.files.empty() ? run_trial(recipe_list, chosen.kernels, options)
                                     : run_trial(case_list, chosen.kernels, options);
  progress.wipe();
  add_diagnoses(report, options, shown_by_check);
  return report;
}

Report tried_on(const Case& c, const KernelSelection& kernels, const Manner& manner, bool diagnose) {
  TrialOptions options = trial_options(manner);
  const Chosen chosen = choose(kernels);
  options.threads = 1;
  Report report = empty_report(chosen, manner);
  report.machine.threads = 1;
  report.profile = "cases";
  report.keys[c.origin] = {c.problem.pass, std::string(c.problem.data.name), c.problem.layout};
  report.trial = run_trial(std::span(&c, 1), chosen.kernels, options);
  if (diagnose)
    add_diagnoses(report, options, shown_by_replay);
  return report;
}

}  // namespace normproof::ci
