// The expansion of a recipe into a case, and the hash that guards it.
#include <algorithm>
#include <bit>
#include <stdexcept>

#include "cotangents.h"
#include "fixed.h"
#include "normproof/properties/domain.h"
#include "normproof/properties/recipe.h"
#include "random.h"
#include "regimes.h"

namespace normproof::properties {
namespace {

/// gamma in +-[1/2, 2), beta normal; powers of two and small integers where y is to be exact.
void fill_affine(Case& c, const Recipe& r, const Format& stats, bool exact, std::int64_t channel) {
  const auto at = static_cast<std::uint64_t>(channel);
  const Draw gamma(r.seed, Stream::gamma, at), beta(r.seed, Stream::beta, at);
  const int sign = gamma.sign(0);
  if (exact) {
    c.gamma.push_back(sign * power_of_two(static_cast<int>(gamma.below(1, 5)) - 2));
    c.beta.push_back(static_cast<double>(beta.below(0, 9)) - 4.0);
    return;
  }
  const int128 size = (int128{1} << (fraction_bits - 1)) + 3 * (uniform(gamma, 1) >> 1);
  c.gamma.push_back(round_once(stats, sign * size, -fraction_bits));
  c.beta.push_back(round_once(stats, normal(beta, 0), -fraction_bits));
}

/// Training: any statistics of the past, N(0, 1) and U[1/8, 2). Inference: statistics that could be those of
/// x, mean within about a quarter of a deviation and variance within a factor of 8, so that y stays of the
/// size of gamma.
void fill_running(Case& c, const Recipe& r, const Format& stats, const Centre& centre, std::int64_t channel) {
  const auto at = static_cast<std::uint64_t>(channel);
  const Draw mean(r.seed, Stream::running_mean, at), variance(r.seed, Stream::running_var, at);
  const bool inference = is_inference(r.pass);
  const int128 near = normal(mean, 0);
  const int128 spread = (int128{1} << (fraction_bits - 3)) + 15 * (uniform(variance, 0) >> 3);
  if (!inference) {
    c.running_mean.push_back(round_once(stats, near, -fraction_bits));
    c.running_var.push_back(round_once(stats, spread, -fraction_bits));
    return;
  }
  c.running_mean.push_back(round_once(stats, centre.location * 4 + (centre.exact_mean ? 0 : near),
                                      centre.scale - fraction_bits - 2));
  // A square that leaves the format stays at its edge: subnormal or large, never 0 or infinite.
  const int square = std::clamp(2 * centre.scale, stats.emin - 4, stats.emax - 1);
  c.running_var.push_back(centre.variance ? *centre.variance
                                          : round_once(stats, spread, square - fraction_bits));
}

/// What only backward passes are given. The finished x of the channel is c.x's last one.
void fill_backward(Case& c, const Recipe& r, const RegimeEntry& entry, std::int64_t channel) {
  const auto at = static_cast<std::uint64_t>(channel);
  const auto n = static_cast<std::size_t>(r.shape.per_channel());
  const std::size_t start = static_cast<std::size_t>(channel) * n;
  const std::span<const double> x = std::span<const double>(c.x).subspan(start, n);
  if (takes_dy(r.pass)) {
    const ChannelDraw draw{r, r.regime.parameter, channel, Draw(r.seed, Stream::dy_parameters, at),
                           Draw(r.seed, Stream::dy, at)};
    const auto fill = entry.fill_dy != nullptr ? entry.fill_dy : ordinary_dy;
    fill(draw, x, std::span(c.dy).subspan(start, n));
  }
  if (takes_saved(r.pass)) {
    const ChannelDraw draw{r, r.regime.parameter, channel, Draw(r.seed, Stream::parameters, at),
                           Draw(r.seed, Stream::saved, at)};
    const Saved saved = saved_statistics(draw, entry, x);
    c.saved_mean.push_back(saved.mean);
    c.saved_invstd.push_back(saved.invstd);
  }
  if (!is_second_order(r.pass))
    return;
  const Cotangents given = cotangents(r);
  const auto one_of = [&](Stream stream, const Format& format, std::uint64_t i) {
    return round_once(format, normal(Draw(r.seed, stream, at), i), -fraction_bits);
  };
  for (std::size_t i = 0; given.x && i < n; ++i)
    c.v_x.push_back(one_of(Stream::v_x, r.dtype, i));
  if (given.gamma)
    c.v_gamma.push_back(one_of(Stream::v_gamma, c.problem.stats, 0));
  if (given.beta)
    c.v_beta.push_back(one_of(Stream::v_beta, c.problem.stats, 0));
}

class Hash {
public:
  void bytes(std::uint64_t word) {
    for (int i = 0; i < 8; ++i, word >>= 8)
      state_ = (state_ ^ (word & 0xFF)) * 0x100000001B3;
  }
  void number(double value) {
    bytes(value != value ? 0x7FF8000000000000 : std::bit_cast<std::uint64_t>(value));
  }
  void text(std::string_view characters) {
    bytes(characters.size());
    for (const char c : characters)
      state_ = (state_ ^ static_cast<unsigned char>(c)) * 0x100000001B3;
  }
  void tensor(const std::vector<double>& values) {
    bytes(values.size());
    for (const double value : values)
      number(value);
  }
  std::uint64_t value() const { return state_; }

private:
  std::uint64_t state_ = 0xCBF29CE484222325;
};

}  // namespace

Case expand(const Recipe& r) {
  if (const std::string why = impossible(r); !why.empty())
    throw std::invalid_argument(why);
  const RegimeEntry& entry = *regime_named(r.regime.name);
  Case c;
  Problem& p = c.problem;
  p.pass = r.pass;
  p.data = r.dtype;
  p.stats = stats_of(r);
  p.shape = r.shape;
  p.layout = r.layout;
  p.layout_seed = r.layout_seed;
  p.dialect = dialect_named(r.dialect)->name;
  p.semantics = dialect_named(r.dialect)->semantics;
  p.eps = r.eps;
  p.momentum = r.momentum;
  p.affine = r.affine;
  p.running = r.running;
  p.threads = r.threads;
  c.origin = to_string(r);

  const auto n = static_cast<std::size_t>(r.shape.per_channel());
  c.x.resize(static_cast<std::size_t>(r.shape.channels) * n);
  if (takes_dy(r.pass))
    c.dy.resize(c.x.size());
  for (std::int64_t channel = 0; channel < r.shape.channels; ++channel) {
    const auto at = static_cast<std::uint64_t>(channel);
    const ChannelDraw draw{r, r.regime.parameter, channel, Draw(r.seed, Stream::parameters, at),
                           Draw(r.seed, Stream::x, at)};
    const Centre centre = entry.fill(draw, std::span(c.x).subspan(static_cast<std::size_t>(channel) * n, n));
    if (r.affine)
      fill_affine(c, r, p.stats, entry.exact_affine, channel);
    if (r.running)
      fill_running(c, r, p.stats, centre, channel);
    fill_backward(c, r, entry, channel);
  }
  if (r.running)
    c.num_batches_tracked = static_cast<std::int64_t>(Draw(r.seed, Stream::recipe, 0).below(8, 10));
  c.domain = entry.info.domain == Domain::extended ? Domain::extended : domain_of(c);
  return c;
}

std::uint64_t fingerprint(const Case& c) {
  const Problem& p = c.problem;
  Hash hash;
  hash.bytes(static_cast<std::uint64_t>(p.pass));
  for (const Format& format : {p.data, p.stats}) {
    hash.bytes(static_cast<std::uint64_t>(format.p));
    hash.bytes(static_cast<std::uint64_t>(format.emax));
  }
  hash.bytes(static_cast<std::uint64_t>(p.shape.batch));
  hash.bytes(static_cast<std::uint64_t>(p.shape.channels));
  hash.bytes(p.shape.spatial.size());
  for (const std::int64_t extent : p.shape.spatial)
    hash.bytes(static_cast<std::uint64_t>(extent));
  hash.bytes(static_cast<std::uint64_t>(p.layout));
  hash.text(p.dialect);
  hash.number(p.eps);
  hash.bytes(p.momentum ? 1 : 0);
  hash.number(p.momentum.value_or(0));
  hash.bytes(p.affine ? 1 : 0);
  hash.bytes(p.running ? 1 : 0);
  hash.bytes(static_cast<std::uint64_t>(p.threads));
  hash.tensor(c.x);
  hash.tensor(c.gamma);
  hash.tensor(c.beta);
  hash.tensor(c.running_mean);
  hash.tensor(c.running_var);
  hash.bytes(static_cast<std::uint64_t>(c.num_batches_tracked));
  // What came later is hashed by name and only where it is there: older recipes keep their hashes.
  if (p.layout == Layout::strided)
    hash.bytes(p.layout_seed);
  const auto optional = [&](std::string_view name, const std::vector<double>& values) {
    if (values.empty())
      return;
    hash.text(name);
    hash.tensor(values);
  };
  optional("dy", c.dy);
  optional("saved_mean", c.saved_mean);
  optional("saved_invstd", c.saved_invstd);
  optional("v_x", c.v_x);
  optional("v_gamma", c.v_gamma);
  optional("v_beta", c.v_beta);
  return hash.value();
}

}  // namespace normproof::properties
