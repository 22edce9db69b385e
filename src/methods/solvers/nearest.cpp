#include "kernels/encode.h"
#include "methods/solver.h"

namespace nibble {
namespace {

/// Fits every block by itself and takes the nearest grid points; with importance, the fit weighs its errors.
class Nearest final : public Solver {
 public:
  std::string_view name() const noexcept override { return "nearest"; }

  void solve(const Window& w, const Prepared*) const override {
    const int64_t block = w.format.block(w.shape);
    const auto total = static_cast<int64_t>(w.x.size());
    const int64_t cols = w.shape.cols();
    const bool weighted = !w.stats.importance.empty();
    if (const EncodeBlocks encode = block_encoder(w.format, isa_level()); encode != nullptr) {
      encode({w.x.data(), weighted ? w.stats.importance.data() : nullptr, cols, w.first_block * block % cols,
              total / block, w.planes[0]});
      return;
    }
    std::vector<Code> codes(static_cast<size_t>(std::min(block, total)));
    std::vector<float> weights(weighted ? codes.size() : 0);
    std::vector<std::byte*> at(w.planes.size());
    const auto params = std::make_unique<Params>();
    const BlockFitter fitter(w.format, isa_level());
    for (int64_t begin = 0, b = 0; begin < total; begin += block, ++b) {
      const int64_t n = std::min(block, total - begin);
      for (int64_t i = 0; weighted && i < n; ++i) {
        const int64_t flat = w.first_block * block + begin + i;
        weights[static_cast<size_t>(i)] = w.stats.importance[static_cast<size_t>(flat % cols)];
      }
      block_pointers(w.info, w.planes.data(), b, at.data());
      const float* x = w.x.data() + begin;
      fitter.fit(x, weighted ? weights.data() : nullptr, n, at.data(), *params);
      w.format.round(x, 0, n, *params, codes.data(), nullptr);
      w.format.pack(codes.data(), n, *params, at.data());
    }
  }
};

}  // namespace

const Solver& nearest_solver() {
  static const Nearest solver;
  return solver;
}

}  // namespace nibble
