#pragma once

#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace nibble {

/// Text for HTML, with what has a meaning there escaped.
std::string html_text(std::string_view text);

/// A self-contained HTML page: style and pictures stand in it, nothing is fetched.
class Page {
 public:
  explicit Page(std::string title);
  void heading(const std::string& text);
  void paragraph(const std::string& text);
  /// `rows` may hold markup; the first row is the head, columns but the first stand to the right.
  void table(const std::vector<std::vector<std::string>>& rows);
  void picture(const std::string& svg, const std::string& caption);
  std::string html() const;

 private:
  std::string title_, body_;
};

struct Series {
  std::string name;
  std::vector<double> values;
};

/// Lines over 0, 1, 2, ... or over `labels`; logarithmic where asked (values that are not positive are left
/// out then).
std::string line_chart(const std::vector<Series>& series, const std::vector<std::string>& labels,
                       const std::string& x_name, const std::string& y_name, bool logarithmic);
/// Horizontal bars with their values.
std::string bar_chart(const std::vector<std::pair<std::string, double>>& bars, const std::string& unit);
/// Two histograms over the same bins, the second one as a line.
std::string histogram_chart(std::span<const double> before, std::span<const double> after, double low,
                            double high);
/// A grid of values from 0 (light) to the largest (dark), row by row.
std::string heat_map(std::span<const double> values, size_t columns, double largest);

}  // namespace nibble
