#include "containers/imatrix.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "base/mapped_file.h"
#include "containers/byte_reader.h"
#include "containers/gguf.h"
#include "containers/output_plan.h"
#include "containers/tensor_sink.h"

namespace nibble {
namespace {

constexpr std::string_view sum_suffix = ".in_sum2", count_suffix = ".counts";
constexpr int32_t longest_text = 65535;

void require_sums(const Imatrix::Entry& e, const std::string& name, const std::string& file) {
  const auto good = [](float v) { return std::isfinite(v) && v >= 0; };
  if (!std::all_of(e.sum2.begin(), e.sum2.end(), good) ||
      !std::all_of(e.counts.begin(), e.counts.end(), good))
    fail(ErrorKind::bad_input, "{}: {} holds a negative or infinite sum of squares", file, name);
  if (e.counts.empty() || e.sum2.empty() || e.sum2.size() % e.counts.size() != 0)
    fail(ErrorKind::bad_input, "{}: {} has {} sums and {} counts", file, name, e.sum2.size(),
         e.counts.size());
}

std::vector<float> floats_of(const StoredTensor& t, const std::string& file) {
  if (t.dtype != DType::f32) fail(ErrorKind::bad_input, "{}: {} is {}, expected F32", file, t.name, t.type);
  std::vector<float> values(t.raw.bytes.size() / sizeof(float));
  if (!values.empty()) std::memcpy(values.data(), t.raw.bytes.data(), t.raw.bytes.size());
  return values;
}

Imatrix from_gguf(const TensorListing& listing, const std::string& file) {
  const std::string type = listing.metadata.text("general.type").value_or("");
  if (type != "imatrix") {
    throw Error(ErrorKind::bad_input, fmt::format("{}: general.type is '{}', expected 'imatrix'", file, type),
                "an importance matrix is made by nibble calibrate or llama-imatrix");
  }
  Imatrix m;
  for (const StoredTensor& t : listing.tensors) {
    if (t.name.ends_with(sum_suffix))
      m.entries[t.name.substr(0, t.name.size() - sum_suffix.size())].sum2 = floats_of(t, file);
    else if (t.name.ends_with(count_suffix))
      m.entries[t.name.substr(0, t.name.size() - count_suffix.size())].counts = floats_of(t, file);
    else
      fail(ErrorKind::bad_input, "{}: {} is neither a sum nor a count", file, t.name);
  }
  if (m.entries.empty()) fail(ErrorKind::bad_input, "{}: holds importance of no matrix", file);
  for (const auto& [name, e] : m.entries) require_sums(e, name, file);
  const auto number = [&](const char* key) {
    return static_cast<uint32_t>(
        std::clamp<int64_t>(listing.metadata.integer(key).value_or(0), 0, UINT32_MAX));
  };
  m.chunks = number("imatrix.chunk_count");
  m.chunk_size = number("imatrix.chunk_size");
  if (const MetaValue* v = listing.metadata.find("imatrix.datasets")) {
    if (const auto* texts = std::get_if<std::vector<std::string>>(v)) m.datasets = *texts;
  }
  return m;
}

void write_gguf(const Imatrix& m, const std::string& path) {
  std::vector<PlannedTensor> planned;
  std::vector<const std::vector<float>*> values;
  for (const auto& [name, e] : m.entries) {
    const auto slices = static_cast<int64_t>(e.counts.size());
    planned.push_back(
        {name + std::string(sum_suffix), Shape{slices, e.cols()}, &format_of("f32"), DType::f32});
    planned.push_back({name + std::string(count_suffix), Shape{slices, 1}, &format_of("f32"), DType::f32});
    values.push_back(&e.sum2);
    values.push_back(&e.counts);
  }
  const std::vector<GgufKv> kv{
      GgufKv::text("general.type", "imatrix"), GgufKv::texts("imatrix.datasets", m.datasets),
      GgufKv::u32("imatrix.chunk_count", m.chunks), GgufKv::u32("imatrix.chunk_size", m.chunk_size)};
  TensorSink sink(plan_gguf(path, planned, kv));
  for (size_t i = 0; i < values.size(); ++i) sink.write(i, 0, 0, std::as_bytes(std::span(*values[i])));
  sink.finish();
}

template <class T>
void append(std::vector<std::byte>& out, const T& value) {
  const auto bytes = std::as_bytes(std::span(&value, 1));
  out.insert(out.end(), bytes.begin(), bytes.end());
}
void append(std::vector<std::byte>& out, const std::string& text) {
  append(out, static_cast<int32_t>(text.size()));
  const auto bytes = std::as_bytes(std::span(text));
  out.insert(out.end(), bytes.begin(), bytes.end());
}

/// The older kind keeps means, times the number of chunks.
void write_dat(const Imatrix& m, const std::string& path) {
  std::vector<std::byte> out;
  append(out, static_cast<int32_t>(m.entries.size()));
  for (const auto& [name, e] : m.entries) {
    append(out, name);
    const float most = *std::max_element(e.counts.begin(), e.counts.end());
    const auto tokens = static_cast<int64_t>(most), size = std::max<int64_t>(1, m.chunk_size);
    const auto calls = static_cast<int32_t>((tokens + size - 1) / size);
    append(out, calls);
    append(out, static_cast<int32_t>(e.sum2.size()));
    const size_t cols = e.sum2.size() / e.counts.size();
    for (size_t i = 0; i < e.sum2.size(); ++i) {
      const float count = e.counts[i / cols];
      append(out, (count == 0 ? 1.0f : e.sum2[i] / count) * static_cast<float>(calls));
    }
  }
  append(out, static_cast<int32_t>(m.chunks));
  append(out, m.datasets.empty() ? std::string() : m.datasets.back());
  write_file_atomically(path, out);
}

}  // namespace

std::vector<float> Imatrix::Entry::importance(int64_t slice) const {
  const size_t at = counts.size() == 1 ? 0 : static_cast<size_t>(slice);
  if (at >= counts.size() || !(counts[at] > 0)) return {};
  const auto n = static_cast<size_t>(cols());
  std::vector<float> mean(n);
  for (size_t i = 0; i < n; ++i) mean[i] = sum2[at * n + i] / counts[at];
  return mean;
}

Imatrix parse_imatrix_dat(std::span<const std::byte> bytes, const std::string& file) {
  ByteReader in(bytes, file);
  const auto text = [&](std::string_view what) {
    const auto length = in.number<int32_t>(what);
    if (length < 0 || length > longest_text) in.bad("expected the length of {}, found {}", what, length);
    std::string s(in.text(static_cast<uint64_t>(length), what));
    for (const char c : s) {
      if (static_cast<unsigned char>(c) < 0x20) in.bad("{} holds the control character {:#04x}", what, c);
    }
    return s;
  };
  Imatrix m;
  const auto count = in.number<int32_t>("the number of entries");
  if (count < 1) in.bad("expected the number of entries, found {}", count);
  for (int32_t i = 0; i < count; ++i) {
    const std::string name = text("the name of an entry");
    const auto calls = in.number<int32_t>("the number of chunks");
    if (calls < 0) in.bad("expected the number of chunks of {}, found {}", name, calls);
    const auto values = in.number<int32_t>("the number of values");
    if (values < 1) in.bad("expected the number of values of {}, found {}", name, values);
    const auto raw = in.take(static_cast<uint64_t>(values) * sizeof(float), "values");
    Imatrix::Entry e;
    e.sum2.resize(static_cast<size_t>(values));
    std::memcpy(e.sum2.data(), raw.data(), raw.size());
    e.counts = {static_cast<float>(std::max(calls, 1))};
    require_sums(e, name, file);
    if (!m.entries.emplace(name, std::move(e)).second) in.bad("{} stands there twice", name);
  }
  if (in.left() == 0) return m;  // files from before 2024 end here
  m.chunks = static_cast<uint32_t>(std::max(0, in.number<int32_t>("the number of chunks")));
  m.datasets.push_back(text("the name of the text"));
  return m;
}

Imatrix read_imatrix(const std::string& path) {
  const MappedFile file(path);
  const auto bytes = file.data();
  if (bytes.size() >= 4 && std::memcmp(bytes.data(), "GGUF", 4) == 0)
    return from_gguf(parse_gguf(bytes, path), path);
  return parse_imatrix_dat(bytes, path);
}

void write_imatrix(const Imatrix& imatrix, const std::string& path) {
  if (path.ends_with(".dat"))
    write_dat(imatrix, path);
  else
    write_gguf(imatrix, path);
}

}  // namespace nibble
