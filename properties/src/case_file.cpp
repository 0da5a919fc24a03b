// Case files: one JSON object per case. Numbers that a rounding could change are hex floats in strings; what
// JSON calls a number is only ever a count here.
#include "normproof/properties/case_file.h"

#include <algorithm>
#include <array>
#include <fstream>
#include <iterator>
#include <map>
#include <optional>
#include <stdexcept>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "json_object.h"
#include "names.h"
#include "normproof/properties/domain.h"
#include "normproof/properties/nearest.h"
#include "normproof/properties/recipe.h"
#include "normproof/properties/safetensors.h"

namespace normproof::properties {
namespace {

using nlohmann::json;

constexpr std::array<std::string_view, 11> tensor_keys{"x",           "gamma",   "beta",       "running_mean",
                                                       "running_var", "dy",      "saved_mean", "saved_invstd",
                                                       "v_x",         "v_gamma", "v_beta"};
constexpr std::array<std::string_view, 12> scalar_keys{
    "normproof_case", "pass",    "dtype", "stats_dtype", "shape",   "layout",
    "layout_seed",    "dialect", "eps",   "momentum",    "threads", "num_batches_tracked"};

/// Tensors that came beside the fields, by name, in the order of a Case.
using Tensors = std::map<std::string, std::vector<double>, std::less<>>;

class Reader {
public:
  Reader(const json& object, const Tensors& tensors, std::string origin)
      : object_(object),
        tensors_(tensors),
        origin_(std::move(origin)) {}

  [[noreturn]] void refuse(std::string_view field, std::string_view offending,
                           std::string_view wanted) const {
    constexpr std::size_t most = 60;
    const std::string text =
        offending.size() <= most ? std::string(offending) : std::string(offending.substr(0, most)) + "...";
    throw std::invalid_argument(fmt::format("{}: field '{}' is '{}', but {}", origin_, field, text, wanted));
  }

  bool has(std::string_view field) const { return object_.contains(field) || tensors_.contains(field); }

  const json& at(std::string_view field) const {
    if (!has(field))
      throw std::invalid_argument(fmt::format("{}: field '{}' is missing", origin_, field));
    return object_.at(std::string(field));
  }

  std::string text(std::string_view field) const {
    const json& value = at(field);
    if (!value.is_string())
      refuse(field, value.dump(), "a string is wanted");
    return value.get<std::string>();
  }

  std::int64_t count(std::string_view field, std::int64_t lowest) const {
    return count(field, at(field), lowest);
  }

  std::int64_t count(std::string_view field, const json& value, std::int64_t lowest) const {
    constexpr auto highest = std::int64_t{1} << 62;
    if (!value.is_number_integer() || (value.is_number_unsigned() && value.get<std::uint64_t>() > highest) ||
        value.get<std::int64_t>() < lowest)
      refuse(field, value.dump(), fmt::format("an integer of at least {} is wanted", lowest));
    return value.get<std::int64_t>();
  }

  double number(std::string_view field, const json& value) const {
    if (!value.is_string())
      refuse(field, value.dump(),
             "a hex float in a string is wanted, like \"0x1.8p+1\", \"-0x0p+0\", \"inf\" or \"nan\" (a "
             "decimal would be "
             "rounded in silence)");
    const auto parsed = parse_hex_float(value.get_ref<const std::string&>());
    if (!parsed)
      refuse(field, value.get_ref<const std::string&>(),
             "a hex float that binary64 holds is wanted, like \"0x1.8p+1\", \"-0x0p+0\", \"inf\" or \"nan\"");
    return *parsed;
  }

  std::vector<double> tensor(std::string_view field, std::int64_t size, const Format& format) const {
    if (const auto stored = tensors_.find(field); stored != tensors_.end())
      return stored->second;
    const json& values = at(field);
    if (!values.is_array())
      refuse(field, values.dump(), "an array of hex floats is wanted");
    if (static_cast<std::int64_t>(values.size()) != size)
      refuse(field, fmt::format("an array of {}", values.size()),
             fmt::format("the shape wants {} values", size));
    std::vector<double> numbers;
    numbers.reserve(values.size());
    for (std::size_t i = 0; i < values.size(); ++i) {
      const std::string element = fmt::format("{}[{}]", field, i);
      numbers.push_back(number(element, values[i]));
      if (!is_representable(format, numbers.back()))
        refuse(element, values[i].get<std::string>(),
               fmt::format("{} does not hold it; the nearest that it holds is {}", format.name,
                           hex_float(round_to(format, numbers.back()))));
    }
    return numbers;
  }

