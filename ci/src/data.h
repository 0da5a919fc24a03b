// What the program reads beside itself: the clauses, the findings, the vectors and the peers of spec/,
// installed under share/normproof and found relative to the program (a build tree mirrors that).
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "normproof/properties/peers.h"

namespace normproof::ci {

struct Clause {
  std::string id, title, kind, status;
  std::vector<std::string> passes;
};

/// share/normproof of this program. May not exist.
std::filesystem::path data_folder();
/// All clauses in the order of spec/clauses.json. Throws Failure (exit 3) when they cannot be read.
std::vector<Clause> clauses();
/// id -> title; empty when they cannot be read: a report without titles is better than none.
std::map<std::string, std::string> clause_titles();
/// The suites of spec/peers.json. Throws Failure (exit 3) when they cannot be read.
std::vector<properties::Peer> bundled_peers();
/// The text of a file, or Failure (exit 3) with its path and the reason.
std::string read_text(const std::filesystem::path& path);

}  // namespace normproof::ci
