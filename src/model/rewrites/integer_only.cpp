#include "model/rewrites/integer_only.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numbers>

#include "ops/activation.h"
#include "ops/attention.h"
#include "ops/elementwise.h"
#include "ops/embedding.h"
#include "ops/integer/activation.h"
#include "ops/integer/attention.h"
#include "ops/integer/elementwise.h"
#include "ops/integer/embedding.h"
#include "ops/integer/linear.h"
#include "ops/integer/moe.h"
#include "ops/integer/norm.h"
#include "ops/integer/rope.h"
#include "ops/integer/to_floats.h"
#include "ops/linear.h"
#include "ops/moe.h"
#include "ops/norm.h"
#include "ops/rope.h"

namespace nibble {
namespace {

constexpr int table_bits = 22;  // of scales: times a code less its zero, 9 bits, that makes 30 at most
constexpr int value_bits = 15;  // of tables that a file keeps in other formats

std::vector<double> doubles(std::span<const float> x, double factor = 1) {
  std::vector<double> y(x.begin(), x.end());
  for (double& v : y) v *= factor;
  return y;
}

std::shared_ptr<const IntegerTable> table_of(const std::shared_ptr<const Weight>& weight, double factor,
                                             ThreadPool& pool) {
  if (weight == nullptr) return nullptr;
  const Matrix& m = *weight->matrix;
  const auto made = std::make_shared<IntegerTable>();
  made->name = weight->name;
  made->rows = m.rows();
  made->cols = m.cols();
  made->weight = weight;
  made->codes = WholeCodes::of(m.tensor());
  made->exponents.resize(static_cast<size_t>(m.rows()));
  const int64_t groups = made->codes ? m.cols() / made->codes->group() : 0;
  made->scales.resize(static_cast<size_t>(m.rows() * groups));
  if (!made->codes) made->values.resize(static_cast<size_t>(m.rows() * m.cols()));
  parallel_ranges(pool, m.rows(), 64, [&](int64_t begin, int64_t end) {
    std::vector<float> row(static_cast<size_t>(made->codes ? groups : m.cols()));
    for (int64_t r = begin; r < end; ++r) {
      if (made->codes) {
        made->codes->read_scales(r, row.data());
      } else {
        m.decode_rows(r, 1, row.data(), m.cols());
      }
      const FixedVector fixed =
          to_fixed(doubles(row, factor), made->codes ? table_bits : value_bits, weight->name);
      made->exponents[static_cast<size_t>(r)] = fixed.exponent;
      if (made->codes) {
        std::copy(fixed.mantissas.begin(), fixed.mantissas.end(), made->scales.begin() + r * groups);
      } else {
        // 2^15 itself is one too many.
        std::transform(fixed.mantissas.begin(), fixed.mantissas.end(), made->values.begin() + r * m.cols(),
                       [](int32_t v) { return static_cast<int16_t>(std::min(v, INT16_MAX)); });
      }
    }
  });
  return made;
}

IntegerEmbedding embedding_of(const Node& node, ThreadPool& pool) {
  const auto& a = node.attribute<EmbeddingAttributes>();
  const auto weight = [&](size_t i) { return i < node.weights.size() ? node.weights[i] : nullptr; };
  return {table_of(weight(0), a.scale, pool), table_of(weight(1), 1, pool), table_of(weight(2), 1, pool),
          a.position_offset};
}

IntegerLinear linear_of(const Node& node, ThreadPool& pool) {
  const auto& a = node.attribute<LinearAttributes>();
  const Matrix& matrix = *node.weight(0)->matrix;
  std::span<const float> bias;
  if (node.weight(1) != nullptr)
    bias =
        std::span(node.weight(1)->values).subspan(static_cast<size_t>(a.first), static_cast<size_t>(a.rows));
  return {std::make_shared<IntegerMatrix>(matrix, a.first, a.rows, bias, pool)};
}

IntegerNorm norm_of(const Node& node) {
  const auto& a = node.attribute<NormAttributes>();
  IntegerNorm n;
  n.center = a.center;
  n.width = a.width;
  const Dyadic eps = to_dyadic(a.eps, node.name);
  n.eps = widen(static_cast<uint64_t>(eps.mantissa), eps.exponent);
  const double most = std::sqrt(static_cast<double>(a.width));  // that a normalized value can be
  n.fraction = mantissa_bits - 1 - static_cast<int>(std::ceil(std::log2(most)));
  FixedVector gain = to_fixed(doubles(node.weight(0)->values), mantissa_bits, node.weight(0)->name);
  const auto largest = [](const std::vector<float>& x) {
    double found = 0;
    for (const float v : x) found = std::max(found, std::fabs(double{v}));
    return found;
  };
  const Weight* bias = node.weight(1);
  const double bound = most * largest(node.weight(0)->values) + (bias != nullptr ? largest(bias->values) : 0);
  // 29 bits, for what rounding adds.
  int bits = 0;
  std::frexp(bound, &bits);
  n.exponent = bits - (mantissa_bits - 1);
  n.gain_shift = std::clamp(n.exponent + n.fraction - gain.exponent, 0, 62);
  n.gain = std::move(gain.mantissas);
  if (bias != nullptr) n.bias = to_fixed_with(doubles(bias->values), n.exponent, bias->name);
  return n;
}

/// Tables shared as the float ones are.
class RopeTables {
 public:
  IntegerRope of(const Node& node) {
    const auto& a = node.attribute<RopeAttributes>();
    auto& made = known_[a.table.get()];
    if (made == nullptr) made = convert(*a.table, node.name);
    return {made, a.head_dim, a.interleaved};
  }

