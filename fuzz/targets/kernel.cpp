// Kernel against oracle: bytes choose a kernel and a start, the rest are moves. Correct kernels run in this
// process, so that their own edges are coverage; a judgement that fails is a finding, with its case.
#include <cstring>
#include <vector>

#include "normproof/fuzz/moves.h"
#include "normproof/fuzz/probe.h"
#include "normproof/properties/case_file.h"
#include "target.h"

using namespace normproof;

namespace {

/// Correct at the default grade whatever the input: those that the project's own gate holds to it.
std::vector<fuzz::Probe>& probes() {
  static std::vector<fuzz::Probe> all = [] {
    const std::vector<std::filesystem::path> libraries = impls::bundled_libraries();
    std::vector<fuzz::Probe> some;
    impls::RunOptions run;
    run.in_process = true;
    for (const impls::KernelInfo& kernel : impls::discover(libraries).kernels)
      if (kernel.name.starts_with("cpu.") && kernel.name.find("textbook") == std::string::npos)
        some.emplace_back(kernel, fuzz::Target{}, run);
    fuzz::demand(!some.empty(), "no kernels are there to be fuzzed");
    return some;
  }();
  return all;
}

/// Bytes as choices; when they end, zeros.
class Choices {
public:
  Choices(const std::uint8_t* bytes, std::size_t size) : at_(bytes), left_(size) {}
  std::size_t below(std::size_t bound) {
    if (left_ == 0)
      return 0;
    --left_;
    return *at_++ % bound;
  }
  std::uint64_t word() {
    std::uint64_t w = 0;
    const std::size_t take = left_ < sizeof w ? left_ : sizeof w;
    std::memcpy(&w, at_, take);
    at_ += take;
    left_ -= take;
    return w;
  }
  std::size_t left() const { return left_; }

private:
  const std::uint8_t* at_;
  std::size_t left_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  Choices choose(bytes, size);
  fuzz::Probe& probe = probes()[choose.below(probes().size())];
  fuzz::Space space;
  space.pass = all_passes[choose.below(all_passes.size())];
  space.dtype = formats()[choose.below(formats().size())];
  space.layout = all_layouts[choose.below(all_layouts.size())];
  space.values = static_cast<std::int64_t>(2 + choose.below(40));
  fuzz::Dice start(choose.word());
  Case c = properties::expand(fuzz::random_recipe(space, start));
  for (int moves = 0; moves < 64 && choose.left() > 0; ++moves) {
    fuzz::Dice dice(choose.word());
    c = fuzz::moved(c, space, 12, dice);
  }
  const fuzz::Score score = probe(c);
  if (score.failed)
    std::fprintf(stderr, "%s\n%s\n", probe.kernel().name.c_str(), properties::write_case(c).c_str());
  fuzz::demand(!score.failed, probe.kernel().name + " breaks a bound on the case above");
  return 0;
}
