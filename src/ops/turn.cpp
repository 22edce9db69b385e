#include "ops/turn.h"

#include "kernels/rotation.h"

namespace nibble {
namespace {

std::vector<Extent> shape(const Node&, std::span<const Extent> in) {
  odd_part(in[0].cols);
  return {in[0]};
}

void forward(const Node&, RunContext& run, std::span<const Value> in, std::span<const Value> out) {
  if (out[0].data != in[0].data) std::copy_n(in[0].data, in[0].rows * in[0].cols, out[0].data);
  turn_runs(out[0], out[0].cols, false, run.pool);
}

}  // namespace

void turn_runs(const Value& x, int64_t width, bool back, ThreadPool& pool) {
  const FastRotation<float>& rotation = fixed_rotation(width);
  parallel_ranges(pool, x.rows, 1 + 16384 / x.cols, [&](int64_t begin, int64_t end) {
    for (float* run = x.row(begin); run < x.row(end); run += width) {
      if (back) {
        rotation.turn_back(run);
      } else {
        rotation.turn(run);
      }
    }
  });
}

const Op turn_op{.name = "rotation of an input", .shape = shape, .forward = forward, .in_place = true};

}  // namespace nibble
