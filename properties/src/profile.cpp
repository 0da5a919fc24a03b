// Profiles: deterministic lists of recipes.
//
// A list is made of rounds. A round tries every regime once per key (pass, dtype, layout), since the verdict
// is given per key, and turns everything else (shape, dialect, eps, momentum, affine, threads) by counters of
// different periods, so that combinations keep changing. After the first regime pass come the edges: one,
// two, three values per channel, a batch of one, extreme eps and momentum, problems that must be rejected,
// larger layers. That is the list of the two forward passes in f32 and f64; beside it, and evenly between its
// recipes, goes the list of the whole algorithm: all passes, formats, layouts and dialects.
#include "normproof/properties/profile.h"

#include <algorithm>
#include <array>

#include "filter.h"
#include "random.h"

namespace normproof::properties {
namespace {

constexpr double eps_1e_5 = 0x1.4f8b58p-17;   // what f32 makes of 1e-5
constexpr double eps_1e_12 = 0x1.197998p-40;  // and of 1e-12
constexpr double eps_1e_3 = 0x1.0624dep-10;   // and of 1e-3
constexpr double momentum_01 = 0x1.99999ap-4;

constexpr std::array names{Profile::quick, Profile::standard, Profile::deep};

struct Key {
  Pass pass;
  Format dtype;
  Layout layout;
};
constexpr std::array keys{Key{Pass::forward_training, f32, Layout::contiguous},
                          Key{Pass::forward_inference, f32, Layout::channels_last},
                          Key{Pass::forward_training, f64, Layout::channels_last},
                          Key{Pass::forward_training, f32, Layout::channels_last},
                          Key{Pass::forward_inference, f64, Layout::contiguous},
                          Key{Pass::forward_training, f64, Layout::contiguous},
                          Key{Pass::forward_inference, f32, Layout::contiguous},
                          Key{Pass::forward_inference, f64, Layout::channels_last}};

/// Every regime, with the parameters at which kernels differ (condition numbers by decades, variance around
/// eps).
const std::vector<Regime>& regime_points() {
  static const std::vector<Regime> points{
      {"normal", 0},        {"offset", 1000},     {"exact", 3},         {"pair", 10002},
      {"constant", 0},      {"mixture", 0},       {"offset", 10},       {"variance", -8},
      {"uniform", 0},       {"near_constant", 4}, {"outlier", 6},       {"offset", 100000},
      {"pixels", 0},        {"paired", 1000},     {"graded", 12},       {"variance", -40},
      {"offset", 1},        {"sparse", 8},        {"witness_mean", 0},  {"witness_var", 0},
      {"exact", 0},         {"offset", 100},      {"variance", 20},     {"outlier", 2},
      {"pair", 100},        {"offset", 1000000},  {"near_constant", 1}, {"paired", 0},
      {"variance", -20},    {"exact", 100},       {"offset", 10000},    {"graded", 30},
      {"offset", 10000000}, {"subnormal", 0},     {"huge", 1},          {"variance", -3},
      {"non_finite", 0},    {"huge", 40}};
  return points;
}

/// Small shapes, n = 2 to 512 in an order that mixes sizes; C = 2 to 8; n = 1 is an edge of its own.
const std::vector<Shape>& small_shapes() {
  static const std::vector<Shape> shapes{
      {8, 4, {4, 4}},    {1, 3, {5, 7}},   {2, 5, {3}},       {16, 2, {4, 4}}, {4, 2, {}},
      {3, 4, {1}},       {64, 3, {}},      {2, 4, {2, 2, 2}}, {2, 3, {}},      {1, 2, {16, 16}},
      {5, 3, {3, 2, 3}}, {2, 2, {16, 16}}, {7, 8, {3}},       {3, 2, {}},      {4, 6, {2, 2}},
      {8, 3, {8, 8}},    {1, 4, {2}},      {2, 2, {1}},       {32, 4, {2, 4}}, {1, 4, {8}},
      {100, 2, {}},      {2, 4, {1, 2}},   {13, 5, {17}},     {256, 2, {}},    {2, 7, {4, 2}}};
  return shapes;
}

bool has_space(const Shape& shape) {
  return shape.plane() > 1 && shape.channels > 1;
}

class RecipeList {
public:
  /// Lists of different numbers draw different seeds.
  RecipeList(std::uint64_t seed, std::uint64_t number) : seeds_(seed, Stream::recipe, number) {}