 private:
  static std::vector<uint64_t> turns(const std::vector<double>& frequency) {
    std::vector<uint64_t> t;
    for (const double f : frequency) {
      double whole;
      const double part = std::modf(f / (2 * std::numbers::pi), &whole);
      t.push_back(static_cast<uint64_t>(std::ldexp(part, 62)) << 2);
    }
    return t;
  }
  static std::shared_ptr<const IntegerRopeTable> convert(const RopeTable& table, const std::string& name) {
    auto made = std::make_shared<IntegerRopeTable>();
    made->turns = turns(table.frequency);
    made->long_turns = turns(table.long_frequency);
    made->long_from = table.long_from;
    const Dyadic magnitude = to_dyadic(table.magnitude, name);
    made->magnitude = magnitude.mantissa;
    made->magnitude_bits = magnitude.exponent + mantissa_bits;
    // A half is 2^29 with one bit less: a magnitude of 1 is kept whole.
    if (magnitude.mantissa == 1 << (mantissa_bits - 1)) {
      made->magnitude = 1 << mantissa_bits;
      --made->magnitude_bits;
    }
    if (made->magnitude_bits < 0 || made->magnitude_bits > 8)
      fail(ErrorKind::unsupported, "integer-only: {} scales its entries by {}", name, table.magnitude);
    return made;
  }

