#include "base/interrupt.h"

#include <csignal>

#include "base/error.h"

namespace nibble {
namespace {

volatile std::sig_atomic_t flag = 0;

void on_signal(int signal) {
  if (flag != 0 && signal == SIGINT) {
    std::signal(SIGINT, SIG_DFL);
    std::raise(SIGINT);
  }
  flag = 1;
}

}  // namespace

void catch_interrupts() {
  struct sigaction action {};
  action.sa_handler = on_signal;
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

bool interrupted() noexcept { return flag != 0; }

void check_interrupt() {
  if (interrupted()) throw Error(ErrorKind::interrupted, "interrupted");
}

}  // namespace nibble
