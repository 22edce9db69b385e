#include "pipeline/mix.h"

#include <algorithm>
#include <cctype>

namespace nibble {
namespace {

constexpr Mix table[] = {
    {"f32", "f32", 0, "f32", "f32"},
    {"f16", "f16", 1, "f16", "f16"},
    {"bf16", "bf16", 32, "bf16", "bf16"},
    {"q4_0", "q4_0", 2, "q6_k", "q4_0"},
    {"q4_1", "q4_1", 3, "q6_k", "q4_1"},
    {"q5_0", "q5_0", 8, "q6_k", "q5_0"},
    {"q5_1", "q5_1", 9, "q6_k", "q5_1"},
    {"q8_0", "q8_0", 7, "q8_0", "q8_0"},
    {"q2_k", "q2_k", 10, "q6_k", "q2_k"},
    {"q2_k_s", "q2_k", 21, "q6_k", "q2_k"},
    {"q3_k_s", "q3_k", 11, "q6_k", "q3_k"},
    {"q3_k_m", "q3_k", 12, "q6_k", "q3_k"},
    {"q3_k_l", "q3_k", 13, "q6_k", "q3_k"},
    {"q4_k_s", "q4_k", 14, "q6_k", "q4_k"},
    {"q4_k_m", "q4_k", 15, "q6_k", "q4_k"},
    {"q5_k_s", "q5_k", 16, "q6_k", "q5_k"},
    {"q5_k_m", "q5_k", 17, "q6_k", "q5_k"},
    {"q6_k", "q6_k", 18, "q6_k", "q6_k"},
    {"iq4_nl", "iq4_nl", 25, "q6_k", "iq4_nl"},
    {"iq4_xs", "iq4_xs", 30, "q6_k", "iq4_xs"},
    {"tq1_0", "tq1_0", 36, "q6_k", "q4_k"},
    {"tq2_0", "tq2_0", 37, "q6_k", "q4_k"},
    {"mxfp4_moe", "q8_0", 38, "q8_0", "q8_0"},
};

/// Names that llama.cpp takes for another one.
constexpr std::pair<std::string_view, std::string_view> aliases[] = {
    {"q3_k", "q3_k_m"}, {"q4_k", "q4_k_m"}, {"q5_k", "q5_k_m"}};

enum class Group : uint8_t { v, k, down, attn_out, expert };
enum class When : uint8_t {
  always,
  first_two,
  first_four,
  first_sixteenth,  // of the layers
  first_eighth,
  more,      // the first and last eighth of the layers and every third between
  gqa4,      // at least four query heads for each key head
  experts8,  // exactly eight experts
};

struct Rule {
  std::string_view mix;
  Group group;
  When when;
  std::string_view format;
};

// The first rule that holds decides. A mix "*" with experts8 stands for every mix with quantized attention.
constexpr Rule rules[] = {
    {"mxfp4_moe", Group::expert, When::always, "mxfp4"},
    {"*", Group::v, When::experts8, "q8_0"},
    {"*", Group::k, When::experts8, "q8_0"},
    {"q2_k", Group::attn_out, When::experts8, "q5_k"},
    {"q2_k_s", Group::attn_out, When::experts8, "q5_k"},
    {"q3_k_s", Group::attn_out, When::experts8, "q5_k"},
    {"q3_k_m", Group::attn_out, When::experts8, "q5_k"},
    {"q4_k_s", Group::attn_out, When::experts8, "q5_k"},
    {"q4_k_m", Group::attn_out, When::experts8, "q5_k"},
    {"iq4_nl", Group::attn_out, When::experts8, "q5_k"},
    {"iq4_xs", Group::attn_out, When::experts8, "q5_k"},

    {"q2_k", Group::v, When::gqa4, "q4_k"},
    {"q2_k", Group::v, When::always, "q3_k"},
    {"q2_k", Group::down, When::always, "q3_k"},
    {"q2_k", Group::attn_out, When::always, "q3_k"},
    {"q2_k_s", Group::v, When::gqa4, "q4_k"},
    {"q2_k_s", Group::down, When::first_eighth, "q4_k"},
    {"q3_k_m", Group::v, When::first_two, "q5_k"},
    {"q3_k_m", Group::v, When::always, "q4_k"},
    {"q3_k_m", Group::down, When::first_sixteenth, "q5_k"},
    {"q3_k_m", Group::down, When::always, "q4_k"},
    {"q3_k_m", Group::attn_out, When::always, "q4_k"},
    {"q3_k_l", Group::v, When::always, "q5_k"},
    {"q3_k_l", Group::down, When::always, "q5_k"},
    {"q3_k_l", Group::attn_out, When::always, "q5_k"},
    {"q4_k_s", Group::v, When::first_four, "q5_k"},
    {"q4_k_s", Group::down, When::first_eighth, "q5_k"},
    {"q4_k_m", Group::v, When::more, "q6_k"},
    {"q4_k_m", Group::down, When::more, "q6_k"},
    {"q5_k_m", Group::v, When::more, "q6_k"},
    {"q5_k_m", Group::down, When::more, "q6_k"},
    {"iq4_nl", Group::v, When::gqa4, "q5_k"},
    {"iq4_nl", Group::down, When::first_eighth, "q5_k"},
    {"iq4_xs", Group::v, When::gqa4, "q5_k"},
    {"iq4_xs", Group::down, When::first_eighth, "q5_k"},
};

bool holds(When when, const MixQuery& q, const Hparams& h) {
  const int64_t i = q.index, n = q.count;
  switch (when) {
    case When::always:
      return true;
    case When::first_two:
      return i < 2;
    case When::first_four:
      return i < 4;
    case When::first_sixteenth:
      return i < n / 16;
    case When::first_eighth:
      return i < n / 8;
    case When::more:
      return i < n / 8 || i >= 7 * n / 8 || (i - n / 8) % 3 == 2;
    case When::gqa4:
      return h.kv_heads > 0 && h.heads / h.kv_heads >= 4;
    case When::experts8:
      return h.experts == 8;
  }
  return false;
}

bool in_group(Group group, const MixQuery& q) {
  switch (group) {
    case Group::v:
      return q.role == Role::attn_v || q.role == Role::attn_qkv;
    case Group::k:
      return q.role == Role::attn_k;
    case Group::down:
      return q.role == Role::ffn_down || q.role == Role::expert_down;
    case Group::attn_out:
      return q.role == Role::attn_output;
    case Group::expert:
      return q.expert;
  }
  return false;
}

bool is_float_mix(const Mix& mix) { return mix.base == "f32" || mix.base == "f16" || mix.base == "bf16"; }

}  // namespace

std::span<const Mix> mixes() { return table; }

const Mix* mix_of(std::string_view name) {
  std::string low(name);
  std::transform(low.begin(), low.end(), low.begin(), [](unsigned char c) { return std::tolower(c); });
  for (const auto& [alias, meant] : aliases) {
    if (low == alias) low = meant;
  }
  for (const Mix& mix : table) {
    if (mix.name == low) return &mix;
  }
  return nullptr;
}

std::string_view mix_format(const Mix& mix, const MixQuery& query, const Hparams& hparams) {
  if (query.role == Role::output) return mix.output;
  if (query.role == Role::token_embedding) return hparams.tied ? mix.output : mix.embedding;
  if (is_float_mix(mix)) return mix.base;
  for (const Rule& rule : rules) {
    if ((rule.mix == mix.name || rule.mix == "*") && in_group(rule.group, query) &&
        holds(rule.when, query, hparams)) {
      return rule.format;
    }
  }
  return mix.base;
}

}  // namespace nibble
