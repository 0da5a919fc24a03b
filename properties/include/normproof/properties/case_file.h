// Case files: explicit tensors in JSON with hex floats, for vectors and shrunk counterexamples. Format and
// schema: spec/vectors/README.md.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "normproof/spec/case.h"

namespace normproof::properties {

/// Throws std::invalid_argument with one sentence that names the file, the field, the offending text and what
/// is wanted. Decimal numbers are refused (they would be rounded in silence), as are values that the dtype
/// does not hold.
Case read_case_file(const std::filesystem::path& path);
Case parse_case(std::string_view json, const std::string& origin);
std::string write_case(const Case& c);

/// "0x1.8p+1", "-0x0p+0", "inf", "-inf", "nan": the one spelling of a number in every file and report.
std::string hex_float(double value);
/// The number, or nothing if the text is no hex float of that spelling.
std::optional<double> parse_hex_float(std::string_view text);

}  // namespace normproof::properties
