#include "arch/residual.h"

#include <map>

#include "base/error.h"

namespace nibble {
namespace {

/// What a register holds: the stream, the stream behind a norm, or what matrices made to be added to it.
struct Held {
  enum class Kind : uint8_t { nothing, stream, normed, written } kind = Kind::nothing;
  std::string_view gain{};
};

class Follower {
 public:
  explicit Follower(const Arch& arch) : arch_(arch) { held_[Reg::x] = {Held::Kind::stream}; }

  void follow(const Step& step) {
    switch (step.kind) {
      case Step::Kind::norm:
        if (held_[step.norm.from].kind != Held::Kind::stream) {
          refuse(fmt::format("{} is a norm of what matrices made, and its gain belongs to single channels",
                             step.norm.weight));
        }
        held_[step.norm.to] = {Held::Kind::normed, step.norm.weight};
        return;
      case Step::Kind::attention:
        pass(step.attention.from, step.attention.to,
             {Role::attn_q, Role::attn_k, Role::attn_v, Role::attn_qkv}, {Role::attn_output});
        return;
      case Step::Kind::mlp:
        pass(step.mlp.from, step.mlp.to, dense, {Role::ffn_down});
        return;
      case Step::Kind::moe: {
        std::vector<Role> readers = dense;
        readers.insert(readers.end(), {Role::router, Role::expert_gate, Role::expert_up});
        pass(step.moe.from, step.moe.to, readers, {Role::ffn_down, Role::expert_down});
        return;
      }
      case Step::Kind::add:
        if (held_[step.add.to].kind != Held::Kind::stream || held_[step.add.from].kind != Held::Kind::written)
          refuse("it adds what no matrix wrote, or to what is no stream");
        return;
    }
  }

  ResidualStream finish() {
    if (held_[Reg::x].kind != Held::Kind::stream) refuse("a norm stands in the stream itself");
    return std::move(found_);
  }

 private:
  inline static const std::vector<Role> dense{Role::ffn_gate, Role::ffn_up, Role::ffn_gate_up};

  [[noreturn]] void refuse(const std::string& why) const {
    throw Error(ErrorKind::unsupported,
                fmt::format("the residual stream of architecture {} cannot be rotated: {}", arch_.name, why),
                "leave the rotation out; --with smoothquant evens out activations too");
  }

  void pass(Reg from, Reg to, const std::vector<Role>& readers, const std::vector<Role>& writers) {
    const Held in = held_[from];
    if (in.kind != Held::Kind::stream && in.kind != Held::Kind::normed)
      refuse("matrices read what other matrices wrote");
    for (const Role role : readers) found_.readers.push_back({role, in.gain});
    found_.writers.insert(found_.writers.end(), writers.begin(), writers.end());
    held_[to] = {Held::Kind::written};
  }

  const Arch& arch_;
  std::map<Reg, Held> held_;
  ResidualStream found_;
};

}  // namespace

ResidualStream residual_stream(const Arch& arch, const Hparams& h) {
  if (arch.norm != NormKind::rms) {
    throw Error(
        ErrorKind::unsupported,
        fmt::format("the residual stream of architecture {} cannot be rotated: its norms take the mean "
                    "over channels, which a rotation changes",
                    arch.name),
        "leave the rotation out; --with smoothquant evens out activations too");
  }
  Follower follower(arch);
  const bool parallel = h.parallel_residual && !arch.layer_parallel.empty();
  for (const Step& step : parallel ? arch.layer_parallel : arch.layer) follower.follow(step);
  return follower.finish();
}

}  // namespace nibble