  /// Appends it with a seed of its own; seeds are short so that lines stay readable.
  void add(Recipe r) {
    r.seed = seeds_.word(list_.size()) >> 40;
    if (impossible(r).empty())
      list_.push_back(std::move(r));
  }

  /// One regime of one key at the next shape that can have it.
  void add_regime(const Key& key, const Regime& regime) {
    constexpr std::array eps{eps_1e_5, eps_1e_5, eps_1e_3, eps_1e_12, 0.0, eps_1e_5, 0x1p+0};
    const std::array<std::optional<double>, 5> momentum{momentum_01, 0.0, 0.5, std::nullopt, 1.0};
    constexpr std::array<std::string_view, 3> dialect{"documented", "pytorch/native_batch_norm",
                                                      "pytorch/F.batch_norm"};
    const std::size_t turn = turn_++;
    Recipe r;
    r.pass = key.pass;
    r.dtype = key.dtype;
    r.layout = key.layout;
    r.regime = regime;
    r.dialect = dialect[turn % dialect.size()];
    r.momentum = momentum[turn % momentum.size()];
    r.eps = regime.name == "exact" ? 0.5 : eps[turn % eps.size()];
    // eps = 0 divides by the variance alone: an edge of its own where that may be 0, refused by one entry
    // point.
    const bool may_be_constant = regime.name == "constant" || regime.name == "mixture" ||
                                 regime.name == "near_constant" || regime.name == "sparse" ||
                                 regime.name == "subnormal" || regime.name == "pixels";
    if (r.eps == 0 && (may_be_constant || r.dialect == "pytorch/F.batch_norm"))
      r.eps = eps_1e_5;
    r.affine = turn % 9 != 8;
    r.running = key.pass == Pass::forward_inference || turn % 11 != 10;
    r.threads = turn % 4 == 3 ? 2 : 1;
    const auto& shapes = small_shapes();
    for (std::size_t tries = 0; tries < shapes.size(); ++tries) {
      r.shape = shapes[shape_++ % shapes.size()];
      if (r.layout == Layout::channels_last && !has_space(r.shape))
        continue;
      if (impossible(r).empty())
        return add(r);
    }
    // What no small shape can have (a pair in channels-last needs two places in space).
    r.shape = {1, 3, {2}};
    add(r);
  }

