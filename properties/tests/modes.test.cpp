// A layer over its life: torch::nn::BatchNorm1d driven by random commands (train and eval batches, mode,
// momentum, reset, save, load, freeze, clone), its model the oracle and a few discrete facts.
//
// Each batch is judged from the state that the layer had before it, so there is no drift to allow for;
// between batches the state keeps its bits. Layers that are wrong on purpose, as shipped ones have been, show
// what the machine finds.
#include <sstream>

#include <gmock/gmock.h>
#include <rapidcheck/gtest.h>
#include <rapidcheck/state.h>
#include <torch/torch.h>

#include "normproof/properties/diagnosis.h"
#include "relations.h"

namespace normproof::properties {
namespace {

constexpr std::int64_t channels = 3;
constexpr double layer_eps = 1e-3;

struct State {
  std::vector<double> mean, var;
  std::int64_t tracked = 0;
  friend bool operator==(const State&, const State&) = default;
};

std::vector<double> numbers(const torch::Tensor& t) {
  const torch::Tensor flat = t.detach().to(torch::kDouble).contiguous().view({-1});
  return {flat.data_ptr<double>(), flat.data_ptr<double>() + flat.numel()};
}

/// The layer; the wrong ones override a step of it.
class Layer {
public:
  Layer() : bn_(torch::nn::BatchNormOptions(channels).eps(layer_eps)) {
    const torch::NoGradGuard none;
    bn_->weight.copy_(torch::tensor({1.5F, -0.75F, 0.25F}));
    bn_->bias.copy_(torch::tensor({0.0F, 2.0F, -1.0F}));
  }
  Layer(const Layer&) = delete;
  virtual ~Layer() = default;

  virtual torch::Tensor forward(const torch::Tensor& x) { return bn_->forward(x); }
  virtual void set_training(bool on) { bn_->train(on); }
  virtual void set_momentum(std::optional<double> momentum) { bn_->options.momentum(momentum); }
  virtual void reset() { bn_->reset_running_stats(); }
  virtual std::string save() const {
    std::ostringstream out;
    torch::save(bn_, out);
    return out.str();
  }
  virtual void load(const std::string& saved) {
    std::istringstream in(saved);
    torch::load(bn_, in);
  }
  virtual void freeze() {
    for (torch::Tensor& p : bn_->parameters())
      p.set_requires_grad(false);
  }
  virtual std::shared_ptr<Layer> clone() const {
    auto copy = make();
    copy->bn_ = torch::nn::BatchNorm1d(std::dynamic_pointer_cast<torch::nn::BatchNorm1dImpl>(bn_->clone()));
    return copy;
  }

