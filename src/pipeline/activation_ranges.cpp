#include "pipeline/activation_ranges.h"

#include "model/activation_note.h"
#include "model/load.h"
#include "pipeline/scaling.h"

namespace nibble {
namespace {

/// What was seen of an input, as if it had been divided by scales.
InputStats divided(const InputStats& seen, std::span<const float> scale, const RangeRule& rule) {
  InputStats s = seen;
  if (scale.empty()) return s;
  if (rule.wants_histogram() || rule.kind == RangeRule::Kind::momentum) {
    throw Error(ErrorKind::usage,
                fmt::format("the range rule '{}' knows nothing of single channels, which a transform scales",
                            rule.to_string()),
                "minmax and std=K do");
  }
  for (size_t c = 0; c < scale.size(); ++c) {
    s.min[c] /= scale[c];
    s.max[c] /= scale[c];
    s.sum[c] /= double{scale[c]};
    s.sum2[c] /= double{scale[c]} * double{scale[c]};
  }
  return s;
}

void find_ranges(QuantizationPlan& plan, const ActivationScheme& scheme, InputRanges& ranges,
                 ThreadPool& pool) {
  const RangeRule rule = RangeRule::parse(plan.recipe.range);
  if (plan.stats == nullptr || !plan.stats->rereads()) {
    throw Error(ErrorKind::unsupported, "static ranges of activations need statistics in a folder",
                "nibble calibrate MODEL TEXT -o FOLDER, then --stats FOLDER");
  }
  const Checkpoint& model = plan.file.checkpoint();
  PartScaling scaling(plan);
  for (int64_t part = 0; part < model.hparams().layers; ++part) {
    scaling.begin(part, pool);
    plan.stats->enter(part, [] {});
    scaling.search(pool);
    for (const CanonicalTensor& t : model.tensors()) {
      if (t.layer != part || t.shape.rank() != 2) continue;
      const InputStats* seen = plan.stats->seen(t);
      if (seen == nullptr) continue;
      InputStats own = divided(*seen, scaling.columns(t), rule);
      own.readers = {t.name};
      add_ranges(ranges, own, rule, scheme);
    }
  }
}

}  // namespace

void add_ranges(InputRanges& ranges, const InputStats& seen, const RangeRule& rule,
                const ActivationScheme& scheme) {
  constexpr std::string_view suffix = ".weight";
  if (seen.rows == 0) return;
  const InputRange range = find_range(rule, seen, scheme.bits, scheme.asymmetric);
  for (std::string name : seen.readers) {
    if (name.ends_with(suffix)) name.resize(name.size() - suffix.size());
    ranges[name] = range;
  }
}

void check_activations(const ExportPlan& file, const Recipe& recipe) {
  if (!recipe.activations) return;
  std::map<std::string, FormatSpec, std::less<>> formats;
  for (const ExportTensor& t : file.tensors) {
    if (t.source == nullptr) continue;
    const auto [at, added] = formats.emplace(t.source->name, t.format->spec());
    // A stack of experts in several formats is read as floats.
    if (!added && at->second != t.format->spec()) at->second = format_of("f32").spec();
  }
  const Checkpoint& model = file.checkpoint();
  const ActivationPlan plan{*recipe.activations, recipe.activations_keep, {}};
  check_activations(outline_program(model), plan, [&](const Weight& w) {
    const auto found = formats.find(w.name);
    return found != formats.end() ? found->second : model.at(w.name).format;
  });
}

void note_activations(QuantizationPlan& plan, ThreadPool& pool) {
  const std::vector<std::string> turned = turned_inputs(plan.file.checkpoint());
  if (!plan.recipe.activations && turned.empty()) return;
  ActivationPlan note{
      plan.recipe.activations.value_or(ActivationScheme::parse("float")), plan.recipe.activations_keep, {}};
  if (plan.recipe.static_ranges()) find_ranges(plan, note.scheme, note.ranges, pool);
  record(plan.file, std::string(activation_note_key), activation_note(note, turned));
}

}  // namespace nibble
