#include "tokenizers/sentencepiece.h"

#include <cmath>
#include <optional>
#include <unordered_set>

#include "base/error.h"
#include "tokenizers/checks.h"
#include "tokenizers/protobuf.h"
#include "tokenizers/vocab.h"

namespace nibble {

namespace {

// Field numbers of sentencepiece_model.proto.
enum ModelField { pieces = 1, trainer = 2, normalizer = 3, denormalizer = 5 };
enum PieceField { piece_text = 1, piece_score = 2, piece_type = 3 };
enum TrainerField {
  model_type = 3,
  suffix_spaces = 24,
  byte_fallback = 35,
  unk_id = 40,
  bos_id = 41,
  eos_id = 42,
  pad_id = 43,
  unk_surface = 44,
  unk_piece = 45,
  bos_piece = 46,
  eos_piece = 47,
  pad_piece = 48
};
enum NormalizerField { map = 2, dummy_prefix = 3, squeeze = 4, escape = 5 };

void read_piece(ProtoReader reader, const std::string& name, TokenizerData& data) {
  std::string text;
  float score = 0;
  uint64_t type = 1;
  while (reader.next()) {
    switch (reader.field()) {
      case piece_text:
        text = reader.bytes();
        break;
      case piece_score:
        score = reader.number();
        break;
      case piece_type:
        type = reader.integer();
        break;
      default:
        break;
    }
  }
  const size_t id = data.tokens.size();
  if (text.empty()) fail(ErrorKind::bad_input, "{}: piece {} is empty", name, id);
  if (type < 1 || type > 6)
    fail(ErrorKind::bad_input, "{}: piece {} has type {}, expected 1 to 6", name, id, type);
  if (!std::isfinite(score)) fail(ErrorKind::bad_input, "{}: the score of piece {} is not finite", name, id);
  data.tokens.push_back(std::move(text));
  data.scores.push_back(score);
  data.types.push_back(static_cast<TokenType>(type));
}

struct SpecialPieces {
  std::string unk = "<unk>", bos = "<s>", eos = "</s>", pad = "<pad>";
};

void read_trainer(ProtoReader reader, const std::string& name, TokenizerData& data, SpecialPieces& special) {
  while (reader.next()) {
    switch (reader.field()) {
      case model_type:
        switch (reader.integer()) {
          case 1:
            data.model = TokenizerModel::unigram;
            break;
          case 2:
            data.model = TokenizerModel::spm_bpe;
            break;
          case 3:
            data.model = TokenizerModel::spm_word;
            break;
          case 4:
            data.model = TokenizerModel::spm_char;
            break;
          default:
            fail(ErrorKind::unsupported, "{}: model type {} is not one of unigram, BPE, word, char", name,
                 reader.integer());
        }
        break;
      case suffix_spaces:
        data.whitespace_as_suffix = reader.boolean();
        break;
      case byte_fallback:
        data.byte_fallback = reader.boolean();
        break;
      case unk_surface:
        data.unk_surface = reader.bytes();
        break;
      case unk_piece:
        special.unk = reader.bytes();
        break;
      case bos_piece:
        special.bos = reader.bytes();
        break;
      case eos_piece:
        special.eos = reader.bytes();
        break;
      case pad_piece:
        special.pad = reader.bytes();
        break;
      default:
        break;
    }
  }
}

void read_normalizer(ProtoReader reader, TokenizerData& data) {
  while (reader.next()) {
    switch (reader.field()) {
      case map:
        data.charsmap = reader.bytes();
        break;
      case dummy_prefix:
        data.add_dummy_prefix = reader.boolean();
        break;
      case squeeze:
        data.remove_extra_whitespaces = reader.boolean();
        break;
      case escape:
        data.escape_whitespaces = reader.boolean();
        break;
      default:
        break;
    }
  }
}

// The ids in the trainer settings are those asked for; what counts is which pieces the file holds.
void find_special(const std::string& name, const SpecialPieces& special, TokenizerData& data) {
  std::unordered_set<std::string_view> seen;
  const auto control = [&](const std::string& piece, size_t id) {
    return data.types[id] == TokenType::control && data.tokens[id] == piece;
  };
  for (size_t i = 0; i < data.tokens.size(); ++i) {
    const auto id = static_cast<int32_t>(i);
    if (!seen.insert(data.tokens[i]).second)
      fail(ErrorKind::bad_input, "{}: piece {} '{}' occurs twice", name, i, printable(data.tokens[i]));
    if (data.types[i] == TokenType::unknown) {
      if (data.unk >= 0)
        fail(ErrorKind::bad_input, "{}: pieces {} and {} are both unknown", name, data.unk, i);
      data.unk = id;
    }
    if (control(special.bos, i)) data.bos = id;
    if (control(special.eos, i)) data.eos = id;
    if (control(special.pad, i)) data.pad = id;
  }
  if (data.unk < 0) fail(ErrorKind::bad_input, "{}: no piece has the type unknown", name);
}

}  // namespace

TokenizerData read_sentencepiece(std::string_view bytes, const std::string& name) {
  TokenizerData data;
  data.source = TokenizerSource::sentencepiece;
  data.model = TokenizerModel::unigram;  // the proto's default
  data.remove_extra_whitespaces = true;  // likewise
  SpecialPieces special;
  ProtoReader reader(bytes, 0, name);
  while (reader.next()) {
    switch (reader.field()) {
      case pieces:
        read_piece(reader.message(), name, data);
        break;
      case trainer:
        read_trainer(reader.message(), name, data, special);
        break;
      case normalizer:
        read_normalizer(reader.message(), data);
        break;
      case denormalizer: {
        TokenizerData rules;
        read_normalizer(reader.message(), rules);
        if (!rules.charsmap.empty())
          fail(ErrorKind::unsupported, "{}: rules for changing decoded text (denormalizer_spec)", name);
        break;
      }
      default:
        break;
    }
  }
  if (data.tokens.empty()) fail(ErrorKind::bad_input, "{}: no pieces; not a sentencepiece model", name);
  find_special(name, special, data);
  if (data.byte_fallback) {
    const Vocab vocab(data);
    for (size_t byte = 0; byte < 256; ++byte) {
      const int32_t id = vocab.bytes()[byte];
      if (id < 0 || data.types[static_cast<size_t>(id)] != TokenType::byte)
        fail(ErrorKind::bad_input, "{}: byte fallback without a piece <0x{:02X}> of type byte", name, byte);
    }
  }
  data.add_bos = data.bos >= 0;
  data.add_eos = data.bos < 0 && data.eos >= 0;  // T5 and its kin
  return data;
}

}  // namespace nibble
