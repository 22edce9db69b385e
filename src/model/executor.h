#pragma once

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/huge_memory.h"
#include "model/program.h"

namespace nibble {

/// Which tokens of a batch a result is wanted for.
enum class Want : uint8_t { none, last, all };

/// Runs a program. Keeps the memory of its values between runs, so use one per thread of work. The program
/// and the pool must outlive it.
class Executor {
 public:
  Executor(const Program& program, ThreadPool& pool);

  /// Appends tokens to the cached sequence and returns one row of logits (or hidden states, for an encoder)
  /// for each wanted token; valid until the next run. Long batches are cut, which changes no bit of the
  /// result. The cache is as before if this throws: Error{usage} when the tokens do not fit into the cache,
  /// Error{bad_input} for tokens that the model does not have and, naming where they first appear, for NaN or
  /// infinite values.
  std::span<const float> run(std::span<const int32_t> tokens, KvCache& cache, Want want);

  /// Tokens that one of several sequences goes on with.
  struct Part {
    std::span<const int32_t> tokens;
    KvCache* cache = nullptr;
    Want want = Want::last;
  };
  /// The same for several sequences at once, which share each reading of the weights: the rows of the first
  /// part, then of the second, and so on. Caches must be different ones that keep things alike. With exact
  /// products the result of a sequence is what it would be alone, to the bit. All caches are as before if
  /// this throws.
  std::span<const float> run(std::span<const Part> parts);

  /// The same for an encoder: a whole sequence at once, hidden states of all its tokens.
  std::span<const float> encode(std::span<const int32_t> tokens, std::span<const int32_t> token_types = {});

  /// Runs a part of a model (BuildOptions::part) over a whole sequence: `input` holds a row per token, or
  /// nothing where the part begins with the embedding. Returns a row per token. `observer` may be null; with
  /// `want_result` false what it does not need is left out, and the return is empty. Both returns are valid
  /// until the next call. Programs of Precision::fast keep keys and values of such a pass in f16. Throws like
  /// run().
  std::span<const float> run_part(std::span<const int32_t> tokens, std::span<const float> input,
                                  InputObserver* observer, bool want_result = true);

  /// Columns of a row of the result.
  int64_t result_cols() const noexcept;
  const Program& program() const noexcept { return program_; }

 private:
  /// How many nodes from `first` on do the same to the same value and are best done together.
  size_t together(size_t first, size_t end) const;
  /// Whether nodes n and n + 1 go together and n + 2 is an activation of one times the other, which nobody
  /// else reads.
  bool gated(size_t n) const;
  void run_batch(RunContext& context, std::span<const float> input, bool want_result, bool check_all);
  Value value(int slot, const RunContext& context);
  struct Batch {
    std::span<const Part> parts;
    std::span<const int32_t> types;  ///< of the tokens of the one part; empty: all 0
    std::span<const float> input;
    InputObserver* observer = nullptr;
    bool want_result = true;
  };
  /// Rows of the result, valid until the next call; none unless they are wanted.
  Value batch(const Batch& b);

  /// Keys and values that no later call reads.
  KvCache& passing(int64_t rows);

  const Program& program_;
  ThreadPool& pool_;
  std::optional<KvCache> passing_;
  std::vector<int> buffer_of_;  ///< by slot
  std::vector<int> readers_;    ///< by slot; the caller counts, too
  /// In large pages: products write lines of many rows, each in a page of its own otherwise.
  struct Buffer {
    std::shared_ptr<std::byte> memory;
    size_t floats = 0;
  };
  HugeMemory memory_;
  std::vector<Buffer> buffers_;
  std::vector<std::vector<int32_t>> exponents_;  ///< by buffer, of rows of whole numbers
  std::vector<float> result_;
};

}  // namespace nibble
