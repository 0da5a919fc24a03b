#include "bank.h"
#include "json.h"
#include "mutants.h"

namespace normproof::ci {

using namespace properties;

namespace {

Json refusals(const Refusals& r) {
  return {{"covered", r.covered},
          {"refused", r.refused},
          {"usual_covered", r.usual_covered},
          {"usual_refused", r.usual_refused}};
}

Json row_of(const MutationRow& row, const std::vector<Peer>& peers, bool wrong) {
  Json by_peer = Json::object(), by_judge = Json::object(), kills = Json::array(), clauses = Json::object();
  for (std::size_t p = 0; p < peers.size(); ++p)
    by_peer[peers[p].name] = refusals(row.peers[p]);
  for (std::size_t w = 0; w < wrong_judges().size(); ++w)
    by_judge[std::string(wrong_judges()[w].name)] = row.wrong[w].refused;
  for (const auto& [clause, cases] : row.clauses)
    clauses[clause] = cases;
  for (const Kill& kill : row.kills)
    kills.push_back({{"origin", kill.origin}, {"shape", kill.shape}, {"clauses", kill.clauses}});
  return {{"name", row.kernel.name},
          {"wrong", wrong},
          {"summary", row.kernel.summary},
          {"killed", row.dead()},
          {"excuse", excuse_of(row.kernel.name)},
          {"cases", row.tried},
          {"failed_cases", row.killed},
          {"first", row.first},
          {"extended_failed_cases", row.extended_killed},
          {"unexplained", row.unexplained},
          {"declared", row.declared},
          {"as_declared", row.as_declared()},
          {"clauses", std::move(clauses)},
          {"smallest", std::move(kills)},
          {"peers", std::move(by_peer)},
          {"wrong_judges", std::move(by_judge)}};
}

Json setting(const ConfusionRow& row, std::size_t s) {
  constexpr const char* verdicts[] = {"right", "among", "abstained", "wrong"};
  Json names = Json::object();
  for (const auto& [name, count] : row.names[s])
    names[name] = count;
  return {{"right", row.cases[s][0]},
          {"among", row.cases[s][1]},
          {"abstained", row.cases[s][2]},
          {"wrong", row.cases[s][3]},
          {"combined", verdicts[static_cast<std::size_t>(row.verdict[s])]},
          {"combined_names", row.combined[s].names},
          {"said", std::move(names)}};
}

}  // namespace

std::string to_json(const MutantReport& report) {
  Json rows = Json::array(), peers = Json::array();
  for (const Peer& peer : report.peers)
    peers.push_back({{"name", peer.name}, {"title", peer.title}, {"source", peer.source}});
  for (std::size_t k = 0; k < report.trial.rows.size(); ++k)
    rows.push_back(row_of(report.trial.rows[k], report.peers, k < report.wrong_kernels));
  Json out{{"normproof_mutants", 1},
           {"version", report.version},
           {"exit", static_cast<int>(report.exit())},
           {"grade", to_string(report.trial.gate.grade)},
           {"profile", report.profile},
           {"seed", report.seed},
           {"cases_planned", report.trial.cases_planned},
           {"cases_tried", report.trial.cases_tried},
           {"peers", std::move(peers)},
           {"kernels", std::move(rows)}};
  if (report.diagnosed) {
    Json confusion = Json::array();
    for (const ConfusionRow& row : report.confusion)
      confusion.push_back({{"kernel", row.kernel},
                           {"bug", row.bug},
                           {"as_found", setting(row, 0)},
                           {"perturbed", setting(row, 1)},
                           {"left_out", setting(row, 2)}});
    out["diagnosis"] = std::move(confusion);
  }
  out["command"] = report.command;
  out["seconds"] = report.trial.seconds;
  return out.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace normproof::ci
