#include "base/progress.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace nibble {
namespace {

constexpr double bar_interval = 0.1;    // seconds between two drawings of the bar
constexpr double line_interval = 10.0;  // and between two plain lines

double seconds_since(std::chrono::steady_clock::time_point t) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - t).count();
}

int terminal_width() {
  winsize size{};
  if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 20) return size.ws_col;
  return 80;
}

std::string amount(double value, const std::string& unit) {
  if (unit == "B") return human_bytes(value);
  return value >= 100 || value == 0 ? fmt::format("{:.0f} {}", value, unit)
                                    : fmt::format("{:.3g} {}", value, unit);
}

}  // namespace

std::string human_bytes(double bytes) {
  static constexpr const char* units[] = {"B", "kB", "MB", "GB", "TB", "PB"};
  size_t i = 0;
  while (bytes >= 999.5 && i + 1 < std::size(units)) {
    bytes /= 1000;
    ++i;
  }
  if (i == 0) return fmt::format("{:.0f} B", bytes);
  return fmt::format("{:.{}f} {}", bytes, bytes < 9.995 ? 2 : bytes < 99.95 ? 1 : 0, units[i]);
}

std::string human_seconds(double seconds) {
  if (seconds < 10) return fmt::format("{:.1f} s", seconds);
  const int64_t s = std::llround(seconds);
  if (s < 60) return fmt::format("{} s", s);
  if (s < 3600) return fmt::format("{} min {:02} s", s / 60, s % 60);
  return fmt::format("{} h {:02} min", s / 3600, s / 60 % 60);
}

Progress::Progress(Style style) : style_(style) {
  if (style_ == Style::automatic) style_ = isatty(STDERR_FILENO) ? Style::bar : Style::lines;
}

Progress::~Progress() { finish(); }

void Progress::start(std::string title, uint64_t total, std::string unit) {
  finish();
  const std::lock_guard lock(mutex_);
  title_ = std::move(title);
  unit_ = std::move(unit);
  total_ = total;
  done_ = 0;
  detail_.clear();
  begin_ = drawn_ = Clock::now();
  active_ = true;
}

void Progress::advance(uint64_t units, const std::string& detail) {
  const std::lock_guard lock(mutex_);
  if (!active_) return;
  done_ += units;
  if (!detail.empty()) detail_ = detail;
  if (seconds_since(drawn_) >= (style_ == Style::bar ? bar_interval : line_interval)) draw(false);
}

void Progress::finish() {
  const std::lock_guard lock(mutex_);
  if (!active_) return;
  draw(true);
  active_ = false;
}

void Progress::draw(bool last) {
  if (style_ == Style::silent) return;
  drawn_ = Clock::now();
  const double elapsed = seconds_since(begin_);
  const double rate = elapsed > 0 ? static_cast<double>(done_) / elapsed : 0;
  const double share =
      total_ > 0 ? std::min(1.0, static_cast<double>(done_) / static_cast<double>(total_)) : 0;
  std::string facts = fmt::format("{:3.0f} %  {}/s", share * 100, amount(rate, unit_));
  if (!last && rate > 0 && done_ < total_) {
    facts += fmt::format("  {} left", human_seconds(static_cast<double>(total_ - done_) / rate));
  }
  if (style_ == Style::lines) {
    if (last)
      facts = fmt::format("{} in {}, {}/s", amount(static_cast<double>(done_), unit_), human_seconds(elapsed),
                          amount(rate, unit_));
    fmt::print(stderr, "{}: {}{}{}\n", title_, facts, detail_.empty() || last ? "" : "  ",
               last ? "" : detail_);
    return;
  }
  if (last) {
    fmt::print(stderr, "\r\x1b[K");
  } else {
    const int room = std::clamp(terminal_width() - static_cast<int>(title_.size() + facts.size()) - 6, 0, 40);
    const int filled = static_cast<int>(share * room);
    std::string line = fmt::format("{} [{}{}] {}", title_, std::string(static_cast<size_t>(filled), '='),
                                   std::string(static_cast<size_t>(room - filled), ' '), facts);
    const int rest = terminal_width() - static_cast<int>(line.size()) - 3;
    if (rest > 8 && !detail_.empty()) line += "  " + detail_.substr(0, static_cast<size_t>(rest));
    fmt::print(stderr, "\r\x1b[K{}", line);
  }
  std::fflush(stderr);
}

}  // namespace nibble
