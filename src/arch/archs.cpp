#include <algorithm>
#include <array>

#include "arch/arch.h"

namespace nibble {

#define ARCH(name) const Arch& name##_arch();
#include "arch/list.inc"
#undef ARCH

std::span<const Arch* const> archs() {
#define ARCH(name) &name##_arch(),
  static const std::array all{
#include "arch/list.inc"
  };
#undef ARCH
  return all;
}

const Arch* arch_of_gguf(std::string_view name) {
  for (const Arch* arch : archs()) {
    if (!arch->gguf.empty() && arch->gguf == name) return arch;
  }
  return nullptr;
}

const Arch* arch_of_hf(const Meta& config) {
  const auto lists = [](const std::vector<std::string_view>& names, const std::string& name) {
    return std::find(names.begin(), names.end(), name) != names.end();
  };
  if (const MetaValue* v = config.find("architectures")) {
    if (const auto* classes = std::get_if<std::vector<std::string>>(v)) {
      for (const std::string& name : *classes) {
        for (const Arch* arch : archs()) {
          if (lists(arch->hf_classes, name)) return arch;
        }
      }
    }
  }
  if (const auto type = config.text("model_type")) {
    for (const Arch* arch : archs()) {
      if (lists(arch->hf_types, *type)) return arch;
    }
  }
  return nullptr;
}

}  // namespace nibble
