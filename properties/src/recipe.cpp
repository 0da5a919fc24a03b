// Recipes: the line of text, read and written, and what makes one impossible. Expansion: expand.cpp.
#include "normproof/properties/recipe.h"

#include <algorithm>
#include <array>
#include <charconv>

#include <fmt/format.h>

#include "names.h"
#include "normproof/properties/case_file.h"
#include "normproof/properties/nearest.h"
#include "regimes.h"

namespace normproof::properties {
namespace {

constexpr std::string_view version = "np1";
constexpr int most_threads = 1024;
constexpr std::int64_t most_elements = std::int64_t{1} << 31;

/// "field=offending: reason; nearest valid choice: ...".
std::string refusal(std::string_view offending, std::string_view reason, std::string_view choice) {
  return fmt::format("'{}': {}; the nearest valid choice is '{}'", offending, reason, choice);
}

template <class Integer>
std::optional<Integer> parse_integer(std::string_view text) {
  Integer value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc{} || end != text.data() + text.size())
    return std::nullopt;
  return value;
}

/// A finite number: a hex float, or a decimal that is meant as the nearest double.
std::optional<double> parse_number(std::string_view text) {
  if (const auto exact = parse_hex_float(text))
    return *exact - *exact == 0 ? exact : std::nullopt;
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc{} || end != text.data() + text.size() || !(value - value == 0))
    return std::nullopt;
  return value;
}

template <class List, class Name>
std::string nearest_named(std::string_view text, const List& list, Name name) {
  std::vector<std::string> names;
  for (const auto& item : list)
    names.emplace_back(name(item));
  return nearest(text, names);
}

/// Sets one field from its text; the reason and the nearest choice when it cannot.
struct Refused {
  std::string reason, choice;
};
using Outcome = std::optional<Refused>;

Outcome read_pass(Recipe& r, std::string_view text) {
  const auto pass = parse_pass(text);
  if (!pass)
    return Refused{"no such pass",
                   nearest_named(text, all_passes, [](Pass p) { return normproof::to_string(p); })};
  r.pass = *pass;
  return {};
}

Outcome read_dtype(Recipe& r, std::string_view text) {
  const auto format = format_named(text);
  if (!format)
    return Refused{"no such dtype", nearest_named(text, formats(), [](const Format& f) { return f.name; })};
  r.dtype = *format;
  return {};
}

Outcome read_stats(Recipe& r, std::string_view text) {
  const auto format = format_named(text);
  if (!format)
    return Refused{"no such format", nearest_named(text, formats(), [](const Format& f) { return f.name; })};
  r.stats = *format;  // beside which dtype is seen at the end of the line
  return {};
}

/// A likely meant shape: the digits that are there, 1 in place of everything else.
std::string nearest_shape(std::string_view text) {
  Shape shape{1, 1, {}};
  std::vector<std::int64_t> extents;
  std::int64_t extent = -1;
  for (const char c : text) {
    if (c >= '0' && c <= '9') {
      extent = std::min<std::int64_t>((extent < 0 ? 0 : extent) * 10 + (c - '0'), 64);
    } else if (extent >= 0) {
      extents.push_back(extent);
      extent = -1;
    }
  }
  if (extent >= 0)
    extents.push_back(extent);
  extents.resize(std::min<std::size_t>(extents.size(), 6));
  for (std::size_t i = 0; i < extents.size(); ++i) {
    const std::int64_t positive = std::max<std::int64_t>(1, extents[i]);
    if (i == 0)
      shape.batch = positive;
    else if (i == 1)
      shape.channels = positive;
    else
      shape.spatial.push_back(positive);
  }
  return normproof::to_string(shape);
}

Outcome read_shape(Recipe& r, std::string_view text) {
  const auto shape = parse_shape(text);
  if (!shape)
    return Refused{
        "a shape is BATCHxCHANNELS or BATCHxCHANNELSxEXTENT..., of at most 6 axes and 2^40 elements",
        nearest_shape(text)};
  r.shape = *shape;
  return {};
}

