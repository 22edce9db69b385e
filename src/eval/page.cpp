#include "eval/page.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

namespace nibble {
namespace {

constexpr double width = 760, height = 260, left = 92, right = 20, top = 16, bottom = 44;
constexpr std::array<const char*, 4> colors = {"#2266cc", "#cc4422", "#228855", "#885599"};

std::string open_svg(double w, double h) {
  return fmt::format(
      "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {0:g} {1:g}' style='max-width:{0:g}px' "
      "font-size='11'>\n",
      w, h);
}

std::string label(double x, double y, const char* anchor, const std::string& text) {
  return fmt::format("<text x='{:.1f}' y='{:.1f}' text-anchor='{}'>{}</text>\n", x, y, anchor,
                     html_text(text));
}

std::string line(double x1, double y1, double x2, double y2) {
  return fmt::format("<line x1='{:.1f}' y1='{:.1f}' x2='{:.1f}' y2='{:.1f}' stroke='#ddd'/>\n", x1, y1, x2,
                     y2);
}

}  // namespace

std::string html_text(std::string_view text) {
  std::string s;
  for (const char c : text) {
    switch (c) {
      case '&':
        s += "&amp;";
        break;
      case '<':
        s += "&lt;";
        break;
      case '>':
        s += "&gt;";
        break;
      case '"':
        s += "&quot;";
        break;
      default:
        s += c;
    }
  }
  return s;
}

Page::Page(std::string title) : title_(std::move(title)) {}

void Page::heading(const std::string& text) { body_ += fmt::format("<h2>{}</h2>\n", html_text(text)); }
void Page::paragraph(const std::string& text) { body_ += fmt::format("<p>{}</p>\n", html_text(text)); }

void Page::table(const std::vector<std::vector<std::string>>& rows) {
  body_ += "<table>\n";
  for (size_t i = 0; i < rows.size(); ++i) {
    const char* cell = i == 0 ? "th" : "td";
    body_ += "<tr>";
    for (const std::string& text : rows[i]) body_ += fmt::format("<{0}>{1}</{0}>", cell, text);
    body_ += "</tr>\n";
  }
  body_ += "</table>\n";
}

void Page::picture(const std::string& svg, const std::string& caption) {
  body_ += fmt::format("<figure>{}<figcaption>{}</figcaption></figure>\n", svg, html_text(caption));
}

std::string Page::html() const {
  return fmt::format(
      "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'><meta name='viewport' "
      "content='width=device-width'><title>{0}</title>\n<style>\n"
      "body{{font:15px/1.45 system-ui,sans-serif;max-width:900px;margin:2em auto;padding:0 1em;color:#222}}\n"
      "h1{{font-size:1.5em}} h2{{font-size:1.15em;margin-top:2em;border-bottom:1px solid #ddd}}\n"
      "table{{border-collapse:collapse;font-size:13px}} td,th{{padding:2px "
      "10px;text-align:right;border-bottom:1px "
      "solid #eee}}\n"
      "td:first-child,th:first-child{{text-align:left}} td{{font-variant-numeric:tabular-nums}}\n"
      "figure{{margin:1em 0}} figcaption{{font-size:13px;color:#555}} svg{{width:100%}}\n"
      "</style></head><body>\n<h1>{0}</h1>\n{1}</body></html>\n",
      html_text(title_), body_);
}

std::string line_chart(const std::vector<Series>& series, const std::vector<std::string>& labels,
                       const std::string& x_name, const std::string& y_name, bool logarithmic) {
  double low = INFINITY, high = -INFINITY;
  size_t count = 0;
  const auto usable = [&](double v) { return std::isfinite(v) && (!logarithmic || v > 0); };
  const auto scaled = [&](double v) { return logarithmic ? std::log10(v) : v; };
  for (const Series& s : series) {
    count = std::max(count, s.values.size());
    for (const double v : s.values) {
      if (!usable(v)) continue;
      low = std::min(low, scaled(v));
      high = std::max(high, scaled(v));
    }
  }
  if (!(low <= high)) return {};
  if (!logarithmic) low = std::min(low, 0.0);
  if (high - low < 1e-12) high = low + 1;
  const auto x = [&](size_t i) {
    return left + (width - left - right) * static_cast<double>(i) /
                      static_cast<double>(std::max<size_t>(1, count - 1));
  };
  const auto y = [&](double v) { return top + (height - top - bottom) * (high - v) / (high - low); };
  std::string s = open_svg(width, height);
  constexpr int ticks = 4;
  for (int i = 0; i <= ticks; ++i) {
    const double v = low + (high - low) * i / ticks;
    s += line(left, y(v), width - right, y(v));
    s += label(left - 6, y(v) + 4, "end", fmt::format("{:.3g}", logarithmic ? std::pow(10.0, v) : v));
  }
  const size_t step = std::max<size_t>(1, count / 12);
  for (size_t i = 0; i < count; i += step)
    s += label(x(i), height - bottom + 16, "middle", i < labels.size() ? labels[i] : std::to_string(i));
  s += label(width / 2, height - 8, "middle", x_name);
  s += fmt::format(
      "<text x='14' y='{0:.1f}' text-anchor='middle' transform='rotate(-90 14 {0:.1f})'>{1}</text>\n",
      (height - bottom + top) / 2, html_text(y_name));
  for (size_t k = 0; k < series.size(); ++k) {
    std::string points;
    for (size_t i = 0; i < series[k].values.size(); ++i) {
      const double v = series[k].values[i];
      if (usable(v)) points += fmt::format("{:.1f},{:.1f} ", x(i), y(scaled(v)));
    }
    const char* color = colors[k % colors.size()];
    s += fmt::format("<polyline points='{}' fill='none' stroke='{}' stroke-width='1.6'/>\n", points, color);
    if (series.size() > 1)
      s += fmt::format("<text x='{:.1f}' y='{:.1f}' fill='{}'>{}</text>\n", left + 10,
                       top + 12 + 14 * static_cast<double>(k), color, html_text(series[k].name));
  }
  return s + "</svg>";
}

std::string bar_chart(const std::vector<std::pair<std::string, double>>& bars, const std::string& unit) {
  constexpr double row = 18, names = 230;
  double most = 0;
  for (const auto& [name, value] : bars) most = std::max(most, value);
  if (!(most > 0)) return {};
  std::string s = open_svg(width, row * static_cast<double>(bars.size()) + 6);
  double y = 0;
  for (const auto& [name, value] : bars) {
    const double w = (width - names - 130) * value / most;
    s += label(names - 6, y + 13, "end", name);
    s += fmt::format("<rect x='{}' y='{:.1f}' width='{:.1f}' height='{}' fill='#2266cc'/>\n", names, y + 3, w,
                     row - 5);
    s += label(names + w + 6, y + 13, "start", fmt::format("{:.4g}{}", value, unit));
    y += row;
  }
  return s + "</svg>";
}

std::string histogram_chart(std::span<const double> before, std::span<const double> after, double low,
                            double high) {
  double most = 0;
  for (const double v : before) most = std::max(most, v);
  for (const double v : after) most = std::max(most, v);
  if (!(most > 0)) return {};
  const double step = (width - left - right) / static_cast<double>(before.size());
  const auto y = [&](double v) { return top + (height - top - bottom) * (1 - std::sqrt(v / most)); };
  std::string s = open_svg(width, height);
  for (size_t i = 0; i < before.size(); ++i) {
    const double x = left + step * static_cast<double>(i);
    s += fmt::format("<rect x='{:.1f}' y='{:.1f}' width='{:.1f}' height='{:.1f}' fill='#bbccee'/>\n", x,
                     y(before[i]), step, height - bottom - y(before[i]));
    s += fmt::format("<rect x='{:.1f}' y='{:.1f}' width='{:.1f}' height='{:.1f}' fill='#cc4422'/>\n",
                     x + step * 0.3, y(after[i]), step * 0.4, height - bottom - y(after[i]));
  }
  for (int i = 0; i <= 4; ++i) {
    s += label(left + (width - left - right) * i / 4, height - bottom + 16, "middle",
               fmt::format("{:.3g}", low + (high - low) * i / 4));
  }
  return s +
         label(width / 2, height - 8, "middle",
               "weight (light: before, red: after; heights as square roots)") +
         "</svg>";
}

std::string heat_map(std::span<const double> values, size_t columns, double largest) {
  constexpr double cell = 7;
  const size_t rows = columns == 0 ? 0 : values.size() / columns;
  std::string s = open_svg(cell * static_cast<double>(columns), cell * static_cast<double>(rows));
  for (size_t i = 0; i < rows * columns; ++i) {
    const double v = largest > 0 ? std::clamp(values[i] / largest, 0.0, 1.0) : 0;
    const size_t row = i / columns, column = i % columns;
    s += fmt::format("<rect x='{}' y='{}' width='7' height='7' fill='rgb({},{},{})'/>",
                     cell * static_cast<double>(column), cell * static_cast<double>(row),
                     static_cast<int>(255 - 60 * v), static_cast<int>(255 - 200 * v),
                     static_cast<int>(255 - 235 * v));
  }
  return s + "</svg>";
}

}  // namespace nibble
