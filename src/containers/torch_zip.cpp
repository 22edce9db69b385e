#include "containers/torch_zip.h"

#include <map>
#include <set>

#include "base/error.h"
#include "containers/listing.h"
#include "containers/pickle.h"
#include "containers/zip.h"

namespace nibble {
namespace {

constexpr size_t deepest = 32, longest_name = 1024;

class TorchReader {
 public:
  TorchReader(std::span<const std::byte> bytes, const std::string& file, std::shared_ptr<const void> owner)
      : bytes_(bytes), file_(file), owner_(std::move(owner)), entries_(parse_zip(bytes, file)) {
    for (const ZipEntry& e : entries_) by_name_.emplace(e.name, &e);
  }

  TensorListing read() {
    find_root();
    const ZipEntry& program = *by_name_.at(root_ + "data.pkl");
    const Plane text = read_entry(bytes_, program, file_, owner_);
    pickle_ = run_pickle(text.bytes, fmt::format("{} ({})", file_, program.name));
    visits_left_ = 4 * pickle_.values.size() + 16;
    collect("", pickle_.root, 0);
    return std::move(listing_);
  }

 private:
  void find_root() {
    const ZipEntry* found = nullptr;
    for (const ZipEntry& e : entries_) {
      if (e.name == "data.pkl" || e.name.ends_with("/data.pkl")) {
        if (found != nullptr) fail(ErrorKind::bad_input, "{}: '{}' and '{}'", file_, found->name, e.name);
        found = &e;
      }
    }
    if (found == nullptr) {
      fail(ErrorKind::bad_input, "{}: a zip archive without data.pkl: not saved by torch.save", file_);
    }
    root_ = found->name.substr(0, found->name.size() - std::string_view("data.pkl").size());
    if (by_name_.count(root_ + "constants.pkl") != 0) {
      throw Error(ErrorKind::unsupported,
                  fmt::format("{}: a TorchScript program, not a file of weights", file_),
                  "save the module's state_dict instead");
    }
    if (const auto it = by_name_.find(root_ + "byteorder"); it != by_name_.end()) {
      const Plane order = read_entry(bytes_, *it->second, file_, owner_);
      const std::string_view said(reinterpret_cast<const char*>(order.bytes.data()), order.bytes.size());
      if (said != "little") fail(ErrorKind::unsupported, "{}: expected little-endian storages", file_);
    }
  }

  void collect(const std::string& path, PickleRef ref, size_t depth) {
    if (depth > deepest)
      fail(ErrorKind::bad_input, "{}: '{}' is nested more than {} deep", file_, path, deepest);
    if (visits_left_-- == 0)
      fail(ErrorKind::bad_input, "{}: its values refer to each other without end", file_);
    if (path.size() > longest_name) {
      fail(ErrorKind::bad_input, "{}: a tensor's name of {} bytes, more than {}", file_, path.size(),
           longest_name);
    }
    const PickleValue& v = pickle_.values[ref];
    const auto child = [&](const std::string& name) { return path.empty() ? name : path + "." + name; };
    if (const auto* tensor = std::get_if<PickleTensor>(&v)) {
      add_tensor(path.empty() ? "tensor" : path, *tensor);
    } else if (const auto* dict = std::get_if<PickleDict>(&v)) {
      for (const auto& [key, value] : dict->items) collect(child(key_name(key)), value, depth + 1);
    } else if (const auto* list = std::get_if<PickleList>(&v)) {
      for (size_t i = 0; i < list->items.size(); ++i)
        collect(child(std::to_string(i)), list->items[i], depth + 1);
    } else if (const auto* tuple = std::get_if<PickleTuple>(&v)) {
      for (size_t i = 0; i < tuple->items.size(); ++i) {
        collect(child(std::to_string(i)), tuple->items[i], depth + 1);
      }
    } else if (const auto* b = std::get_if<bool>(&v)) {
      listing_.metadata.set(path, *b);
    } else if (const auto* i = std::get_if<int64_t>(&v)) {
      listing_.metadata.set(path, *i);
    } else if (const auto* d = std::get_if<double>(&v)) {
      listing_.metadata.set(path, *d);
    } else if (const auto* s = std::get_if<std::string>(&v)) {
      listing_.metadata.set(path, *s);
    }
  }

  std::string key_name(PickleRef ref) const {
    const PickleValue& v = pickle_.values[ref];
    if (const auto* s = std::get_if<std::string>(&v)) return *s;
    if (const auto* i = std::get_if<int64_t>(&v)) return std::to_string(*i);
    fail(ErrorKind::unsupported, "{}: a dict whose keys are neither strings nor integers", file_);
  }

  // The bytes of a storage; deflated ones are unpacked once.
  const Plane& storage(const PickleStorage& s, const ZipEntry& entry) {
    auto [it, fresh] = storages_.try_emplace(s.key);
    if (fresh) it->second = read_entry(bytes_, entry, file_, owner_);
    return it->second;
  }

  const ZipEntry& entry_of(const std::string& name, const PickleStorage& s) const {
    const auto it = by_name_.find(root_ + "data/" + s.key);
    if (it == by_name_.end()) {
      fail(ErrorKind::bad_input, "{}: tensor '{}': expected an entry '{}data/{}', found none", file_, name,
           root_, s.key);
    }
    return *it->second;
  }

