#include "cli/text_input.h"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <iostream>
#include <sstream>

#include "base/error.h"

namespace nibble::cli {

std::string read_text(const std::string& file) {
  std::ostringstream all;
  if (file == "-") {
    all << std::cin.rdbuf();
    return all.str();
  }
  std::ifstream in(file, std::ios::binary);
  if (!in) fail(ErrorKind::io, "cannot open {}: {}", file, std::strerror(errno));
  all << in.rdbuf();
  if (in.bad()) fail(ErrorKind::io, "cannot read {}", file);
  return all.str();
}

std::string text_from(const std::string& text, const std::string& file) {
  if (!file.empty()) return read_text(file);
  if (text.empty())
    throw Error(ErrorKind::usage, "no text is given",
                "write it on the command line or name a file with --file");
  return text;
}

}  // namespace nibble::cli
