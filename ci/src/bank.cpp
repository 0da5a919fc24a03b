#include "bank.h"

namespace normproof::ci {
namespace {

constexpr Bug bugs[] = {
    {"mutant.textbook_variance", "textbook variance", ""},
    {"mutant.eps_outside_root", "eps outside the root", ""},
    {"mutant.eps_added_to_deviation", "eps added to the deviation", ""},
    {"mutant.invstd_seven_ulps", "", ""},
    {"mutant.inverted_momentum", "momentum inverted", ""},
    {"mutant.biased_running_variance", "Bessel's correction of the running variance", ""},
    {"mutant.inference_updates_running", "running statistics updated in inference", ""},
    {"mutant.tail_dropped", "values missing from the sums", ""},
    {"mutant.dx_mean_term_dropped", "mean of dy missing", ""},
    {"mutant.dx_xhat_term_dropped", "term in xhat missing", ""},
    {"mutant.dx_not_divided_by_n", "sums for means in dx", ""},
    {"mutant.dx_divided_by_one_less", "n - 1 for n in dx", ""},
    {"mutant.dx_gamma_missing", "gamma missing in dx", ""},
    {"mutant.dx_wrong_sign", "sign in dx", ""},
    {"mutant.dx_one_channel_off", "a factor on some channels", ""},
    {"mutant.dx_three_ulps", "a few ulps throughout", ""},
    {"mutant.dgamma_uncentred", "dgamma not centred", ""},
    {"mutant.dgamma_without_invstd", "dgamma not normalised", ""},
    {"mutant.dgamma_accumulated", "old content of an output", ""},
    {"mutant.dbeta_misses_a_batch_item", "values missing from the sums", ""},
    {"mutant.gradients_over_batch_only", "values missing from the sums", ""},
    {"mutant.eval_gradient_in_training", "statistics taken for constants", ""},
    {"mutant.training_gradient_in_eval", "constants taken for statistics", ""},
    {"mutant.backward_eps_twice", "eps counted twice", ""},
    {"mutant.invstd_taken_for_variance", "saved invstd taken for a variance", ""},
    {"mutant.saved_statistics_ignored", "saved statistics ignored", ""},
    {"mutant.second_order_term_once", "3 xhat W H counted once", ""},
    {"mutant.second_order_v_gamma_ignored", "v_gamma ignored", ""},
    {"mutant.second_order_invstd_missing", "invstd missing in grad_gamma", ""},
    {"mutant.second_order_statistics_constant", "statistics taken for constants", ""},
    {"mutant.second_order_grad_gamma_uncentred", "grad_gamma without its means", ""},
    {"mutant.y_truncated", "truncated", ""},
    {"mutant.dx_truncated", "truncated", ""},
    {"mutant.y_rounded_twice", "",
     "what it adds is within what a correct kernel may be off that keeps its statistics in f32; grade "
     "correctly-rounded denies it"},
    {"mutant.half_accumulator", "narrower arithmetic", ""},
    {"mutant.half_squares", "squares rounded to the data's format", ""},
    {"mutant.half_centre", "centre rounded to the data's format", ""},
    {"mutant.byte_offset_ignored", "layout", ""},
    {"mutant.channel_stride_ignored", "layout", ""},
    {"mutant.dy_strides_ignored", "layout", ""},
    {"mutant.index_32_bit", "",
     "it shows from 2^32 elements on, which no profile has; a test of impls tries it"},
    {"mutant.nan_squashed", "NaN turned into a number", ""},
    {"mutant.nan_spreads", "NaN of another channel",
     "it shows where a channel is not finite: the extended domain, which gates with --extended"},
};

}  // namespace

std::span<const Bug> bank() {
  return bugs;
}

std::map<std::string, std::string> bugs_by_kernel() {
  std::map<std::string, std::string> out;
  for (const Bug& bug : bugs)
    if (!bug.family.empty())
      out.emplace(bug.kernel, bug.family);
  return out;
}

std::string_view excuse_of(std::string_view kernel) {
  for (const Bug& bug : bugs)
    if (bug.kernel == kernel)
      return bug.excuse;
  return {};
}

}  // namespace normproof::ci
