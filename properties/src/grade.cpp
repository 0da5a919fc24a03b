#include "normproof/properties/grade.h"

namespace normproof::properties {

std::string_view to_string(Grade grade) {
  switch (grade) {
  case Grade::correctly_rounded:
    return "correctly-rounded";
  case Grade::wide:
    return "wide";
  case Grade::tree:
    return "tree";
  case Grade::blocked:
    return "blocked";
  case Grade::sequential:
    return "sequential";
  }
  return "";
}

std::string_view to_string(Family family) {
  switch (family) {
  case Family::centred:
    return "centred";
  case Family::merged:
    return "merged";
  case Family::textbook:
    return "textbook";
  }
  return "";
}

std::string_view to_string(Form form) {
  return form == Form::centred ? "centred" : "folded";
}

std::string to_string(const Class& c) {
  return std::string(to_string(c.family)) + " variance, " + std::string(to_string(c.form)) + " y";
}

std::optional<Grade> parse_grade(std::string_view text) {
  for (const Grade grade : all_grades) {
    if (to_string(grade) == text)
      return grade;
  }
  return std::nullopt;
}

bool admits(Grade grade, const Class& c) {
  return c.family != Family::textbook || grade == Grade::sequential;
}

}  // namespace normproof::properties
