#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "cli/text_input.h"
#include "cli/verb.h"
#include "model/checkpoint.h"
#include "tokenizers/tokenizer.h"

namespace nibble::cli {
namespace {

struct Options {
  std::string model, file, text;
  bool ids = false, decode = false, no_special = false, parse_special = false, count = false;
};

std::vector<int32_t> read_ids(const std::string& text) {
  std::vector<int32_t> ids;
  size_t at = 0;
  while (at < text.size()) {
    const char c = text[at];
    if (c >= '0' && c <= '9') {
      size_t used = 0;
      int64_t id = 0;
      try {
        id = std::stoll(text.substr(at, 20), &used);
      } catch (const std::exception&) {
        used = 0;
      }
      if (used == 0 || id > INT32_MAX) fail(ErrorKind::bad_input, "'{}' is no token id", text.substr(at, 12));
      ids.push_back(static_cast<int32_t>(id));
      at += used;
    } else if (std::string_view(" \t\r\n,[]").find(c) != std::string_view::npos) {
      ++at;
    } else {
      throw Error(ErrorKind::bad_input, fmt::format("'{}' is no token id", c),
                  "--decode reads ids separated by spaces or commas");
    }
  }
  return ids;
}

void tokenize(const Options& o, const Common& common) {
  const Tokenizer t = open_tokenizer(o.model);
  const std::string text = text_from(o.text, o.file);
  if (o.decode) {
    const std::string decoded = t.decode(read_ids(text), {.skip_special = !o.parse_special});
    if (common.json) {
      fmt::print("{}\n", nlohmann::json{{"text", decoded}}.dump(2));
    } else {
      fmt::print("{}\n", decoded);
    }
    return;
  }
  const auto ids = t.encode(text, {.add_special = !o.no_special, .parse_special = o.parse_special});
  if (common.json) {
    nlohmann::json j{{"tokenizer", t.kind()}, {"count", ids.size()}, {"ids", ids}};
    for (const int32_t id : ids) j["pieces"].push_back(t.piece(id));
    fmt::print("{}\n", j.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
  } else if (o.count) {
    fmt::print("{}\n", ids.size());
  } else {
    for (const int32_t id : ids) {
      if (o.ids) {
        fmt::print("{}\n", id);
      } else {
        fmt::print("{:>7}  {}\n", id, t.piece(id));
      }
    }
  }
}

Run setup(CLI::App& app) {
  auto o = std::make_shared<Options>();
  app.add_option("model", o->model, "a model, a vocabulary-only GGUF, tokenizer.model or tokenizer.json")
      ->required();
  auto* file = app.add_option("--file,-f", o->file, "text to take apart; - for standard input");
  app.add_option("text", o->text, "the text itself")->excludes(file);
  app.add_flag("--ids", o->ids, "print only the ids, one a line");
  app.add_flag("--count", o->count, "print only how many there are");
  app.add_flag("--decode", o->decode, "the other way: read ids, print text");
  app.add_flag("--no-special", o->no_special, "add no begin or end token");
  app.add_flag("--parse-special", o->parse_special, "control tokens spelled in the text become those tokens");
  return [o](const Common& common) { tokenize(*o, common); };
}

}  // namespace

extern const Verb tokenize_verb;
const Verb tokenize_verb{"tokenize", "show how a model's tokenizer cuts a text",
                         "nibble tokenize out.gguf \"Once upon a time\"\n"
                         "nibble tokenize out.gguf --file text.txt --ids\n"
                         "nibble tokenize tokenizer.json --decode \"15496 995\"",
                         setup};

}  // namespace nibble::cli
