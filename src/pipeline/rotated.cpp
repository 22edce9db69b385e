#include "pipeline/rotated.h"

#include <algorithm>
#include <map>

#include "arch/residual.h"
#include "model/activation_note.h"
#include "model/weight_change.h"
#include "ops/activation_scheme.h"
#include "pipeline/made_matrices.h"

namespace nibble {
namespace {

constexpr uint64_t kept_bytes = uint64_t{128} << 20;
constexpr int64_t rows_at_once = 32;
constexpr size_t strip = 16;  ///< columns of a matrix that are turned together: a line of the cache

/// What happens to one tensor, in this order.
struct Turn {
  bool ones = false;                               ///< a gain that its readers took over
  std::shared_ptr<const std::vector<float>> gain;  ///< on the columns; null: none
  /// Turns every run of its size among the columns [first_column, end_column).
  const Rotation* columns = nullptr;
  int64_t first_column = 0, end_column = 0;
  const FastRotation<float>* online = nullptr;  ///< turns all columns: as the model runs, their input too
  /// The same of rows.
  const Rotation* rows = nullptr;
  int64_t first_row = 0, end_row = 0;
  std::string note;
};

class Rotated final : public WeightChange {
 public:
  Rotated(const Checkpoint& model, const RotationWord& word, ThreadPool& pool)
      : model_(model),
        word_(word),
        pool_(pool),
        stream_(residual_stream(model.arch(), model.hparams())),
        residual_(model.hparams().hidden, word.seed),
        head_(model.hparams().head_dim, word.seed + 1),
        whole_(kept_bytes, pool) {
    for (const CanonicalTensor& t : model.tensors()) {
      Turn turn = turn_of(t);
      if (!turn.note.empty()) add(t, std::move(turn));
    }
    if (word.online) require_down_projections();
    // An output matrix that the embedding stands in for as yet.
    if (model.hparams().tied) turns_["output.weight"] = reader(output_gain(), model.hparams().hidden);
  }

  std::string identity() const override { return word_.to_string(); }
  bool touches(const CanonicalTensor& t) const override { return turns_.contains(t.name); }
  std::string note(const CanonicalTensor& t) const override {
    const auto it = turns_.find(t.name);
    return it == turns_.end() ? std::string() : it->second.note;
  }
  uint64_t memory() const noexcept override { return std::min(most_, std::max(kept_bytes, 2 * largest_)); }
  void release(const CanonicalTensor& t) const noexcept override { whole_.release(t.name); }
  std::vector<std::string> turned_inputs() const override {
    std::vector<std::string> names;
    for (const CanonicalTensor& t : model_.tensors()) {
      const auto it = turns_.find(t.name);
      if (it != turns_.end() && it->second.online != nullptr)
        names.push_back(t.name.substr(0, t.name.rfind('.')));
    }
    return names;
  }

  void read_rows(const CanonicalTensor& t, int64_t row, int64_t n, float* out) const override {
    const Turn& turn = turns_.at(t.name);
    const int64_t cols = t.shape.cols();
    if (turn.ones) {
      std::fill_n(out, n * cols, 1.0f);
      return;
    }
    while (n > 0) {
      int64_t count = n;
      if (turn.rows == nullptr || row >= turn.end_row) {
        read_columns(t, turn, row, count, out);
      } else if (row < turn.first_row) {
        count = std::min(n, turn.first_row - row);
        read_columns(t, turn, row, count, out);
      } else {
        const int64_t each = turn.rows->size(), index = (row - turn.first_row) / each;
        const int64_t within = (row - turn.first_row) % each;
        count = std::min(n, each - within);
        const MadeMatrices::Matrix all = whole(t, turn, index);
        std::copy_n(all->begin() + within * cols, count * cols, out);
      }
      row += count;
      n -= count;
      out += count * cols;
    }
  }

