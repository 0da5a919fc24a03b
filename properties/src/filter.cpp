// See filter.h.
#include "filter.h"

#include <algorithm>
#include <stdexcept>

#include <fmt/format.h>

#include "names.h"
#include "normproof/properties/nearest.h"

namespace normproof::properties {

void check_names(const std::vector<std::string>& wanted, std::string_view what,
                 const std::vector<std::string>& known) {
  for (const std::string& name : wanted)
    if (std::ranges::find(known, name) == known.end())
      throw std::invalid_argument(fmt::format("'{}': no such {}; the nearest valid choice is '{}'", name,
                                              what, nearest(name, known)));
}

void check_names(const Filter& filter) {
  std::vector<std::string> known;
  for (const Format& format : formats())
    known.emplace_back(format.name);
  check_names(filter.dtypes, "dtype", known);
  known.clear();
  for (const Layout layout : all_layouts)
    known.emplace_back(to_string(layout));
  check_names(filter.layouts, "layout", known);
  check_names(filter.dialects, "dialect", dialect_names());
}

bool keeps(const std::vector<std::string>& wanted, std::string_view value) {
  return wanted.empty() || std::ranges::any_of(wanted, [&](const std::string& name) {
           return value == name || (value.starts_with(name) && value[name.size()] == '/');
         });
}

bool is_extended(const Regime& regime) {
  const auto info = std::ranges::find(regimes(), regime.name, &RegimeInfo::name);
  return info != regimes().end() && info->domain == Domain::extended;
}

bool updates_running(std::string_view name) {
  const auto dialect = dialect_named(name);
  return dialect &&
         std::ranges::find(dialect->not_applicable, "running-variance") == dialect->not_applicable.end();
}

}  // namespace normproof::properties
