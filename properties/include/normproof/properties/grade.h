// Grades and classes: the named families of algorithms that a kernel is held to (spec/bounds/model.md).
//
// A grade bounds the depth of the reductions, a class says how the variance is formed and how y is computed
// from the statistics. Grades are nested: what meets one meets every weaker one.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace normproof::properties {

/// Strongest first.
enum class Grade {
  correctly_rounded,  ///< every output is the rounded truth
  wide,               ///< as if accumulated with twice the bits, or compensated
  tree,               ///< depth min(n - 1, 2 ceil(log2 n) + 64)
  blocked,            ///< depth min(n - 1, 16 ceil(sqrt n)): the default gate
  sequential          ///< depth n - 1: any tree at all
};
inline constexpr std::array all_grades{Grade::correctly_rounded, Grade::wide, Grade::tree, Grade::blocked,
                                       Grade::sequential};
inline constexpr std::size_t grade_count = all_grades.size();

/// How the variance is formed: two passes (corrected or not); Welford, Chan and other merges; E[x^2] -
/// E[x]^2.
enum class Family { centred, merged, textbook };
/// How y is formed: gamma (x - mean) invstd + beta, or x a + o with a = gamma invstd, o = beta - mean a.
enum class Form { centred, folded };

struct Class {
  Family family = Family::centred;
  Form form = Form::centred;
  friend bool operator==(const Class&, const Class&) = default;
};
inline constexpr std::array all_classes{
    Class{Family::centred, Form::centred},  Class{Family::centred, Form::folded},
    Class{Family::merged, Form::centred},   Class{Family::merged, Form::folded},
    Class{Family::textbook, Form::centred}, Class{Family::textbook, Form::folded}};
inline constexpr std::size_t class_count = all_classes.size();

std::string_view to_string(Grade grade);
std::string_view to_string(Family family);
std::string_view to_string(Form form);
std::string to_string(const Class& c);
std::optional<Grade> parse_grade(std::string_view text);

/// Whether algorithms of that class can be of that grade: textbook variance is in no grade above
/// `sequential`.
bool admits(Grade grade, const Class& c);

/// The grade that is asked for and the classes that may explain a kernel (notes: spec/bounds/model.md, "one
/// class").
struct Gate {
  Grade grade = Grade::blocked;
  bool merged = true;     ///< false: only centred variances
  bool folded = true;     ///< false: y must be centred
  bool extended = false;  ///< failures in the extended domain count too

  bool allows(const Class& c) const {
    return admits(grade, c) && (merged || c.family != Family::merged) && (folded || c.form == Form::centred);
  }
};

/// How one sum of n terms is accumulated: unit roundoff u, smallest-number scale eta = 2^(emin-p), and either
/// the depth D of the tree of additions or, when `wide`, twice the bits (spec/bounds/model.md).
struct Reduction {
  double u = 0;
  double eta = 0;
  double depth = 0;
  bool wide = false;
};

}  // namespace normproof::properties
