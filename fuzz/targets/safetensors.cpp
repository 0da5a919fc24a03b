// Safetensors files, as containers and as cases.
#include "normproof/properties/safetensors.h"

#include <cmath>
#include <stdexcept>

#include "normproof/properties/case_file.h"
#include "normproof/properties/recipe.h"
#include "target.h"

using namespace normproof;

namespace {

bool same(const std::vector<double>& a, const std::vector<double>& b) {
  if (a.size() != b.size())
    return false;
  for (std::size_t i = 0; i < a.size(); ++i)
    if (!(a[i] == b[i] || (std::isnan(a[i]) && std::isnan(b[i]))))
      return false;
  return true;
}

void container(std::string_view bytes) {
  const properties::Safetensors content = properties::parse_safetensors(bytes, "fuzzed");
  const properties::Safetensors again =
      properties::parse_safetensors(properties::write_safetensors(content), "written");
  fuzz::demand(again.metadata == content.metadata && again.tensors.size() == content.tensors.size(),
               "a container does not survive its own file");
  for (const auto& [name, tensor] : content.tensors) {
    const auto& other = again.tensors.at(name);
    fuzz::demand(other.shape == tensor.shape && other.format == tensor.format &&
                     same(other.values, tensor.values),
                 "tensor " + name + " does not survive its own file");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  try {
    container(fuzz::text_of(bytes, size));
    properties::write_case(properties::case_from_safetensors(fuzz::text_of(bytes, size), "fuzzed"));
  } catch (const std::invalid_argument&) {
  }
  return 0;
}
