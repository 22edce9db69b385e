#include "cli/report.h"

#include <CLI/CLI.hpp>

#include "base/error.h"
#include "cli/output_path.h"
#include "cli/scoring.h"
#include "cli/text_input.h"
#include "eval/page.h"
#include "eval/report.h"
#include "tokenizers/tokenizer.h"

namespace nibble::cli {
namespace {

constexpr size_t layer_windows = 4;

std::vector<std::vector<std::string>> account(const Ledger& ledger) {
  std::vector<std::vector<std::string>> rows{{"source", "became", "fate", "why", "bytes"}};
  for (const LedgerLine& l : ledger.lines) {
    rows.push_back({html_text(l.source), html_text(l.to), std::string(fate_name(l.fate)), html_text(l.reason),
                    std::to_string(l.bytes_out)});
  }
  return rows;
}

}  // namespace

void write_report(const Checkpoint& model, const Checkpoint& original, const ReportWords& words,
                  const Ledger* ledger, const Common& common) {
  ThreadPool pool(common.threads);
  Progress progress(common.progress_style());
  ReportData data;
  data.tensors = compare_tensors(model, original, pool, progress);
  if (!words.text.empty()) {
    Protocol protocol;
    const int64_t trained = original.hparams().context;
    protocol.context = words.context > 0 ? words.context
                       : trained > 0     ? std::min<int64_t>(512, trained)
                                         : 512;
    protocol.max_windows = words.windows;
    const std::string text = read_text(words.text);
    Scoring s = score({model}, &original, text, protocol, common);
    data.scores = std::move(s.results.front());
    data.text = words.text;
    data.protocol = protocol.to_string();
    data.first = protocol.context / 2;
    data.per_window = s.windows == 0 ? 0 : static_cast<int64_t>(s.scored / s.windows);
    const Tokenizer tokenizer = original.tokenizer();
    auto windows = cut_windows(tokenizer.encode(text, {.add_special = true}),
                               tokenizer.add_bos() ? std::optional(tokenizer.bos()) : std::nullopt, protocol);
    windows.resize(std::min(windows.size(), layer_windows));
    data.layers = layer_errors(model, original, windows, pool);
  }
  if (ledger != nullptr) data.account = account(*ledger);
  write_text(words.output, report_html(model, original, data));
  if (!common.quiet && !common.json) fmt::print(stderr, "{} holds the report\n", words.output);
}

namespace {

struct Options {
  std::string model, against;
  ReportWords words;
};

Run setup(CLI::App& app) {
  auto o = std::make_shared<Options>();
  app.add_option("model", o->model, "the quantized model")->required();
  app.add_option("--against", o->against, "the original")->required();
  app.add_option("--output,-o", o->words.output, "HTML file to write")->required();
  app.add_option("--text,-f", o->words.text, "text to measure the divergence on (decoders)");
  app.add_option("--ctx,-c", o->words.context,
                 "tokens of a chunk (default: 512, or what the model was trained on)");
  app.add_option("--chunks", o->words.windows, "stop after this many chunks")->capture_default_str();
  return [o](const Common& common) {
    write_report(open_checkpoint(o->model), open_checkpoint(o->against), o->words, nullptr, common);
  };
}

}  // namespace

extern const Verb report_verb;
const Verb report_verb{"report", "write what quantization did to a model as one HTML page",
                       "nibble report out.gguf --against ./my-llama -o out.html\n"
                       "nibble report out.gguf --against ./my-llama --text wiki.txt -o out.html",
                       setup};

}  // namespace nibble::cli
