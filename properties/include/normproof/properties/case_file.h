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
/// A name that ends in .safetensors is read by case_from_safetensors.
Case read_case_file(const std::filesystem::path& path);
Case parse_case(std::string_view json, const std::string& origin);
std::string write_case(const Case& c);

/// A case whose tensors stand in a safetensors file under the names of the fields, x, dy and v_x of shape
/// [batch, channels, spatial...], the others [channels]; dtypes and shape are theirs. The other fields are
/// JSON in the metadata under "normproof_case": {"pass": "forward-training", "eps": "0x1p-10"}.
Case case_from_safetensors(std::string_view bytes, const std::string& origin);

/// "0x1.8p+1", "-0x0p+0", "inf", "-inf", "nan": the one spelling of a number in every file and report.
std::string hex_float(double value);
/// The number of a hex float, in that spelling or with more digits than it needs; nothing for other text.
std::optional<double> parse_hex_float(std::string_view text);

}  // namespace normproof::properties
