// The neighbours of the specified algorithm: one bug each, as shipped kernels have had them. The family is
// the name that a diagnosis gives; alternatives of one family are ways in which that one bug comes.
#include <string>
#include <utility>

#include "alternative.h"

namespace normproof::properties {
namespace {

class List {
public:
  /// `turn` is what differs from the specification.
  template <class Turn>
  void add(std::string_view family, std::string text, std::string_view clause, Turn turn) {
    Suspect s{family, std::move(text), clause, {}};
    turn(s.alternative);
    list_.push_back(std::move(s));
  }
  /// The same where what follows is made of the right values, not of what is reported.
  template <class Turn>
  void add_both(std::string_view family, const std::string& text, std::string_view clause, Turn turn) {
    add(family, text, clause, turn);
    add(family, text + " (what follows from it is right)", clause, [&](Alternative& a) {
      turn(a);
      a.from_own = true;
    });
  }
  std::vector<Suspect> take() { return std::move(list_); }

private:
  std::vector<Suspect> list_;
};

using A = Alternative;

constexpr std::pair<Missing, const char*> missings[] = {{Missing::last, "the last value"},
                                                        {Missing::rest_of_4, "the last n mod 4 values"},
                                                        {Missing::rest_of_8, "the last n mod 8 values"},
                                                        {Missing::rest_of_16, "the last n mod 16 values"},
                                                        {Missing::rest_of_32, "the last n mod 32 values"},
                                                        {Missing::last_item, "the last batch item"},
                                                        {Missing::all_but_N, "all but the first N values"},
                                                        {Missing::beyond_1024, "what is beyond 1024 values"}};

/// Defaults and lower limits of libraries.
constexpr std::pair<double, const char*> own_eps[] = {
    {1e-5, "1e-5"}, {1.001e-5, "1.001e-5"}, {1e-3, "1e-3"}, {1e-6, "1e-6"}, {1e-8, "1e-8"}, {1e-12, "1e-12"}};

/// Whatever makes an invstd of a variance.
void roots(List& list, const Format& stats) {
  list.add("eps outside the root", "invstd = 1/sqrt(var) + eps", "BN-FWD-3",
           [](A& a) { a.eps = EpsPlacement::outside_root; });
  list.add("eps added to the deviation", "invstd = 1/(sqrt(var) + eps)", "BN-FWD-3",
           [](A& a) { a.eps = EpsPlacement::added_to_deviation; });
  list.add("eps omitted", "invstd = 1/sqrt(var)", "BN-FWD-3", [](A& a) { a.eps = EpsPlacement::omitted; });
  list.add("eps counted twice", "invstd = 1/sqrt(var + 2 eps)", "BN-FWD-3",
           [](A& a) { a.eps = EpsPlacement::doubled; });
  list.add("eps as a lower limit", "invstd = 1/sqrt(max(var, eps))", "BN-FWD-3",
           [](A& a) { a.eps = EpsPlacement::clamped; });
  for (const auto& [eps, text] : own_eps)
    list.add("eps of its own", std::string("eps = ") + text + " whatever eps is given", "BN-FWD-3",
             [e = round_to(stats, eps)](A& a) { a.eps_value = e; });
  list.add("root missing", "the variance, with eps, divides in place of its root", "BN-FWD-3",
           [](A& a) { a.root = Root::reciprocal_of_variance; });
  list.add("square for root", "the square of var + eps divides in place of its root", "BN-FWD-3",
           [](A& a) { a.root = Root::squared; });
  list.add("deviation for invstd", "multiplies by sqrt(var + eps) in place of dividing", "BN-FWD-4",
           [](A& a) { a.root = Root::none; });
  list.add("unbiased variance normalises", "var divided by n - 1 normalises", "BN-FWD-2",
           [](A& a) { a.normalising = VarianceKind::unbiased; });
}

void statistics(List& list) {
  for (const auto& [missing, text] : missings)
    list.add("values missing from the sums", std::string(text) + " of a channel in no sum of x", "BN-FWD-1",
             [m = missing](A& a) { a.missing = m; });
  list.add("variance not centred", "var = mean of the squares of x", "BN-NUM-2",
           [](A& a) { a.uncentred_variance = true; });
  list.add("statistics of all channels", "one mean and variance over all channels", "BN-FWD-1", [](A& a) {
    a.mean = Source::all_channels;
    a.variance = Source::all_channels;
  });
  list.add("centre rounded to the data's format",
           "deviations from a mean that was rounded to the data's format", "BN-NUM-2",
           [](A& a) { a.narrow = Narrow::mean; });
  list.add("squares rounded to the data's format", "squared deviations rounded to the data's format",
           "BN-NUM-2", [](A& a) { a.narrow = Narrow::squares; });
}

void affine(List& list) {
  const auto both = [](Parameter p) {
    return [p](A& a) {
      a.gamma = p;
      a.beta = p;
    };
  };
  list.add("gamma ignored", "y without gamma", "BN-FWD-4", [](A& a) { a.gamma = Parameter::ignored; });
  list.add("beta ignored", "y without beta", "BN-FWD-4", [](A& a) { a.beta = Parameter::ignored; });
  list.add("gamma and beta ignored", "y without gamma and beta", "BN-FWD-4", both(Parameter::ignored));
  list.add("gamma and beta exchanged", "gamma in the place of beta, beta in that of gamma", "BN-FWD-4",
           both(Parameter::other));
  list.add("parameters of another channel", "gamma of the next channel", "BN-FWD-4",
           [](A& a) { a.gamma = Parameter::next_channel; });
  list.add("parameters of another channel", "beta of the next channel", "BN-FWD-4",
           [](A& a) { a.beta = Parameter::next_channel; });
  list.add("parameters of another channel", "gamma and beta of the next channel", "BN-FWD-4",
           both(Parameter::next_channel));
  list.add("parameters of another channel", "gamma of channel 0 throughout", "BN-FWD-4",
           [](A& a) { a.gamma = Parameter::first_channel; });
  list.add("parameters of another channel", "gamma and beta of channel 0 throughout", "BN-FWD-4",
           both(Parameter::first_channel));
  list.add("1 + gamma", "1 + gamma in the place of gamma", "BN-FWD-4",
           [](A& a) { a.gamma = Parameter::plus_one; });
  list.add("sign of the deviation", "gamma (mean - x) invstd + beta", "BN-FWD-4",
           [](A& a) { a.gamma = Parameter::negated; });
  list.add("beta subtracted", "y with -beta", "BN-FWD-4", [](A& a) { a.beta = Parameter::negated; });
  list.add("mean not subtracted", "y = gamma x invstd + beta", "BN-FWD-4",
           [](A& a) { a.uncentred_y = true; });
}

void storing(List& list) {
  list.add("truncated", "results cut off, not rounded", "BN-NUM-13",
           [](A& a) { a.storing = Storing::truncated; });
  list.add("flushed to zero", "subnormal results are 0", "BN-FWD-17",
           [](A& a) { a.storing = Storing::flushed; });
  list.add("NaN turned into a number", "0 where a NaN belongs", "BN-FWD-13", [](A& a) {
    a.storing = Storing::nan_is_zero;
    a.from_own = true;
  });
  list.add("NaN of another channel", "the NaN of a channel reaches the next one", "BN-FWD-14",
           [](A& a) { a.storing = Storing::nan_spreads; });
}

void forward(List& list, bool training, const Format& stats) {
  roots(list, stats);
  affine(list);
  const auto from = [](Source source) {
    return [source](A& a) {
      a.mean = source;
      a.variance = source;
    };
  };
  list.add("statistics rounded to the data's format", "mean and invstd rounded to the data's format before y",
           "BN-NUM-13", [](A& a) { a.narrow = Narrow::statistics; });
  list.add("parameters rounded to the data's format", "gamma and beta rounded to the data's format",
           "BN-NUM-13", [](A& a) { a.narrow = Narrow::gamma_beta; });
  if (!training) {
    list.add("batch statistics in inference", "the batch's statistics in the place of the given ones",
             "BN-INF-1", from(Source::batch));
    list.add("batch statistics in inference", "the batch's mean with the given variance", "BN-INF-1",
             [](A& a) { a.mean = Source::batch; });
    list.add("batch statistics in inference", "the batch's variance with the given mean", "BN-INF-1",
             [](A& a) { a.variance = Source::batch; });
    return;
  }
  statistics(list);
  list.add("running statistics in training", "y by the running statistics", "BN-FWD-2",
           from(Source::running));
  list.add("running statistics in training", "y by the running mean", "BN-FWD-2",
           [](A& a) { a.mean = Source::running; });
  list.add("running statistics in training", "y by the running variance", "BN-FWD-2",
           [](A& a) { a.variance = Source::running; });

  const auto saved = [&](std::string text, Meaning meaning) {
    list.add("another statistic reported", "reports " + text + " for var", "BN-NUM-2",
             [meaning](A& a) { a.var_means = meaning; });
  };
  saved("the unbiased variance", Meaning::unbiased);
  saved("the deviation", Meaning::deviation);
  saved("invstd", Meaning::invstd);
  saved("var + eps", Meaning::with_eps);
  saved("the sum of squares", Meaning::sum);
  list.add("another statistic reported", "reports the deviation for invstd", "BN-NUM-12",
           [](A& a) { a.invstd_means = Meaning::deviation; });
  list.add("another statistic reported", "reports the variance for invstd", "BN-NUM-12",
           [](A& a) { a.invstd_means = Meaning::variance; });

  list.add("momentum inverted", "running = momentum running + (1 - momentum) batch", "BN-RUN-1",
           [](A& a) { a.weight = Weight::inverted; });
  list.add("running statistics replaced", "the batch's statistics with weight 1", "BN-RUN-1",
           [](A& a) { a.weight = Weight::all_new; });
  list.add("running statistics not updated", "the running statistics stay as they are", "BN-RUN-1",
           [](A& a) { a.weight = Weight::none_new; });
  list.add("momentum of its own", "weight 0.1 whatever momentum is given", "BN-RUN-1",
           [](A& a) { a.weight = Weight::fixed_tenth; });
  list.add("cumulative average miscounted", "weight 1/k in the place of 1/(k + 1)", "BN-RUN-3",
           [](A& a) { a.weight = Weight::count_before; });
  list.add("cumulative average miscounted", "weight 1/(k + 2) in the place of 1/(k + 1)", "BN-RUN-3",
           [](A& a) { a.weight = Weight::count_after; });
  list.add("cumulative average for momentum", "the cumulative average although momentum is given", "BN-RUN-1",
           [](A& a) { a.weight = Weight::cumulative; });
  list.add("Bessel's correction of the running variance",
           "the variance of the other kind feeds the running one", "BN-RUN-2",
           [](A& a) { a.other_running = true; });
  list.add("Bessel's correction by the batch size", "N / (N - 1) in the place of n / (n - 1)", "BN-RUN-2",
           [](A& a) { a.running_by_batch_size = true; });
  list.add("eps in the running variance", "var + eps feeds the running variance", "BN-RUN-2",
           [](A& a) { a.running_with_eps = true; });
  list.add("another statistic runs", "the deviation feeds the running variance", "BN-RUN-2",
           [](A& a) { a.running_means = Meaning::deviation; });
  list.add("another statistic runs", "invstd feeds the running variance", "BN-RUN-2",
           [](A& a) { a.running_means = Meaning::invstd; });
}

void backward(List& list, Pass pass, const Format& stats) {
  const bool given = pass == Pass::backward_training;
  if (!given)
    roots(list, stats);
  if (pass == Pass::gradient)
    statistics(list);
  list.add("mean of dy missing", "dx without dbeta / n", "BN-BWD-3", [](A& a) { a.no_mean_term = true; });
  list.add("term in xhat missing", "dx without xhat dgamma / n", "BN-BWD-3",
           [](A& a) { a.no_xhat_term = true; });
  list.add("statistics taken for constants", "dx = gamma invstd dy in training", "BN-BWD-3",
           [](A& a) { a.constant_statistics = true; });
  list.add("constants taken for statistics", "dx as in training in inference", "BN-BWI-1",
           [](A& a) { a.constant_statistics = false; });
  list.add("sign in dx", "xhat dgamma / n added", "BN-BWD-3", [](A& a) { a.xhat_added = true; });
  list.add("sign in dx", "dbeta / n added", "BN-BWD-3", [](A& a) { a.mean_added = true; });
  list.add("n - 1 for n in dx", "dbeta and dgamma divided by n - 1", "BN-BWD-3",
           [](A& a) { a.divided_by = 1; });
  list.add("sums for means in dx", "dbeta and dgamma not divided by n", "BN-BWD-3",
           [](A& a) { a.divided_by = 2; });
  list.add("batch size for n in dx", "dbeta and dgamma divided by N", "BN-BWD-3",
           [](A& a) { a.divided_by = 3; });
  list.add("gamma missing in dx", "dx without gamma", "BN-BWD-4", [](A& a) { a.gamma = Parameter::ignored; });
  list.add("parameters of another channel", "gamma of the next channel", "BN-BWD-4",
           [](A& a) { a.gamma = Parameter::next_channel; });
  list.add("parameters of another channel", "gamma of channel 0 throughout", "BN-BWD-4",
           [](A& a) { a.gamma = Parameter::first_channel; });
  list.add("invstd missing in dx", "dx without invstd", "BN-BWD-4", [](A& a) { a.dx_without_invstd = true; });
  list.add("invstd twice in dx", "dx with invstd squared", "BN-BWD-4",
           [](A& a) { a.dx_invstd_twice = true; });
  list.add_both("dgamma not centred", "dgamma = sum dy x invstd", "BN-BWD-2",
                [](A& a) { a.dgamma_uncentred = true; });
  list.add_both("dgamma not normalised", "dgamma = sum dy (x - mean)", "BN-BWD-2",
                [](A& a) { a.dgamma_without_invstd = true; });
  list.add_both("dgamma of x", "dgamma = sum dy x", "BN-BWD-2", [](A& a) { a.dgamma_of_x = true; });
  list.add_both("means for sums", "dbeta and dgamma divided by n", "BN-BWD-1", [](A& a) {
    a.dbeta_is_mean = true;
    a.dgamma_is_mean = true;
  });
  list.add_both("means for sums", "dbeta divided by n", "BN-BWD-1", [](A& a) { a.dbeta_is_mean = true; });
  list.add_both("means for sums", "dgamma divided by n", "BN-BWD-1", [](A& a) { a.dgamma_is_mean = true; });
  for (const auto& [missing, text] : missings) {
    const auto add = [&, m = missing](const char* where, bool beta, bool gamma) {
      list.add_both("values missing from the sums", std::string(text) + " of a channel not in " + where,
                    "BN-BWD-1", [=](A& a) {
                      a.dbeta_missing = beta ? m : Missing::none;
                      a.dgamma_missing = gamma ? m : Missing::none;
                    });
    };
    add("dbeta", true, false);
    add("dgamma", false, true);
    add("dbeta and dgamma", true, true);
  }
  const auto source = [&](const char* text, bool mean, bool variance, Source s) {
    list.add(given ? "saved statistics ignored" : "other statistics", text, given ? "BN-BWD-5" : "BN-BWI-2",
             [=](A& a) {
               if (mean)
                 a.mean = s;
               if (variance)
                 a.variance = s;
             });
  };
  if (pass != Pass::gradient) {
    source("mean and variance of the batch at hand", true, true, Source::batch);
    source("the mean of the batch at hand", true, false, Source::batch);
    source("the variance of the batch at hand", false, true, Source::batch);
  }
  if (given) {
    list.add("saved invstd taken for a variance", "1/sqrt(saved invstd + eps)", "BN-BWD-6",
             [](A& a) { a.saved_means = Meaning::variance; });
    list.add("saved invstd taken for the deviation", "1 / saved invstd", "BN-BWD-6",
             [](A& a) { a.saved_means = Meaning::deviation; });
  }
}

void second(List& list) {
  list.add("v_x ignored", "v_x does not enter", "BN-DBL-1", [](A& a) { a.no_v_x = true; });
  list.add("v_gamma ignored", "v_gamma does not enter", "BN-DBL-2", [](A& a) { a.no_v_gamma = true; });
  list.add("v_beta ignored", "v_beta does not enter", "BN-DBL-2", [](A& a) { a.no_v_beta = true; });
  list.add("3 xhat W H counted once", "one of the three terms xhat W H / n", "BN-DBL-3",
           [](A& a) { a.triple_once = true; });
  list.add("a term of grad_x missing", "without dgamma p", "BN-DBL-3", [](A& a) { a.no_p_term = true; });
  list.add("a term of grad_x missing", "without W q", "BN-DBL-3", [](A& a) { a.no_q_term = true; });
  list.add("statistics taken for constants", "grad_x as in inference", "BN-DBL-3",
           [](A& a) { a.grad_x_constant = true; });
  list.add("statistics taken for constants", "grad_dy and grad_x as in inference", "BN-DBL-3",
           [](A& a) { a.second_constant = true; });
  list.add("invstd once in grad_x", "invstd for its square", "BN-DBL-3", [](A& a) { a.invstd_once = true; });
  list.add("grad_gamma without its means", "grad_gamma = invstd sum v_x dy", "BN-DBL-4",
           [](A& a) { a.grad_gamma_of_products = true; });
  list.add("invstd missing in grad_gamma", "grad_gamma without invstd", "BN-DBL-4",
           [](A& a) { a.grad_gamma_without_invstd = true; });
  list.add("gamma missing in the second order", "without gamma", "BN-DBL-2",
           [](A& a) { a.gamma = Parameter::ignored; });
  list.add("saved statistics ignored", "mean and variance of the batch at hand", "BN-BWD-5", [](A& a) {
    a.mean = Source::batch;
    a.variance = Source::batch;
  });
  list.add("saved invstd taken for a variance", "1/sqrt(saved invstd + eps)", "BN-BWD-6",
           [](A& a) { a.saved_means = Meaning::variance; });
}

}  // namespace

std::vector<Suspect> suspects(const Problem& problem) {
  List list;
  switch (problem.pass) {
  case Pass::forward_training:
  case Pass::forward_inference:
    forward(list, problem.pass == Pass::forward_training, problem.stats);
    break;
  case Pass::backward_training:
  case Pass::backward_inference:
  case Pass::gradient:
    backward(list, problem.pass, problem.stats);
    break;
  case Pass::double_backward:
    second(list);
    break;
  }
  storing(list);
  return list.take();
}

}  // namespace normproof::properties