  std::map<const RopeTable*, std::shared_ptr<const IntegerRopeTable>> known_;
};

IntegerAttention attention_of(const Node& node) {
  const auto& a = node.attribute<AttentionAttributes>();
  IntegerAttention i;
  i.layer = a.layer;
  i.heads = a.heads;
  i.kv_heads = a.kv_heads;
  i.head_dim = a.head_dim;
  i.window = a.window;
  i.causal = a.causal;
  const double scale = double{a.scale} * std::numbers::log2e;
  i.scale = to_dyadic(scale, node.name);
  if (a.softcap == 0) return i;
  i.turn = to_dyadic(2 * scale / a.softcap, node.name);
  const double cap = a.softcap * std::numbers::log2e * 65536;
  if (!(cap > 0) || cap >= 1 << mantissa_bits)
    fail(ErrorKind::unsupported, "integer-only: {} caps its scores at {}", node.name, a.softcap);
  i.cap = static_cast<int32_t>(std::lround(cap));
  return i;
}

IntegerFunction function_of(ActivationKind kind) {
  switch (kind) {
    case ActivationKind::silu:
      return IntegerFunction::silu;
    case ActivationKind::gelu_tanh:
      return IntegerFunction::gelu_tanh;
    case ActivationKind::gelu_erf:
      return IntegerFunction::gelu_erf;
    case ActivationKind::relu:
      break;
  }
  return IntegerFunction::relu;
}

IntegerMoe moe_of(const Node& node, ThreadPool& pool) {
  const auto& a = node.attribute<MoeAttributes>();
  IntegerMoe moe{a.used, a.renormalize, function_of(a.activation), nullptr, {}, {}, {}};
  const Weight& router = *node.weight(0);
  if (Int8Matrix::possible(*router.matrix)) {
    moe.router =
        std::make_shared<IntegerMatrix>(*router.matrix, 0, a.experts, std::span<const float>{}, pool);
  } else {  // files keep it as floats
    std::vector<float> x(static_cast<size_t>(router.shape.elements()));
    router.matrix->decode_rows(0, a.experts, x.data(), router.matrix->cols());
    const Matrix rounded(encode_nearest(format_of("int8:channel"), router.shape, x), router.name);
    moe.router = std::make_shared<IntegerMatrix>(rounded, 0, a.experts, std::span<const float>{}, pool);
  }
  std::vector<std::shared_ptr<const IntegerMatrix>>* const sides[] = {&moe.gate, &moe.up, &moe.down};
  for (size_t i = 0; i < 3; ++i) {
    const Matrix& stack = *node.weight(i + 1)->matrix;
    const int64_t rows = stack.rows() / a.experts;
    for (int64_t e = 0; e < a.experts; ++e)
      sides[i]->push_back(
          std::make_shared<IntegerMatrix>(stack, e * rows, rows, std::span<const float>{}, pool));
  }
  return moe;
}

IntegerSoftcap softcap_of(const Node& node) {
  const double cap = node.attribute<SoftcapAttributes>().cap;
  return {to_dyadic(cap, node.name), to_dyadic(2 * std::numbers::log2e / cap, node.name)};
}

constexpr std::pair<const Op*, const Op*> forms[] = {{&embedding_op, &integer_embedding_op},
                                                     {&linear_op, &integer_linear_op},
                                                     {&norm_op, &integer_norm_op},
                                                     {&rope_op, &integer_rope_op},
                                                     {&attention_op, &integer_attention_op},
                                                     {&activation_op, &integer_activation_op},
                                                     {&moe_op, &integer_moe_op},
                                                     {&add_op, &integer_add_op},
                                                     {&softcap_op, &integer_softcap_op},
                                                     {&select_rows_op, &integer_select_rows_op}};

const Op* form_of(const Op* op) {
  const auto* found =
      std::find_if(std::begin(forms), std::end(forms), [&](const auto& f) { return f.first == op; });
  return found == std::end(forms) ? nullptr : found->second;
}

std::any attributes_of(const Node& node, RopeTables& ropes, ThreadPool& pool) {
  if (node.op == &embedding_op) return embedding_of(node, pool);
  if (node.op == &linear_op) return linear_of(node, pool);
  if (node.op == &norm_op) return norm_of(node);
  if (node.op == &rope_op) return ropes.of(node);
  if (node.op == &attention_op) return attention_of(node);
  if (node.op == &activation_op)
    return IntegerActivation{function_of(node.attribute<ActivationAttributes>().kind)};
  if (node.op == &moe_op) return moe_of(node, pool);
  if (node.op == &softcap_op) return softcap_of(node);
  return {};
}

void require_whole_codes(const Node& node, const Weight& weight, const WeightFormats& formats) {
  const FormatSpec format = formats(weight);
  if (Int8Matrix::possible(format, weight.shape)) return;
  throw Error(
      ErrorKind::unsupported,
      fmt::format("integer-only: {} reads {}, whose weights ({}) are not whole numbers times a scale",
                  node.name, weight.name, format.to_string()),
      "nibble quantize MODEL OUT --to int8:channel makes them that (or int2 ... int8 with groups, q8_0, "
      "q4_0), output and embedding included");
}

void require_form(const Node& node, const WeightFormats& formats, RopeTables& ropes) {
  if (form_of(node.op) == nullptr) {
    throw Error(ErrorKind::unsupported,
                fmt::format("integer-only: {} ({}) has no form in whole numbers", node.name, node.op->name),
                "--activations int8 rounds what can be rounded and keeps the rest in floats");
  }
  if (node.op == &linear_op) {
    require_whole_codes(node, *node.weight(0), formats);
    // One beside the matrix (NVFP4) goes with formats that are no whole numbers.
    if (node.weight(2) != nullptr)
      fail(ErrorKind::unsupported, "integer-only: {} has a scale of its own for {}", node.name,
           node.weight(0)->name);
  }
  if (node.op == &moe_op) {
    for (size_t i = 1; i < 4; ++i) require_whole_codes(node, *node.weight(i), formats);
  }
  if (node.op == &norm_op && node.attribute<NormAttributes>().width > 1 << 16)
    fail(ErrorKind::unsupported, "integer-only: {} is wider than 65536", node.name);
  if (node.op == &rope_op) ropes.of(node);
  if (node.op == &attention_op) attention_of(node);
}

}  // namespace

void require_integer_only(const Program& program, const WeightFormats& formats) {
  if (program.input >= 0 || program.nodes.empty() || program.nodes[0].op != &embedding_op)
    fail(ErrorKind::unsupported, "integer-only: a part of a model has floats at its border");
  RopeTables ropes;
  for (const Node& node : program.nodes) require_form(node, formats, ropes);
}

int64_t make_integer_only(Program& program, ThreadPool& pool) {
  require_integer_only(program, [](const Weight& w) { return w.matrix->tensor().format; });
  RopeTables ropes;
  int64_t matrices = 0;
  for (Node& node : program.nodes) {
    std::any attributes = attributes_of(node, ropes, pool);
    matrices += node.op->products;
    node.op = form_of(node.op);
    node.attributes = std::move(attributes);
    std::vector<Extent> extents;
    for (const int slot : node.in) extents.push_back(program.slots[static_cast<size_t>(slot)].extent);
    extents = node.op->shape(node, extents);
    for (size_t o = 0; o < node.out.size(); ++o)
      program.slots[static_cast<size_t>(node.out[o])].extent = extents[o];
  }
  program.integer_kv = true;

  Node border{&to_floats_op, "result", {program.result}, {}, {}, {}};
  const Extent last = program.slots[static_cast<size_t>(program.result)].extent;
  border.out.push_back(static_cast<int>(program.slots.size()));
  program.slots.push_back({to_floats_op.shape(border, {&last, 1}).front(), border.name});
  program.result = program.hidden = border.out.front();
  program.nodes.push_back(std::move(border));
  return matrices;
}

}  // namespace nibble
