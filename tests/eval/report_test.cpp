#include "eval/report.h"

#include <gtest/gtest.h>

#include "eval/page.h"
#include "pipeline/job.h"
#include "support/checkpoint_maker.h"
#include "support/scratch.h"

namespace nibble {
namespace {

TEST(Page, EscapesWhatHasAMeaningInHtml) {
  EXPECT_EQ(html_text("a<b & \"c\">"), "a&lt;b &amp; &quot;c&quot;&gt;");
  Page page("<script>");
  page.paragraph("<script>alert(1)</script>");
  EXPECT_EQ(page.html().find("<script>"), std::string::npos);
}

TEST(Page, ChartsLeaveOutWhatCannotBeDrawn) {
  EXPECT_EQ(line_chart({{"a", {0, -1}}}, {}, "x", "y", true), "");
  const std::string svg = line_chart({{"a", {1, NAN, 3}}}, {}, "x", "y", false);
  EXPECT_EQ(svg.find("nan"), std::string::npos);
  EXPECT_NE(svg.find("<polyline"), std::string::npos);
  EXPECT_EQ(bar_chart({}, ""), "");
}

TEST(Report, ShowsErrorsOfLayersAndTensorsOfAQuantizedModel) {
  const test::Scratch scratch;
  test::make_checkpoint(scratch.path() / "model", test::MadeModel{});
  const Checkpoint original = open_checkpoint(scratch.file("model"));
  ThreadPool pool(2);
  Progress silent(Progress::Style::silent);
  std::vector<EvalWindow> windows(2);
  for (EvalWindow& w : windows) {
    for (int32_t i = 0; i < 24; ++i) w.tokens.push_back(i * 37 % 512);
  }
  std::vector<double> last;
  for (const char* type : {"q2_k", "q4_k", "q8_0"}) {
    Recipe recipe;
    recipe.type = type;
    recipe.pure = true;
    JobOptions options;
    options.output = scratch.file(std::string(type) + ".gguf");
    run_job(plan_quantization(original, Target::gguf, recipe), options, pool, silent);
    const Checkpoint model = open_checkpoint(options.output);
    ReportData data;
    data.tensors = compare_tensors(model, original, pool, silent);
    data.layers = layer_errors(model, original, windows, pool);
    ASSERT_EQ(data.layers.size(), 2U);
    for (size_t l = 0; l < data.layers.size(); ++l) {
      EXPECT_GT(data.layers[l], 0);
      EXPECT_LT(data.layers[l], last.empty() ? 1 : last[l]) << type;
    }
    last = data.layers;
    data.account = {{"source", "became"}, {"x", "y"}};
    const std::string html = report_html(model, original, data);
    for (const char* part :
         {"blk.1.ffn_down.weight", type, "before and after", "What became of every tensor", "nibble 0."})
      EXPECT_NE(html.find(part), std::string::npos) << part;
    EXPECT_EQ(html.find("http://www.w3.org") != std::string::npos, true);
    EXPECT_EQ(html.find("<script"), std::string::npos);
    EXPECT_EQ(html.find("src="), std::string::npos) << "nothing is fetched";
  }
  EXPECT_EQ(layer_errors(original, original, windows, pool), (std::vector<double>{0, 0}));
}

}  // namespace
}  // namespace nibble
