#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <new>

#include "base/error.h"
#include "base/interrupt.h"
#include "cli/verb.h"
#include "kernels/isa.h"

namespace nibble::cli {

#define VERB(name) extern const Verb name##_verb;
#include "cli/verbs.inc"
#undef VERB

namespace {

const Verb* const verbs[] = {
#define VERB(name) &name##_verb,
#include "cli/verbs.inc"
#undef VERB
};

void print_error(std::string_view message, std::string_view hint) {
  fmt::print(stderr, "error: {}\n", message);
  if (!hint.empty()) fmt::print(stderr, "hint: {}\n", hint);
}

std::string indent(std::string_view lines) {
  std::string out = "Examples:\n  ";
  for (const char c : lines) {
    out += c;
    if (c == '\n') out += "  ";
  }
  return out;
}

}  // namespace

int main(int argc, const char* const* argv) {
  catch_interrupts();
  CLI::App app("nibble makes language models small: quantize, measure, run.", "nibble");
  app.set_version_flag("--version", "nibble " NIBBLE_VERSION);
  app.require_subcommand(1);
  app.footer("nibble VERB --help explains a verb, with examples.");
  Common common;
  Run run;
  for (const Verb* verb : verbs) {
    CLI::App* sub = app.add_subcommand(std::string(verb->name), std::string(verb->summary));
    sub->footer(indent(verb->examples));
    Run body = verb->setup(*sub);
    sub->add_flag("--json", common.json, "results as one JSON object on standard output")->group("Common");
    sub->add_flag("--quiet,-q", common.quiet, "no progress, no remarks")->group("Common");
    sub->add_option("--threads,-t", common.threads, "threads to use (default: one per processor)")
        ->check(CLI::Range(1, 1024))
        ->group("Common");
    sub->callback([&run, body = std::move(body)] { run = body; });
  }
  try {
    app.parse(argc, argv);
    isa_level();  // throws if NIBBLE_ISA asks for what is not there, whether or not the verb computes
    run(common);
    return 0;
  } catch (const CLI::Success& e) {
    return app.exit(e);  // --help and --version
  } catch (const CLI::ParseError& e) {
    const auto chosen = app.get_subcommands();
    print_error(e.what(), fmt::format("nibble {}--help shows how it is used",
                                      chosen.empty() ? "" : chosen.front()->get_name() + " "));
    return 2;
  } catch (const Error& e) {
    print_error(e.what(), e.hint());
    return e.exit_code();
  } catch (const std::bad_alloc&) {
    print_error("out of memory", "");
    return 3;
  } catch (const std::exception& e) {
    print_error(fmt::format("internal error: {}", e.what()),
                "this is a bug in nibble; please report the command");
    return 1;
  }
}

}  // namespace nibble::cli
