#include "formats/format.h"

#include <algorithm>
#include <map>
#include <mutex>

#include "formats/block_format.h"
#include "formats/families.h"

namespace nibble {
namespace {

size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0]++;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = diagonal + (a[i - 1] != b[j - 1]);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, replaced});
    }
  }
  return row.back();
}

std::string nearest_word(const FormatSpec& spec) {
  std::string best;
  size_t least = SIZE_MAX;
  for (const FormatFamily& family : format_families()) {
    for (const std::string& word : family.examples()) {
      const size_t d = edit_distance(spec.to_string(), word);
      if (d < least) {
        least = d;
        best = word;
      }
    }
  }
  return best;
}

}  // namespace

std::span<const FormatFamily> format_families() {
  static const FormatFamily families[] = {
#define FORMAT(F) single_family<F>(),
#define FAMILY(F) option_family<F>(#F),
#include "formats/list.inc"
#undef FORMAT
#undef FAMILY
  };
  return families;
}

std::unique_ptr<Format> make_format(std::span<const FormatFamily> families, const FormatSpec& spec) {
  for (const FormatFamily& family : families) {
    if (auto format = family.make(spec)) return format;
  }
  return nullptr;
}

const Format& format_of(const FormatSpec& spec) {
  static std::mutex mutex;
  static std::map<std::string, std::unique_ptr<Format>> known;
  const std::lock_guard lock(mutex);
  auto& slot = known[spec.to_string()];
  if (!slot) {
    slot = make_format(format_families(), spec);
    if (!slot) {
      known.erase(spec.to_string());
      throw Error(ErrorKind::usage, fmt::format("unknown format '{}'", spec.to_string()),
                  fmt::format("did you mean {}? nibble formats lists them", nearest_word(spec)));
    }
  }
  return *slot;
}

const Format& format_of(std::string_view word) { return format_of(FormatSpec::parse(word)); }

const Format* format_of_gguf(int id) {
  static const std::map<int, const Format*> by_id = [] {
    std::map<int, const Format*> m;
    for (const FormatFamily& family : format_families()) {
      for (const std::string& word : family.examples()) {
        const Format& f = format_of(word);
        if (f.info().gguf_id >= 0) m.emplace(f.info().gguf_id, &f);
      }
    }
    return m;
  }();
  const auto it = by_id.find(id);
  return it == by_id.end() ? nullptr : it->second;
}

size_t format_bytes(const Format& format, const Shape& shape) {
  size_t n = 0;
  for (const PlaneInfo& p : format.planes(shape)) n += p.bytes;
  return n;
}

void block_pointers(const std::vector<PlaneInfo>& info, std::byte* const* planes, int64_t index,
                    std::byte** out) {
  for (size_t i = 0; i < info.size(); ++i)
    out[i] = planes[i] + static_cast<size_t>(index) * info[i].block_bytes;
}

void decode_range(const QTensor& t, int64_t begin, int64_t n, float* out) {
  decode_range(format_of(t.format), t, begin, n, out);
}

void decode_range(const Format& format, const QTensor& t, int64_t begin, int64_t n, float* out) {
  const auto info = format.planes(t.shape);
  std::vector<std::byte*> base, at(info.size());
  for (size_t i = 0; i < info.size(); ++i) {
    if (i >= t.planes.size() || t.planes[i].bytes.size() < info[i].bytes) {
      fail(ErrorKind::bad_input, "tensor of shape {} in {} lacks bytes in plane '{}'", t.shape.to_string(),
           t.format.to_string(), info[i].name);
    }
    base.push_back(const_cast<std::byte*>(t.planes[i].bytes.data()));
  }
  const int64_t total = t.shape.elements();
  if (begin < 0 || n < 0 || begin > total - n)
    fail(ErrorKind::internal, "decode_range outside of the tensor");
  const int64_t block = format.block(t.shape);
  std::vector<float> scratch;
  for (int64_t i = begin; i < begin + n;) {
    const int64_t b = i / block;
    const int64_t length = std::min(block, total - b * block);
    const int64_t skip = i - b * block;
    const int64_t take = std::min(length - skip, begin + n - i);
    block_pointers(info, base.data(), b, at.data());
    if (skip == 0 && take == length) {
      format.decode(at.data(), length, out + (i - begin));
    } else {
      scratch.resize(static_cast<size_t>(length));
      format.decode(at.data(), length, scratch.data());
      std::copy_n(scratch.data() + skip, take, out + (i - begin));
    }
    i += take;
  }
}

QTensor encode_nearest(const Format& format, const Shape& shape, std::span<const float> x,
                       std::span<const float> importance) {
  if (const std::string why = format.misfit(shape); !why.empty()) {
    fail(ErrorKind::unsupported, "a tensor of shape {} cannot be {}: {}", shape.to_string(),
         format.spec().to_string(), why);
  }
  const auto info = format.planes(shape);
  QTensor t{format.spec(), shape, {}};
  std::vector<std::byte*> base, at(info.size());
  for (const PlaneInfo& p : info) {
    auto buffer = std::make_shared<std::vector<std::byte>>(p.bytes);
    base.push_back(buffer->data());
    t.planes.push_back({p.name, {buffer->data(), buffer->size()}, buffer});
  }
  if (auto pass = format.tensor_pass(shape)) {
    pass->add(x);
    pass->finish(base.data());
  }
  const int64_t total = shape.elements();
  const int64_t block = format.block(shape);
  const int64_t cols = shape.cols();
  std::vector<Code> codes(static_cast<size_t>(std::min(block, total)));
  std::vector<float> weights(importance.empty() ? 0 : codes.size());
  auto params = std::make_unique<Params>();
  for (int64_t b = 0; b * block < total; ++b) {
    const int64_t begin = b * block;
    const int64_t n = std::min(block, total - begin);
    for (int64_t i = 0; i < n && !importance.empty(); ++i) {
      weights[static_cast<size_t>(i)] = importance[static_cast<size_t>((begin + i) % cols)];
    }
    block_pointers(info, base.data(), b, at.data());
    format.fit(x.data() + begin, importance.empty() ? nullptr : weights.data(), n, at.data(), *params);
    format.round(x.data() + begin, 0, n, *params, codes.data(), nullptr);
    format.pack(codes.data(), n, *params, at.data());
  }
  return t;
}

}  // namespace nibble
