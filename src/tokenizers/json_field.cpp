#include "tokenizers/json_field.h"

namespace nibble {

Json parse_json_tree(std::string_view text, const std::string& name) {
  constexpr size_t deepest = 100;
  size_t depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\')
        ++i;
      else if (c == '"')
        in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      if (++depth > deepest)
        fail(ErrorKind::bad_input, "{}: nested deeper than {} at byte {}", name, deepest, i);
    } else if ((c == '}' || c == ']') && depth > 0) {
      --depth;
    }
  }
  try {
    return Json::parse(text);
  } catch (const Json::parse_error& error) {
    fail(ErrorKind::bad_input, "{}: invalid JSON at byte {}", name, error.byte);
  } catch (const Json::exception& error) {
    fail(ErrorKind::bad_input, "{}: invalid JSON: {}", name, error.what());
  }
}

}  // namespace nibble