Outcome read_layout(Recipe& r, std::string_view text) {
  const auto colon = text.find(':');
  const auto layout = parse_layout(text.substr(0, colon));
  if (!layout)
    return Refused{"no such layout", nearest_named(text.substr(0, colon), all_layouts,
                                                   [](Layout l) { return normproof::to_string(l); })};
  r.layout = *layout;
  r.layout_seed = 0;
  if (colon == std::string_view::npos)
    return {};
  if (*layout != Layout::strided)
    return Refused{fmt::format("the layout '{}' takes no seed", text.substr(0, colon)),
                   std::string(text.substr(0, colon))};
  const auto seed = parse_integer<std::uint64_t>(text.substr(colon + 1));
  if (!seed)
    return Refused{"the seed of a strided layout is an integer of 0 to 2^64 - 1", "strided:1"};
  r.layout_seed = *seed;
  return {};
}

Outcome read_dialect(Recipe& r, std::string_view text) {
  const auto dialect = dialect_named(text);
  if (!dialect)
    return Refused{"no such dialect", nearest(text, dialect_names())};
  r.dialect = dialect->name;
  return {};
}

Outcome read_regime(Recipe& r, std::string_view text) {
  const auto colon = text.find(':');
  const std::string_view name = text.substr(0, colon);
  const RegimeEntry* entry = regime_named(name);
  if (entry == nullptr) {
    const std::string choice = nearest_named(name, regimes(), [](const RegimeInfo& i) { return i.name; });
    return Refused{fmt::format("no regime is called '{}'", name),
                   to_string(Regime{choice, regime_named(choice)->info.standard})};
  }
  Regime regime{std::string(name), entry->info.standard};
  if (colon != std::string_view::npos) {
    const auto parameter = parse_integer<std::int64_t>(text.substr(colon + 1));
    if (entry->info.parameter.empty())
      return Refused{fmt::format("regime '{}' takes no parameter", name), std::string(name)};
    if (!parameter)
      return Refused{fmt::format("the parameter of '{}' ({}) is an integer", name, entry->info.parameter),
                     to_string(regime)};
    regime.parameter = std::clamp(*parameter, entry->info.lowest, entry->info.highest);
    if (regime.parameter != *parameter)
      return Refused{fmt::format("the parameter of '{}' ({}) lies in {} to {}", name, entry->info.parameter,
                                 entry->info.lowest, entry->info.highest),
                     to_string(regime)};
  }
  r.regime = std::move(regime);
  return {};
}

Outcome read_eps(Recipe& r, std::string_view text) {
  const auto value = parse_number(text);
  if (!value || *value < 0)
    return Refused{"eps is a finite number of at least 0, as a hex float or a decimal",
                   value ? hex_float(0.0) : hex_float(Recipe{}.eps)};
  r.eps = *value == 0 ? 0.0 : *value;
  return {};
}

Outcome read_momentum(Recipe& r, std::string_view text) {
  if (text == "none") {
    r.momentum.reset();
    return {};
  }
  const auto value = parse_number(text);
  if (!value || *value < 0 || *value > 1)
    return Refused{"momentum is a weight of 0 to 1, as a hex float or a decimal, or none",
                   value ? hex_float(std::clamp(*value, 0.0, 1.0)) : std::string("none")};
  r.momentum = *value == 0 ? 0.0 : *value;
  return {};
}

Outcome read_flag(bool& flag, std::string_view text) {
  if (text != "0" && text != "1")
    return Refused{"0 or 1 is wanted", text == "false" || text == "no" || text == "off" ? "0" : "1"};
  flag = text == "1";
  return {};
}

Outcome read_affine(Recipe& r, std::string_view text) {
  return read_flag(r.affine, text);
}

Outcome read_running(Recipe& r, std::string_view text) {
  return read_flag(r.running, text);
}

Outcome read_threads(Recipe& r, std::string_view text) {
  const auto threads = parse_integer<std::int64_t>(text);
  if (!threads || *threads < 1 || *threads > most_threads)
    return Refused{fmt::format("threads is an integer of 1 to {}", most_threads),
                   std::to_string(threads ? std::clamp<std::int64_t>(*threads, 1, most_threads) : 1)};
  r.threads = static_cast<int>(*threads);
  return {};
}

