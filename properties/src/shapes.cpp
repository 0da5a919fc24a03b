// Named lists of real layers, files of shapes, and recipes for both.
#include "normproof/properties/shapes.h"

#include <algorithm>
#include <array>
#include <fstream>
#include <iterator>
#include <stdexcept>

#include <fmt/format.h>

#include "filter.h"
#include "normproof/properties/nearest.h"
#include "random.h"

namespace normproof::properties {
namespace {

/// Channels and the side of the square plane.
struct Layer {
  std::int64_t channels, side;
};
using Layers = std::vector<Layer>;

Layers resnet18() {
  return {{64, 112}, {64, 56}, {128, 28}, {256, 14}, {512, 7}};
}

/// A stage of bottlenecks: the first one's 1x1 convolution still sees the larger plane, its 3x3 has the
/// stride.
Layers resnet50() {
  Layers layers{{64, 112}, {64, 56}, {256, 56}};
  for (std::int64_t width = 128, side = 28; width <= 512; width *= 2, side /= 2)
    layers.insert(layers.end(), {{width, 2 * side}, {width, side}, {4 * width, side}});
  return layers;
}

/// Inverted residuals {expansion, channels, repeats, stride} of the published table: an expansion at the
/// plane of the input, a depthwise convolution with the stride, a linear projection.
Layers mobilenet_v2() {
  struct Stage {
    std::int64_t expansion, channels, repeats, stride;
  };
  constexpr std::array<Stage, 7> stages{{{1, 16, 1, 1},
                                         {6, 24, 2, 2},
                                         {6, 32, 3, 2},
                                         {6, 64, 4, 2},
                                         {6, 96, 3, 1},
                                         {6, 160, 3, 2},
                                         {6, 320, 1, 1}}};
  std::int64_t channels = 32, side = 112;
  Layers layers{{channels, side}};
  for (const Stage& stage : stages)
    for (std::int64_t repeat = 0; repeat < stage.repeats; ++repeat) {
      const std::int64_t wide = channels * stage.expansion;
      layers.push_back({wide, side});
      side /= repeat == 0 ? stage.stride : 1;
      layers.push_back({wide, side});
      layers.push_back({stage.channels, side});
      channels = stage.channels;
    }
  layers.push_back({1280, side});
  return layers;
}

/// Normalisation comes before each convolution: of the growing concatenation, then of the bottleneck of 4
/// * 32.
Layers densenet121() {
  constexpr std::int64_t growth = 32;
  std::int64_t channels = 64, side = 56;
  Layers layers{{channels, 112}};
  for (const std::int64_t depth : {6, 12, 24, 16}) {
    for (std::int64_t i = 0; i < depth; ++i, channels += growth) {
      layers.push_back({channels, side});
      layers.push_back({4 * growth, side});
    }
    layers.push_back({channels, side});  // of the transition, or the last one
    channels /= 2;
    side /= 2;
  }
  return layers;
}

/// Two unpadded 3x3 convolutions at each level: planes lose 2 each time, halve on the way down, double on the
/// way up.
Layers unet() {
  Layers layers;
  std::int64_t side = 572;
  const auto level = [&](std::int64_t channels) {
    for (int i = 0; i < 2; ++i)
      layers.push_back({channels, side -= 2});
  };
  for (std::int64_t channels = 64; channels < 1024; channels *= 2, side /= 2)
    level(channels);
  level(1024);
  for (std::int64_t channels = 512; channels >= 64; channels /= 2) {
    side *= 2;
    level(channels);
  }
  return layers;
}

std::vector<Shape> planes(const Layers& layers) {
  std::vector<Shape> shapes;
  for (const Layer& layer : layers) {
    Shape shape{1, layer.channels, {layer.side, layer.side}};
    if (std::ranges::find(shapes, shape) == shapes.end())
      shapes.push_back(std::move(shape));
  }
  return shapes;
}

/// Sequences: [N, hidden, tokens] at both lengths of the pre-training, the intermediate layer, the pooled
/// vector.
std::vector<Shape> bert() {
  return {{1, 768, {128}},  {1, 768, {512}},  {1, 3072, {128}}, {1, 3072, {512}}, {1, 768, {}},
          {1, 1024, {128}}, {1, 1024, {512}}, {1, 4096, {128}}, {1, 4096, {512}}, {1, 1024, {}}};
}

struct Named {
  ShapeListInfo info;
  std::vector<Shape> (*shapes)();
};
constexpr std::array named{
    Named{{"resnet50", "He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition (CVPR 2016), table "
                       "1, 224x224; the "
                       "stride of a stage in its first 3x3 convolution, as deployed"},
          [] {
            return planes(resnet50());
          }},
    Named{{"resnet18",
           "He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition (CVPR 2016), table 1, 224x224"},
          [] {
            return planes(resnet18());
          }},
    Named{{"mobilenet_v2",
           "Sandler, Howard, Zhu, Zhmoginov, Chen: MobileNetV2 (CVPR 2018), table 2, 224x224, width 1"},
          [] {
            return planes(mobilenet_v2());
          }},
    Named{{"densenet121",
           "Huang, Liu, van der Maaten, Weinberger: Densely Connected Convolutional Networks (CVPR 2017), "
           "table 1, 224x224, growth 32"},
          [] {
            return planes(densenet121());
          }},
    Named{
        {"unet",
         "Ronneberger, Fischer, Brox: U-Net (MICCAI 2015), figure 1, 572x572; a normalisation after each 3x3 "
         "convolution, which the paper itself has not"},
        [] {
          return planes(unet());
        }},
    Named{{"bert", "Devlin, Chang, Lee, Toutanova: BERT (NAACL 2019), base and large at 128 and 512 tokens, "
                   "as BatchNorm1d "
                   "would see them; the model itself normalises by layer"},
          bert}};

constexpr auto infos = [] {
  std::array<ShapeListInfo, named.size()> list{};
  for (std::size_t i = 0; i < named.size(); ++i)
    list[i] = named[i].info;
  return list;
}();

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view space = " \t\r";
  text.remove_prefix(std::min(text.find_first_not_of(space), text.size()));
  const auto last = text.find_last_not_of(space);
  return text.substr(0, last == std::string_view::npos ? 0 : last + 1);
}

/// What activations are like: near N(0, 1), after a ReLU, with a mean, a channel of each kind.
const std::vector<Regime>& layer_regimes() {
  static const std::vector<Regime> list{{"normal", 0}, {"sparse", 8}, {"offset", 10}, {"mixture", 0}};
  return list;
}

}  // namespace