  std::vector<Recipe> take() { return std::move(list_); }

private:
  Draw seeds_;
  std::size_t turn_ = 0, shape_ = 0;
  std::vector<Recipe> list_;
};

Recipe recipe_of(Pass pass, const Format& dtype, const Shape& shape, Layout layout, std::string_view dialect,
                 Regime regime) {
  Recipe r;
  r.pass = pass;
  r.dtype = dtype;
  r.shape = shape;
  r.layout = layout;
  r.dialect = dialect;
  r.regime = std::move(regime);
  return r;
}

constexpr Pass training = Pass::forward_training, inference = Pass::forward_inference;
constexpr Layout contiguous = Layout::contiguous, channels_last = Layout::channels_last;
constexpr std::string_view documented = "documented", native = "pytorch/native_batch_norm",
                           functional = "pytorch/F.batch_norm";

/// Small problems that a rotation of everything meets too seldom.
void add_edges(RecipeList& list) {
  for (const Format& dtype : {f32, f64}) {
    // One value per channel: variance 0, y = beta; the unbiased running variance is 0/0 or the problem is
    // refused.
    for (const Shape& one : {Shape{1, 4, {}}, Shape{1, 4, {1, 1}}})
      for (const Pass pass : {training, inference})
        for (const std::string_view dialect : {documented, native})
          list.add(recipe_of(pass, dtype, one, contiguous, dialect, {"normal", 0}));
    for (const Shape& few : {Shape{2, 4, {}}, Shape{3, 4, {}}, Shape{1, 4, {3}}})
      for (const Regime& regime : {Regime{"normal", 0}, Regime{"offset", 10000}})
        list.add(recipe_of(training, dtype, few, contiguous, few.batch == 2 ? native : documented, regime));
    // A batch of one with space is an ordinary problem.
    for (const Layout layout : {contiguous, channels_last})
      list.add(recipe_of(training, dtype, {1, 4, {7, 9}}, layout, functional, {"normal", 0}));
    // What must be refused.
    list.add(recipe_of(training, dtype, {1, 4, {}}, contiguous, functional, {"normal", 0}));
    list.add(recipe_of(training, dtype, {1, 4, {1, 1}}, contiguous, functional, {"normal", 0}));
    list.add(recipe_of(training, dtype, {0, 4, {2, 2}}, contiguous, functional, {"normal", 0}));
    Recipe no_eps = recipe_of(training, dtype, {8, 4, {}}, contiguous, functional, {"normal", 0});
    no_eps.eps = 0;
    list.add(no_eps);
    // eps from nothing to far above the variance; one that f32 does not hold; where var + eps = 0.
    for (const double eps : {0.0, eps_1e_12, 1e-5, 0.1, 1.0}) {
      Recipe r = recipe_of(training, dtype, {4, 4, {2, 4}}, contiguous, native, {"variance", -8});
      r.eps = eps;
      list.add(r);
      r.pass = inference;
      list.add(r);
    }
    Recipe zero = recipe_of(training, dtype, {4, 4, {2}}, contiguous, native, {"constant", 0});
    zero.eps = 0;
    list.add(zero);
    // A cumulative average, and momentum at its ends, beside statistics that differ from the batch's.
    for (const std::optional<double>& momentum :
         {std::optional<double>{}, std::optional(0.0), std::optional(1.0), std::optional(0.5),
          std::optional(0.1)}) {
      Recipe r = recipe_of(training, dtype, {4, 4, {3, 3}}, channels_last, documented, {"offset", 10});
      r.momentum = momentum;
      list.add(r);
      r.dialect = native;
      list.add(r);
    }
    for (const bool affine : {false, true}) {
      Recipe bare = recipe_of(training, dtype, {4, 4, {3, 3}}, contiguous, native, {"normal", 0});
      bare.affine = affine;
      bare.running = !affine;
      list.add(bare);
    }
  }
}

/// Layers of some size. What sequential sums lose shows from n = 2^11 on.
void add_medium(RecipeList& list, std::size_t part) {
  const std::array<Recipe, 10> all{
      recipe_of(training, f32, {8, 4, {16, 16}}, channels_last, native, {"offset", 1000}),
      recipe_of(training, f32, {7, 3, {31, 33}}, contiguous, functional, {"mixture", 0}),
      recipe_of(training, f32, {16, 2, {32, 32}}, channels_last, native, {"constant", 0}),
      recipe_of(inference, f32, {8, 4, {16, 16}}, contiguous, documented, {"offset", 1000}),
      recipe_of(training, f32, {65536, 2, {}}, contiguous, native, {"offset", 100}),
      recipe_of(training, f64, {4, 2, {64, 64}}, contiguous, documented, {"offset", 1000000}),
      recipe_of(training, f32, {2048, 4, {}}, contiguous, documented, {"witness_mean", 0}),
      recipe_of(training, f32, {4, 2, {32, 64}}, contiguous, native, {"exact", 3}),
      recipe_of(training, f64, {8, 3, {16, 16}}, channels_last, native, {"graded", 12}),
      recipe_of(training, f32, {2, 2, {128, 128}}, contiguous, native, {"near_constant", 4})};
  for (std::size_t i = part; i < all.size(); i += 2) {
    Recipe r = all[i];
    if (r.regime.name == "exact")
      r.eps = 0.5;
    r.threads = i % 3 == 2 ? 2 : 1;
    list.add(r);
  }
}

void add_million(RecipeList& list) {
  list.add(recipe_of(training, f32, {4, 2, {500, 500}}, channels_last, native, {"offset", 1000}));
  list.add(recipe_of(training, f32, {4, 1, {500, 500}}, contiguous, native, {"normal", 0}));
}

constexpr Layout layout_of(std::size_t i) {
  return i % 2 == 0 ? contiguous : channels_last;
}

/// Layers of real networks, and a million values per channel in every kind that stagnation knows.
void add_real_layers(RecipeList& list) {
  const std::array shapes{Shape{4, 32, {56, 56}}, Shape{16, 128, {14, 14}}, Shape{32, 256, {7, 7}},
                          Shape{2, 16, {8, 24, 24}}, Shape{4096, 64, {}}};
  const std::array regime{Regime{"normal", 0}, Regime{"sparse", 8}, Regime{"offset", 100},
                          Regime{"mixture", 0}};
  std::size_t turn = 0;
  for (const Shape& shape : shapes)
    for (const Regime& one : regime) {
      const bool space = has_space(shape);
      Recipe r = recipe_of(turn % 4 == 3 ? inference : training, turn % 5 == 4 ? f64 : f32, shape,
                           space ? layout_of(turn) : contiguous, turn % 3 == 0 ? documented : native, one);
      r.threads = turn % 4 == 1 ? 2 : 1;
      list.add(r);
      ++turn;
    }
  for (const Regime& one :
       {Regime{"constant", 0}, Regime{"uniform", 0}, Regime{"offset", 1000}, Regime{"pixels", 0}})
    list.add(recipe_of(training, f32, {4, 2, {500, 500}}, layout_of(turn++), native, one));
  Recipe exact = recipe_of(training, f32, {4, 1, {512, 512}}, contiguous, native, {"exact", 1});
  exact.eps = 0.5;
  list.add(exact);
  list.add(recipe_of(training, f64, {4, 1, {500, 500}}, contiguous, native, {"offset", 1000}));
  list.add(recipe_of(training, f32, {4, 16, {500, 500}}, channels_last, native, {"offset", 1000}));
}

/// The largest layers that networks have, and sums beyond 2^24 terms.
void add_largest(RecipeList& list) {
  for (const Layout layout : {contiguous, channels_last}) {
    list.add(recipe_of(training, f32, {32, 256, {56, 56}}, layout, native, {"normal", 0}));
    list.add(recipe_of(training, f32, {32, 64, {112, 112}}, layout, native, {"sparse", 4}));
    list.add(recipe_of(training, f32, {4, 16, {500, 500}}, layout, native, {"mixture", 0}));
    list.add(recipe_of(inference, f32, {32, 256, {56, 56}}, layout, documented, {"offset", 10}));
  }
  list.add(recipe_of(training, f32, {8, 1, {2048, 2048}}, contiguous, native, {"pixels", 0}));
  list.add(recipe_of(training, f32, {8, 1, {2048, 2048}}, contiguous, native, {"constant", 0}));
  list.add(recipe_of(training, f64, {16, 64, {56, 56}}, channels_last, native, {"offset", 100000}));
}

std::vector<Recipe> forward_recipes(Profile profile, std::uint64_t seed, std::size_t rounds) {
  RecipeList list(seed, 1);
  for (std::size_t round = 0; round < rounds; ++round)
    for (std::size_t k = 0; k < keys.size(); ++k) {
      // Neighbouring regimes meet different keys: after the first eighth every regime, key and dialect has
      // been seen.
      for (std::size_t i = 0; i < regime_points().size(); ++i)
        list.add_regime(keys[(i + k) % keys.size()], regime_points()[i]);
      if (k == 0)
        add_edges(list);
      if (k == 0 || k == 2)
        add_medium(list, k / 2);
      if (k == 4 && round == 0)
        list.add(recipe_of(training, f32, {8, 64, {28, 28}}, contiguous, native, {"normal", 0}));
      if (k == 5 && round % 10 == 0)
        add_million(list);
      if (k == 7 && round % 10 == 0 && profile != Profile::quick)
        add_real_layers(list);
      if (k == 7 && round == 0 && profile == Profile::deep)
        add_largest(list);
    }
  return list.take();
}

// ---- the whole algorithm
// ------------------------------------------------------------------------------------------------

/// What dialects differ in as far as numbers go: a kernel that gets one point of a class right gets all.
struct DialectClass {
  Semantics semantics;  ///< of its first member
  bool updates = true;  ///< has running statistics to update
  std::vector<std::string_view> members;
};

std::vector<DialectClass> dialect_classes() {
  std::vector<DialectClass> classes;
  for (const Dialect& dialect : dialects()) {
    const bool updates = updates_running(dialect.name);
    const Semantics& s = dialect.semantics;
    const auto same = [&](const DialectClass& c) {
      return c.updates == updates && c.semantics.eps == s.eps && c.semantics.normalising == s.normalising &&
             c.semantics.running == s.running && c.semantics.momentum == s.momentum;
    };
    auto found = std::ranges::find_if(classes, same);
    if (found == classes.end())
      found = classes.insert(classes.end(), {s, updates, {}});
    found->members.push_back(dialect.name);
  }
  return classes;
}

/// As regime_points, and those of dy. 43 of them: prime to the 12 pairs of dtype and layout, so that counters
/// that run through both meet every combination.
const std::vector<Regime>& whole_points() {
  static const std::vector<Regime> points{
      {"normal", 0},        {"cancelling_dy", 0}, {"offset", 1000}, {"exact", 3},
      {"constant", 0},      {"large_dy", 16},     {"mixture", 0},   {"pair", 100},
      {"witness_mean", 0},  {"near_constant", 4}, {"variance", -8}, {"uniform", 0},
      {"witness_var", 0},   {"offset", 10},       {"outlier", 6},   {"pixels", 0},
      {"paired", 1000},     {"sparse", 8},        {"graded", 12},   {"non_finite", 0},
      {"large_dy", -16},    {"subnormal", 0},     {"huge", 1},      {"offset", 100000},
      {"exact", 0},         {"variance", -40},    {"offset", 1},    {"cancelling_dy", 0},
      {"near_constant", 1}, {"variance", 20},     {"pair", 10002},  {"offset", 100},
      {"outlier", 2},       {"paired", 0},        {"large_dy", 4},  {"offset", 1000000},
      {"variance", -20},    {"exact", 100},       {"large_dy", -8}, {"graded", 30},
      {"variance", -3},     {"offset", 10000},    {"sparse", 100}};
  return points;
}

/// The regime at the nearest plainer parameter that the format can have: f16 holds no offset of 10^6, and at
/// one beyond 2^p a deviation of 1 is lost.
Regime fitting(Regime regime, const Recipe& r) {
  if (r.dtype.p < f32.p && regime.name == "offset")
    regime.parameter = std::min(regime.parameter, std::int64_t{1} << (r.dtype.p - 1));
  Recipe plain;  // of a shape and eps that every regime can have one or the other of
  plain.pass = Pass::backward_training;
  plain.dtype = r.dtype;
  plain.regime = regime;
  plain.eps = 0.5;
  plain.shape = regime.name == "pair" ? Shape{2, 1, {}} : Shape{8, 1, {}};
  while (!impossible(plain).empty() && plain.regime.parameter != 0)
    plain.regime.parameter /= 2;
  return plain.regime;
}

constexpr std::array whole_dtypes{f32, f16, f64, bf16};
constexpr std::array whole_layouts{contiguous, channels_last, Layout::strided};

/// Sets what depends on the dialect: whether statistics are updated, a momentum where one is required. False
/// where the dialect has no such pass.
bool set_dialect(Recipe& r, std::string_view name, bool updates) {
  const Dialect dialect = *dialect_named(name);
  r.dialect = name;
  if (!has_pass(dialect.semantics, r.pass))
    return false;
  if (!updates && !is_inference(r.pass))
    r.running = false;
  if (!r.momentum && !dialect.semantics.cumulative_average)
    r.momentum = momentum_01;
  return true;
}

class WholeList {
public:
  WholeList(std::uint64_t seed) : list_(seed, 2) {}

