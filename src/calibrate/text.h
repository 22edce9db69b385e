#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "calibrate/layer_walk.h"

namespace nibble {

class Tokenizer;

/// Which text to calibrate on, and how much of it.
struct CalibrationChoice {
  std::string source;     ///< a text file, a .jsonl file (the field "text" of every line), a folder of such
                          ///< files; empty: text that the model itself writes
  int64_t samples = 128;  ///< sequences; 0: all there are
  int64_t length = 0;     ///< tokens of a sequence; 0: 512, or what the model was trained on if that is less
  uint64_t seed = 0;      ///< 0: the first sequences of the text; else this seed draws them
  bool fast = false;      ///< CalibrationText::precision
};

/// Sequences to calibrate on, and what tells of them.
struct CalibrationText {
  std::vector<Sequence> sequences;
  int64_t length = 0;
  std::string description;  ///< for people: "128 sequences of 512 tokens of wiki.txt"
  std::string source;       ///< name of the text; empty: the model wrote it
  std::string hash;         ///< of all tokens
  /// Of the products that statistics come from; those of Precision::fast depend on the machine's level.
  Precision precision = Precision::exact;
  /// What statistics of this text depend on.
  std::string identity() const;
  int64_t tokens() const noexcept;
};

/// Reads and cuts a text into sequences of equal length, each beginning with the beginning-of-sequence token
/// where the tokenizer adds one; or lets the model write it (temperature 1, exact products: the same text on
/// every machine). `step` is called after each written sequence. Throws Error{io, bad_input}: no such file,
/// no UTF-8, a line of JSONL without "text", a text shorter than one sequence; Error{usage} for a length
/// below 2 or above what the model can read.
CalibrationText calibration_text(
    const Checkpoint& model, const CalibrationChoice& choice, ThreadPool& pool,
    const std::function<void()>& step = [] {});

/// Length that a choice stands for.
int64_t calibration_length(const Checkpoint& model, const CalibrationChoice& choice);

}  // namespace nibble
