// The record as JSON: spec/schema/report-1.json. Values of tensors stand as hex floats beside their decimals;
// measures are numbers, and strings only where JSON has no number for them (inf, nan).
#include <cmath>

#include <nlohmann/json.hpp>

#include "json.h"
#include "normproof/ci/report.h"
#include "normproof/ci/words.h"
#include "normproof/properties/case_file.h"

namespace normproof::ci {

using namespace properties;

Json measure(double number) {
  if (std::isfinite(number))
    return number;
  return std::isnan(number) ? "nan" : number > 0 ? "inf" : "-inf";
}

Json value(double number) {
  return {{"hex", hex_float(number)}, {"decimal", decimal(number)}};
}

namespace {

Json counts(const std::array<std::int64_t, status_count>& by_status) {
  Json out = Json::object();
  for (const Status status : all_statuses)
    out[std::string(to_string(status))] = by_status[static_cast<std::size_t>(status)];
  return out;
}

Json judgement(const Judgement& j) {
  Json out{{"status", to_string(j.status)},
           {"clause", j.clause},
           {"output", to_string(j.output)},
           {"channel", j.channel},
           {"element", j.element},
           {"got", value(j.got)},
           {"want", value(j.want)},
           {"ulps", measure(j.ulps)},
           {"measured", measure(j.measured)},
           {"permitted", measure(j.permitted)},
           {"ratio", measure(j.ratio())},
           {"note", j.note},
           {"origin", j.origin}};
  if (is_failure(j.status))
    out["severity"] = to_string(severity(j));
  if (!j.let_pass_by.empty())
    out["let_pass_by"] = j.let_pass_by;
  if (!j.diagnosis.empty())
    out["diagnosis"] = j.diagnosis;
  if (!j.smallest.empty())
    out["smallest"] = j.smallest;
  return out;
}

Json judgements(const std::vector<Judgement>& list) {
  Json out = Json::array();
  for (const Judgement& j : list)
    out.push_back(judgement(j));
  return out;
}

Json class_of(const Class& c) {
  return {{"variance", to_string(c.family)}, {"y", to_string(c.form)}};
}

Json key_verdict(const KeyVerdict& verdict) {
  Json explained = Json::array();
  for (const Class& c : verdict.explained_by)
    explained.push_back(class_of(c));
  Json grades = Json::array();
  for (const GradeMet& met : verdict.grades) {
    Json grade{{"output", to_string(met.output)}, {"best", nullptr}};
    if (met.best) {
      grade["best"] = to_string(*met.best);
      grade["class"] = class_of(met.by);
      grade["ratio"] = measure(met.ratio);
    }
    if (met.denied) {
      grade["denied"] = to_string(*met.denied);
      grade["witness"] = judgement(met.witness);
    }
    grades.push_back(std::move(grade));
  }
  return {{"pass", normproof::to_string(verdict.key.pass)},
          {"dtype", verdict.key.dtype},
          {"layout", normproof::to_string(verdict.key.layout)},
          {"judgements", verdict.judgements},
          {"explained_by", std::move(explained)},
          {"unexplained", judgements(verdict.unexplained)},
          {"grades", std::move(grades)}};
}

/// Bins [first, first + size) of UlpHistogram; those left out are empty.
Json histogram(const UlpHistogram& h) {
  int first = 0, last = UlpHistogram::bins - 1;
  while (last >= 0 && h.count(last) == 0)
    --last;
  while (first < last && h.count(first) == 0)
    ++first;
  Json bins = Json::array();
  for (int bin = first; bin <= last; ++bin)
    bins.push_back(h.count(bin));
  return {{"first_bin", first}, {"counts", std::move(bins)}};
}

Json accuracy_row(const AccuracyRow& row) {
  const Accuracy& a = row.accuracy;
  Json out{{"pass", normproof::to_string(row.pass)},
           {"output", to_string(row.output)},
           {"dtype", row.dtype},
           {"layout", normproof::to_string(row.layout)},
           {"regime", row.regime},
           {"elements", a.count},
           {"correctly_rounded", a.correctly_rounded},
           {"faithful", a.faithful},
           {"special", a.special},
           {"sign_of_zero", a.sign_of_zero},
           {"flushed", a.flushed},
           {"max_raw", measure(a.max_raw)},
           {"max_cond", measure(a.max_cond)},
           {"p50", measure(a.histogram.quantile(0.5))},
           {"p99_9", measure(a.histogram.quantile(0.999))},
           {"histogram", histogram(a.histogram)}};
  if (row.nearest.seen)
    out["nearest"] = judgement(row.nearest.at);
  return out;
}

Json kernel_report(const KernelReport& kernel, const Gate& gate) {
  Json skips = Json::array();
  for (const auto& [reason, cases] : kernel.skips)
    skips.push_back({{"reason", reason}, {"cases", cases}});
  Json keys = Json::array();
  for (const KeyVerdict& key : kernel.keys)
    keys.push_back(key_verdict(key));
  Json rows = Json::array();
  for (const AccuracyRow& row : kernel.rows)
    rows.push_back(accuracy_row(row));
  return {{"name", kernel.kernel.name},
          {"summary", kernel.kernel.summary},
          {"worst_known", kernel.kernel.worst_known},
          {"library", kernel.kernel.library_name},
          {"library_version", kernel.kernel.library_version},
          {"device_type", kernel.kernel.device_type},
          {"verdict", verdict_word(kernel, gate)},
          {"cases", kernel.cases},
          {"judgements", kernel.judgements()},
          {"counts", counts(kernel.counts)},
          {"extended_counts", counts(kernel.extended_counts)},
          {"skips", std::move(skips)},
          {"failures", judgements(kernel.failures)},
          {"extended_failures", judgements(kernel.extended_failures)},
          {"keys", std::move(keys)},
          {"accuracy", std::move(rows)}};
}

}  // namespace

std::string to_json(const Report& report) {
  const TrialReport& trial = report.trial;
  Json absent = Json::array();
  for (const Absent& library : report.absent)
    absent.push_back({{"library", library.library}, {"reason", library.reason}});
  Json kernels = Json::array();
  Json kernel_seconds = Json::object();
  for (const KernelReport& kernel : trial.kernels) {
    kernels.push_back(kernel_report(kernel, trial.gate));
    kernel_seconds[kernel.kernel.name] = kernel.seconds;
  }
  const Json out{{"normproof_report", 1},
                 {"version", report.version},
                 {"exit", static_cast<int>(report.exit())},
                 {"gate",
                  {{"grade", to_string(trial.gate.grade)},
                   {"merged", trial.gate.merged},
                   {"folded", trial.gate.folded},
                   {"extended", trial.gate.extended}}},
                 {"profile", report.profile},
                 {"seed", report.seed},
                 {"cases_planned", trial.cases_planned},
                 {"cases_tried", trial.cases_tried},
                 {"oracle",
                  {{"elements", trial.effort.elements},
                   {"certified", trial.effort.certified},
                   {"escalated", trial.effort.escalated},
                   {"arbitrated", trial.effort.arbitrated},
                   {"audited", trial.audit.audited},
                   {"disagreeing", trial.audit.disagreeing}}},
                 {"absent", std::move(absent)},
                 {"kernels", std::move(kernels)},
                 {"command", report.command},
                 {"machine",
                  {{"compiler", report.machine.compiler},
                   {"processor", report.machine.processor},
                   {"threads", report.machine.threads}}},
                 {"timings",
                  {{"seconds", trial.seconds},
                   {"truth_seconds", trial.truth_seconds},
                   {"kernels", std::move(kernel_seconds)}}}};
  // Foreign texts (a kernel's messages) may be no UTF-8; they must not cost the report.
  return out.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace normproof::ci
