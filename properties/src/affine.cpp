#include "normproof/properties/affine.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace normproof::properties {
namespace {

struct Point {
  double p, q;
};

/// Keeps the part of a convex polygon where sign * (slope p + q) <= limit (Sutherland and Hodgman's step).
void clip(std::vector<Point>& polygon, std::vector<Point>& scratch, double slope, double sign, double limit) {
  const auto excess = [&](const Point& at) {
    return sign * (slope * at.p + at.q) - limit;
  };
  bool cuts = false;
  for (const Point& at : polygon)
    cuts = cuts || excess(at) > 0;
  if (!cuts)
    return;
  scratch.clear();
  for (std::size_t i = 0; i < polygon.size(); ++i) {
    const Point& a = polygon[i];
    const Point& b = polygon[(i + 1) % polygon.size()];
    const double ea = excess(a);
    const double eb = excess(b);
    if (ea <= 0)
      scratch.push_back(a);
    if ((ea < 0 && eb > 0) || (ea > 0 && eb < 0)) {
      const double t = ea / (ea - eb);
      scratch.push_back({a.p + t * (b.p - a.p), a.q + t * (b.q - a.q)});
    }
  }
  polygon.swap(scratch);
}

}  // namespace

std::optional<std::size_t> contradiction(std::span<const Strip> strips, double p_limit, double q_limit,
                                         double lambda) {
  std::vector<Point> polygon{
      {-p_limit, -q_limit}, {p_limit, -q_limit}, {p_limit, q_limit}, {-p_limit, q_limit}};
  std::vector<Point> scratch;
  for (std::size_t i = 0; i < strips.size(); ++i) {
    const Strip& s = strips[i];
    const double slack = lambda * s.roundings + 0x1p-40 * (std::abs(s.slope) * p_limit + q_limit +
                                                           std::abs(s.low) + std::abs(s.high));
    clip(polygon, scratch, s.slope, +1, s.high + slack);
    clip(polygon, scratch, s.slope, -1, -(s.low - slack));
    if (polygon.empty())
      return i;
  }
  return std::nullopt;
}

double contradiction_factor(std::span<const Strip> strips, double p_limit, double q_limit) {
  double low = 1;
  double high = 2;
  while (high < 0x1p60 && contradiction(strips, p_limit, q_limit, high)) {
    low = high;
    high *= 2;
  }
  while (high > 1.1 * low) {
    const double middle = std::sqrt(low * high);
    (contradiction(strips, p_limit, q_limit, middle) ? low : high) = middle;
  }
  return high;
}

}  // namespace normproof::properties
