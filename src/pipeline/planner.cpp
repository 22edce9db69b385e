#include "pipeline/planner.h"

#include <map>
#include <set>

#include "methods/transforms/channel_transform.h"
#include "model/activation_note.h"
#include "model/weight_change.h"
#include "pipeline/activation_ranges.h"
#include "pipeline/mix.h"

namespace nibble {
namespace {

struct Decision {
  Fate fate = Fate::kept;
  std::string asked, reason;
};

/// llama.cpp's fall-back chain for rows that no block of 256 (then 32) divides.
constexpr std::pair<std::string_view, std::string_view> ladder[] = {
    {"q2_k", "q4_0"}, {"q3_k", "q4_0"},  {"q4_k", "q5_0"},  {"q5_k", "q5_1"},    {"q6_k", "q8_0"},
    {"q8_k", "q8_0"}, {"tq1_0", "q4_0"}, {"tq2_0", "q4_0"}, {"iq4_xs", "iq4_nl"}};

const Format& substitute(const Format& wanted, const Shape& shape) {
  for (const auto& [from, to] : ladder) {
    if (wanted.info().name == from && format_of(to).misfit(shape).empty()) return format_of(to);
  }
  const FormatSpec spec = wanted.spec();
  for (const std::string& option : spec.options) {
    if (option.size() > 1 && option[0] == 'g') {  // groups that do not divide the row: one scale per row
      FormatSpec whole = spec;
      for (std::string& o : whole.options) {
        if (o == option) o = "channel";
      }
      if (format_of(whole).misfit(shape).empty()) return format_of(whole);
    }
  }
  return format_of("f16");
}

class Chooser {
 public:
  Chooser(const Checkpoint& source, Target target, const Recipe& recipe)
      : source_(source), target_(target), recipe_(recipe), matched_(recipe.overrides.size(), false) {
    mix_ = recipe.pure ? nullptr : mix_of(recipe.type);
    if (mix_ == nullptr) {
      const Mix* named = mix_of(recipe.type);
      base_ = &format_of(named != nullptr ? std::string(named->base) : recipe.type);
      require_writable(*base_);
    }
    std::map<Role, int64_t> counts;
    for (const CanonicalTensor& t : source.tensors()) index_[t.name] = counts[t.role]++;
    count_ = std::move(counts);
  }

  const Format& choose(const CanonicalTensor& t, const std::string& name, const Shape& shape) {
    Decision d;
    const Format* format = nullptr;
    bool by_pattern = false;
    for (size_t i = 0; i < recipe_.overrides.size(); ++i) {
      const auto& o = recipe_.overrides[i];
      if (!name_matches(o.pattern, name) && !name_matches(o.pattern, t.name) &&
          !name_matches(o.pattern, t.hf)) {
        continue;
      }
      matched_[i] = true;
      by_pattern = true;
      format = o.format == "keep" ? nullptr : &format_of(o.format);
      d.reason = fmt::format("matches '{}'", o.pattern);
    }
    if (!by_pattern) {
      format = mix_ != nullptr ? &format_of(mix_format(*mix_, query(t), source_.hparams())) : base_;
    }
    const Format& kept = keep_format(t);
    if (format == nullptr || format->spec() == t.format) {
      if (format != nullptr && d.reason.empty()) d.reason = "already " + t.format.to_string();
      decisions_[name] = d;
      return kept;
    }
    require_writable(*format);
    if (!is_plain_float(t.format) && !recipe_.allow_requantize) requantized_.push_back(name);
    d.fate = is_plain_float(format->spec()) ? Fate::kept : Fate::quantized;
    if (const std::string why = format->misfit(shape); !why.empty()) {
      if (!recipe_.allow_substitution) {
        misfits_.push_back(fmt::format("{} {}: {}", name, shape.to_string(), why));
        misfit_shape_ = shape;
        return kept;
      }
      d.fate = Fate::substituted;
      d.asked = format->spec().to_string();
      d.reason = why;
      format = &substitute(*format, shape);
      require_writable(*format);
    }
    decisions_[name] = d;
    return *format;
  }

  /// Throws what choose() had to postpone so that one message names every tensor.
  void finish() const {
    if (!requantized_.empty()) {
      throw Error(
          ErrorKind::usage,
          fmt::format(
              "the source is already quantized ({} tensors, first {}); rounding twice loses more than once",
              requantized_.size(), requantized_.front()),
          "start from the original model, or accept the loss with --allow-requantize");
    }
    if (!misfits_.empty()) {
      std::string list;
      for (size_t i = 0; i < misfits_.size() && i < 8; ++i) list += "\n  " + misfits_[i];
      if (misfits_.size() > 8) list += fmt::format("\n  and {} more", misfits_.size() - 8);
      throw Error(
          ErrorKind::unsupported,
          fmt::format("{} tensors do not fit the format asked for:{}", misfits_.size(), list),
          fmt::format(
              "name another format for them (--tensor 'PATTERN={}'), keep them (--keep 'PATTERN'), or let "
              "nibble choose with --allow-substitution, which the ledger will tell",
              fitting_words()));
    }
  }
  void require_all_matched(const std::vector<ExportTensor>& tensors) const {
    for (size_t i = 0; i < matched_.size(); ++i) {
      bool any = matched_[i];
      for (const ExportTensor& t : tensors) any = any || matches(recipe_.overrides[i].pattern, t);
      if (!any) {
        throw Error(
            ErrorKind::usage, fmt::format("no tensor matches '{}'", recipe_.overrides[i].pattern),
            "nibble inspect lists the names; patterns cover whole names: '*norm*', 'lm_head', 'blk.0.*'");
      }
    }
  }

