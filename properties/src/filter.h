// What a Filter keeps, shared by profiles and lists of shapes. Unknown names are errors, not empty runs.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "normproof/properties/profile.h"

namespace normproof::properties {

/// Throws std::invalid_argument with the nearest choice for a dtype, layout or dialect that nothing bears.
void check_names(const Filter& filter);
void check_names(const std::vector<std::string>& wanted, std::string_view what,
                 const std::vector<std::string>& known);
/// A list keeps everything when it is empty; "pytorch" keeps every pytorch/... entry point.
bool keeps(const std::vector<std::string>& wanted, std::string_view value);
bool is_extended(const Regime& regime);
/// Whether the dialect has running statistics to update in training.
bool updates_running(std::string_view dialect);

}  // namespace normproof::properties
