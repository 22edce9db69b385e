#include "arch/bert.h"
#include "arch/fields.h"

namespace nibble {

// In GGUF files DistilBERT is a "bert" without segment embeddings.
const Arch& distilbert_arch() {
  static const Arch arch{
      .name = "distilbert",
      .gguf = "bert",
      .hf_classes = {"DistilBertModel", "DistilBertForMaskedLM", "DistilBertForSequenceClassification",
                     "DistilBertForTokenClassification", "DistilBertForQuestionAnswering"},
      .hf_types = {"distilbert"},
      .hf_prefixes = {"distilbert."},
      .fields =
          {
              field<&Hparams::vocab>("vocab", {"vocab_size"}, "vocab_size", 0),
              field<&Hparams::context>("context", {"max_position_embeddings"}, "context_length"),
              field<&Hparams::hidden>("hidden", {"dim"}, "embedding_length"),
              field<&Hparams::layers>("layers", {"n_layers"}, "block_count"),
              field<&Hparams::ffn>("ffn", {"hidden_dim"}, "feed_forward_length"),
              field<&Hparams::heads>("heads", {"n_heads"}, "attention.head_count"),
              field<&Hparams::norm_eps>("norm_eps", {}, "attention.layer_norm_epsilon", 1e-12),
          },
      .tensors =
          {
              {"token_embd.weight", "embeddings.word_embeddings.weight", Role::token_embedding},
              {"position_embd.weight", "embeddings.position_embeddings.weight", Role::position_embedding},
              {"token_embd_norm.weight", "embeddings.LayerNorm.weight", Role::norm},
              {"token_embd_norm.bias", "embeddings.LayerNorm.bias", Role::bias},
              {"blk.{l}.attn_q.weight", "transformer.layer.{l}.attention.q_lin.weight", Role::attn_q},
              {"blk.{l}.attn_q.bias", "transformer.layer.{l}.attention.q_lin.bias", Role::bias},
              {"blk.{l}.attn_k.weight", "transformer.layer.{l}.attention.k_lin.weight", Role::attn_k},
              {"blk.{l}.attn_k.bias", "transformer.layer.{l}.attention.k_lin.bias", Role::bias},
              {"blk.{l}.attn_v.weight", "transformer.layer.{l}.attention.v_lin.weight", Role::attn_v},
              {"blk.{l}.attn_v.bias", "transformer.layer.{l}.attention.v_lin.bias", Role::bias},
              {"blk.{l}.attn_output.weight", "transformer.layer.{l}.attention.out_lin.weight",
               Role::attn_output},
              {"blk.{l}.attn_output.bias", "transformer.layer.{l}.attention.out_lin.bias", Role::bias},
              {"blk.{l}.attn_output_norm.weight", "transformer.layer.{l}.sa_layer_norm.weight", Role::norm},
              {"blk.{l}.attn_output_norm.bias", "transformer.layer.{l}.sa_layer_norm.bias", Role::bias},
              {"blk.{l}.ffn_up.weight", "transformer.layer.{l}.ffn.lin1.weight", Role::ffn_up},
              {"blk.{l}.ffn_up.bias", "transformer.layer.{l}.ffn.lin1.bias", Role::bias},
              {"blk.{l}.ffn_down.weight", "transformer.layer.{l}.ffn.lin2.weight", Role::ffn_down},
              {"blk.{l}.ffn_down.bias", "transformer.layer.{l}.ffn.lin2.bias", Role::bias},
              {"blk.{l}.layer_output_norm.weight", "transformer.layer.{l}.output_layer_norm.weight",
               Role::norm},
              {"blk.{l}.layer_output_norm.bias", "transformer.layer.{l}.output_layer_norm.bias", Role::bias},
          },
      .layer = bert_layer(),
      .norm = NormKind::layer,
      .embedding_norm = true,
      .final_norm = false,
      .encoder = true,
      .default_pre = "jina-v2-en",
      .hf_dropped = {{"vocab_", "masked-word head: nibble gives hidden states"},
                     {"classifier.", "classification head: nibble gives hidden states"},
                     {"qa_outputs.", "question-answering head: nibble gives hidden states"}},
      .hf_constants = {{"activation", "\"gelu\""}},
  };
  return arch;
}

}  // namespace nibble