  /// One recipe of each pass: the pair of dtype and layout turns fastest, then the class of the dialect.
  void add_row(std::size_t round) {
    const std::size_t pair = row_ % 12, slot = row_ / 12;
    for (const Pass pass : all_passes) {
      const Draw options(0, Stream::recipe, 3 + turn_++);
      Recipe r;
      r.pass = pass;
      r.dtype = whole_dtypes[pair % 4];
      r.layout = whole_layouts[pair % 3];
      if (r.layout == Layout::strided)
        r.layout_seed = 1 + options.below(0, 1000);
      if (r.dtype.p < f32.p && (slot + slot / classes_.size() + round) % 2 == 1)
        r.stats = r.dtype;
      constexpr std::array eps{eps_1e_5, eps_1e_5, eps_1e_3, eps_1e_12, 0x1p+0, 1e-5};
      const std::array<std::optional<double>, 5> momentum{momentum_01, 0.0, 0.5, std::nullopt, 1.0};
      r.eps = eps[options.below(1, eps.size())];
      r.momentum = momentum[options.below(2, momentum.size())];
      r.affine = options.below(3, 8) != 0;
      r.running = is_inference(pass) || options.below(4, 8) != 0;
      r.threads = options.below(5, 4) == 0 ? 2 : 1;
      const DialectClass& among = classes_[slot % classes_.size()];
      const std::size_t first = options.below(6, among.members.size());
      bool has = false;
      for (std::size_t i = 0; i < among.members.size() && !has; ++i)
        has = set_dialect(r, among.members[(first + i) % among.members.size()], among.updates);
      if (!has)  // no dialect of the class has the pass
        continue;
      add_regime(r, options);
    }
    ++row_;
  }

