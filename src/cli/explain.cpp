#include <CLI/CLI.hpp>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/half.h"
#include "cli/verb.h"
#include "eval/distortion.h"
#include "model/checkpoint.h"

namespace nibble::cli {
namespace {

using Json = nlohmann::ordered_json;

struct Options {
  std::string matrix, model, tensor;
  std::vector<std::string> to;
  int64_t rows = 3, cols = 3;
};

/// The matrix of the lesson.
struct Matrix {
  Shape shape;
  std::vector<float> x;
  float at(int64_t r, int64_t c) const { return x[static_cast<size_t>(r * shape.cols() + c)]; }
};

Matrix parse_matrix(const std::string& text) {
  std::vector<std::vector<float>> rows(1);
  size_t at = 0;
  while (at < text.size()) {
    const char c = text[at];
    if (c == ';' || c == '\n') {
      rows.emplace_back();
      ++at;
    } else if (c == ' ' || c == ',' || c == '\t') {
      ++at;
    } else {
      char* end = nullptr;
      const float v = std::strtof(text.c_str() + at, &end);
      if (end == text.c_str() + at || !std::isfinite(v)) {
        throw Error(ErrorKind::usage, fmt::format("'{}' is no number", text.substr(at, 10)),
                    "separate numbers by spaces and rows by semicolons: \"1 2 3; 4 5 6\"");
      }
      rows.back().push_back(v);
      at = static_cast<size_t>(end - text.c_str());
    }
  }
  while (rows.size() > 1 && rows.back().empty()) rows.pop_back();
  Matrix m;
  for (const auto& row : rows) {
    if (row.empty() || row.size() != rows.front().size()) {
      fail(ErrorKind::usage, "every row needs the same count of numbers; the first has {}",
           rows.front().size());
    }
    m.x.insert(m.x.end(), row.begin(), row.end());
  }
  m.shape = Shape{static_cast<int64_t>(rows.size()), static_cast<int64_t>(rows.front().size())};
  return m;
}

Matrix read_matrix(const Options& o) {
  const Checkpoint c = open_checkpoint(o.model);
  for (const CanonicalTensor& t : c.tensors()) {
    if (t.name != o.tensor && t.hf != o.tensor) continue;
    Matrix m{Shape{t.shape.rows(), t.shape.cols()},
             std::vector<float>(static_cast<size_t>(t.shape.elements()))};
    c.read_rows(t, 0, t.shape.rows(), m.x.data());
    return m;
  }
  throw Error(ErrorKind::usage, fmt::format("{} has no tensor {}", o.model, o.tensor),
              "nibble inspect --tensors lists the names");
}

double element(const PlaneInfo& info, std::span<const std::byte> bytes, int64_t i) {
  const std::byte* p = bytes.data() + static_cast<size_t>(i) * dtype_size(info.dtype);
  const auto read = [p](auto v) {
    std::memcpy(&v, p, sizeof v);
    return v;
  };
  switch (info.dtype) {
    case DType::f32:
      return static_cast<double>(read(float{}));
    case DType::f16:
      return static_cast<double>(f16_to_f32(read(uint16_t{})));
    case DType::bf16:
      return static_cast<double>(bf16_to_f32(read(uint16_t{})));
    case DType::i8:
      return read(int8_t{});
    default:
      return read(uint8_t{});
  }
}

/// A matrix after a format has had it.
struct Lesson {
  const Format* format;
  std::vector<Code> codes;
  std::vector<float> decoded;
  QTensor stored;
  Distortion distortion;
};

Lesson learn(const Matrix& m, const std::string& word) {
  Lesson l{&format_of(word), {}, std::vector<float>(m.x.size()), {}, {}};
  l.stored = encode_nearest(*l.format, m.shape, m.x);
  decode_range(l.stored, 0, m.shape.elements(), l.decoded.data());
  l.distortion.add(m.x, l.decoded);
  const auto info = l.format->planes(m.shape);
  std::vector<std::byte*> base, at(info.size());
  for (const Plane& p : l.stored.planes) base.push_back(const_cast<std::byte*>(p.bytes.data()));
  l.codes.resize(m.x.size());
  const auto params = std::make_unique<Params>();
  const int64_t block = l.format->block(m.shape), total = m.shape.elements();
  for (int64_t b = 0; b * block < total; ++b) {
    const int64_t n = std::min(block, total - b * block);
    block_pointers(info, base.data(), b, at.data());
    l.format->fit(m.x.data() + b * block, nullptr, n, at.data(), *params);
    l.format->round(m.x.data() + b * block, 0, n, *params, l.codes.data() + b * block, nullptr);
  }
  return l;
}

/// Symmetric integers are stored with half their range added; people think of them without.
Code stored_offset(const Lesson& l) {
  const FormatSpec& spec = l.stored.format;
  const bool integer = spec.name.size() == 4 && spec.name.rfind("int", 0) == 0;
  for (const Plane& p : l.stored.planes) {
    if (p.name == "zero") return 0;
  }
  return integer ? Code{1} << (spec.name[3] - '0' - 1) : 0;
}

class Window {
 public:
  Window(const Matrix& m, const Options& o)
      : rows_(std::min(o.rows, m.shape.rows())), cols_(std::min(o.cols, m.shape.cols())), m_(m) {}

