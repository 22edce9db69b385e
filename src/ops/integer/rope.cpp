#include "ops/integer/rope.h"

#include "ops/integer/rows.h"

namespace nibble {
namespace {

std::vector<Extent> shape(const Node& node, std::span<const Extent> in) {
  expect_whole(node, in);
  const auto& a = node.attribute<IntegerRope>();
  const auto pairs = static_cast<int64_t>(a.table->turns.size());
  if (a.head_dim <= 0 || in[0].cols % a.head_dim != 0 || 2 * pairs > a.head_dim)
    fail(ErrorKind::bad_input, "{} cannot rotate {} entries of heads of {} in {} columns", node.name,
         2 * pairs, a.head_dim, in[0].cols);
  return {in[0]};
}

int32_t scaled(int32_t x, int32_t magnitude) {
  return static_cast<int32_t>(shift_right(int64_t{x} * magnitude, mantissa_bits));
}

/// Cosines, then sines of this batch's positions: rows * pairs each.
const std::vector<int32_t>& rotations(const IntegerRopeTable& table, RunContext& run, int64_t rows) {
  std::vector<int32_t>& cached = run.integer_rotations[&table];
  if (!cached.empty()) return cached;
  const auto pairs = static_cast<int64_t>(table.turns.size());
  cached.resize(static_cast<size_t>(2 * rows * pairs));
  int32_t *cosines = cached.data(), *sines = cosines + rows * pairs;
  parallel_ranges(run.pool, rows, 16, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const bool stretched = !table.long_turns.empty() && run.sequence_of(i).context > table.long_from;
      const std::vector<uint64_t>& turns = stretched ? table.long_turns : table.turns;
      const auto position = static_cast<uint64_t>(run.position_of(i));
      for (int64_t j = 0; j < pairs; ++j) {
        const Direction d = direction(position * turns[static_cast<size_t>(j)]);
        cosines[i * pairs + j] = scaled(d.cosine, table.magnitude);
        sines[i * pairs + j] = scaled(d.sine, table.magnitude);
      }
    }
  });
  return cached;
}

void forward(const Node& node, RunContext& run, std::span<const Value> in, std::span<const Value> out) {
  const auto& a = node.attribute<IntegerRope>();
  const IntegerKernels& kernels = integer_kernels();
  const auto pairs = static_cast<int64_t>(a.table->turns.size());
  const int32_t* cosines = rotations(*a.table, run, in[0].rows).data();
  const int32_t* sines = cosines + in[0].rows * pairs;
  const int more = 1 + a.table->magnitude_bits;
  parallel_ranges(run.pool, in[0].rows, 1 + 8192 / in[0].cols, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      kernels.turn({in[0].whole(i), in[0].cols, a.head_dim, pairs, a.interleaved, more, cosines + i * pairs,
                    sines + i * pairs, out[0].whole(i)});
      out[0].exponent[i] = in[0].exponent[i] + more;
    }
  });
}

}  // namespace

const Op integer_rope_op{
    .name = "integer rope", .shape = shape, .forward = forward, .in_place = true, .integer = true};

}  // namespace nibble