  /// What rows meet too seldom: one, two and three values per channel, none, refusals, in all passes and
  /// formats.
  void add_edges() {
    for (const Format& dtype : whole_dtypes)
      for (const Pass pass : all_passes) {
        for (const Shape& few : {Shape{1, 4, {1}}, Shape{2, 4, {}}, Shape{3, 4, {}}}) {
          const Layout layout = few.batch == 2 ? Layout::strided : contiguous;
          Recipe r = recipe_of(pass, dtype, few, layout, few.batch == 1 ? documented : native, {"normal", 0});
          r.layout_seed = layout == Layout::strided ? 1 : 0;
          list_.add(r);
        }
        if (pass == Pass::gradient)
          for (const double eps : {0.0, eps_1e_12, 1.0}) {
            Recipe r = recipe_of(pass, dtype, {4, 4, {2, 4}}, contiguous, native, {"variance", -2});
            r.eps = eps;
            list_.add(r);
          }
      }
    for (const Pass pass : {Pass::gradient, Pass::backward_training}) {
      list_.add(recipe_of(pass, f32, {0, 4, {2, 2}}, contiguous, functional, {"normal", 0}));
      list_.add(recipe_of(pass, f32, {1, 4, {1, 1}}, contiguous, functional, {"normal", 0}));
    }
  }

