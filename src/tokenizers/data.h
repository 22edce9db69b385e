#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace nibble {

/// Kinds of vocabulary entries, numbered as in GGUF (`tokenizer.ggml.token_type`) and sentencepiece.
enum class TokenType : int32_t {
  undefined = 0,
  normal = 1,
  unknown = 2,       ///< stands for text the vocabulary cannot express
  control = 3,       ///< never comes from text, has no surface: <s>, </s>, [CLS]
  user_defined = 4,  ///< always cut out of the text as a whole
  unused = 5,
  byte = 6,  ///< <0x00> … <0xFF>: one byte of text that no other piece covers
};

/// How text becomes pieces.
enum class TokenizerModel {
  spm_bpe,     ///< sentencepiece BPE: merges the pair whose piece has the best score
  spm_char,    ///< sentencepiece, one code point per piece
  spm_word,    ///< sentencepiece, one whitespace-delimited word per piece
  unigram,     ///< the best-scoring segmentation (Kudo 2018)
  bpe,         ///< ranked merges within pre-tokenized words (Sennrich 2016; GPT-2)
  word_piece,  ///< greedy longest match within words (BERT)
  word_level,  ///< one entry per pre-tokenized word
};

/// Where a vocabulary comes from. The reference programs differ in detail, and nibble follows each for its
/// own files.
enum class TokenizerSource { sentencepiece, huggingface, gguf };

enum class NormalizerKind {
  nfc,
  nfd,
  nfkc,
  nfkd,
  lowercase,
  strip_accents,
  bert,
  prepend,
  replace,
  strip,
  precompiled,
  nmt,
  byte_level
};

/// One step of a tokenizer.json normalizer. Sequences are flattened.
struct NormalizerStep {
  NormalizerKind kind = NormalizerKind::nfc;
  std::string pattern;      ///< replace: what to look for
  bool regex = false;       ///< replace: `pattern` is a regular expression
  std::string content;      ///< replace, prepend: what to put there; precompiled: the character map
  bool left = false;        ///< strip
  bool right = false;       ///< strip
  bool clean_text = false;  ///< bert: drop control characters, make every whitespace a space
  bool chinese = false;     ///< bert: spaces around CJK ideographs
  bool accents = false;     ///< bert: decompose and drop combining marks
  bool lowercase = false;   ///< bert
};

enum class PreTokenizerKind {
  byte_level,
  split,
  digits,
  whitespace,
  whitespace_split,
  metaspace,
  bert,
  punctuation,
  delimiter,
  digit_triples  ///< not in tokenizer.json: runs of digits in threes, counted from the right
};
enum class SplitBehavior { isolated, removed, merged_with_previous, merged_with_next, contiguous };
enum class PrependScheme { always, first, never };

/// One step of a tokenizer.json pre-tokenizer. Sequences are flattened.
struct PreTokenizerStep {
  PreTokenizerKind kind = PreTokenizerKind::byte_level;
  std::string pattern;  ///< split
  bool regex = false;   ///< split: `pattern` is a regular expression
  SplitBehavior behavior = SplitBehavior::isolated;
  bool invert = false;                            ///< split: the matches are what is kept
  bool individual = false;                        ///< digits: each by itself
  bool add_prefix_space = false;                  ///< byte_level
  bool use_regex = true;                          ///< byte_level: split with the GPT-2 expression first
  std::string replacement;                        ///< metaspace, delimiter: one character
  PrependScheme prepend = PrependScheme::always;  ///< metaspace
  bool split = true;                              ///< metaspace: cut before every replacement character
};

enum class DecoderKind { byte_level, word_piece, metaspace, byte_fallback, fuse, strip, replace, bpe };

/// One step of a tokenizer.json decoder. Sequences are flattened.
struct DecoderStep {
  DecoderKind kind = DecoderKind::fuse;
  std::string pattern;   ///< replace (plain text); strip: the character
  std::string content;   ///< replace; word_piece: continuation prefix; bpe: word suffix
  size_t start = 0;      ///< strip: at most this many in front
  size_t stop = 0;       ///< strip: at most this many at the end
  bool cleanup = false;  ///< word_piece: no space before punctuation
  PrependScheme prepend = PrependScheme::always;  ///< metaspace
};

/// An entry that is looked for in the text before the model sees it (tokenizer.json `added_tokens`).
struct AddedToken {
  int32_t id = 0;
  std::string content;
  bool single_word = false;  ///< only between word borders
  bool lstrip = false;       ///< swallows whitespace on its left
  bool rstrip = false;       ///< swallows whitespace on its right
  bool normalized = false;   ///< looked for after normalization instead of before
  bool special = false;      ///< a control token: left out of decoded text
};

/// Everything that defines a tokenizer, as data. Every loader produces one, and the GGUF export reads one.
struct TokenizerData {
  TokenizerSource source = TokenizerSource::sentencepiece;
  TokenizerModel model = TokenizerModel::spm_bpe;

  std::vector<std::string> tokens;                          ///< by id, as spelled in the file
  std::vector<float> scores;                                ///< by id, or empty where the scheme has none
  std::vector<TokenType> types;                             ///< by id
  std::vector<std::pair<std::string, std::string>> merges;  ///< bpe: best first

  std::string pre;  ///< GGUF name of the pre-tokenizer (`tokenizer.ggml.pre`); empty if there is none

  // Special ids; -1 where there is none.
  int32_t bos = -1, eos = -1, unk = -1, pad = -1, sep = -1, cls = -1, mask = -1, eot = -1;
  bool add_bos = false, add_eos = false;
  std::vector<int32_t> prefix, suffix;  ///< what `add_special` puts before and after the text

  // sentencepiece normalizer, also GGUF's.
  std::string charsmap;  ///< precompiled_charsmap: double-array trie and replacement strings
  bool add_dummy_prefix = true;
  bool remove_extra_whitespaces = false;
  bool escape_whitespaces = true;
  bool whitespace_as_suffix = false;
  bool byte_fallback = false;
  std::string unk_surface = " \xe2\x81\x87 ";  ///< what decoding writes for the unknown token

  // tokenizer.json pipeline. Also used for GGUF byte-level BPE.
  std::vector<NormalizerStep> normalizers;
  std::vector<PreTokenizerStep> pre_tokenizers;
  std::vector<DecoderStep> decoders;
  std::vector<AddedToken> added;
  std::string continuing_prefix;  ///< bpe, word_piece: mark of pieces inside a word
  std::string word_suffix;        ///< bpe: mark of pieces that end a word
  bool fuse_unk = false;          ///< runs of unknown text become one token
  bool ignore_merges = false;     ///< bpe: a word that is an entry is taken whole
  size_t max_word = 100;          ///< word_piece: longer words (in code points) are unknown
  bool lowercase = true;          ///< GGUF bert
  bool strip_accents = true;      ///< GGUF bert

  std::string chat_template;  ///< Jinja source, or empty
};

}  // namespace nibble
