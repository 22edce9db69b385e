#include "methods/transforms/channel_transform.h"

namespace nibble {

#define TRANSFORM(name) const ChannelTransform& name##_transform();
#include "methods/transforms/list.inc"
#undef TRANSFORM

std::span<const ChannelTransform* const> channel_transforms() {
  static const ChannelTransform* const list[] = {
#define TRANSFORM(name) &name##_transform(),
#include "methods/transforms/list.inc"
#undef TRANSFORM
  };
  return list;
}

const ChannelTransform* find_channel_transform(std::string_view name) {
  for (const ChannelTransform* t : channel_transforms()) {
    if (t->name() == name) return t;
  }
  return nullptr;
}

}  // namespace nibble