  /// Layers whose sums have depth: 2^11 to 2^16 values per channel.
  void add_medium() {
    const std::array all{
        recipe_of(Pass::backward_training, f32, {2048, 3, {}}, contiguous, native, {"witness_mean", 0}),
        recipe_of(Pass::backward_training, f32, {8, 2, {16, 16}}, channels_last, native, {"witness_var", 0}),
        recipe_of(Pass::backward_training, f32, {8, 2, {32, 32}}, Layout::strided, native,
                  {"cancelling_dy", 0}),
        recipe_of(Pass::backward_training, f32, {65536, 1, {}}, contiguous, native, {"large_dy", 0}),
        recipe_of(Pass::gradient, f32, {8, 4, {16, 16}}, contiguous, native, {"offset", 1000}),
        recipe_of(Pass::gradient, f64, {7, 2, {31, 33}}, channels_last, native, {"mixture", 0}),
        recipe_of(Pass::gradient, bf16, {16, 4, {14, 14}}, channels_last, native, {"sparse", 8}),
        recipe_of(Pass::backward_inference, f32, {8, 4, {16, 16}}, channels_last, native, {"offset", 10}),
        recipe_of(Pass::backward_training, f16, {16, 4, {14, 14}}, channels_last, native, {"normal", 0}),
        recipe_of(Pass::double_backward, f32, {8, 3, {16, 16}}, contiguous, native, {"normal", 0}),
        recipe_of(Pass::double_backward_inference, f32, {8, 3, {16, 16}}, contiguous, native, {"normal", 0}),
        recipe_of(training, f16, {16, 4, {14, 14}}, channels_last, native, {"sparse", 8}),
        recipe_of(training, bf16, {4, 2, {64, 64}}, contiguous, native, {"offset", 100}),
        recipe_of(training, f16, {65536, 1, {}}, contiguous, native, {"uniform", 0}),
        recipe_of(training, f32, {8, 4, {16, 16}}, Layout::strided, native, {"offset", 1000})};
    for (Recipe r : all) {
      r.layout_seed = r.layout == Layout::strided ? 1 : 0;
      list_.add(r);
    }
  }