  bool training() const { return bn_->is_training(); }
  State state() const {
    return {numbers(bn_->running_mean), numbers(bn_->running_var),
            bn_->num_batches_tracked.item<std::int64_t>()};
  }
  const torch::nn::BatchNorm1d& bn() const { return bn_; }

protected:
  virtual std::shared_ptr<Layer> make() const = 0;
  torch::nn::BatchNorm1d bn_;
};
template <class Self>
struct Made : Layer {
  std::shared_ptr<Layer> make() const override { return std::make_shared<Self>(); }
};
struct Right : Made<Right> {};

/// What the commands know of the layer.
struct Model {
  bool training = true;
  std::optional<double> momentum = 0.1;
  std::int64_t tracked = 0;
  std::optional<std::int64_t> saved;  ///< tracked, when it was saved
};

struct Sut {
  std::shared_ptr<Layer> layer;
  State before;  ///< after the last command
  std::string saved;
  State saved_state;
  std::shared_ptr<Layer> original;  ///< that the layer is a clone of
  State original_state;
};

Case batch(const Model& model, const Sut& sut, std::uint64_t seed) {
  Recipe r;
  r.pass = model.training ? Pass::forward_training : Pass::forward_inference;
  r.shape = {2 + static_cast<std::int64_t>(seed % 5), channels, {}};
  if (seed % 3 == 0)
    r.shape.spatial = {4};
  r.regime = seed % 2 == 0 ? Regime{"normal", 0} : Regime{"offset", 10};
  r.dialect = "pytorch/native_batch_norm";
  r.seed = seed;
  Case c = expand(r);
  c.problem.eps = layer_eps;
  // The layer hands on a number: without momentum the cumulative weight.
  c.problem.momentum = model.momentum.value_or(1 / (static_cast<double>(model.tracked) + 1));
  c.gamma = numbers(sut.layer->bn()->weight);
  c.beta = numbers(sut.layer->bn()->bias);
  c.running_mean = sut.before.mean;
  c.running_var = sut.before.var;
  c.num_batches_tracked = sut.before.tracked;
  return c;
}

/// [N, C, L] from the case's channel-major values.
torch::Tensor tensor_of(const Case& c) {
  const std::int64_t n = c.problem.shape.batch, plane = c.problem.shape.plane();
  torch::Tensor x = torch::empty({channels, n, plane}, torch::kDouble);
  std::copy(c.x.begin(), c.x.end(), x.data_ptr<double>());
  x = x.to(torch::kFloat).permute({1, 0, 2}).contiguous();
  return plane == 1 ? x.squeeze(2) : x;
}

impls::Observation observed(const Layer& layer, const torch::Tensor& y, const Case& c) {
  impls::Observation seen;
  seen.outcome = impls::Outcome::completed;
  torch::Tensor back = y.dim() == 2 ? y.unsqueeze(2) : y;
  seen.outputs[index(Output::y)] = numbers(back.permute({1, 0, 2}));
  const State after = layer.state();
  if (c.problem.pass == Pass::forward_training) {
    seen.outputs[index(Output::running_mean)] = after.mean;
    seen.outputs[index(Output::running_var)] = after.var;
    seen.num_batches_tracked = after.tracked;
  } else {
    seen.running_changed = after != State{c.running_mean, c.running_var, c.num_batches_tracked};
  }
  return seen;
}

using Command = rc::state::Command<Model, Sut>;

/// Between batches nothing moves; the mode and the counter are those of the model; a clone is on its own.
void check_state(const Model& after, Sut& sut, bool may_change) {
  const State now = sut.layer->state();
  if (!may_change && now != sut.before)
    RC_FAIL("the state changed by itself");
  if (now.tracked != after.tracked)
    RC_FAIL("tracked " + std::to_string(now.tracked) + ", not " + std::to_string(after.tracked));
  if (sut.layer->training() != after.training)
    RC_FAIL("another mode");
  if (sut.original && sut.original->state() != sut.original_state)
    RC_FAIL("the original of a clone changed");
  sut.before = now;
}

struct Batch : Command {
  std::uint64_t seed = pick<std::uint64_t>(1, 1 << 16);
  void apply(Model& m) const override { m.tracked += m.training ? 1 : 0; }
  void run(const Model& m, Sut& sut) const override {
    const Case c = batch(m, sut, seed);
    const torch::Tensor x = tensor_of(c), y = sut.layer->forward(x);
    const impls::Observation seen = observed(*sut.layer, y, c);
    if (const std::string found = judged(c, seen); !found.empty())
      RC_FAIL(found + " on " + c.origin);
    if (!m.training) {  // a sample by itself: no other had a part in it
      const torch::Tensor alone = sut.layer->forward(x.slice(0, 0, 1));
      if (!torch::equal(alone, y.slice(0, 0, 1)))
        RC_FAIL("samples mix in eval");
    }
    check_state(nextState(m), sut, m.training);
  }
  void show(std::ostream& out) const override { out << "batch " << seed; }
};
struct Switch : Command {
  void apply(Model& m) const override { m.training = !m.training; }
  void run(const Model& m, Sut& sut) const override {
    sut.layer->set_training(!m.training);
    check_state(nextState(m), sut, false);
  }
  void show(std::ostream& out) const override { out << "switch the mode"; }
};
struct SetMomentum : Command {
  std::size_t which = pick<std::size_t>(0, 5);
  std::optional<double> value() const {
    return std::array<std::optional<double>, 5>{0.1, std::nullopt, 0.25, 1.0, 0.0}[which];
  }
  void apply(Model& m) const override { m.momentum = value(); }
  void run(const Model& m, Sut& sut) const override {
    sut.layer->set_momentum(value());
    check_state(nextState(m), sut, false);
  }
  void show(std::ostream& out) const override { out << "momentum " << value().value_or(-1); }
};
struct Reset : Command {
  void apply(Model& m) const override { m.tracked = 0; }
  void run(const Model& m, Sut& sut) const override {
    sut.layer->reset();
    check_state(nextState(m), sut, true);
    if (sut.before != State{std::vector<double>(channels, 0), std::vector<double>(channels, 1), 0})
      RC_FAIL("reset leaves something");
  }
  void show(std::ostream& out) const override { out << "reset"; }
};
struct Save : Command {
  void apply(Model& m) const override { m.saved = m.tracked; }
  void run(const Model& m, Sut& sut) const override {
    sut.saved = sut.layer->save();
    sut.saved_state = sut.before;
    check_state(nextState(m), sut, false);
  }
  void show(std::ostream& out) const override { out << "save"; }
};
struct Load : Command {
  void checkPreconditions(const Model& m) const override { RC_PRE(m.saved.has_value()); }
  void apply(Model& m) const override { m.tracked = *m.saved; }
  void run(const Model& m, Sut& sut) const override {
    sut.layer->load(sut.saved);
    check_state(nextState(m), sut, true);
    if (sut.before != sut.saved_state)
      RC_FAIL("loaded something else than was saved");
  }
  void show(std::ostream& out) const override { out << "load"; }
};
struct Freeze : Command {
  void run(const Model& m, Sut& sut) const override {
    sut.layer->freeze();
    check_state(nextState(m), sut, false);
  }
  void show(std::ostream& out) const override { out << "freeze"; }
};
struct Clone : Command {
  void run(const Model& m, Sut& sut) const override {
    sut.original = sut.layer;
    sut.original_state = sut.before;
    sut.layer = sut.layer->clone();
    check_state(nextState(m), sut, false);
  }
  void show(std::ostream& out) const override { out << "clone"; }
};

/// Batches are drawn as often as all else together.
rc::Gen<rc::state::Commands<Command>> life() {
  return rc::state::gen::commands(
      Model{}, rc::state::gen::execOneOfWithArgs<Batch, Batch, Batch, Batch, Batch, Batch, Switch, Switch,
                                                 SetMomentum, Reset, Save, Load, Freeze, Clone>());
}

Sut fresh(const std::shared_ptr<Layer>& layer) {
  torch::set_num_threads(1);
  Sut sut;
  sut.layer = layer;
  sut.before = layer->state();
  return sut;
}

RC_GTEST_PROP(Modes, a_layer_that_forgets_or_changes_its_state, ()) {
  const auto commands = *life();
  RC_CLASSIFY(commands.size() > 10, "more than 10 commands");
  Sut sut = fresh(std::make_shared<Right>());
  rc::state::runAll(commands, Model{}, sut);
}

// --- layers that are wrong, as shipped ones have been ---

struct EvalUpdates : Made<EvalUpdates> {
  torch::Tensor forward(const torch::Tensor& x) override {
    const bool on = training();
    torch::Tensor y = bn_->forward(x);
    if (!on && x.size(0) > 1) {
      bn_->train();
      bn_->forward(x);
      bn_->eval();
    }
    return y;
  }
};
struct EvalByTheBatch : Made<EvalByTheBatch> {
  torch::Tensor forward(const torch::Tensor& x) override {
    if (training())
      return bn_->forward(x);
    return torch::batch_norm(x, bn_->weight, bn_->bias, {}, {}, true, 0.0, layer_eps, false);
  }
};
struct TrainByTheRunning : Made<TrainByTheRunning> {
  torch::Tensor forward(const torch::Tensor& x) override {
    const torch::Tensor y = torch::batch_norm(x, bn_->weight, bn_->bias, bn_->running_mean.clone(),
                                              bn_->running_var.clone(), false, 0.0, layer_eps, false);
    bn_->forward(x);
    return y;
  }
};
struct Twice : Made<Twice> {  // as by a checkpoint that runs the forward pass again
  torch::Tensor forward(const torch::Tensor& x) override {
    bn_->forward(x);
    return bn_->forward(x);
  }
};
struct Deaf : Made<Deaf> {
  void set_momentum(std::optional<double>) override {}
};
struct CountForgottenOnLoad : Made<CountForgottenOnLoad> {
  void load(const std::string& saved) override {
    const torch::Tensor count = bn_->num_batches_tracked.clone();
    Layer::load(saved);
    bn_->num_batches_tracked.copy_(count);
  }
};
struct HalfReset : Made<HalfReset> {
  void reset() override {
    bn_->running_mean.zero_();
    bn_->num_batches_tracked.zero_();
  }
};
struct SharedClone : Made<SharedClone> {
  std::shared_ptr<Layer> clone() const override {
    auto copy = std::make_shared<SharedClone>();
    copy->bn_ = bn_;
    return copy;
  }
};
struct LoadSwitches : Made<LoadSwitches> {
  void load(const std::string& saved) override {
    Layer::load(saved);
    bn_->train();
  }
};
struct FreezeStops : Made<FreezeStops> {
  void freeze() override {
    Layer::freeze();
    frozen_ = true;
  }
  torch::Tensor forward(const torch::Tensor& x) override {
    const State kept = state();
    torch::Tensor y = bn_->forward(x);
    if (frozen_)
      for (std::int64_t k = 0; k < channels; ++k)
        bn_->running_mean[k] = kept.mean[static_cast<std::size_t>(k)];
    return y;
  }

private:
  bool frozen_ = false;
};
struct NoCount : Made<NoCount> {
  torch::Tensor forward(const torch::Tensor& x) override {
    const torch::Tensor count = bn_->num_batches_tracked.clone();
    torch::Tensor y = bn_->forward(x);
    bn_->num_batches_tracked.copy_(count);
    return y;
  }
};

template <class Wrong>
bool found_out() {
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    const auto commands = life()(rc::Random(seed), 60).value();
    Sut sut = fresh(std::make_shared<Wrong>());
    try {
      rc::state::runAll(commands, Model{}, sut);
    } catch (const rc::detail::CaseResult&) {
      return true;
    }
  }
  return false;
}

TEST(Modes, wrong_layers_that_live_on) {
  EXPECT_FALSE(found_out<Right>());
  EXPECT_TRUE(found_out<EvalUpdates>());
  EXPECT_TRUE(found_out<EvalByTheBatch>());
  EXPECT_TRUE(found_out<TrainByTheRunning>());
  EXPECT_TRUE(found_out<Twice>());
  EXPECT_TRUE(found_out<Deaf>());
  EXPECT_TRUE(found_out<CountForgottenOnLoad>());
  EXPECT_TRUE(found_out<HalfReset>());
  EXPECT_TRUE(found_out<SharedClone>());
  EXPECT_TRUE(found_out<LoadSwitches>());
  EXPECT_TRUE(found_out<FreezeStops>());
  EXPECT_TRUE(found_out<NoCount>());
}

/// The commonest bug of users, by its name.
TEST(Modes, a_mismatch_of_train_and_eval_without_its_name) {
  const auto named = [](const std::shared_ptr<Layer>& layer, bool training) {
    Sut sut = fresh(layer);
    Model m;
    for (const std::uint64_t seed : {2U, 4U}) {  // away from the initial statistics
      layer->set_training(true);
      layer->forward(tensor_of(batch(m, sut, seed)));
      sut.before = layer->state();
      m.tracked = sut.before.tracked;
    }
    m.training = training;
    layer->set_training(training);
    const Case c = batch(m, sut, 6);
    const impls::Observation seen = observed(*layer, layer->forward(tensor_of(c)), c);
    return diagnose(c, reference::truth_of(c), seen, {}).names;
  };
  EXPECT_THAT(named(std::make_shared<EvalByTheBatch>(), false),
              testing::ElementsAre("batch statistics in inference"));
  EXPECT_THAT(named(std::make_shared<TrainByTheRunning>(), true),
              testing::ElementsAre("running statistics in training"));
}

/// Every command is in some life, each often enough to matter.
TEST(Modes, a_command_that_is_never_given) {
  std::map<std::string, int> count;
  for (std::uint64_t seed = 1; seed <= 60; ++seed)
    for (const auto& command : life()(rc::Random(seed), 60).value()) {
      std::ostringstream out;
      command->show(out);
      ++count[out.str().substr(0, out.str().find(' '))];
    }
  for (const char* name : {"batch", "switch", "momentum", "reset", "save", "load", "freeze", "clone"})
    EXPECT_GE(count[name], 20) << name;
}

}  // namespace
}  // namespace normproof::properties
