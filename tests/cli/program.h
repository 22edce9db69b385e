#pragma once

#include <string>
#include <vector>

namespace nibble::test {

struct Outcome {
  int status = -1;  ///< exit code; 128 + signal when killed
  std::string out, err;
};

/// Runs the built program with these arguments, standard input empty.
Outcome run_program(const std::vector<std::string>& arguments);

}  // namespace nibble::test
