// The safetensors container: how tensors travel to and from Python without a conversion.
//
// A file is eight bytes with the length of a JSON header (little endian), the header, and the raw row-major
// bytes of all tensors without gaps. The header maps names to {dtype, shape, data_offsets} and may hold
// "__metadata__", a map of strings (format: the safetensors project, 0.x; dtypes F64, F32, F16, BF16 here).
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "normproof/spec/format.h"

namespace normproof::properties {

struct StoredTensor {
  Format format;
  std::vector<std::int64_t> shape;
  std::vector<double> values;  ///< row-major; each representable in `format`
};

struct Safetensors {
  std::map<std::string, StoredTensor> tensors;
  std::map<std::string, std::string> metadata;
};

/// Throws std::invalid_argument with one sentence that names the origin and the tensor: a header that is no
/// JSON or longer than the file, a dtype that is none of the four, offsets that overlap, leave gaps or do not
/// fit the shape. NaNs keep no payload. Thread-safe.
Safetensors parse_safetensors(std::string_view bytes, const std::string& origin);
std::string write_safetensors(const Safetensors& content);

}  // namespace normproof::properties
