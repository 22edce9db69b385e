#include "arch/bert.h"

#include "arch/fields.h"
#include "base/error.h"

namespace nibble {
namespace {

void finish(Hparams& h, const Meta& meta, bool from_gguf) {
  if (from_gguf) {
    h.token_types = meta.integer("tokenizer.ggml.token_type_count").value_or(0);
    return;
  }
  const std::string kind = meta.text("position_embedding_type").value_or("absolute");
  if (kind != "absolute") {
    fail(ErrorKind::unsupported, "config.json: position_embedding_type \"{}\" is not supported for bert",
         kind);
  }
}

}  // namespace

std::vector<Step> bert_layer() {
  return {AttentionStep{.causal = false, .from = Reg::x},
          AddStep{},
          NormStep{"attn_output_norm", Reg::x, Reg::x},
          MlpStep{.act = Activation::gelu_erf, .gated = false, .from = Reg::x},
          AddStep{},
          NormStep{"layer_output_norm", Reg::x, Reg::x}};
}

const Arch& bert_arch() {
  static const Arch arch{
      .name = "bert",
      .gguf = "bert",
      .hf_classes = {"BertModel", "BertForMaskedLM", "BertForPreTraining", "BertForSequenceClassification",
                     "BertForTokenClassification", "BertForQuestionAnswering"},
      .hf_types = {"bert"},
      .hf_prefixes = {"bert."},
      .fields = concat({common_fields(),
                        std::vector<FieldRow>{
                            field<&Hparams::norm_eps>("norm_eps", {"layer_norm_eps"},
                                                      "attention.layer_norm_epsilon", 1e-12),
                            field<&Hparams::token_types>("token_types", {"type_vocab_size"}, "", 0),
                        }}),
      .tensors =
          {
              {"token_embd.weight", "embeddings.word_embeddings.weight", Role::token_embedding},
              {"token_types.weight", "embeddings.token_type_embeddings.weight", Role::type_embedding},
              {"position_embd.weight", "embeddings.position_embeddings.weight", Role::position_embedding},
              {"token_embd_norm.weight", "embeddings.LayerNorm.weight", Role::norm},
              {"token_embd_norm.bias", "embeddings.LayerNorm.bias", Role::bias},
              {"blk.{l}.attn_q.weight", "encoder.layer.{l}.attention.self.query.weight", Role::attn_q},
              {"blk.{l}.attn_q.bias", "encoder.layer.{l}.attention.self.query.bias", Role::bias},
              {"blk.{l}.attn_k.weight", "encoder.layer.{l}.attention.self.key.weight", Role::attn_k},
              {"blk.{l}.attn_k.bias", "encoder.layer.{l}.attention.self.key.bias", Role::bias},
              {"blk.{l}.attn_v.weight", "encoder.layer.{l}.attention.self.value.weight", Role::attn_v},
              {"blk.{l}.attn_v.bias", "encoder.layer.{l}.attention.self.value.bias", Role::bias},
              {"blk.{l}.attn_output.weight", "encoder.layer.{l}.attention.output.dense.weight",
               Role::attn_output},
              {"blk.{l}.attn_output.bias", "encoder.layer.{l}.attention.output.dense.bias", Role::bias},
              {"blk.{l}.attn_output_norm.weight", "encoder.layer.{l}.attention.output.LayerNorm.weight",
               Role::norm},
              {"blk.{l}.attn_output_norm.bias", "encoder.layer.{l}.attention.output.LayerNorm.bias",
               Role::bias},
              {"blk.{l}.ffn_up.weight", "encoder.layer.{l}.intermediate.dense.weight", Role::ffn_up},
              {"blk.{l}.ffn_up.bias", "encoder.layer.{l}.intermediate.dense.bias", Role::bias},
              {"blk.{l}.ffn_down.weight", "encoder.layer.{l}.output.dense.weight", Role::ffn_down},
              {"blk.{l}.ffn_down.bias", "encoder.layer.{l}.output.dense.bias", Role::bias},
              {"blk.{l}.layer_output_norm.weight", "encoder.layer.{l}.output.LayerNorm.weight", Role::norm},
              {"blk.{l}.layer_output_norm.bias", "encoder.layer.{l}.output.LayerNorm.bias", Role::bias},
          },
      .layer = bert_layer(),
      .norm = NormKind::layer,
      .embedding_norm = true,
      .final_norm = false,
      .encoder = true,
      .default_pre = "jina-v2-en",
      .finish = finish,
      .hf_dropped = {{"pooler.", "pooler: nibble gives hidden states"},
                     {"cls.predictions.", "masked-word head: nibble gives hidden states"},
                     {"cls.seq_relationship.", "next-sentence head: nibble gives hidden states"},
                     {"classifier.", "classification head: nibble gives hidden states"},
                     {"qa_outputs.", "question-answering head: nibble gives hidden states"},
                     {"embeddings.position_ids", "position index buffer"}},
      .hf_constants = {{"hidden_act", "\"gelu\""}},
  };
  return arch;
}

}  // namespace nibble