  template <class F>
  void print(std::string_view title, F value) const {
    fmt::print("{}{}\n", title,
               rows_ < m_.shape.rows() || cols_ < m_.shape.cols()
                   ? fmt::format(" (corner of {})", m_.shape.to_string())
                   : "");
    for (int64_t r = 0; r < rows_; ++r) {
      fmt::print("  ");
      for (int64_t c = 0; c < cols_; ++c)
        fmt::print("{:>12}", value(static_cast<size_t>(r * m_.shape.cols() + c)));
      fmt::print("\n");
    }
  }

 private:
  int64_t rows_, cols_;
  const Matrix& m_;
};

std::string number(double v) { return fmt::format("{:.5g}", v); }

void print_parameters(const Lesson& l, const Matrix& m) {
  const auto info = l.format->planes(m.shape);
  for (size_t p = 0; p < info.size(); ++p) {
    if (info[p].name.empty() || info[p].name == "codes") continue;
    const auto n = static_cast<int64_t>(info[p].bytes / dtype_size(info[p].dtype));
    std::string values;
    for (int64_t i = 0; i < std::min<int64_t>(n, 16); ++i)
      values += " " + number(element(info[p], l.stored.planes[p].bytes, i));
    fmt::print("{} ({}):{}{}\n", info[p].name, dtype_name(info[p].dtype), values,
               n > 16 ? fmt::format(" ... ({} values)", n) : "");
  }
}

void print_lesson(const Lesson& l, const Matrix& m, const Options& o) {
  const Window window(m, o);
  fmt::print("\n== {}: {}\n", l.format->spec().to_string(), l.format->info().summary);
  const auto [low, high] = std::minmax_element(m.x.begin(), m.x.end());
  fmt::print("min {}, max {}\n", number(static_cast<double>(*low)), number(static_cast<double>(*high)));
  print_parameters(l, m);
  const Code offset = stored_offset(l);
  window.print("codes", [&](size_t i) { return fmt::format("{}", l.codes[i] - offset); });
  window.print("dequantized", [&](size_t i) { return number(static_cast<double>(l.decoded[i])); });
  window.print("error (dequantized - original)", [&](size_t i) {
    return number(static_cast<double>(l.decoded[i]) - static_cast<double>(m.x[i]));
  });
  const Distortion& d = l.distortion;
  fmt::print("mean squared error {}, RMSE {}, relative {:.3f} %, largest {}, SQNR {:.2f} dB\n",
             number(d.rmse() * d.rmse()), number(d.rmse()), 100 * d.relative_error(), number(d.max_error()),
             d.sqnr_db());
  fmt::print("size {} bytes; as f32 {} bytes\n", l.stored.bytes(), 4 * m.x.size());
}

void print_formulas() {
  fmt::print(
      "\nLinear quantization maps a real r to an integer q and back: r = s (q - z).\n"
      "  asymmetric: s = (max - min) / (2^bits - 1), z = round(-min / s), q = round(r / s) + z; the range is "
      "widened to hold 0\n"
      "  symmetric:  s = max|r| / (2^(bits-1) - 1), z = 0, q = round(r / s)\n");
}

void explain(const Options& o, const Common& common) {
  if (o.model.empty() != o.tensor.empty()) fail(ErrorKind::usage, "--model and --tensor go together");
  if (!o.model.empty() && !o.matrix.empty())
    fail(ErrorKind::usage, "either --matrix or --model with --tensor");
  const Matrix m =
      !o.model.empty()
          ? read_matrix(o)
          : parse_matrix(o.matrix.empty() ? "191.6 -13.5 728.6; 92.14 295.5 -184; 0 684.6 245.5" : o.matrix);
  const std::vector<std::string> words =
      o.to.empty() ? std::vector<std::string>{"int8:tensor:asym:minmax:f32", "int8:tensor:minmax:f32"} : o.to;
  std::vector<Lesson> lessons;
  for (const std::string& word : words) {
    if (const std::string why = format_of(word).misfit(m.shape); !why.empty()) {
      throw Error(ErrorKind::unsupported,
                  fmt::format("a matrix of {} cannot be {}: {}", m.shape.to_string(), word, why),
                  "nibble formats lists others");
    }
    lessons.push_back(learn(m, word));
  }
  if (common.json) {
    Json j{{"shape", m.shape.dims()}};
    for (const Lesson& l : lessons) {
      Json row{{"format", l.format->spec().to_string()},
               {"bytes", l.stored.bytes()},
               {"rmse", l.distortion.rmse()},
               {"max_error", l.distortion.max_error()}};
      if (m.x.size() <= 4096) {
        row["codes"] = l.codes;
        row["dequantized"] = l.decoded;
      }
      const auto info = l.format->planes(m.shape);
      for (size_t p = 0; p < info.size(); ++p) {
        if (info[p].name.empty() || info[p].name == "codes") continue;
        Json values = Json::array();
        const auto n =
            std::min<int64_t>(4096, static_cast<int64_t>(info[p].bytes / dtype_size(info[p].dtype)));
        for (int64_t i = 0; i < n; ++i) values.push_back(element(info[p], l.stored.planes[p].bytes, i));
        row[info[p].name] = std::move(values);
      }
      j["formats"].push_back(std::move(row));
    }
    fmt::print("{}\n", j.dump(2));
    return;
  }
  Window(m, o).print("matrix", [&](size_t i) { return number(static_cast<double>(m.x[i])); });
  if (o.to.empty()) print_formulas();
  for (const Lesson& l : lessons) print_lesson(l, m, o);
}

Run setup(CLI::App& app) {
  auto o = std::make_shared<Options>();
  app.add_option("--matrix", o->matrix,
                 "rows separated by semicolons, numbers by spaces (default: a 3 x 3 example)");
  app.add_option("--model", o->model, "take the matrix from a model");
  app.add_option("--tensor", o->tensor,
                 "its name, as nibble inspect --tensors prints it or as the folder has it");
  app.add_option("--to", o->to, "format words (default: 8-bit linear, asymmetric and symmetric)")
      ->allow_extra_args(false);
  app.add_option("--rows", o->rows, "rows to print")->capture_default_str();
  app.add_option("--cols", o->cols, "columns to print")->capture_default_str();
  return [o](const Common& common) { explain(*o, common); };
}

}  // namespace

extern const Verb explain_verb;
const Verb explain_verb{"explain", "quantize one matrix in plain sight: scale, zero point, codes, error",
                        "nibble explain --matrix \"1.5 -0.2 3; 0 2.2 -4; 0.1 0.7 -1\"\n"
                        "nibble explain --to int4:channel:minmax --to q8_0 --matrix \"1 2 3 4; 5 6 7 8\"\n"
                        "nibble explain --model ./pythia-410m --tensor "
                        "gpt_neox.layers.0.mlp.dense_h_to_4h.weight --to int8:channel",
                        setup};

}  // namespace nibble::cli