  const Decision* decision(const std::string& name) const {
    const auto it = decisions_.find(name);
    return it == decisions_.end() ? nullptr : &it->second;
  }
  int file_type() const {
    if (mix_ != nullptr) return mix_->file_type;
    for (const Mix& mix : mixes()) {
      if (mix.base == base_->info().name) return mix.file_type;
    }
    return 1024;  // llama.cpp's "guessed": it then goes by the tensors
  }

 private:
  static bool matches(const std::string& pattern, const ExportTensor& t) {
    return name_matches(pattern, t.name) || (t.source != nullptr && (name_matches(pattern, t.source->name) ||
                                                                     name_matches(pattern, t.source->hf)));
  }

  MixQuery query(const CanonicalTensor& t) const {
    return {t.role, index_.at(t.name), count_.at(t.role), t.experts > 0};
  }

  /// What an untouched tensor is stored as.
  const Format& keep_format(const CanonicalTensor& t) const {
    const Format& stored = format_of(t.format);
    if (target_ == Target::gguf && stored.info().gguf_id < 0) return format_of("f16");
    return stored;
  }

  void require_writable(const Format& f) const {
    if (!f.info().can_encode) {
      throw Error(ErrorKind::unsupported,
                  fmt::format("nibble reads {} but does not write it", f.spec().to_string()),
                  "nibble formats tells which formats can be written");
    }
    if (target_ == Target::gguf && f.info().gguf_id < 0) {
      throw Error(ErrorKind::usage, fmt::format("GGUF cannot hold {}", f.spec().to_string()),
                  "write a Hugging Face folder instead (an output path that does not end in .gguf), or "
                  "choose a GGUF type "
                  "such as q4_k_m");
    }
  }

  std::string fitting_words() const {
    std::string words;
    for (const char* word : {"q8_0", "q5_0", "q4_0", "iq4_nl", "int8:channel", "int4:channel", "f16"}) {
      const Format& f = format_of(word);
      if (target_ == Target::gguf && f.info().gguf_id < 0) continue;
      if (f.misfit(misfit_shape_).empty()) words += (words.empty() ? "" : " or ") + std::string(word);
    }
    return words;
  }

