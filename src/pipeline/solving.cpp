#include "pipeline/solving.h"

#include "pipeline/embedding_stats.h"

namespace nibble {
namespace {

/// A Hessian in units of its mean diagonal.
void add_in_units(std::vector<float>& to, std::span<const float> h, int64_t n) {
  double trace = 0;
  for (int64_t i = 0; i < n; ++i) trace += h[static_cast<size_t>(i * (n + 1))];
  const auto scale = static_cast<float>(trace > 0 ? static_cast<double>(n) / trace : 0);
  for (size_t i = 0; i < to.size(); ++i) to[i] += h[i] * scale;
}

std::string explain(const PrepareReport& r) {
  std::string text;
  if (r.raised > 0)
    text += fmt::format("damping raised {} times to {:g} of the mean diagonal", r.raised, r.damping);
  if (r.dead_columns > 0)
    text += fmt::format("{}{} inputs are always zero", text.empty() ? "" : "; ", r.dead_columns);
  return text;
}

}  // namespace

bool Solving::wants_stats(const ExportTensor& t) const {
  return plan_.stats != nullptr && t.source != nullptr && !t.fixed && t.shape.rank() >= 2 &&
         !is_plain_float(t.format->spec());
}

void Solving::begin(int64_t part) {
  part_ = part;
  prepared_.clear();
  scaled_.clear();
  scaling_.begin(part, pool_);
}

void Solving::enter(const std::function<void()>& step) {
  plan_.stats->enter(part_, step);
  scaling_.search(pool_);
}

std::map<std::string, std::string> Solving::notes() const {
  std::map<std::string, std::string> all = scaling_.notes();
  for (const auto& [tensor, note] : notes_) {
    std::string& n = all[tensor];
    n += (n.empty() ? "" : "; ") + note;
  }
  return all;
}

/// An input divided by the scales that the matrices' columns were multiplied by.
void Solving::scale(KnownInput& k, std::span<const float> columns) {
  auto [it, made] = scaled_.try_emplace(k.input);
  auto& [importance, hessian] = it->second;
  if (made) {
    const size_t n = columns.size();
    std::vector<float> inverse(n);
    for (size_t i = 0; i < n; ++i) inverse[i] = 1 / columns[i];
    importance.assign(k.stats.importance.begin(), k.stats.importance.end());
    hessian.assign(k.stats.hessian.begin(), k.stats.hessian.end());
    for (size_t i = 0; i < importance.size(); ++i) importance[i] *= inverse[i] * inverse[i];
    for (size_t i = 0; i < hessian.size(); ++i) hessian[i] *= inverse[i / n] * inverse[i % n];
  }
  k.stats = {importance, hessian, {}};
}

/// A row that is looked up meets what reads it; one that is multiplied as well, the output's input too.
KnownInput Solving::input_of(const ExportTensor& t, int64_t expert) {
  std::optional<KnownInput> found = plan_.stats->find(*t.source, expert);
  const bool looked_up = t.source->role == Role::token_embedding;
  const Needs needs = plan_.solver->needs();
  if (!looked_up || !needs.hessian) {
    if (!found) return {};
    if (const auto columns = scaling_.columns(*t.source); !columns.empty()) scale(*found, columns);
    return *found;
  }
  if (looked_up_.empty()) looked_up_ = embedding_hessian(plan_.file.checkpoint(), pool_);
  if (looked_up_.empty()) return found ? *found : KnownInput{};
  if (!found) return {&looked_up_, {.hessian = looked_up_}, 0, {}};
  tied_.assign(looked_up_.size(), 0.0f);
  add_in_units(tied_, looked_up_, t.shape.cols());
  add_in_units(tied_, found->stats.hessian, t.shape.cols());
  return {&tied_, {.hessian = tied_}, found->tokens, {}};
}

Solving::How Solving::of(const ExportTensor& t, int64_t expert) {
  if (!wants_stats(t)) {
    // Nothing to solve: floats, vectors, and everything where there is no data.
    return {is_plain_float(t.format->spec()) || t.fixed ? &solver_of("nearest") : plan_.solver, {}, nullptr};
  }
  try {
    const KnownInput k = input_of(t, expert);
    const Needs needs = plan_.solver->needs();
    if (needs.hessian && k.stats.hessian.empty()) {
      throw Error(ErrorKind::bad_input, "nothing was seen of its inputs",
                  "calibrate on a text that reaches it, or keep it with --keep");
    }
    How how{plan_.solver, k.stats, nullptr};
    std::string note = k.note;
    if (k.input != nullptr) {
      auto [it, made] = prepared_.try_emplace(k.input);
      SolverOptions options = plan_.recipe.options;
      options.precision = plan_.stats->precision();
      if (made) it->second = plan_.solver->prepare(k.stats, options, pool_);
      how.prepared = it->second.get();
      if (how.prepared != nullptr) {
        const std::string more = explain(how.prepared->report());
        if (!note.empty() && !more.empty()) note += "; ";
        note += more;
      }
    }
    if (!note.empty())
      notes_[expert > 0 || t.source->experts > 0 ? fmt::format("{} expert {}", t.name, expert) : t.name] =
          note;
    return how;
  } catch (const Error& e) {
    throw Error(e.kind(), fmt::format("{}: {}", t.name, e.what()), e.hint());
  }
}

uint64_t solving_memory(const QuantizationPlan& plan) {
  if (!plan.solver->needs().hessian) return 0;
  uint64_t most = 0, all = 0;
  int64_t part = -2;
  // Of every input of a part the damped Hessian and its factor, and once the factorization in double.
  for (const CanonicalTensor& t : plan.file.checkpoint().tensors()) {
    if (t.shape.rank() < 2) continue;
    const int64_t p = part_of(t, plan.file.checkpoint().hparams());
    const uint64_t square = static_cast<uint64_t>(t.shape.cols()) * static_cast<uint64_t>(t.shape.cols());
    if (p != part) all = 0;
    part = p;
    all += square * 8 * (t.experts > 0 ? static_cast<uint64_t>(t.experts) : 1);
    most = std::max(most, all + square * 8);
  }
  return most;
}

}  // namespace nibble
