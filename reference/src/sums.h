// Exact sums of one channel: of x, |x| and x^2; of other values w, and of their products with x.
#pragma once

#include <cstdint>
#include <limits>
#include <vector>

#include "exact.h"

namespace normproof::reference {

/// A sum of integers m * 2^e, m >= 0, held as digits of 32 bits in words of 64: adding is a few integer
/// additions, and a carry need not be propagated before 2^31 additions. (Neal, arXiv 1505.05571, has the idea
/// for doubles.)
class ExactSum {
public:
  /// Terms are multiples of 2^lowest below 2^highest.
  ExactSum(int lowest, int highest);
  void add(std::uint64_t m, int e);
  Dyadic value() const;

private:
  void propagate();

  int lowest_;
  std::int64_t pending_ = 0;
  std::vector<std::uint64_t> digits_;
};

struct ChannelSums {
  std::int64_t n = 0;
  Dyadic sum;      ///< of x
  Dyadic sum_abs;  ///< of |x|
  Dyadic squares;  ///< of x^2
  double min = std::numeric_limits<double>::infinity();
  double max = -std::numeric_limits<double>::infinity();
  int granularity = 0;  ///< largest g with every x a multiple of 2^g (0 if all are 0)
  bool finite = true;   ///< no NaN, no infinity; if false, sums, min and max mean nothing
  /// The IEEE sum of the values that are not finite: an infinity when all of them are that infinity, else
  /// NaN.
  double special = 0;

  double max_abs() const { return std::max(std::abs(min), std::abs(max)); }
};

/// In 128-bit integers where they are wide enough, else digit by digit: the same sums.
ChannelSums sums_of(const double* x, std::int64_t n);
/// Always digit by digit: the definition.
ChannelSums plain_sums_of(const double* x, std::int64_t n);

/// Sums of finite products of two doubles, of either sign.
class ProductSum {
public:
  ProductSum();
  void add(double a, double b);
  Dyadic value() const { return positive_.value() - negative_.value(); }
  Dyadic magnitude() const { return positive_.value() + negative_.value(); }

private:
  ExactSum positive_;
  ExactSum negative_;
};

/// Sums of the gradients: of values w (dy, or its cotangent) that belong to the values x of a channel.
struct WeightedSums {
  Dyadic sum;      ///< of w
  Dyadic sum_abs;  ///< of |w|
  Dyadic with_x;   ///< of w x
  /// Of t and of t x, with t = |w| sign(x - m): sum |w (x - m)| = folded_with_x - m folded.
  Dyadic folded, folded_with_x;
  double max_abs = 0;
  int granularity = 0;  ///< largest g with every w a multiple of 2^g (0 if all are 0)
  bool finite = true;   ///< no NaN, no infinity in w; if false, the sums mean nothing
  double special = 0;   ///< the IEEE sum of the values of w that are not finite
};

/// mean_hi + mean_lo is m to more than a double; mean_hi is m rounded. Without x the sums with x stay 0.
WeightedSums weighted_sums_of(const double* w, const double* x, std::int64_t n, double mean_hi,
                              double mean_lo);
WeightedSums plain_weighted_sums_of(const double* w, const double* x, std::int64_t n, double mean_hi,
                                    double mean_lo);

/// sum a b and sum |a b| of finite values.
struct Dot {
  Dyadic sum, magnitude;
};
Dot dot_of(const double* a, const double* b, std::int64_t n);
Dot plain_dot_of(const double* a, const double* b, std::int64_t n);

}  // namespace normproof::reference
