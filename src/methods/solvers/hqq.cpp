#include <algorithm>
#include <cmath>

#include "formats/plain_weights.h"
#include "kernels/encode.h"
#include "methods/solver.h"

namespace nibble {
namespace {

constexpr int most_rounds = 20;
constexpr float first_beta = 4, beta_growth = 1.1f;

/// |r|^(3/4): HQQ's p is 0.7; this one needs only square roots, which are the same on every machine.
double norm(float r) noexcept {
  const double root = std::sqrt(std::fabs(double{r}));
  return root * std::sqrt(root);
}

/// argmin over e of |e|^p + beta / 2 (r - e)², as HQQ approximates it: sign(r) max(0, |r| - |r|^(p-1) /
/// beta).
float shrink(float r, float beta) noexcept {
  const float size = std::fabs(r);
  if (size == 0) return 0;
  const float left = size - 1 / (beta * std::sqrt(std::sqrt(size)));
  return left > 0 ? std::copysign(left, r) : 0.0f;
}

/// Half-quadratic quantization (Badri and Shaji, mobiusml/hqq, 2023): parameters of a block for the least sum
/// of |w - decoded w|^p, p < 1, which cares less about the few weights that lie far out; each weighted as in
/// formats/plain_weights.h, since a sum that shrinks what it approximates gains nothing. The error is split:
/// a sparse part e, found by shrinking, and what is left of the weights, to which the format's own
/// least-squares fit is made. Needs no data. Where fit has nothing to choose the outcome is that of
/// `nearest`.
class Hqq final : public Solver {
 public:
  std::string_view name() const noexcept override { return "hqq"; }

  void solve(const Window& w, const Prepared*) const override {
    const int64_t block = w.format.block(w.shape);
    const auto total = static_cast<int64_t>(w.x.size());
    Work work(static_cast<size_t>(std::min(block, total)));
    std::vector<std::byte*> at(w.planes.size());
    const BlockFitter fitter(w.format, isa_level());
    for (int64_t begin = 0, b = 0; begin < total; begin += block, ++b) {
      const int64_t n = std::min(block, total - begin);
      block_pointers(w.info, w.planes.data(), b, at.data());
      const Params& params = choose(w.format, fitter, w.x.data() + begin, n, at.data(), work);
      w.format.round(w.x.data() + begin, 0, n, params, work.codes.data(), nullptr);
      w.format.pack(work.codes.data(), n, params, at.data());
    }
  }

 private:
  struct Work {
    explicit Work(size_t n)
        : target(n), values(n), weight(n), codes(n), trial(std::make_unique<Params[]>(2)) {}
    std::vector<float> target, values, weight;
    std::vector<Code> codes;
    std::unique_ptr<Params[]> trial;  ///< the best so far, and the next
  };

  static double loss(const Format& format, const float* x, int64_t n, const Params& params, Work& work) {
    format.round(x, 0, n, params, work.codes.data(), work.values.data());
    double sum = 0;
    for (int64_t i = 0; i < n; ++i) {
      const auto at = static_cast<size_t>(i);
      sum += double{work.weight[at]} * norm(x[i] - work.values[at]);
    }
    return sum;
  }

  static const Params& choose(const Format& format, const BlockFitter& fitter, const float* x, int64_t n,
                              const std::byte* const* planes, Work& work) {
    Params &best = work.trial[0], &next = work.trial[1];
    const auto size = static_cast<size_t>(n);
    fitting::plain_weights({x, size}, nullptr, std::span(work.weight).first(size));
    fitter.fit(x, work.weight.data(), n, planes, best);
    double least = loss(format, x, n, best, work);
    if (n == 1) return best;
    double square = 0;
    for (int64_t i = 0; i < n; ++i) {
      const double r = double{x[i]} - work.values[static_cast<size_t>(i)];
      square += r * r;
    }
    // Errors in units of their own size, so that beta means the same for every tensor.
    const auto unit = static_cast<float>(std::sqrt(square / static_cast<double>(n)));
    if (!(unit > 0x1p-100f)) return best;
    float beta = first_beta;
    int worse = 0;
    for (int round = 0; round < most_rounds && worse < 4; ++round, beta *= beta_growth) {
      for (int64_t i = 0; i < n; ++i) {
        const float r = (x[i] - work.values[static_cast<size_t>(i)]) / unit;
        work.target[static_cast<size_t>(i)] = x[i] - unit * shrink(r, beta);
      }
      fitter.fit(work.target.data(), work.weight.data(), n, planes, next);
      const double l = loss(format, x, n, next, work);
      worse = l < least ? 0 : worse + 1;
      if (l < least) {
        least = l;
        best = next;
      }
    }
    return best;
  }
};

}  // namespace

const Solver& hqq_solver() {
  static const Hqq solver;
  return solver;
}

}  // namespace nibble