  void add_tensor(const std::string& name, const PickleTensor& t) {
    check_word(name, "a tensor's name", file_, 0);
    if (!names_.insert(name).second) fail(ErrorKind::bad_input, "{}: tensor '{}' occurs twice", file_, name);
    const ZipEntry& entry = entry_of(name, t.storage);
    const auto width = static_cast<uint64_t>(dtype_size(t.dtype));
    const uint64_t held = entry.size / width;
    const uint64_t stored_width = t.storage.typed ? dtype_size(t.storage.dtype) : 1;
    if (static_cast<uint64_t>(t.storage.elements) > entry.size / stored_width) {
      fail(ErrorKind::bad_input,
           "{}: offset {}: tensor '{}' expects a storage of {} elements, found {} bytes", file_, entry.offset,
           name, t.storage.elements, entry.size);
    }
    StoredTensor out;
    out.name = name;
    out.shape = Shape(t.size);
    out.dtype = t.dtype;
    out.type = std::string(dtype_name(t.dtype));
    out.file = file_;
    const auto elements = static_cast<uint64_t>(checked_elements(out.shape, name, file_, entry.offset));
    const uint64_t last = elements == 0 ? 0 : last_element(name, t, entry);
    if (t.offset < 0 || (elements > 0 && (static_cast<uint64_t>(t.offset) > held ||
                                          last >= held - static_cast<uint64_t>(t.offset)))) {
      fail(ErrorKind::bad_input,
           "{}: offset {}: tensor '{}' of shape {} from element {} on leaves its storage of {}", file_,
           entry.offset, name, out.shape.to_string(), t.offset, held);
    }
    out.offset = entry.offset + (elements == 0 ? 0 : static_cast<uint64_t>(t.offset) * width);
    const Plane& whole = storage(t.storage, entry);
    if (elements == 0) {
      out.raw = {"", {}, owner_};
    } else if (is_contiguous(t)) {
      out.raw = {"", whole.bytes.subspan(static_cast<uint64_t>(t.offset) * width, elements * width),
                 whole.owner};
    } else {
      out.raw = in_order(name, t, whole, elements, width);
    }
    out.view = plain_view(t.dtype, out.shape, out.raw);
    listing_.tensors.push_back(std::move(out));
  }

  uint64_t last_element(const std::string& name, const PickleTensor& t, const ZipEntry& entry) const {
    uint64_t last = 0;
    for (size_t d = 0; d < t.size.size(); ++d) {
      if (t.stride[d] < 0 || t.stride[d] > most_elements) {
        fail(ErrorKind::bad_input, "{}: offset {}: tensor '{}' has the impossible stride {}", file_,
             entry.offset, name, t.stride[d]);
      }
      const auto step = static_cast<__uint128_t>(t.size[d] - 1) * static_cast<uint64_t>(t.stride[d]) + last;
      if (step > static_cast<uint64_t>(most_elements)) return UINT64_MAX;
      last = static_cast<uint64_t>(step);
    }
    return last;
  }

  static bool is_contiguous(const PickleTensor& t) {
    int64_t expected = 1;
    for (size_t d = t.size.size(); d-- > 0;) {
      if (t.size[d] != 1 && t.stride[d] != expected) return false;
      expected *= t.size[d];
    }
    return true;
  }

  Plane in_order(const std::string& name, const PickleTensor& t, const Plane& whole, uint64_t elements,
                 uint64_t width) {
    // An expanded tensor shows the same elements many times over: its size says nothing about the file's.
    copied_ += elements * width;
    if (elements * width > whole.bytes.size() || copied_ > 2 * bytes_.size() + whole.bytes.size()) {
      throw Error(ErrorKind::unsupported,
                  fmt::format("{}: tensor '{}' with strides that repeat elements", file_, name),
                  "save it with .contiguous()");
    }
    auto out = std::make_shared<std::vector<std::byte>>(elements * width);
    const size_t rank = t.size.size();
    std::vector<int64_t> at(rank, 0);
    const std::byte* source = whole.bytes.data() + static_cast<uint64_t>(t.offset) * width;
    for (uint64_t i = 0; i < elements; ++i) {
      uint64_t from = 0;
      for (size_t d = 0; d < rank; ++d) from += static_cast<uint64_t>(at[d] * t.stride[d]);
      std::memcpy(out->data() + i * width, source + from * width, width);
      for (size_t d = rank; d-- > 0;) {
        if (++at[d] < t.size[d]) break;
        at[d] = 0;
      }
    }
    return {"", {out->data(), out->size()}, out};
  }

  std::span<const std::byte> bytes_;
  const std::string& file_;
  std::shared_ptr<const void> owner_;
  std::vector<ZipEntry> entries_;
  std::map<std::string, const ZipEntry*, std::less<>> by_name_;
  std::string root_;
  Pickle pickle_;
  std::map<std::string, Plane> storages_;
  std::set<std::string> names_;
  uint64_t copied_ = 0;
  size_t visits_left_ = 0;
  TensorListing listing_;
};

}  // namespace

TensorListing parse_torch(std::span<const std::byte> bytes, const std::string& file,
                          const std::shared_ptr<const void>& owner) {
  return TorchReader(bytes, file, owner).read();
}

TensorFile open_torch(const std::string& path) {
  const MappedFile file(path);
  TensorListing listing = parse_torch(file.data(), path, std::make_shared<MappedFile>(file));
  return TensorFile("torch", path, {file}, std::move(listing));
}

std::string legacy_torch(std::string_view beginning) {
  // A pickled 10-byte integer opens the stream of PyTorch 0.2 to 1.5.
  constexpr std::string_view stream("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19", 14);
  if (beginning.starts_with(stream)) return "a torch file as PyTorch wrote them before 1.6";
  if (beginning.size() >= 262 && beginning.substr(257, 5) == "ustar")
    return "a tar archive (PyTorch before 0.2?)";
  if (beginning.size() > 2 && beginning[0] == '\x80' && beginning[1] >= 2 && beginning[1] <= 5) {
    return "a bare pickle";
  }
  return {};
}

}  // namespace nibble
