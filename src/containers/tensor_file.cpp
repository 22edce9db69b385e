#include "containers/tensor_file.h"

#include "base/error.h"

namespace nibble {

const QTensor& StoredTensor::weights() const {
  if (!has_weights()) {
    fail(ErrorKind::unsupported, "{}: tensor '{}': {}", file, name,
         unsupported.empty() ? fmt::format("its type {} holds no weights that nibble can read", type)
                             : unsupported);
  }
  return view;
}

TensorFile::TensorFile(std::string kind, std::string path, std::vector<MappedFile> files,
                       TensorListing listing)
    : kind_(std::move(kind)), path_(std::move(path)), files_(std::move(files)), listing_(std::move(listing)) {
  for (size_t i = 0; i < listing_.tensors.size(); ++i) by_name_.emplace(listing_.tensors[i].name, i);
}

const StoredTensor* TensorFile::find(std::string_view name) const {
  const auto it = by_name_.find(name);
  return it == by_name_.end() ? nullptr : &listing_.tensors[it->second];
}

const StoredTensor& TensorFile::at(std::string_view name) const {
  const StoredTensor* t = find(name);
  if (t == nullptr) fail(ErrorKind::bad_input, "{}: expected a tensor '{}', found none", path_, name);
  return *t;
}

std::vector<std::string> TensorFile::files() const {
  std::vector<std::string> paths;
  for (const MappedFile& f : files_) paths.push_back(f.path());
  return paths;
}

void TensorFile::release(std::span<const std::byte> bytes) const noexcept {
  for (const MappedFile& f : files_) {
    const auto whole = f.data();
    if (bytes.data() >= whole.data() && bytes.data() < whole.data() + whole.size()) {
      f.release(static_cast<size_t>(bytes.data() - whole.data()), bytes.size());
      return;
    }
  }
}

void TensorFile::release(const StoredTensor& tensor) const noexcept {
  if (!tensor.raw.bytes.empty()) release(tensor.raw.bytes);
  for (const Plane& p : tensor.view.planes) release(p.bytes);
}

}  // namespace nibble