 private:
  /// Rows whose columns are turned but which do not mix with each other.
  void read_columns(const CanonicalTensor& t, const Turn& turn, int64_t row, int64_t n, float* out) const {
    const int64_t cols = t.shape.cols();
    const auto pieces = static_cast<size_t>((n + rows_at_once - 1) / rows_at_once);
    pool_.parallel_for(pieces, [&](size_t piece) {
      const int64_t first = static_cast<int64_t>(piece) * rows_at_once;
      const int64_t count = std::min(rows_at_once, n - first);
      float* x = out + first * cols;
      model_.read_rows(t, row + first, count, x);
      for (int64_t r = 0; r < count; ++r) turn_row(turn, x + r * cols, cols);
    });
  }

  static void turn_row(const Turn& turn, float* x, int64_t cols) {
    for (int64_t c = 0; turn.gain != nullptr && c < cols; ++c) x[c] *= (*turn.gain)[static_cast<size_t>(c)];
    if (turn.online != nullptr) turn.online->turn(x);
    if (turn.columns == nullptr) return;
    for (int64_t c = turn.first_column; c < turn.end_column; c += turn.columns->size())
      turn.columns->turn(x + c);
  }

  /// Group `index` of rows that mix with each other.
  MadeMatrices::Matrix whole(const CanonicalTensor& t, const Turn& turn, int64_t index) const {
    const int64_t cols = t.shape.cols(), rows = turn.rows->size(), first = turn.first_row + index * rows;
    const MadeMatrices::Step steps[] = {
        {static_cast<size_t>((rows + rows_at_once - 1) / rows_at_once),
         [&](size_t piece, std::span<float> x) {
           const int64_t row = static_cast<int64_t>(piece) * rows_at_once;
           read_columns(t, turn, first + row, std::min(rows_at_once, rows - row), x.data() + row * cols);
         }},
        {(static_cast<size_t>(cols) + strip - 1) / strip, [&](size_t piece, std::span<float> x) {
           turn.rows->turn_columns(x, piece * strip,
                                   std::min(strip, static_cast<size_t>(cols) - piece * strip));
         }}};
    return whole_.get(t.name, index, static_cast<size_t>(rows * cols), steps);
  }

  // --- what is turned how

  void add(const CanonicalTensor& t, Turn turn) {
    if (!is_plain_float(t.format)) {
      throw Error(ErrorKind::unsupported,
                  fmt::format("{}: {} is quantized already ({}): rotated, it would be rounded a second time",
                              model_.path(), t.name, t.format.to_string()),
                  "start from the original model");
    }
    if (turn.rows != nullptr) {
      const auto bytes = static_cast<uint64_t>(turn.rows->size() * t.shape.cols()) * sizeof(float);
      largest_ = std::max(largest_, bytes);
      most_ += static_cast<uint64_t>(turn.end_row - turn.first_row) * static_cast<uint64_t>(t.shape.cols()) *
               sizeof(float);
    }
    turns_[t.name] = std::move(turn);
  }

  Turn turn_of(const CanonicalTensor& t) {
    const Hparams& h = model_.hparams();
    if (t.role == Role::norm) return norm(t);
    if (t.role == Role::bias) return bias(t);
    if (t.role == Role::output) return reader(output_gain(), t.shape.cols());
    if (t.role == Role::token_embedding || t.role == Role::position_embedding ||
        t.role == Role::type_embedding)
      return reader({}, t.shape.cols());
    for (const ResidualStream::Reader& r : stream_.readers) {
      if (r.role != t.role) continue;
      Turn turn = reader(r.gain.empty() ? "" : fmt::format("blk.{}.{}.weight", t.layer, r.gain), h.hidden);
      if (t.role == Role::attn_v || t.role == Role::attn_qkv) {
        turn.rows = &head_;
        turn.end_row = t.shape.rows();
        turn.first_row = turn.end_row - h.kv_heads * h.head_dim;
      }
      return turn;
    }
    if (std::find(stream_.writers.begin(), stream_.writers.end(), t.role) == stream_.writers.end()) return {};
    Turn turn;
    turn.rows = &residual_;
    turn.end_row = t.shape.rows();
    turn.note = "rotated";
    if (t.role == Role::attn_output) {
      turn.columns = &head_;
      turn.end_column = t.shape.cols();
    }
    if (t.role == Role::ffn_down && word_.online) {
      turn.online = &fixed_rotation(t.shape.cols());
      turn.note += ", its input at run time";
    }
    return turn;
  }

