#include "normproof/properties/safetensors.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <optional>
#include <stdexcept>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "json_object.h"

namespace normproof::properties {
namespace {

static_assert(std::endian::native == std::endian::little, "the container is little endian");

constexpr std::size_t length_bytes = 8;
constexpr std::size_t longest_header = 100'000'000;

struct Name {
  std::string_view stored;
  Format format;
};
constexpr std::array<Name, 4> names{{{"F64", f64}, {"F32", f32}, {"F16", f16}, {"BF16", bf16}}};

struct Span {
  std::size_t begin, end;
  std::string tensor;
};

class Parser {
public:
  Parser(std::string_view bytes, const std::string& origin) : bytes_(bytes), origin_(origin) {}

  Safetensors parse() {
    if (bytes_.size() < length_bytes)
      refuse("it is shorter than the eight bytes of a header's length");
    std::uint64_t length = 0;
    std::memcpy(&length, bytes_.data(), length_bytes);
    if (length > longest_header || length > bytes_.size() - length_bytes)
      refuse(fmt::format("its header would have {} bytes, the file has {}", length, bytes_.size()));
    nlohmann::json header;
    try {
      header = parse_object(bytes_.substr(length_bytes, length), "its header");
    } catch (const std::invalid_argument& error) {
      refuse(error.what());
    }
    data_ = bytes_.substr(length_bytes + length);

    Safetensors content;
    std::vector<Span> spans;
    for (const auto& [name, entry] : header.items()) {
      try {
        if (name == "__metadata__")
          content.metadata = entry.get<std::map<std::string, std::string>>();
        else
          content.tensors[name] = tensor(name, entry, spans);
      } catch (const nlohmann::json::exception& error) {
        refuse(fmt::format("header entry '{}': {}", name, error.what()));
      }
    }
    check_gapless(spans);
    return content;
  }

private:
  [[noreturn]] void refuse(const std::string& why) const {
    throw std::invalid_argument(fmt::format("{}: no safetensors file: {}", origin_, why));
  }

  StoredTensor tensor(const std::string& name, const nlohmann::json& entry, std::vector<Span>& spans) const {
    const std::string dtype = entry.at("dtype");
    const auto found = std::ranges::find(names, dtype, &Name::stored);
    if (found == names.end())
      refuse(fmt::format("tensor '{}' is of {}, and F64, F32, F16 and BF16 can be read", name, dtype));
    StoredTensor t{found->format, entry.at("shape").get<std::vector<std::int64_t>>(), {}};
    std::uint64_t count = 1;
    for (const std::int64_t extent : t.shape) {
      if (extent < 0 || (extent > 0 && count > (std::uint64_t{1} << 40) / static_cast<std::uint64_t>(extent)))
        refuse(fmt::format("tensor '{}' has an impossible shape", name));
      count *= static_cast<std::uint64_t>(extent);
    }
    const auto offsets = entry.at("data_offsets").get<std::array<std::uint64_t, 2>>();
    const auto width = static_cast<std::size_t>(t.format.bytes);
    if (offsets[0] > offsets[1] || offsets[1] > data_.size() || offsets[1] - offsets[0] != count * width)
      refuse(fmt::format("tensor '{}' has {} values of {} bytes, its data_offsets are [{}, {}] of {}", name,
                         count, width, offsets[0], offsets[1], data_.size()));
    t.values.reserve(count);
    for (std::size_t at = offsets[0]; at < offsets[1]; at += width) {
      std::uint64_t bits = 0;
      std::memcpy(&bits, data_.data() + at, width);
      t.values.push_back(decode(t.format, bits));
    }
    spans.push_back({offsets[0], offsets[1], name});
    return t;
  }

  /// Every byte belongs to one tensor: no file says two things.
  void check_gapless(std::vector<Span>& spans) const {
    std::ranges::sort(spans, [](const Span& a, const Span& b) {
      return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
    });
    std::size_t at = 0;
    for (const Span& span : spans) {
      if (span.begin != at)
        refuse(fmt::format("tensor '{}' begins at byte {}, where {} is wanted", span.tensor, span.begin, at));
      at = span.end;
    }
    if (at != data_.size())
      refuse(fmt::format("{} bytes at its end belong to no tensor", data_.size() - at));
  }

  std::string_view bytes_;
  const std::string& origin_;
  std::string_view data_;
};

}  // namespace

Safetensors parse_safetensors(std::string_view bytes, const std::string& origin) {
  return Parser(bytes, origin).parse();
}

std::string write_safetensors(const Safetensors& content) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!content.metadata.empty())
    header["__metadata__"] = content.metadata;
  std::string data;
  // The widest first: every tensor is then aligned to its own width, as readers that map the file need.
  for (const Name& name : names)
    for (const auto& [tensor, stored] : content.tensors) {
      if (stored.format != name.format)
        continue;
      const std::size_t begin = data.size();
      for (const double value : stored.values) {
        const std::uint64_t bits = encode(stored.format, value);
        data.append(reinterpret_cast<const char*>(&bits), static_cast<std::size_t>(stored.format.bytes));
      }
      header[tensor] = {
          {"dtype", name.stored}, {"shape", stored.shape}, {"data_offsets", {begin, data.size()}}};
    }
  std::string text = header.dump();
  text.append((length_bytes - text.size() % length_bytes) % length_bytes, ' ');
  const std::uint64_t length = text.size();
  std::string out(reinterpret_cast<const char*>(&length), length_bytes);
  return out + text + data;
}

}  // namespace normproof::properties
