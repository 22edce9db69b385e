#pragma once

#include <span>
#include <string>
#include <vector>

#include "model/program.h"

namespace nibble {

/// A value that matrices read, and whose channels can be divided by positive scales without changing the
/// model's function: the readers' columns are multiplied by them, and what makes the value divides. Makers
/// are the gain of a norm, or the rows of the matrix that only a linear map or a product lies behind: an
/// MLP's up projection for its down projection, the value rows for the attention output where every query
/// head has key and value rows of its own.
struct ScalableInput {
  int64_t cols = 0;
  std::vector<std::string> readers;  ///< canonical names of all matrices that read it
  std::string maker;                 ///< a gain, or a matrix
  std::string maker_bias;            ///< divided as well; empty: none
  int64_t maker_row = 0;             ///< row of the maker that makes channel 0; a gain has one column
};

/// All of a program, in its order. Values that something else reads too (a router beside experts counts as a
/// reader; the rows of a looked-up embedding do not) are left out.
std::vector<ScalableInput> scalable_inputs(const Program& program);

}  // namespace nibble