std::span<const ShapeListInfo> shape_lists() {
  return infos;
}

ShapeList shape_list(std::string_view name, std::int64_t batch) {
  const auto found = std::ranges::find(named, name, [](const Named& list) { return list.info.name; });
  if (found == named.end()) {
    std::vector<std::string> names;
    for (const ShapeListInfo& info : infos)
      names.emplace_back(info.name);
    throw std::invalid_argument(fmt::format("'{}': no such list of shapes; the nearest valid choice is '{}'",
                                            name, nearest(name, names)));
  }
  ShapeList list{std::string(name), std::string(found->info.source), found->shapes()};
  for (Shape& shape : list.shapes) {
    shape.batch = batch;
    if (batch < 1 || !parse_shape(to_string(shape)))
      throw std::invalid_argument(fmt::format("'{}': a batch for '{}' is at least 1 and leaves no shape "
                                              "above 2^40 elements; a common one is '32'",
                                              batch, name));
  }
  return list;
}

ShapeList parse_shapes(std::string_view text, const std::string& origin) {
  ShapeList list{origin, "", {}};
  for (std::size_t number = 1; !text.empty(); ++number) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    const std::string_view word = trimmed(line.substr(0, line.find('#')));
    if (word.empty())
      continue;
    const auto shape = parse_shape(word);
    if (!shape || shape->channels < 1)
      throw std::invalid_argument(
          fmt::format("{}: line {}: '{}': a shape is BATCHxCHANNELS or BATCHxCHANNELSxEXTENT..., of at "
                      "least one channel, at most 6 axes and 2^40 elements, like '32x64x56x56'",
                      origin, number, word.substr(0, 60)));
    list.shapes.push_back(*shape);
  }
  if (list.shapes.empty())
    throw std::invalid_argument(fmt::format("{}: no line holds a shape, like '32x64x56x56'", origin));
  return list;
}