  /// Both or none.
  bool pair(std::string_view first, std::string_view second) const {
    if (has(first) != has(second))
      throw std::invalid_argument(fmt::format("{}: field '{}' is missing beside '{}'; give both or none",
                                              origin_, has(first) ? second : first,
                                              has(first) ? first : second));
    return has(first);
  }

  template <class List, class Name>
  std::string choice(std::string_view field, std::string_view text, const List& list, Name name) const {
    std::vector<std::string> names;
    for (const auto& item : list)
      names.emplace_back(name(item));
    refuse(field, text, fmt::format("it is none of the choices; the nearest is '{}'", nearest(text, names)));
  }

private:
  const json& object_;
  const Tensors& tensors_;
  std::string origin_;
};

json tensor_of(const std::vector<double>& values) {
  json list = json::array();
  for (const double value : values)
    list.push_back(hex_float(value));
  return list;
}

/// What the pass takes must be there, and nothing else: a dy in a forward pass is a case of another pass.
void read_backward(const Reader& in, Case& c) {
  const Problem& p = c.problem;
  const std::int64_t elements = p.shape.elements(), channels = p.shape.channels;
  const auto none = [&](std::string_view field) {
    if (in.has(field))
      in.refuse(field, in.at(field).dump(),
                fmt::format("the pass {} takes none", normproof::to_string(p.pass)));
  };
  if (takes_dy(p.pass))
    c.dy = in.tensor("dy", elements, p.data);
  else
    none("dy");
  if (takes_saved(p.pass)) {
    c.saved_mean = in.tensor("saved_mean", channels, p.stats);
    c.saved_invstd = in.tensor("saved_invstd", channels, p.stats);
  } else {
    none("saved_mean");
    none("saved_invstd");
  }
  if (!is_second_order(p.pass)) {
    for (const std::string_view field : {"v_x", "v_gamma", "v_beta"})
      none(field);
    return;
  }
  if (!in.has("v_x") && !in.has("v_gamma") && !in.has("v_beta"))
    in.at("v_x");  // at least one
  if (in.has("v_x"))
    c.v_x = in.tensor("v_x", elements, p.data);
  if (in.has("v_gamma"))
    c.v_gamma = in.tensor("v_gamma", channels, p.stats);
  if (in.has("v_beta"))
    c.v_beta = in.tensor("v_beta", channels, p.stats);
}

Case read_fields(const json& object, const Tensors& tensors, const std::string& origin) {
  const Reader in(object, tensors, origin);
  std::vector<std::string_view> keys(scalar_keys.begin(), scalar_keys.end());
  keys.insert(keys.end(), tensor_keys.begin(), tensor_keys.end());
  for (const auto& [key, value] : object.items())
    if (std::ranges::find(keys, key) == keys.end())
      throw std::invalid_argument(
          fmt::format("{}: unknown field '{}'; the nearest is '{}'", origin, key, nearest(key, keys)));

  if (in.count("normproof_case", 0) != 1)
    in.refuse("normproof_case", in.at("normproof_case").dump(), "this program reads version 1");
  Case c;
  c.origin = origin;
  Problem& p = c.problem;
  const std::string pass = in.text("pass");
  if (const auto parsed = parse_pass(pass))
    p.pass = *parsed;
  else
    in.choice("pass", pass, all_passes, [](Pass one) { return normproof::to_string(one); });
  const std::string dtype = in.text("dtype");
  if (const auto parsed = format_named(dtype))
    p.data = *parsed;
  else
    in.choice("dtype", dtype, formats(), [](const Format& one) { return one.name; });
  p.stats = usual_stats(p.data);
  if (in.has("stats_dtype")) {
    const std::string stats = in.text("stats_dtype");
    if (const auto parsed = format_named(stats))
      p.stats = *parsed;
    else
      in.choice("stats_dtype", stats, formats(), [](const Format& one) { return one.name; });
    if (p.stats != p.data && p.stats != usual_stats(p.data))
      in.refuse("stats_dtype", stats,
                fmt::format("statistics beside {} tensors are of {}{}", p.data.name, p.data.name,
                            p.data.p < f32.p ? " or f32" : ""));
  }

  const json& shape = in.at("shape");
  if (!shape.is_array() || shape.size() < 2 || shape.size() > 6)
    in.refuse("shape", shape.dump(), "an array [batch, channels, spatial...] of 2 to 6 extents is wanted");
  std::string extents;
  for (const json& extent : shape)
    extents += (extents.empty() ? "" : "x") + std::to_string(in.count("shape", extent, 0));
  if (const auto parsed = parse_shape(extents); parsed && parsed->channels > 0)
    p.shape = *parsed;
  else
    in.refuse("shape", shape.dump(), "at least one channel and at most 2^40 elements are wanted");

  const std::string layout = in.has("layout") ? in.text("layout") : "contiguous";
  if (const auto parsed = parse_layout(layout))
    p.layout = *parsed;
  else
    in.choice("layout", layout, all_layouts, [](Layout one) { return normproof::to_string(one); });
  if (in.has("layout_seed")) {
    if (p.layout != Layout::strided)
      in.refuse("layout_seed", in.at("layout_seed").dump(), "only the layout 'strided' takes a seed");
    const json& seed = in.at("layout_seed");
    if (!seed.is_number_unsigned())
      in.refuse("layout_seed", seed.dump(), "an integer of at least 0 is wanted");
    p.layout_seed = seed.get<std::uint64_t>();
  }
  const std::string dialect = in.has("dialect") ? in.text("dialect") : "documented";
  if (const auto parsed = dialect_named(dialect)) {
    p.dialect = parsed->name;
    p.semantics = parsed->semantics;
  } else {
    in.choice("dialect", dialect, dialect_names(), [](const std::string& one) { return one; });
  }
  p.eps = in.number("eps", in.at("eps"));
  if (!(p.eps - p.eps == 0))  // a negative one is a case too, which kernels must refuse
    in.refuse("eps", hex_float(p.eps), "a finite number is wanted");
  if (in.has("momentum")) {
    p.momentum.reset();
    if (const json& momentum = in.at("momentum"); !momentum.is_null()) {
      p.momentum = in.number("momentum", momentum);
      if (!(*p.momentum - *p.momentum == 0))
        in.refuse("momentum", hex_float(*p.momentum),
                  "a finite weight, or null for a cumulative average, is wanted");
    }
  }
  if (in.has("threads"))
    p.threads = static_cast<int>(std::min<std::int64_t>(in.count("threads", 1), 1024));
  const std::int64_t channels = p.shape.channels;
  c.x = in.tensor("x", p.shape.elements(), p.data);
  // beta plays no part in a gradient: there gamma may stand alone, with a beta of zeros.
  const bool forward = p.pass == Pass::forward_training || p.pass == Pass::forward_inference;
  const bool alone = !forward && in.has("gamma") && !in.has("beta");
  p.affine = alone || in.pair("gamma", "beta");
  if (p.affine) {
    c.gamma = in.tensor("gamma", channels, p.stats);
    c.beta = alone ? std::vector<double>(static_cast<std::size_t>(channels), 0.0)
                   : in.tensor("beta", channels, p.stats);
  }
  p.running = in.pair("running_mean", "running_var");
  if (p.running) {
    c.running_mean = in.tensor("running_mean", channels, p.stats);
    c.running_var = in.tensor("running_var", channels, p.stats);
  } else if (is_inference(p.pass)) {
    throw std::invalid_argument(fmt::format(
        "{}: field 'running_mean' is missing; inference normalises with the statistics that are given",
        origin));
  }
  if (in.has("num_batches_tracked"))
    c.num_batches_tracked = in.count("num_batches_tracked", 0);
  read_backward(in, c);
  c.domain = domain_of(c);
  return c;
}

}  // namespace

Case parse_case(std::string_view text, const std::string& origin) {
  return read_fields(parse_object(text, origin), {}, origin);
}

namespace {

/// From [batch, channels, spatial...] to channel after channel.
std::vector<double> by_channel(const StoredTensor& t) {
  const auto batch = static_cast<std::size_t>(t.shape[0]), channels = static_cast<std::size_t>(t.shape[1]);
  const std::size_t spatial = batch * channels == 0 ? 0 : t.values.size() / (batch * channels);
  std::vector<double> out;
  out.reserve(t.values.size());
  for (std::size_t c = 0; c < channels; ++c)
    for (std::size_t b = 0; b < batch; ++b) {
      const auto first = t.values.begin() + static_cast<std::ptrdiff_t>((b * channels + c) * spatial);
      out.insert(out.end(), first, first + static_cast<std::ptrdiff_t>(spatial));
    }
  return out;
}

}  // namespace

Case case_from_safetensors(std::string_view bytes, const std::string& origin) {
  const Safetensors content = parse_safetensors(bytes, origin);
  const auto fields = content.metadata.find("normproof_case");
  if (fields == content.metadata.end())
    throw std::invalid_argument(fmt::format(
        "{}: the metadata have no 'normproof_case', the JSON of the fields that are no tensors", origin));
  json object = parse_object(fields->second, origin + ", normproof_case");
  for (const char* field : {"normproof_case", "dtype", "stats_dtype", "shape"})
    if (object.contains(field))
      throw std::invalid_argument(fmt::format("{}: field '{}' is given by the tensors", origin, field));
  const auto x = content.tensors.find("x");
  if (x == content.tensors.end() || x->second.shape.size() < 2)
    throw std::invalid_argument(
        fmt::format("{}: tensor 'x' of shape [batch, channels, spatial...] is missing", origin));
  object["normproof_case"] = 1;
  object["dtype"] = x->second.format.name;
  object["shape"] = x->second.shape;

  Tensors tensors;
  std::optional<Format> stats;
  for (const auto& [name, t] : content.tensors) {
    if (std::ranges::find(tensor_keys, name) == tensor_keys.end())
      throw std::invalid_argument(fmt::format("{}: unknown tensor '{}'; the nearest is '{}'", origin, name,
                                              nearest(name, tensor_keys)));
    const bool per_element = name == "x" || name == "dy" || name == "v_x";
    const std::vector<std::int64_t> wanted = per_element ? x->second.shape : std::vector{x->second.shape[1]};
    const Format& format = per_element ? x->second.format : stats.value_or(t.format);
    if (t.shape != wanted || t.format != format)
      throw std::invalid_argument(fmt::format("{}: tensor '{}' is {} {}, and {} {} is wanted", origin, name,
                                              t.format.name, json(t.shape).dump(), format.name,
                                              json(wanted).dump()));
    if (!per_element)
      stats = t.format;
    tensors[name] = per_element ? by_channel(t) : t.values;
  }
  if (stats)
    object["stats_dtype"] = stats->name;
  return read_fields(object, tensors, origin);
}

Case read_case_file(const std::filesystem::path& path) {
  std::error_code error;
  if (std::filesystem::is_directory(path, error))
    throw std::invalid_argument(fmt::format("{}: it is a directory, not a case file", path.string()));
  std::ifstream file(path, std::ios::binary);
  if (!file)
    throw std::invalid_argument(
        fmt::format("{}: the case file cannot be read ({})", path.string(),
                    std::filesystem::exists(path, error) ? "no permission" : "no such file"));
  const std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  return path.extension() == ".safetensors" ? case_from_safetensors(text, path.string())
                                            : parse_case(text, path.string());
}

std::string write_case(const Case& c) {
  const Problem& p = c.problem;
  nlohmann::ordered_json object;
  object["normproof_case"] = 1;
  object["pass"] = normproof::to_string(p.pass);
  object["dtype"] = p.data.name;
  if (p.stats != usual_stats(p.data))
    object["stats_dtype"] = p.stats.name;
  object["shape"] = {p.shape.batch, p.shape.channels};
  for (const std::int64_t extent : p.shape.spatial)
    object["shape"].push_back(extent);
  object["layout"] = normproof::to_string(p.layout);
  if (p.layout == Layout::strided)
    object["layout_seed"] = p.layout_seed;
  object["dialect"] = p.dialect;
  object["eps"] = hex_float(p.eps);
  object["momentum"] = p.momentum ? nlohmann::ordered_json(hex_float(*p.momentum)) : nlohmann::ordered_json();
  if (p.threads != 1)
    object["threads"] = p.threads;
  object["x"] = tensor_of(c.x);
  if (p.affine) {
    object["gamma"] = tensor_of(c.gamma);
    object["beta"] = tensor_of(c.beta);
  }
  if (p.running) {
    object["running_mean"] = tensor_of(c.running_mean);
    object["running_var"] = tensor_of(c.running_var);
  }
  object["num_batches_tracked"] = c.num_batches_tracked;
  const auto given = [&](const char* field, const std::vector<double>& values, bool always) {
    if (always || !values.empty())
      object[field] = tensor_of(values);
  };
  given("dy", c.dy, takes_dy(p.pass));
  given("saved_mean", c.saved_mean, takes_saved(p.pass));
  given("saved_invstd", c.saved_invstd, takes_saved(p.pass));
  given("v_x", c.v_x, false);
  given("v_gamma", c.v_gamma, false);
  given("v_beta", c.v_beta, false);
  // A field a line, tensors on one line each: a diff of two cases names the field.
  std::string text = "{\n";
  for (auto field = object.begin(); field != object.end(); ++field)
    text += fmt::format("  \"{}\": {}{}\n", field.key(), field.value().dump(),
                        std::next(field) == object.end() ? "" : ",");
  return text + "}\n";
}

}  // namespace normproof::properties
