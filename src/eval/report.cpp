#include "eval/report.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "eval/module_sizes.h"
#include "eval/page.h"
#include "model/executor.h"
#include "model/load.h"

namespace nibble {
namespace {

constexpr size_t bins = 96, map_side = 64;

std::string size(uint64_t bytes) { return human_bytes(static_cast<double>(bytes)); }

struct Share {
  uint64_t tensors = 0, weights = 0, bytes = 0;
};

void tell_sizes(Page& page, const Checkpoint& model, const Checkpoint& original) {
  std::map<std::string, Share> formats;
  Share all, before;
  std::vector<NamedSize> names;
  for (const CanonicalTensor& t : model.tensors()) {
    const auto n = static_cast<uint64_t>(t.shape.elements());
    for (Share* s : {&formats[t.format.to_string()], &all}) {
      ++s->tensors;
      s->weights += n;
      s->bytes += t.source_bytes;
    }
    names.push_back({t.hf.empty() ? t.name : t.hf, n, t.source_bytes});
  }
  for (const CanonicalTensor& t : original.tensors()) before.bytes += t.source_bytes;
  const auto bits = [](const Share& s) {
    return fmt::format(
        "{:.3f}", 8.0 * static_cast<double>(s.bytes) / static_cast<double>(std::max<uint64_t>(1, s.weights)));
  };
  page.heading("Size");
  page.paragraph(
      fmt::format("{} weights; {} before, {} after: {} bits per weight, {:.2f} times smaller.", all.weights,
                  size(before.bytes), size(all.bytes), bits(all),
                  static_cast<double>(before.bytes) / static_cast<double>(std::max<uint64_t>(1, all.bytes))));
  std::vector<std::vector<std::string>> rows{{"format", "tensors", "weights", "bytes", "bits per weight"}};
  for (const auto& [name, s] : formats)
    rows.push_back(
        {html_text(name), std::to_string(s.tensors), std::to_string(s.weights), size(s.bytes), bits(s)});
  page.table(rows);
  std::vector<std::pair<std::string, double>> bars;
  for (const ModuleSize& m : module_sizes(names, 3)) {
    if (m.depth > 0) bars.emplace_back(m.name, static_cast<double>(m.bytes) * 1e-6);
  }
  if (bars.size() <= 60) page.picture(bar_chart(bars, " MB"), "Size by module");
}

void tell_scores(Page& page, const ReportData& data) {
  if (!data.scores) return;
  const Divergence& d = *data.scores;
  page.heading("Divergence from the original");
  page.paragraph(fmt::format("{}: {}; {} tokens scored.", data.text, data.protocol, d.tokens()));
  const auto row = [](const char* name, const Estimate& e, double scale, const char* unit) {
    return std::vector<std::string>{name,
                                    fmt::format("{:.6f} ± {:.6f}{}", e.value * scale, e.error * scale, unit)};
  };
  page.table({{"", "value ± standard error"},
              row("perplexity", d.perplexity(), 1, ""),
              row("perplexity of the original", d.reference_perplexity(), 1, ""),
              row("KL divergence, mean", d.mean_kl(), 1, " nats per token"),
              row("KL divergence, median", d.kl_quantile(0.5), 1, ""),
              row("KL divergence, 99 %", d.kl_quantile(0.99), 1, ""),
              row("same top token", d.same_top(), 100, " %"),
              row("change of the right token's probability, rms", d.rms_delta_p(), 100, " %")});
  if (data.per_window < 2) return;
  // Positions in groups, so that the line shows more than noise.
  const auto n = static_cast<size_t>(data.per_window), groups = std::min<size_t>(32, n);
  std::vector<double> sum(groups), count(groups);
  for (size_t i = 0; i < d.kl().size(); ++i) {
    const size_t g = i % n * groups / n;
    sum[g] += d.kl()[i];
    count[g] += 1;
  }
  std::vector<std::string> labels;
  for (size_t g = 0; g < groups; ++g) {
    sum[g] /= std::max(1.0, count[g]);
    labels.push_back(std::to_string(static_cast<size_t>(data.first) + g * n / groups));
  }
  page.picture(line_chart({{"mean", sum}}, labels, "position in the window", "mean KL divergence", false),
               "Divergence by position");
}

void tell_layers(Page& page, const ReportData& data) {
  if (data.layers.empty()) return;
  page.picture(
      line_chart({{"error", data.layers}}, {}, "layer", "relative error", false),
      "Error of the hidden states behind each layer, relative to their size; both models run by themselves");
}

void tell_tensors(Page& page, const ReportData& data) {
  page.heading("Error of every tensor");
  std::vector<std::vector<std::string>> rows{
      {"tensor", "shape", "format", "RMSE", "relative", "max", "SQNR dB", "cosine"}};
  for (const TensorComparison& r : data.tensors) {
    const Distortion& d = r.distortion;
    if (r.shape.rank() < 2 && d.max_error() == 0) continue;
    rows.push_back({html_text(r.name), r.shape.to_string(), html_text(r.format.to_string()),
                    fmt::format("{:.4g}", d.rmse()), fmt::format("{:.3f} %", 100 * d.relative_error()),
                    fmt::format("{:.4g}", d.max_error()),
                    std::isfinite(d.sqnr_db()) ? fmt::format("{:.2f}", d.sqnr_db()) : "no error",
                    fmt::format("{:.7f}", d.cosine())});
  }
  page.table(rows);
}

/// Histograms of weights before and after, and where in the matrix the errors are.
void draw_tensor(Page& page, const Checkpoint& model, const Checkpoint& original, const TensorComparison& r) {
  const CanonicalTensor &a = original.at(r.name), &b = model.at(r.name);
  const int64_t rows = r.shape.rows(), cols = r.shape.cols();
  std::vector<float> x(static_cast<size_t>(cols)), y(x.size());
  double reach = 0;
  // A sample of rows sets the range; what lies beyond it counts to the outermost bins.
  const int64_t step = std::max<int64_t>(1, rows / 64);
  for (int64_t row = 0; row < rows; row += step) {
    original.read_rows(a, row, 1, x.data());
    for (const float v : x) reach = std::max(reach, std::fabs(double{v}));
  }
  if (!(reach > 0)) return;
  std::vector<double> before(bins), after(bins);
  const size_t across = std::min<size_t>(map_side, static_cast<size_t>(cols)),
               down = std::min<size_t>(map_side, static_cast<size_t>(rows));
  std::vector<double> heat(across * down), count(across * down);
  const auto bin = [&](float v) {
    const double at = (double{v} / reach + 1) / 2 * static_cast<double>(bins);
    return static_cast<size_t>(std::clamp(at, 0.0, static_cast<double>(bins - 1)));
  };
  for (int64_t row = 0; row < rows; ++row) {
    original.read_rows(a, row, 1, x.data());
    model.read_rows(b, row, 1, y.data());
    const size_t line = static_cast<size_t>(row) * down / static_cast<size_t>(rows);
    for (size_t i = 0; i < x.size(); ++i) {
      ++before[bin(x[i])];
      ++after[bin(y[i])];
      const size_t at = line * across + i * across / x.size();
      const double e = double{x[i]} - double{y[i]};
      heat[at] += e * e;
      count[at] += 1;
    }
  }
  double largest = 0;
  for (size_t i = 0; i < heat.size(); ++i)
    largest = std::max(largest, heat[i] = std::sqrt(heat[i] / std::max(1.0, count[i])));
  page.picture(histogram_chart(before, after, -reach, reach),
               fmt::format("{} as {}: weights before and after", r.name, r.format.to_string()));
  page.picture(
      heat_map(heat, across, largest),
      fmt::format("{}: root mean square error of parts of the matrix, rows downwards, largest {:.4g}", r.name,
                  largest));
}

void draw_tensors(Page& page, const Checkpoint& model, const Checkpoint& original, const ReportData& data) {
  std::vector<const TensorComparison*> order;
  for (const TensorComparison& r : data.tensors) {
    if (r.shape.rank() >= 2 && r.distortion.max_error() > 0) order.push_back(&r);
  }
  std::stable_sort(order.begin(), order.end(), [](const TensorComparison* l, const TensorComparison* r) {
    return l->distortion.relative_error() > r->distortion.relative_error();
  });
  std::set<std::string> formats;
  size_t drawn = 0;
  if (!order.empty()) page.heading("Weights before and after");
  for (const TensorComparison* r : order) {
    if (drawn == data.drawn) break;
    if (!formats.insert(r->format.to_string()).second) continue;
    draw_tensor(page, model, original, *r);
    ++drawn;
  }
}

}  // namespace

std::vector<double> layer_errors(const Checkpoint& model, const Checkpoint& original,
                                 std::span<const EvalWindow> windows, ThreadPool& pool) {
  const Checkpoint* sides[2] = {&original, &model};
  std::vector<std::vector<float>> states[2];
  std::vector<double> errors;
  const int64_t layers = original.hparams().layers;
  for (int64_t layer = -1; layer < layers; ++layer) {
    for (int side = 0; side < 2; ++side) {
      BuildOptions options;
      options.part = layer < 0 ? ProgramPart::only_embedding() : ProgramPart::only_layer(layer);
      const Program program = load_program(*sides[side], pool, options);
      Executor executor(program, pool);
      states[side].resize(windows.size());
      for (size_t w = 0; w < windows.size(); ++w) {
        const std::span<const float> input =
            layer < 0 ? std::span<const float>() : std::span<const float>(states[side][w]);
        const auto result = executor.run_part(windows[w].tokens, input, nullptr);
        states[side][w] = {result.begin(), result.end()};
      }
    }
    double miss = 0, all = 0;
    for (size_t w = 0; w < windows.size(); ++w) {
      for (size_t i = 0; i < states[0][w].size(); ++i) {
        const double v = states[0][w][i], e = v - states[1][w][i];
        miss += e * e;
        all += v * v;
      }
    }
    if (layer >= 0) errors.push_back(all > 0 ? std::sqrt(miss / all) : 0);
  }
  return errors;
}

std::string report_html(const Checkpoint& model, const Checkpoint& original, const ReportData& data) {
  Page page(model.path());
  page.paragraph(fmt::format("{}, {} layers, width {}; made from {}.", model.arch().name,
                             model.hparams().layers, model.hparams().hidden, original.path()));
  if (const auto recipe = model.file().metadata().text("nibble.recipe"))
    page.paragraph(fmt::format("Recipe: {} (nibble {})", *recipe,
                               model.file().metadata().text("nibble.version").value_or("?")));
  tell_sizes(page, model, original);
  tell_scores(page, data);
  tell_layers(page, data);
  tell_tensors(page, data);
  draw_tensors(page, model, original, data);
  if (!data.account.empty()) {
    page.heading("What became of every tensor");
    page.table(data.account);
  }
  return page.html();
}

}  // namespace nibble