  /// More channels than a vector has lanes, and not a multiple of them; more values per channel than a
  /// counter in the data's own format can tell apart (2^8 in bf16, 2^11 in f16).
  void add_wide_and_long() {
    for (const Format& dtype : whole_dtypes)
      for (const Pass pass : all_passes) {
        const std::size_t turn = turn_++;
        Recipe r = recipe_of(pass, dtype, {4, 19, {3}}, layout_of(turn), native, {"normal", 0});
        list_.add(r);
        if (pass == training) {
          r.shape = {2, 35, {2, 2}};
          r.layout = layout_of(turn + 1);
          list_.add(r);
        }
        if (takes_dy(pass) || pass == training) {
          r.shape = {turn % 2 == 0 ? 683 : 2049, 2, {}};
          r.layout = contiguous;
          list_.add(r);
        }
      }
  }

  std::size_t rows() const { return 12 * std::max<std::size_t>(4, classes_.size()); }
  RecipeList& list() { return list_; }

private:
  /// The pass's next regime, or the one after it where that is impossible at every shape.
  void add_regime(Recipe r, const Draw& options) {
    const auto& points = whole_points();
    const auto& shapes = small_shapes();
    const double eps = r.eps;
    std::size_t& at = regime_[static_cast<std::size_t>(r.pass)];
    for (std::size_t tries = 0; tries < points.size(); ++tries) {
      r.regime = fitting(points[at++ % points.size()], r);
      r.eps = r.regime.name == "exact" ? 0.5 : eps;
      const std::uint64_t first = options.below(7, shapes.size());
      for (std::size_t i = 0; i <= shapes.size(); ++i) {
        // The last is for what no small shape can have (a pair in channels-last needs two places in space).
        r.shape = i < shapes.size() ? shapes[(first + i) % shapes.size()] : Shape{1, 3, {2}};
        if ((r.layout != Layout::channels_last || has_space(r.shape)) && impossible(r).empty())
          return list_.add(r);
      }
    }
  }

