#include "containers/hf_quant.h"
#include "model/export.h"

namespace nibble {
namespace {

std::vector<PlannedTensor> planned(const ExportPlan& plan) {
  std::vector<PlannedTensor> all;
  for (const ExportTensor& t : plan.tensors) all.push_back({t.name, t.shape, t.format, DType::u8});
  return all;
}

std::string read_whole(const std::string& path) {
  const MappedFile file(path);
  return {reinterpret_cast<const char*>(file.data().data()), file.size()};
}

}  // namespace

OutputPlan plan_output(const ExportPlan& plan, const std::string& path, uint64_t shard_size) {
  const std::vector<PlannedTensor> tensors = planned(plan);
  if (plan.target == Target::gguf) return plan_gguf(path, tensors, plan.kv);
  std::map<std::string, std::string> metadata = plan.metadata;
  metadata["format"] = "pt";
  OutputPlan out = plan_safetensors(path, tensors, metadata, shard_size);
  for (const ExportFile& f : plan.files) {
    std::string text = f.copy_from.empty() ? f.content : read_whole(f.copy_from);
    if (f.name == "config.json") text = with_quantization_config(text, tensors, f.name);
    out.small_files.push_back({path + "/" + f.name, std::move(text)});
  }
  return out;
}

}  // namespace nibble
