#include "dialect_table.h"

#include <initializer_list>
#include <stdexcept>
#include <utility>

#include <nlohmann/json.hpp>

namespace normproof {
namespace {

using nlohmann::json;

/// The cells of one dialect.
class Cells {
public:
  Cells(const json& cells, DialectRow& row) : cells_(cells), row_(row) {}

  /// The value that the cell spells; for n/a the target stays as it is.
  template <class Value>
  void read(const char* knob, Value& target,
            std::initializer_list<std::pair<std::string_view, Value>> spellings) {
    const std::string& text = value(knob);
    if (text == "n/a")
      return;
    for (const auto& [spelling, meaning] : spellings)
      if (text == spelling) {
        target = meaning;
        return;
      }
    throw std::invalid_argument("dialects.json: " + row_.name + ", " + knob + " is '" + text +
                                "', which has no meaning");
  }
  const std::string& value(const char* knob) const {
    return cells_.at(knob).at("value").get_ref<const std::string&>();
  }

private:
  const json& cells_;
  DialectRow& row_;
};

DialectRow row_of(const json& dialect) {
  DialectRow row;
  row.name = dialect.at("name");
  row.summary = dialect.at("summary");
  const json& cells = dialect.at("cells");
  for (const auto& [knob, cell] : cells.items())
    if (cell.at("value") == "n/a")
      row.not_applicable.push_back(row.names.emplace_back(knob));
  Semantics& s = row.semantics;
  Cells table(cells, row);
  table.read("eps-placement", s.eps,
             {{"inside-root", EpsPlacement::inside_root},
              {"outside-root", EpsPlacement::outside_root},
              {"added-to-deviation", EpsPlacement::added_to_deviation},
              {"omitted", EpsPlacement::omitted},
              {"doubled", EpsPlacement::doubled},
              {"clamped", EpsPlacement::clamped}});
  for (const auto& [knob, target] :
       {std::pair{"normalising-variance", &s.normalising}, std::pair{"running-variance", &s.running}})
    table.read(knob, *target, {{"biased", VarianceKind::biased}, {"unbiased", VarianceKind::unbiased}});
  table.read(
      "momentum-sense", s.momentum,
      {{"weight-of-new", MomentumSense::weight_of_new}, {"weight-of-old", MomentumSense::weight_of_old}});
  s.cumulative_average = table.value("momentum-none") == "cumulative-average";
  table.read("saved", s.saved,
             {{"mean+invstd", SavedStatistic::invstd},
              {"mean+var", SavedStatistic::variance},
              {"none", SavedStatistic::none}});
  // Where one value per channel may be refused it may also be computed; the unbiased variance is then 0/0.
  s.may_refuse_single_value = table.value("n-1") == "either";
  table.read("n-1", s.single_value,
             {{"defined", SingleValue::defined},
              {"nan", SingleValue::unbiased_is_nan},
              {"either", SingleValue::unbiased_is_nan},
              {"rejected", SingleValue::rejected}});
  table.read(
      "n-0", s.empty_batch,
      {{"rejected", EmptyBatch::rejected}, {"empty", EmptyBatch::accepted}, {"either", EmptyBatch::either}});
  table.read("eps-0", s.zero_eps,
             {{"formula", ZeroEps::formula},
              {"zero-invstd", ZeroEps::zero_invstd},
              {"rejected", ZeroEps::rejected}});
  table.read("negative-variance", s.negative_variance,
             {{"nan", NegativeVariance::nan},
              {"rejected", NegativeVariance::rejected},
              {"either", NegativeVariance::either}});
  s.inference_gradient = table.value("eval-gradient") == "defined";
  return row;
}

}  // namespace

std::deque<DialectRow> parse_dialects(std::string_view text) {
  try {
    const json document = json::parse(text);
    std::deque<DialectRow> rows;
    for (const json& dialect : document.at("dialects"))
      rows.push_back(row_of(dialect));
    return rows;
  } catch (const json::exception& error) {
    throw std::invalid_argument(std::string("dialects.json: ") + error.what());
  }
}

}  // namespace normproof