Outcome read_seed(Recipe& r, std::string_view text) {
  const auto seed = parse_integer<std::uint64_t>(text);
  if (!seed)
    return Refused{"seed is an integer of 0 to 2^64 - 1", "1"};
  r.seed = *seed;
  return {};
}

struct Field {
  std::string_view name;
  Outcome (*read)(Recipe&, std::string_view);
};
/// What the recipe asks for and its dialect does not have: the n/a cells of spec/dialects.md.
std::string absent_in(const Dialect& dialect, const Recipe& r) {
  const auto refused = [&](std::string_view what, std::string_view choice) {
    return refusal("dialect=" + r.dialect, fmt::format("it has no {}", what), choice);
  };
  if (!has_pass(dialect.semantics, r.pass))
    return refused("gradient at given statistics", "dialect=documented");
  const bool updates = r.running && (r.pass == Pass::forward_training || r.pass == Pass::gradient);
  if (updates &&
      std::ranges::find(dialect.not_applicable, "running-variance") != dialect.not_applicable.end())
    return refused("running statistics to update", "running=0");
  if (updates && !r.momentum && !dialect.semantics.cumulative_average)
    return refused("cumulative average", "momentum=" + hex_float(*Recipe{}.momentum));
  return {};
}

constexpr std::array fields{
    Field{"pass", read_pass},     Field{"dtype", read_dtype},     Field{"stats", read_stats},
    Field{"shape", read_shape},   Field{"layout", read_layout},   Field{"dialect", read_dialect},
    Field{"regime", read_regime}, Field{"eps", read_eps},         Field{"momentum", read_momentum},
    Field{"affine", read_affine}, Field{"running", read_running}, Field{"threads", read_threads},
    Field{"seed", read_seed}};

std::string_view next_word(std::string_view& line) {
  constexpr std::string_view space = " \t\r\n";
  line.remove_prefix(std::min(line.find_first_not_of(space), line.size()));
  const std::string_view word = line.substr(0, line.find_first_of(space));
  line.remove_prefix(word.size());
  return word;
}

}  // namespace

std::string to_string(const Regime& regime) {
  const RegimeEntry* entry = regime_named(regime.name);
  const bool takes_none = entry != nullptr && entry->info.parameter.empty() && regime.parameter == 0;
  return takes_none ? regime.name : fmt::format("{}:{}", regime.name, regime.parameter);
}

std::string to_string(const Recipe& r) {
  const std::string stats =
      stats_of(r) == usual_stats(r.dtype) ? "" : fmt::format(" stats={}", r.stats->name);
  const std::string layout_seed = r.layout == Layout::strided ? fmt::format(":{}", r.layout_seed) : "";
  return fmt::format("{} pass={} dtype={}{} shape={} layout={}{} dialect={} regime={} eps={} momentum={} "
                     "affine={:d} running={:d} threads={} seed={}",
                     version, normproof::to_string(r.pass), r.dtype.name, stats,
                     normproof::to_string(r.shape), normproof::to_string(r.layout), layout_seed, r.dialect,
                     to_string(r.regime), hex_float(r.eps), r.momentum ? hex_float(*r.momentum) : "none",
                     r.affine, r.running, r.threads, r.seed);
}

Format usual_stats(const Format& dtype) {
  return dtype.p < f32.p ? f32 : dtype;
}

Format stats_of(const Recipe& r) {
  return r.stats.value_or(usual_stats(r.dtype));
}

