#include "eval/certificate.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "containers/annotation.h"
#include "support/checkpoint_maker.h"
#include "support/scratch.h"

namespace nibble {
namespace {

Certificate sample(const std::string& weights) {
  Certificate c;
  c.version = "0.1";
  c.weights_hash = weights;
  c.reference_hash = "original";
  c.text_hash = "text";
  c.text_bytes = 17;
  c.protocol.context = 256;
  c.protocol.max_windows = 100;
  c.scored_tokens = 12700;
  c.perplexity = {36.5, 0.25};
  c.reference_perplexity = {36.25, 0.125};
  c.mean_kl = {0.003, 0.0001};
  c.median_kl = {0.002, 0.0002};
  c.p99_kl = {0.03, 0.001};
  c.same_top = {0.95, 0.002};
  return c;
}

class CertificateTest : public testing::Test {
 protected:
  void SetUp() override { test::make_checkpoint(scratch_.path() / "model", {}); }
  Checkpoint open() const { return open_checkpoint(scratch_.file("model")); }
  std::string weights() const {
    Progress silent(Progress::Style::silent);
    return hash_weights(open(), silent);
  }
  test::Scratch scratch_;
};

TEST_F(CertificateTest, SurvivesTheFile) {
  EXPECT_TRUE(certificates(open()).empty());
  const Certificate c = sample(weights());
  certify(open(), c);
  const auto found = certificates(open());
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found[0].to_json(), c.to_json());
  EXPECT_EQ(found[0].mean_kl.value, 0.003);
  EXPECT_EQ(found[0].protocol, c.protocol);
  EXPECT_EQ(weights(), c.weights_hash) << "certifying changed what the weights hash to";
}

TEST_F(CertificateTest, OneForEachTextAndProtocol) {
  Certificate c = sample(weights());
  certify(open(), c);
  c.mean_kl.value = 0.004;
  certify(open(), c);  // the same text again
  ASSERT_EQ(certificates(open()).size(), 1U);
  EXPECT_EQ(certificates(open())[0].mean_kl.value, 0.004);
  c.protocol.context = 128;
  certify(open(), c);
  c.text_hash = "another";
  certify(open(), c);
  EXPECT_EQ(certificates(open()).size(), 3U);
  c.weights_hash = "of other weights";
  certify(open(), c);  // what was said of the old weights goes
  EXPECT_EQ(certificates(open()).size(), 1U);
}

TEST_F(CertificateTest, WeightsHashSeesEveryTensor) {
  const std::string before = weights();
  test::MadeModel other;
  other.seed = 2;
  test::make_checkpoint(scratch_.path() / "model", other);
  EXPECT_NE(weights(), before);
}

TEST_F(CertificateTest, ForeignTextUnderTheKeyIsAnError) {
  for (const char* text : {"no json", "{}", "[{}]", "[1]", R"([{"nibble":1}])"}) {
    annotate(open().file(), std::string(certificate_key), text);
    if (std::string_view(text) == "{}") {
      EXPECT_TRUE(certificates(open()).empty());
    } else {
      EXPECT_THROW(certificates(open()), Error) << text;
    }
  }
}

}  // namespace
}  // namespace nibble
