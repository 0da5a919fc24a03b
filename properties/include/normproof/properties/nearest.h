// The nearest valid choice to a mistyped name, for every error text that names one.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace normproof::properties {

/// Edits (insert, delete, replace, swap of neighbours) that turn one text into the other; case differences
/// are free.
int edit_distance(std::string_view a, std::string_view b);

/// The choice with the fewest edits, the first of equals; empty without choices.
std::string nearest(std::string_view text, std::span<const std::string_view> choices);
std::string nearest(std::string_view text, std::span<const std::string> choices);

}  // namespace normproof::properties
