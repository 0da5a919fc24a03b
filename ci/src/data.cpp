#include "data.h"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "failure.h"

namespace normproof::ci {

std::filesystem::path data_folder() {
  std::error_code error;
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", error);
  return self.parent_path().parent_path() / "share" / "normproof";
}

std::string read_text(const std::filesystem::path& path) {
  if (std::filesystem::is_directory(path))
    throw could_not(fmt::format("cannot read '{}': it is a folder", path.string()));
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  std::string text(std::istreambuf_iterator<char>(file), {});
  if (!file.is_open() || file.bad())
    throw could_not(fmt::format("cannot read '{}': {}", path.string(), std::strerror(errno)));
  return text;
}

std::vector<Clause> clauses() {
  const std::filesystem::path path = data_folder() / "clauses.json";
  try {
    std::vector<Clause> out;
    const nlohmann::json content = nlohmann::json::parse(read_text(path));
    for (const auto& entry : content.at("clauses"))
      out.push_back({entry.at("id"), entry.at("title"), entry.value("kind", ""), entry.value("status", ""),
                     entry.value("passes", std::vector<std::string>{})});
    return out;
  } catch (const nlohmann::json::exception& error) {
    throw could_not(fmt::format("cannot read '{}': {}", path.string(), error.what()));
  }
}

std::map<std::string, std::string> clause_titles() {
  std::map<std::string, std::string> titles;
  try {
    for (const Clause& clause : clauses())
      titles[clause.id] = clause.title;
  } catch (const Failure&) {
    return {};
  }
  return titles;
}

std::vector<properties::Peer> bundled_peers() {
  const std::filesystem::path path = data_folder() / "peers.json";
  try {
    return properties::read_peers(read_text(path));
  } catch (const std::invalid_argument& error) {
    throw could_not(fmt::format("'{}': {}", path.string(), error.what()));
  }
}

}  // namespace normproof::ci