ShapeList read_shapes(const std::filesystem::path& path) {
  std::error_code error;
  if (std::filesystem::is_directory(path, error))
    throw std::invalid_argument(fmt::format("{}: it is a directory, not a file of shapes", path.string()));
  std::ifstream file(path, std::ios::binary);
  if (!file)
    throw std::invalid_argument(
        fmt::format("{}: the file of shapes cannot be read ({})", path.string(),
                    std::filesystem::exists(path, error) ? "no permission" : "no such file"));
  const std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  return parse_shapes(text, path.string());
}

std::vector<Recipe> recipes_for_shapes(const ShapeList& list, std::uint64_t seed, const Filter& filter) {
  check_names(filter);
  // Kinds turn by shape and pass: a list of as many shapes as kinds meets every kind in every pass.
  struct Kind {
    Format dtype, stats;
    Layout layout;
  };
  std::vector<Kind> kinds;
  for (const Layout layout : all_layouts)
    for (const Format& dtype : {f32, f16, bf16, f64})
      if (keeps(filter.dtypes, dtype.name) && keeps(filter.layouts, to_string(layout))) {
        kinds.push_back({dtype, usual_stats(dtype), layout});
        if (dtype.p < f32.p)
          kinds.push_back({dtype, dtype, layout});
      }
  std::vector<std::string_view> dialect_list;
  for (const Dialect& dialect : dialects())
    if (keeps(filter.dialects, dialect.name))
      dialect_list.push_back(dialect.name);
  std::vector<Regime> regime_list;
  for (const std::string& text : filter.regimes) {
    const auto parsed = parse_recipe("np1 regime=" + text);
    if (const auto* wrong = std::get_if<std::string>(&parsed))
      throw std::invalid_argument(*wrong);
    regime_list.push_back(std::get<Recipe>(parsed).regime);
  }
  if (regime_list.empty())
    regime_list = layer_regimes();
  if (!filter.extended)
    std::erase_if(regime_list, is_extended);

  const Draw seeds(seed, Stream::recipe, 1 << 20);
  std::vector<Recipe> result;
  std::string why;
  for (std::size_t s = 0; s < list.shapes.size(); ++s)
    for (std::size_t p = 0; p < all_passes.size(); ++p) {
      if (!filter.passes.empty() && std::ranges::find(filter.passes, all_passes[p]) == filter.passes.end())
        continue;
      const std::uint64_t here = s * all_passes.size() + p;
      const Draw options(1, Stream::recipe, here);
      const std::size_t choices = kinds.size() * dialect_list.size() * regime_list.size();
      for (std::size_t i = 0; i < choices; ++i) {
        // Where the first choice is impossible: another regime, then another dialect, then another kind.
        const std::size_t next_dialect = i / regime_list.size(),
                          next_kind = next_dialect / dialect_list.size();
        const Kind& kind = kinds[(s + p + next_kind) % kinds.size()];
        Recipe r;
        r.pass = all_passes[p];
        r.dtype = kind.dtype;
        if (kind.stats != usual_stats(kind.dtype))
          r.stats = kind.stats;
        r.shape = list.shapes[s];
        r.layout = kind.layout;
        r.layout_seed = kind.layout == Layout::strided ? 1 + options.below(0, 1000) : 0;
        r.dialect = dialect_list[(options.word(1) + next_dialect) % dialect_list.size()];
        r.regime = regime_list[(options.word(2) + i) % regime_list.size()];
        if (r.regime.name == "exact")
          r.eps = 0.5;
        r.running = is_inference(r.pass) || updates_running(r.dialect);
        r.seed = seeds.word(here) >> 40;
        why = impossible(r);
        if (why.empty()) {
          result.push_back(std::move(r));
          break;
        }
      }
    }
  if (result.empty())
    throw std::invalid_argument(fmt::format("{}: no recipe is left for these shapes{}", list.name,
                                            why.empty() ? "; the filter keeps nothing" : ": " + why));
  return result;
}

}  // namespace normproof::properties
