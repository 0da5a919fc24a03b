// The program: finds the command, turns whatever goes wrong into one line on stderr and an exit code.
#include <cstdio>
#include <exception>
#include <memory>
#include <sstream>
#include <stdexcept>

#include <fmt/format.h>

#include "command.h"
#include "failure.h"
#include "normproof/ci/words.h"
#include "normproof/properties/nearest.h"
#include "selection.h"
#include "version.h"

namespace {

using normproof::ci::Failure;
using normproof::properties::Exit;

constexpr const char* description =
    "Puts batch-normalisation kernels on trial: runs them on cases that are built to break "
    "them, compares every output with the exact value, and says how many ulps it is off, how "
    "many the arithmetic permits, which clause it breaks and how to see it again.";

constexpr const char* examples =
    "Examples:\n"
    "  normproof check                         every bundled kernel, the quick profile\n"
    "  normproof check ./mine.so --grade tree  your kernels, behind normproof/kernel.h\n"
    "  normproof ulp cpu.welford_f32           how accurate it is, as a table\n"
    "  normproof list kernels                  what there is\n"
    "  normproof COMMAND --help                more about a command\n\n";

/// Help within 80 columns: descriptions filled, paragraphs of the footers too; what is indented or stands
/// alone on a line stays as it is.
class Help : public CLI::Formatter {
  static constexpr std::size_t width = 80;

  static std::string filled(const std::string& text, std::size_t columns) {
    std::string lines = normproof::ci::wrapped("", text, static_cast<int>(columns));
    lines.pop_back();
    return lines;
  }
  std::string make_option_desc(const CLI::Option* option) const override {
    return filled(CLI::Formatter::make_option_desc(option), width - column_width_);
  }
  std::string make_description(const CLI::App* app) const override {
    return filled(app->get_description(), width) + '\n';
  }
  std::string make_subcommand(const CLI::App* command) const override {
    std::ostringstream out;
    CLI::detail::format_help(out, command->get_name(),
                             filled(command->get_description(), width - column_width_), column_width_);
    return out.str();
  }
  std::string make_footer(const CLI::App* app) const override {
    std::string out, paragraph;
    const auto end = [&] {
      if (!paragraph.empty())
        out += filled(paragraph, width) + '\n';
      paragraph.clear();
    };
    std::istringstream lines(app->get_footer());
    for (std::string line; std::getline(lines, line);) {
      if (line.empty() || line.front() == ' ') {
        end();
        out += line + '\n';
      } else {
        paragraph += (paragraph.empty() ? "" : " ") + line;
      }
    }
    end();
    return out;
  }
};

/// CLI11 may spread a message over lines; errors are one line.
std::string one_line(std::string text) {
  for (char& c : text)
    if (c == '\n' || c == '\r')
      c = ' ';
  return text;
}

int complain(Exit exit, const std::string& sentence) {
  fmt::print(stderr, "normproof: {}\n", one_line(sentence));
  return static_cast<int>(exit);
}

/// Names the nearest option to one that is not there.
std::string unexpected(const CLI::App& app, const std::string& message) {
  const std::size_t colon = message.find(": ");
  const std::size_t start = colon == std::string::npos ? 0 : colon + 2;
  const std::string word = message.substr(start, message.find(' ', start) - start);
  const CLI::App* command = &app;
  while (!command->get_subcommands().empty())
    command = command->get_subcommands().front();
  if (!word.starts_with("-"))
    return fmt::format("'{}' is one argument too many for '{}'; see --help", word, command->get_name());
  std::vector<std::string> options;
  for (const CLI::Option* option : command->get_options())
    for (const std::string& name : option->get_lnames())
      options.push_back("--" + name);
  const std::string typed = word.substr(0, word.find('='));
  return fmt::format("unknown option '{}' of '{}'; the nearest is '{}'", typed, command->get_name(),
                     normproof::properties::nearest(typed, options));
}

}  // namespace

int main(int argc, char** argv) {
  using namespace normproof::ci;
  remember_command(argc, argv);

  CLI::App app{description, "normproof"};
  app.set_version_flag("--version", "normproof " + version_text());
  app.formatter(std::make_shared<Help>());
  app.require_subcommand(1);
  app.footer(std::string(examples) + exit_codes);
  Run run;
  add_check(app, run);
  add_ulp(app, run);
  add_compare(app, run);
  add_claims(app, run);
  add_replay(app, run);
  add_explain(app, run);
  add_truth(app, run);
  add_mutants(app, run);
  add_list(app, run);
  add_findings(app, run);
  add_vectors(app, run);
  add_hunt(app, run);
  add_exhaustive(app, run);

  try {
    if (argc > 1 && argv[1][0] != '-') {
      std::vector<std::string> commands;
      for (const CLI::App* command : app.get_subcommands({}))
        commands.push_back(command->get_name());
      if (std::ranges::find(commands, argv[1]) == commands.end())
        throw unknown("command", argv[1], commands);
    }
    app.parse(argc, argv);
    return static_cast<int>(run());
  } catch (const CLI::CallForHelp& e) {
    return app.exit(e);
  } catch (const CLI::CallForAllHelp& e) {
    return app.exit(e);
  } catch (const CLI::CallForVersion& e) {
    return app.exit(e);
  } catch (const CLI::ExtrasError& e) {
    return complain(Exit::usage, unexpected(app, e.what()));
  } catch (const CLI::ParseError& e) {
    return complain(Exit::usage, std::string(e.what()) + "; see --help");
  } catch (const Failure& e) {
    return complain(e.exit(), e.what());
  } catch (const std::invalid_argument& e) {
    return complain(Exit::usage, e.what());
  } catch (const std::exception& e) {
    return complain(Exit::could_not_run, e.what());
  }
}
