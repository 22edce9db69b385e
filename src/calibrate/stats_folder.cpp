#include "calibrate/stats_folder.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/error.h"
#include "containers/tensor_file.h"
#include "containers/tensor_sink.h"

namespace nibble {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr int version = 2;
constexpr const char* about_file = "statistics.json";
constexpr const char* inputs_key = "nibble.inputs";

std::string stem_of(size_t index) { return fmt::format("input.{}", index); }

template <class T>
void read_values(const TensorFile& file, const std::string& name, DType dtype, const Shape& shape,
                 std::vector<T>& out) {
  const StoredTensor& t = file.at(name);
  if (t.dtype != dtype || t.shape != shape)
    fail(ErrorKind::bad_input, "{}: {} is {} {}, expected {}", file.path(), name, t.type, t.shape.to_string(),
         shape.to_string());
  out.resize(static_cast<size_t>(shape.elements()));
  std::memcpy(out.data(), t.raw.bytes.data(), out.size() * sizeof(T));
}

/// How many values a histogram has is for the file to say.
void read_histogram(const TensorFile& file, const std::string& stem, Histogram::Points& values) {
  const Shape& shape = file.at(stem + ".values").shape;
  if (shape.rank() != 1) fail(ErrorKind::bad_input, "{}: {}.values is no list", file.path(), stem);
  read_values(file, stem + ".values", DType::f32, shape, values.x);
  read_values(file, stem + ".counts", DType::f32, shape, values.weight);
  for (size_t i = 0; i < values.x.size(); ++i) {
    const bool ascends = i == 0 || values.x[i] > values.x[i - 1];
    if (!ascends || !std::isfinite(values.x[i]) || !(values.weight[i] > 0) ||
        !std::isfinite(values.weight[i]))
      fail(ErrorKind::bad_input, "{}: {}.values and .counts are no histogram", file.path(), stem);
  }
}

InputStats read_input(const TensorFile& file, const Json& j, size_t index, const StatsFolder::About& about) {
  InputStats s;
  s.readers = j.at("readers").get<std::vector<std::string>>();
  s.slice = j.at("slice").get<int64_t>();
  s.rows = j.at("tokens").get<int64_t>();
  s.cols = j.at("cols").get<int64_t>();
  if (s.cols < 1 || s.cols > (int64_t{1} << 24) || s.rows < 1 || s.slice < 0 || s.readers.empty())
    fail(ErrorKind::bad_input, "{}: {} is no description of an input", file.path(), stem_of(index));
  const std::string stem = stem_of(index);
  const Shape channels{s.cols};
  read_values(file, stem + ".sum", DType::f64, channels, s.sum);
  read_values(file, stem + ".sum2", DType::f64, channels, s.sum2);
  read_values(file, stem + ".min", DType::f32, channels, s.min);
  read_values(file, stem + ".max", DType::f32, channels, s.max);
  if (about.hessian) read_values(file, stem + ".hessian", DType::f32, Shape{s.cols, s.cols}, s.hessian);
  if (about.histogram) read_histogram(file, stem, s.values);
  s.running_low = j.at("running").at(0).get<float>();
  s.running_high = j.at("running").at(1).get<float>();
  if (!(s.running_low <= s.running_high))
    fail(ErrorKind::bad_input, "{}: {} has an empty range", file.path(), stem);
  const auto good = [](double v) { return std::isfinite(v) && v >= 0; };
  if (!std::all_of(s.sum2.begin(), s.sum2.end(), good))
    fail(ErrorKind::bad_input, "{}: {}.sum2 holds a negative or infinite sum of squares", file.path(), stem);
  return s;
}

/// Whether a file of a folder is one that this class makes, finished or not.
bool is_part(const fs::path& file) {
  const std::string name = file.filename().string();
  return name.starts_with("part-") &&
         (name.ends_with(".safetensors") || name.ends_with(".safetensors.partial"));
}
bool is_own(const fs::path& file) {
  const std::string name = file.filename().string();
  return is_part(file) || name == about_file || name == std::string(about_file) + ".partial";
}

std::vector<fs::path> files_of(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder)) files.push_back(entry.path());
  return files;
}

void remove_parts(const fs::path& folder) {
  for (const fs::path& file : files_of(folder)) {
    if (is_part(file)) fs::remove(file);
  }
}

/// Whether statistics may be written here: nothing stands there, or only what a killed job left.
bool is_free(const fs::path& folder) {
  if (!fs::exists(folder)) return true;
  if (!fs::is_directory(folder)) return false;
  const std::vector<fs::path> files = files_of(folder);
  return fs::exists(folder / about_file) || std::all_of(files.begin(), files.end(), is_own);
}

}  // namespace