  void require_down_projections() const {
    if (turned_inputs().empty()) {
      throw Error(
          ErrorKind::unsupported,
          fmt::format("{}: rotate:online turns the inputs of down projections, but experts have theirs "
                      "in stacks, whose inputs nibble does not round",
                      model_.path()),
          "--with rotate");
    }
    if (!nibble::turned_inputs(model_).empty()) {
      throw Error(ErrorKind::unsupported,
                  fmt::format("{}: the inputs of its down projections are turned already", model_.path()),
                  "--with rotate");
    }
  }

  std::string output_gain() const { return model_.arch().final_norm ? "output_norm.weight" : ""; }

  Turn reader(const std::string& gain, int64_t cols) {
    Turn turn;
    turn.columns = &residual_;
    turn.end_column = cols;
    turn.note = "rotated";
    if (gain.empty()) return turn;
    std::shared_ptr<const std::vector<float>>& known = gains_[gain];
    if (!known) {
      std::vector<float> values(static_cast<size_t>(cols));
      model_.read_rows(model_.at(gain), 0, 1, values.data());
      known = std::make_shared<const std::vector<float>>(std::move(values));
    }
    turn.gain = known;
    turn.note += fmt::format(", with the gain of {}", gain.substr(0, gain.rfind('.')));
    return turn;
  }

  Turn norm(const CanonicalTensor& t) const {
    const auto names = [&](const ResidualStream::Reader& r) {
      return !r.gain.empty() && t.name == fmt::format("blk.{}.{}.weight", t.layer, r.gain);
    };
    Turn turn;
    turn.ones = t.name == output_gain() || std::any_of(stream_.readers.begin(), stream_.readers.end(), names);
    if (turn.ones) turn.note = "its gain went into what reads it";
    return turn;
  }

  /// Turned as what its matrix makes.
  Turn bias(const CanonicalTensor& t) {
    const CanonicalTensor* matrix = model_.find(t.name.substr(0, t.name.rfind('.')) + ".weight");
    if (matrix == nullptr || matrix->role == Role::norm) return {};
    const Turn whole = turn_of(*matrix);
    Turn turn;
    if (whole.rows == nullptr) return turn;
    turn.columns = whole.rows;
    turn.first_column = whole.first_row;
    turn.end_column = whole.end_row;
    turn.note = "rotated";
    return turn;
  }

  Checkpoint model_;
  RotationWord word_;
  ThreadPool& pool_;
  ResidualStream stream_;
  Rotation residual_, head_;
  std::map<std::string, Turn> turns_;
  std::map<std::string, std::shared_ptr<const std::vector<float>>> gains_;
  uint64_t largest_ = 0, most_ = 0;
  mutable MadeMatrices whole_;
};

}  // namespace

Checkpoint rotated(const Checkpoint& model, const RotationWord& word, ThreadPool& pool) {
  return with_change(model, std::make_shared<Rotated>(model, word, pool), true);
}

Checkpoint recipe_source(const Checkpoint& model, const Recipe& recipe, ThreadPool& pool) {
  const std::optional<RotationWord> word = recipe.rotation();
  if (word && word->online && recipe.activations && recipe.activations->integer_only)
    throw Error(ErrorKind::usage,
                "inputs are not turned in whole numbers: integer-only knows no rotate:online",
                "--with rotate");
  return word ? rotated(model, *word, pool) : model;
}

}  // namespace nibble