  const Checkpoint& source_;
  Target target_;
  const Recipe& recipe_;
  const Mix* mix_ = nullptr;
  const Format* base_ = nullptr;
  std::map<std::string, int64_t> index_;
  std::map<Role, int64_t> count_;
  std::map<std::string, Decision> decisions_;
  std::vector<bool> matched_;
  std::vector<std::string> misfits_, requantized_;
  Shape misfit_shape_;
};

/// `change` (may be null) is what is done to the source as it is read.
LedgerLine line_of(const ExportTensor& t, const Decision* d, const WeightChange* change) {
  LedgerLine l;
  l.target = t.name;
  l.shape = t.shape;
  l.to = t.format->spec().to_string();
  l.bytes_out = format_bytes(*t.format, t.shape);
  if (t.source == nullptr) {
    l.source = "(computed)";
    l.from = "f32";
    l.reason = "made from the hyper-parameters";
    return l;
  }
  const CanonicalTensor& s = *t.source;
  l.source = s.stored.empty()
                 ? s.name
                 : s.stored[t.expert > 0 ? static_cast<size_t>(t.expert) % s.stored.size() : 0]->name;
  if (s.stored.size() > 1 && t.expert < 0)
    l.source += fmt::format(" and {} more experts", s.stored.size() - 1);
  l.from = s.format.to_string();
  l.bytes_in = s.source_bytes / (t.expert >= 0 && s.experts > 0 ? static_cast<size_t>(s.experts) : 1);
  if (d != nullptr) {
    l.fate = d->fate;
    l.asked = d->asked;
    l.reason = d->reason;
  } else {
    l.reason = t.shape.rank() < 2 ? "a vector" : "its readers expect " + l.to;
  }
  const std::string changed = change == nullptr ? std::string() : change->note(s);
  if (!changed.empty()) l.reason += (l.reason.empty() ? "" : "; ") + changed;
  return l;
}

void add_dropped(const ExportPlan& file, Ledger& ledger) {
  for (const UnclaimedTensor& t : file.dropped) {
    LedgerLine l;
    l.source = t.name;
    l.fate = Fate::dropped;
    l.reason = t.reason;
    l.bytes_in = t.bytes;
    ledger.lines.push_back(std::move(l));
  }
}

/// general.file_type of a conversion: what most matrices are.
int converted_file_type(const Checkpoint& source, const Format* type) {
  if (type != nullptr) return file_type_of(*type);
  for (const CanonicalTensor& t : source.tensors()) {
    if (t.role == Role::attn_output) return file_type_of(float_choice(nullptr)(t, t.name, t.shape));
  }
  return 0;
}

/// Throws Error{unsupported} if the recipe needs what the statistics do not give.
void require_statistics(const Recipe& recipe, const Needs& given) {
  const auto require = [](const std::string& who, const Needs& needs, const Needs& from) {
    const char* what = needs.hessian && !from.hessian         ? "the Hessian"
                       : needs.importance && !from.importance ? "the importance"
                       : needs.maxima && !from.maxima         ? "the largest magnitudes"
                       : needs.histogram && !from.histogram   ? "the distribution"
                                                              : nullptr;
    if (what == nullptr) return;
    throw Error(ErrorKind::unsupported, fmt::format("{} needs {} of the model's inputs", who, what),
                "collect it with --calibrate TEXT; solvers without data: nearest, hqq");
  };
  require(fmt::format("solver '{}'", recipe.solver), solver_of(recipe.solver).needs(), given);
  for (const std::string& word : recipe.with) {
    if (const ChannelTransform* t = find_channel_transform(word))
      require(fmt::format("transform '{}'", word), t->needs(), given);
  }
  require(fmt::format("range rule '{}'", recipe.range), recipe.needs(), given);
}

}  // namespace

void record(ExportPlan& file, const std::string& key, const std::string& text) {
  file.metadata[key] = text;
  std::erase_if(file.kv, [&](const GgufKv& kv) { return kv.key == key; });
  if (file.target == Target::gguf) file.kv.push_back(GgufKv::text(key, text));
}

QuantizationPlan plan_quantization(const Checkpoint& source, Target target, const Recipe& asked,
                                   std::shared_ptr<StatsSource> stats) {
  Recipe recipe = asked;
  const std::optional<RotationWord> rotation = recipe.rotation();
  if ((source.change() == nullptr ? "" : source.change()->identity()) !=
      (rotation ? rotation->to_string() : ""))
    fail(ErrorKind::internal, "the source is not the one that the recipe asks for (recipe_source)");
  const Solver& solver = solver_of(recipe.solver);
  require_statistics(recipe, stats ? stats->gives() : Needs{});
  if (stats) recipe.statistics = stats->identity();
  Chooser chooser(source, target, recipe);
  const FormatChoice choice = [&](const CanonicalTensor& t, const std::string& name,
                                  const Shape& shape) -> const Format& {
    return chooser.choose(t, name, shape);
  };
  ExportPlan file = plan_export(source, target, choice, chooser.file_type());
  chooser.finish();
  chooser.require_all_matched(file.tensors);
  check_activations(file, recipe);
  Ledger ledger;
  for (const ExportTensor& t : file.tensors)
    ledger.lines.push_back(line_of(t, t.fixed ? nullptr : chooser.decision(t.name), source.change()));
  add_dropped(file, ledger);
  record(file, "nibble.version", NIBBLE_VERSION);
  record(file, "nibble.recipe", recipe.to_string());
  return {std::move(file), std::move(ledger), &solver, std::move(recipe), std::move(stats)};
}

QuantizationPlan plan_conversion(const Checkpoint& source, Target target, const Format* type) {
  ExportPlan file = plan_export(source, target, float_choice(type), converted_file_type(source, type), type);
  // What the weights want done to their inputs goes with them.
  if (const std::vector<std::string> turned = turned_inputs(source); !turned.empty()) {
    const ActivationPlan floats{ActivationScheme::parse("float"), {}, {}};
    record(file, std::string(activation_note_key),
           activation_note(activation_plan(source).value_or(floats), turned));
  }
  Recipe recipe;
  recipe.type = type == nullptr ? "float" : type->spec().to_string();
  Ledger ledger;
  for (const ExportTensor& t : file.tensors) {
    Decision d;
    if (t.source != nullptr) {
      const bool same = t.source->format == t.format->spec();
      d.reason = same ? "as it is" : is_plain_float(t.source->format) ? "converted" : "dequantized";
    }
    ledger.lines.push_back(line_of(t, t.fixed && target == Target::gguf ? nullptr : &d, source.change()));
  }
  add_dropped(file, ledger);
  return {std::move(file), std::move(ledger), &solver_of(recipe.solver), recipe, nullptr};
}

}  // namespace nibble