StatsFolder StatsFolder::create(const std::string& path, const About& about) {
  const fs::path folder(path), info = folder / about_file;
  const Json j{
      {"nibble_statistics", version},   {"identity", about.identity}, {"description", about.description},
      {"hessian", about.hessian},       {"parts", about.parts},       {"chunks", about.chunks},
      {"chunk_size", about.chunk_size}, {"dataset", about.dataset},   {"histogram", about.histogram}};
  const std::string text = j.dump(2) + "\n";
  if (!is_free(folder)) {
    throw Error(ErrorKind::usage, fmt::format("{} holds something else than statistics", path),
                "name a new folder, or a file ending in .gguf or .dat for an importance matrix");
  }
  std::error_code code;
  fs::create_directories(folder, code);
  if (code) fail(ErrorKind::io, "cannot create the folder {}: {}", path, code.message());
  std::ostringstream old;
  if (std::ifstream in(info, std::ios::binary); in) old << in.rdbuf();
  if (old.str() != text) {
    // Parts first: a folder must never tell of statistics that are not its own.
    remove_parts(folder);
    write_file_atomically(info.string(), text);
  }
  return {path, about};
}

StatsFolder StatsFolder::open(const std::string& path) {
  const fs::path info = fs::path(path) / about_file;
  std::ifstream in(info, std::ios::binary);
  if (!in) {
    throw Error(ErrorKind::io, fmt::format("{} holds no {}", path, about_file),
                "nibble calibrate MODEL --output FOLDER makes such a folder");
  }
  std::ostringstream text;
  text << in.rdbuf();
  About about;
  try {
    const Json j = Json::parse(text.str());
    if (j.at("nibble_statistics") != version)
      fail(ErrorKind::unsupported, "{}: version {} of statistics", info.string(),
           j.at("nibble_statistics").dump());
    about = {j.at("identity"), j.at("description"), j.at("hessian"), j.at("parts"),
             j.at("chunks"),   j.at("chunk_size"),  j.at("dataset"), j.at("histogram")};
  } catch (const Json::exception& e) {
    fail(ErrorKind::bad_input, "{}: {}", info.string(), e.what());
  }
  if (about.parts < 1) fail(ErrorKind::bad_input, "{}: {} parts", info.string(), about.parts);
  StatsFolder folder(path, about);
  for (int64_t part = 0; part < about.parts; ++part) {
    if (folder.has(part)) continue;
    throw Error(ErrorKind::bad_input,
                fmt::format("{} is not complete: part {} of {} is missing", path, part, about.parts),
                "the command that began it goes on where it stopped");
  }
  return folder;
}

std::string StatsFolder::file(int64_t part) const {
  return fmt::format("{}/part-{:03}.safetensors", path_, part);
}

bool StatsFolder::has(int64_t part) const { return fs::exists(file(part)); }

void StatsFolder::write(int64_t part, std::span<const InputStats> inputs) const {
  std::vector<PlannedTensor> planned;
  std::vector<std::span<const std::byte>> bytes;
  Json about = Json::array();
  for (size_t i = 0; i < inputs.size(); ++i) {
    const InputStats& s = inputs[i];
    about.push_back({{"readers", s.readers},
                     {"slice", s.slice},
                     {"tokens", s.rows},
                     {"cols", s.cols},
                     {"running", {s.running_low, s.running_high}}});
    const auto add = [&](const char* name, DType dtype, const Shape& shape,
                         std::span<const std::byte> values) {
      planned.push_back({stem_of(i) + name, shape, nullptr, dtype});
      bytes.push_back(values);
    };
    const Shape channels{s.cols};
    add(".sum", DType::f64, channels, std::as_bytes(std::span(s.sum)));
    add(".sum2", DType::f64, channels, std::as_bytes(std::span(s.sum2)));
    add(".min", DType::f32, channels, std::as_bytes(std::span(s.min)));
    add(".max", DType::f32, channels, std::as_bytes(std::span(s.max)));
    if (!s.hessian.empty())
      add(".hessian", DType::f32, Shape{s.cols, s.cols}, std::as_bytes(std::span(s.hessian)));
    if (about_.histogram) {
      const Shape values{static_cast<int64_t>(s.values.x.size())};
      add(".values", DType::f32, values, std::as_bytes(std::span(s.values.x)));
      add(".counts", DType::f32, values, std::as_bytes(std::span(s.values.weight)));
    }
  }
  TensorSink sink(plan_safetensors(file(part), planned, {{inputs_key, about.dump()}}));
  for (size_t i = 0; i < bytes.size(); ++i) sink.write(i, 0, 0, bytes[i]);
  sink.finish();
}

std::vector<InputStats> StatsFolder::read(int64_t part) const {
  const TensorFile stored = open_tensor_file(file(part));
  const auto text = stored.metadata().text(inputs_key);
  if (!text) fail(ErrorKind::bad_input, "{}: its metadata has no {}", stored.path(), inputs_key);
  std::vector<InputStats> all;
  try {
    const Json inputs = Json::parse(*text);
    if (!inputs.is_array()) fail(ErrorKind::bad_input, "{}: {} is no list", stored.path(), inputs_key);
    for (size_t i = 0; i < inputs.size(); ++i) all.push_back(read_input(stored, inputs.at(i), i, about_));
  } catch (const Json::exception& e) {
    fail(ErrorKind::bad_input, "{}: {}: {}", stored.path(), inputs_key, e.what());
  }
  return all;
}

void StatsFolder::remove() const {
  // What tells of the parts goes last: a kill in between leaves a folder that create() takes.
  remove_parts(path_);
  for (const fs::path& file : files_of(path_)) {
    if (is_own(file)) fs::remove(file);
  }
  if (fs::is_empty(path_)) fs::remove(path_);
}

}  // namespace nibble
