// The accuracy table: per kernel and key how many ulps each output is off, with a histogram; measures, not
// verdicts.
#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include <fmt/format.h>

#include "normproof/ci/report.h"
#include "normproof/ci/words.h"
#include "normproof/properties/case_file.h"
#include "text.h"

namespace normproof::ci {

using namespace properties;

namespace {

using Rowset = std::vector<const AccuracyRow*>;

AccuracyRow merged(const Rowset& rows) {
  AccuracyRow sum = *rows.front();
  for (std::size_t i = 1; i < rows.size(); ++i) {
    sum.accuracy.merge(rows[i]->accuracy);
    if (rows[i]->nearest.seen && (!sum.nearest.seen || rows[i]->nearest.ratio > sum.nearest.ratio))
      sum.nearest = rows[i]->nearest;
  }
  return sum;
}

std::size_t place(Output output) {
  return static_cast<std::size_t>(std::ranges::find(all_outputs, output) - all_outputs.begin());
}

/// Rows that belong together, in the order in which they are printed.
std::map<std::string, Rowset> collapsed(const Rowset& rows, Rows by) {
  std::map<std::string, Rowset> groups;
  for (const AccuracyRow* row : rows) {
    const std::string output = fmt::format("{}{}", place(row->output), to_string(row->output));
    groups[by == Rows::by_regime   ? row->regime
           : by == Rows::by_output ? output
                                   : output + " " + row->regime]
        .push_back(row);
  }
  return groups;
}

std::string grade_of(const KernelReport& kernel, const Key& key, Output output) {
  for (const KeyVerdict& verdict : kernel.keys)
    if (verdict.key == key)
      for (const GradeMet& met : verdict.grades)
        if (met.output == output)
          return met.best ? std::string(to_string(*met.best)) : "none";
  return "-";
}

std::string percent_rounded(const Accuracy& a) {
  if (a.count == 0)
    return "-";
  const double share = 100.0 * static_cast<double>(a.correctly_rounded) / static_cast<double>(a.count);
  if (a.correctly_rounded < a.count && share > 99.95)
    return ">99.9";  // 100 means all
  return fmt::format("{:.1f}", share);
}

std::string numbers(const AccuracyRow& row) {
  const Accuracy& a = row.accuracy;
  return fmt::format("{:>5} {:>7} {:>7} {:>7} {:>7} {:>5} {:>7}", brief_count(a.count), brief(a.max_raw),
                     brief(a.max_cond), brief(a.histogram.quantile(0.5)), brief(a.histogram.quantile(0.999)),
                     percent_rounded(a), row.nearest.seen ? brief(row.nearest.ratio) : "-");
}

/// Counts that are classes of their own, because no number of ulps can stand for them.
std::string special_text(const Accuracy& a) {
  std::vector<std::string> parts;
  if (a.special > 0)
    parts.push_back(
        fmt::format("{} NaN or infinite where the truth is not, or the reverse", grouped(a.special)));
  if (a.sign_of_zero > 0)
    parts.push_back(counted(a.sign_of_zero, "zero of the other sign", "zeros of the other sign"));
  if (a.flushed > 0)
    parts.push_back(fmt::format("{} flushed to zero", grouped(a.flushed)));
  return joined(parts, ", ");
}

constexpr std::string_view heading = "    n  E_raw<  E_cond<    p50   p99.9    CR%   ratio";

std::string key_block(const KernelReport& kernel, const Key& key, const Rowset& rows, const Style& style,
                      Rows by) {
  const auto groups = collapsed(rows, by);
  int label = by == Rows::by_output ? 13 : 14;
  if (by != Rows::by_output)
    for (const auto& [name, members] : groups)
      label = std::max(label, columns(by == Rows::all ? name.substr(1) : name) + 1);
  const bool wide = label + 52 > style.width;
  if (wide)
    label = 4;
  std::string out = paint(style, Colour::bold, name_of(key)) + "\n";
  out += fmt::format("{:<{}}{}", "", label, heading);
  out += by == Rows::by_output ? "  best grade\n" : "\n";
  for (const auto& [name, members] : groups) {
    const AccuracyRow row = merged(members);
    const std::string shown = by == Rows::by_regime ? name : name.substr(1);
    if (wide)
      out += shown + "\n";
    out += pad_right(wide ? "" : shown, label) + numbers(row);
    if (by == Rows::by_output)
      out += "  " + grade_of(kernel, key, row.output);
    out += "\n";
    if (const std::string special = special_text(row.accuracy); !special.empty())
      out += wrapped("    ", special, style.width);
  }
  return out;
}

/// One character per octave, its height the logarithm of the count.
std::string bars(const UlpHistogram& histogram, int octaves) {
  static constexpr std::array marks{" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
  std::int64_t most = 0;
  std::vector<std::int64_t> counts;
  for (int octave = 0; octave < octaves; ++octave) {  // the first has no lower end, hence a single bin
    std::int64_t count = histogram.count(octave == 0 ? 0 : 2 * octave - 1);
    if (octave > 0 && 2 * octave < UlpHistogram::bins)
      count += histogram.count(2 * octave);
    counts.push_back(count);
    most = std::max(most, counts.back());
  }
  std::string out;
  for (const std::int64_t count : counts) {
    const double height =
        most > 0 ? std::log2(1.0 + static_cast<double>(count)) / std::log2(1.0 + static_cast<double>(most))
                 : 0;
    out += marks[static_cast<std::size_t>(
        count == 0 ? 0 : std::max(1, static_cast<int>(std::lround(8 * height))))];
  }
  return out;
}

std::string histogram_block(const Rowset& rows, const Style& style) {
  std::map<std::size_t, Rowset> by_output;
  for (const AccuracyRow* row : rows)
    by_output[place(row->output)].push_back(row);
  int last = 0;
  for (const auto& [output, members] : by_output)
    for (const AccuracyRow* row : members)
      for (int bin = 0; bin < UlpHistogram::bins; ++bin)
        if (row->accuracy.histogram.count(bin) > 0)
          last = std::max(last, bin);
  const int octaves = std::min(std::max(12, (last + 1) / 2 + 1), style.width - 13);

  std::string out =
      paint(style, Colour::bold, "E_raw, one column an octave of ulps, height the logarithm of the count") +
      "\n";
  for (const auto& [output, members] : by_output)
    out += pad_right(to_string(all_outputs[output]), 13) + bars(merged(members).accuracy.histogram, octaves) +
           "\n";
  // Column i ends at 2^(i - 8).
  std::string axis(static_cast<std::size_t>(octaves) + 4, ' ');
  for (int octave = 0; octave < octaves; octave += 8) {
    const std::string mark = fmt::format("|2^{}", octave - 8);
    if (13 + octave + columns(mark) <= style.width)
      axis.replace(static_cast<std::size_t>(octave), mark.size(), mark);
  }
  axis.erase(axis.find_last_not_of(' ') + 1);
  return out + std::string(13, ' ') + axis + "\n";
}

std::string witness_block(const Report& report, const KernelReport& kernel, const Rowset& rows,
                          const Style& style) {
  std::map<std::size_t, Rowset> by_output;
  for (const AccuracyRow* row : rows)
    if (row->nearest.seen)
      by_output[place(row->output)].push_back(row);
  if (by_output.empty())
    return {};
  std::string out = paint(style, Colour::bold, "nearest to its bound") + "\n";
  for (const auto& [output, members] : by_output) {
    const AccuracyRow row = merged(members);
    const Judgement& j = row.nearest.at;
    out += fmt::format("{:<13}{} channel {}, element {}: got {}, want {}\n", to_string(row.output),
                       pad_right(brief(row.nearest.ratio), 6), j.channel, j.element, hex_float(j.got),
                       hex_float(j.want));
    out += fmt::format("{:<13}{}\n", "",
                       paint(style, Colour::dim, replay_line(report, kernel.kernel, j.origin)));
  }
  return out;
}

}  // namespace

std::string accuracy_text(const Report& report, const Style& style, Rows by) {
  std::string out;
  for (const KernelReport& kernel : report.trial.kernels) {
    out += paint(style, Colour::bold, fmt::format("── {} ", kernel.kernel.name));
    const int used = columns(kernel.kernel.name) + 4;
    for (int i = used; i < style.width; ++i)
      out += "─";
    out += "\n";
    out += wrapped("",
                   fmt::format("{} ({} {})", kernel.kernel.summary, kernel.kernel.library_name,
                               kernel.kernel.library_version),
                   style.width);
    std::map<Key, Rowset> keys;
    Rowset all;
    for (const AccuracyRow& row : kernel.rows) {
      keys[{row.pass, row.dtype, row.layout}].push_back(&row);
      all.push_back(&row);
    }
    for (const auto& [key, rows] : keys)
      out += "\n" + key_block(kernel, key, rows, style, by);
    if (all.empty()) {
      out += "\nnothing was measured\n";
      for (const auto& [reason, n] : kernel.skips)
        out += wrapped("  ", fmt::format("skipped {}: {}", counted(n, "case"), reason), style.width);
    } else {
      out += "\n" + histogram_block(all, style);
      out += "\n" + witness_block(report, kernel, all, style);
    }
    out += "\n";
  }
  for (const Absent& absent : report.absent)
    out += wrapped("SKIPPED ", fmt::format("{}: {}", absent.library, absent.reason), style.width) + "\n";
  out += wrapped(
      "",
      "E_raw< and E_cond<: the largest error found (a lower bound of the true maximum), in ulps of the truth "
      "and of its "
      "condition scale. p50, p99.9: quantiles of E_raw, upper edges of half octaves. CR%: correctly rounded. "
      "ratio: largest measured/permitted at the asked grade. Extended regimes "
      "(subnormal, huge, not finite) only where asked for.",
      style.width);
  return out;
}

}  // namespace normproof::ci