std::variant<Recipe, std::string> parse_recipe(std::string_view line) {
  const std::string_view first = next_word(line);
  if (first != version)
    return refusal(first, "a recipe starts with the version of its language", version);
  Recipe recipe;
  std::array<bool, fields.size()> seen{};
  for (std::string_view word = next_word(line); !word.empty(); word = next_word(line)) {
    const auto equals = word.find('=');
    const std::string_view name = word.substr(0, equals);
    const auto field = std::ranges::find(fields, name, &Field::name);
    const auto name_of = [](const Field& f) {
      return f.name;
    };
    if (field == fields.end())
      return refusal(word, fmt::format("a recipe has no field '{}'", name),
                     nearest_named(name, fields, name_of) + "=");
    if (equals == std::string_view::npos)
      return refusal(word, "a field is written name=value", fmt::format("{}=", name));
    const auto at = static_cast<std::size_t>(field - fields.begin());
    if (seen[at])
      return refusal(word, fmt::format("the field '{}' is given twice", name), "leave one out");
    seen[at] = true;
    if (const Outcome refused = field->read(recipe, word.substr(equals + 1)))
      return refusal(word, refused->reason, fmt::format("{}={}", name, refused->choice));
  }
  if (recipe.stats == usual_stats(recipe.dtype))
    recipe.stats.reset();
  return recipe;
}

std::string impossible(const Recipe& r) {
  const RegimeEntry* entry = regime_named(r.regime.name);
  if (entry == nullptr)
    return refusal("regime=" + to_string(r.regime), "no such regime",
                   nearest_named(r.regime.name, regimes(), [](const RegimeInfo& i) { return i.name; }));
  const RegimeInfo& info = entry->info;
  if (r.regime.parameter < info.lowest || r.regime.parameter > info.highest)
    return refusal(
        "regime=" + to_string(r.regime), "its parameter is out of range",
        to_string(Regime{r.regime.name, std::clamp(r.regime.parameter, info.lowest, info.highest)}));
  const std::optional<Dialect> dialect = dialect_named(r.dialect);
  if (!dialect)
    return refusal("dialect=" + r.dialect, "no such dialect", nearest(r.dialect, dialect_names()));
  const std::string shape = "shape=" + normproof::to_string(r.shape);
  if (r.shape.channels < 1)
    return refusal(shape, "a case has at least one channel", "1");
  if (r.shape.elements() > most_elements)
    return refusal(shape, "a recipe expands to at most 2^31 elements", "a smaller batch");
  if (!(r.eps >= 0) || !(r.eps - r.eps == 0))
    return refusal("eps=" + hex_float(r.eps), "eps is a finite number of at least 0",
                   hex_float(Recipe{}.eps));
  if (r.momentum && !(*r.momentum >= 0 && *r.momentum <= 1))
    return refusal("momentum=" + hex_float(*r.momentum), "momentum is a weight of 0 to 1", "none");
  if (r.threads < 1 || r.threads > most_threads)
    return refusal(fmt::format("threads={}", r.threads), fmt::format("possible are 1 to {}", most_threads),
                   "1");
  if (is_inference(r.pass) && !r.running)
    return refusal("running=0", "inference normalises with the running statistics, so they must be given",
                   "running=1");
  if (const std::string why = absent_in(*dialect, r); !why.empty())
    return why;
  if (const Format stats = stats_of(r); stats != r.dtype && stats != usual_stats(r.dtype))
    return refusal(
        fmt::format("stats={}", stats.name),
        fmt::format(
            "parameters and statistics of {} tensors are of the same format, or of f32 beside tensors of "
            "16 bits",
            r.dtype.name),
        fmt::format("stats={}", usual_stats(r.dtype).name));
  if (r.layout != Layout::strided && r.layout_seed != 0)
    return refusal(fmt::format("layout={}:{}", normproof::to_string(r.layout), r.layout_seed),
                   "only a strided layout takes a seed",
                   fmt::format("layout={}", normproof::to_string(r.layout)));
  if (entry->about_dy && !takes_dy(r.pass))
    return refusal("regime=" + to_string(r.regime),
                   fmt::format("it is about dy, which {} is not given", normproof::to_string(r.pass)),
                   "regime=normal");
  if (const std::string why = entry->impossible(r, r.regime.parameter); !why.empty())
    return fmt::format("'regime={}' is impossible with {} dtype={} eps={}: {}", to_string(r.regime), shape,
                       r.dtype.name, hex_float(r.eps), why);
  return {};
}

}  // namespace normproof::properties