  RecipeList list_;
  std::vector<DialectClass> classes_ = dialect_classes();
  std::size_t row_ = 0, turn_ = 0;
  std::array<std::size_t, all_passes.size()> regime_{};
};

/// Real layers in the passes and formats that the forward list has not; the largest in `deep` alone.
void add_whole_layers(RecipeList& list, bool largest) {
  std::size_t turn = 0;
  for (const Shape& shape : {Shape{2, 32, {56, 56}}, Shape{16, 128, {14, 14}}, Shape{32, 256, {7, 7}}})
    for (const Pass pass : all_passes)
      for (const Format& dtype : {f32, f16, bf16}) {
        if (dtype == f32 && !takes_dy(pass))
          continue;
        const Regime regime = turn % 2 == 0 ? Regime{"sparse", 8} : Regime{"normal", 0};
        list.add(recipe_of(pass, dtype, shape, layout_of(turn), native, regime));
        ++turn;
      }
  list.add(recipe_of(Pass::backward_training, f32, {4, 1, {500, 500}}, contiguous, native, {"normal", 0}));
  list.add(recipe_of(Pass::gradient, f32, {4, 1, {500, 500}}, contiguous, native, {"offset", 100}));
  if (!largest)
    return;
  for (const Layout layout : {contiguous, channels_last})
    list.add(recipe_of(Pass::gradient, f32, {32, 64, {112, 112}}, layout, native, {"sparse", 4}));
  list.add(
      recipe_of(Pass::backward_training, bf16, {32, 256, {56, 56}}, channels_last, native, {"normal", 0}));
  list.add(recipe_of(training, f16, {32, 256, {56, 56}}, contiguous, native, {"sparse", 4}));
}

std::vector<Recipe> whole_recipes(Profile profile, std::uint64_t seed, std::size_t rounds) {
  WholeList whole(seed);
  for (std::size_t round = 0; round < rounds; ++round) {
    for (std::size_t row = 0; row < whole.rows(); ++row)
      whole.add_row(round);
    if (round % 10 == 0) {
      whole.add_edges();
      whole.add_medium();
      whole.add_wide_and_long();
    }
    if (round % 10 == 9)
      add_whole_layers(whole.list(), round == 9 && profile == Profile::deep);
  }
  return whole.list().take();
}

/// Both lists in their orders, each evenly spread over the whole.
std::vector<Recipe> interleaved(std::vector<Recipe> a, std::vector<Recipe> b) {
  std::vector<Recipe> merged;
  merged.reserve(a.size() + b.size());
  std::size_t i = 0, j = 0;
  while (i < a.size() || j < b.size())
    if (j == b.size() || (i < a.size() && i * b.size() <= j * a.size()))
      merged.push_back(std::move(a[i++]));
    else
      merged.push_back(std::move(b[j++]));
  return merged;
}

std::vector<Recipe> all_recipes(Profile profile, std::uint64_t seed) {
  const std::size_t rounds = profile == Profile::quick ? 1 : (profile == Profile::standard ? 10 : 100);
  return interleaved(forward_recipes(profile, seed, rounds), whole_recipes(profile, seed, rounds));
}

// ---- filters
// ------------------------------------------------------------------------------------------------------

void check_regimes(const Filter& filter) {
  std::vector<std::string> known;
  for (const RegimeInfo& info : regimes())
    known.emplace_back(info.name);
  for (const auto* points : {&regime_points(), &whole_points()})
    for (const Regime& point : *points)
      known.push_back(to_string(point));
  check_names(filter.regimes, "regime of a profile", known);
}

bool is_kept(const Filter& filter, const Recipe& r) {
  if (!filter.passes.empty() && std::ranges::find(filter.passes, r.pass) == filter.passes.end())
    return false;
  if (!keeps(filter.dtypes, r.dtype.name) || !keeps(filter.layouts, to_string(r.layout)) ||
      !keeps(filter.dialects, r.dialect))
    return false;
  if (!filter.regimes.empty() && !keeps(filter.regimes, r.regime.name) &&
      !keeps(filter.regimes, to_string(r.regime)))
    return false;
  return filter.extended || !is_extended(r.regime);
}

}  // namespace

std::string_view to_string(Profile profile) {
  switch (profile) {
  case Profile::quick:
    return "quick";
  case Profile::standard:
    return "standard";
  case Profile::deep:
    return "deep";
  }
  return "";
}

std::optional<Profile> parse_profile(std::string_view text) {
  for (const Profile profile : names)
    if (to_string(profile) == text)
      return profile;
  return std::nullopt;
}

std::vector<Recipe> recipes(Profile profile, std::uint64_t seed, const Filter& filter) {
  check_names(filter);
  check_regimes(filter);
  std::vector<Recipe> list = all_recipes(profile, seed);
  std::erase_if(list, [&](const Recipe& r) { return !is_kept(filter, r); });
  return list;
}

}  // namespace normproof::properties
