// Readings that the vectors leave open, one at a time by ulp.h.
#include "normproof/reference/readings.h"

#include <cmath>

#include "lanes.h"
#include "normproof/reference/ulp.h"

namespace normproof::reference {
namespace {

void read_one(const Format& format, double got, double rn, double off, double scale, std::int64_t i,
              Readings& to) {
  to.ulps[i] = ulps_off(format, got, rn, off);
  to.distance[i] = distance(format, got, rn, off);
  to.beyond[i] = distance_to_rounding_interval(format, got, rn, off);
  to.least_reach[i] = 0.25 * spacing(format, std::isnan(got) ? 0 : got);
  to.faithful[i] = is_faithful(format, got, rn, off) ? 1 : 0;
  const double unit = round_to(format, scale);
  to.condition_ulps[i] = unit > 0 && std::isfinite(unit) ? to.distance[i] / ulp(format, unit, 0) : 0;
}

}  // namespace

void read(const Format& format, const double* got, const double* rn, const double* off, const double* scale,
          std::int64_t n, Readings& to) {
  std::int64_t open[Readings::block];
  const std::int64_t left = lanes().read(Grid(format), got, rn, off, scale, n, to, open);
  for (std::int64_t k = 0; k < left; ++k) {
    const std::int64_t i = open[k];
    read_one(format, got[i], rn[i], off[i], scale[i], i, to);
  }
}

}  // namespace normproof::reference
