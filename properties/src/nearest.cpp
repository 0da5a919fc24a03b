// Edit distance (optimal string alignment) over short lists of names.
#include "normproof/properties/nearest.h"

#include <algorithm>
#include <compare>
#include <vector>

namespace normproof::properties {
namespace {

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

/// From the text to every prefix of the choice, the whole one last.
std::vector<int> distances(std::string_view a, std::string_view b) {
  std::vector<int> before(b.size() + 1), last(b.size() + 1), row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j)
    last[j] = static_cast<int>(j);
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = static_cast<int>(i);
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const int replace = last[j - 1] + (lower(a[i - 1]) == lower(b[j - 1]) ? 0 : 1);
      row[j] = std::min({replace, last[j] + 1, row[j - 1] + 1});
      if (i > 1 && j > 1 && lower(a[i - 1]) == lower(b[j - 2]) && lower(a[i - 2]) == lower(b[j - 1]))
        row[j] = std::min(row[j], before[j - 2] + 1);
    }
    before.swap(last);
    last.swap(row);
  }
  return last;
}

/// A name that was broken off ("forward" for "forward-training") is one edit further than what there is of
/// it.
struct Edits {
  int broken_off, whole;
  friend auto operator<=>(const Edits&, const Edits&) = default;
};
Edits edits(std::string_view text, std::string_view choice) {
  const std::vector<int> all = distances(text, choice);
  return {std::min(all.back(), 1 + *std::ranges::min_element(all)), all.back()};
}

/// Longer than any name: what stands behind tells no choice from another, and would cost.
constexpr std::size_t most_looked_at = 64;

template <class Text>
std::string nearest_of(std::string_view text, std::span<const Text> choices) {
  text = text.substr(0, most_looked_at);
  std::string_view best;
  Edits fewest{};
  for (const Text& choice : choices) {
    const Edits here = edits(text, choice);
    if (best.empty() || here < fewest) {
      best = choice;
      fewest = here;
    }
  }
  return std::string(best);
}

}  // namespace

int edit_distance(std::string_view a, std::string_view b) {
  return distances(a, b).back();
}

std::string nearest(std::string_view text, std::span<const std::string_view> choices) {
  return nearest_of(text, choices);
}

std::string nearest(std::string_view text, std::span<const std::string> choices) {
  return nearest_of(text, choices);
}

}  // namespace normproof::properties
