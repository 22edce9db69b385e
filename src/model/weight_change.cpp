#include "model/weight_change.h"

#include "base/error.h"
#include "model/checkpoint_data.h"

namespace nibble {
namespace {

void give_output(Checkpoint::Data& data) {
  for (const TensorRow& row : data.arch->tensors) {
    if (row.role != Role::output) continue;
    CanonicalTensor t = data.tensors.at(data.by_name.at("token_embd.weight"));
    t.name = row.name;
    t.hf = row.hf;
    t.role = row.role;
    t.made = true;
    data.by_name.emplace(t.name, data.tensors.size());
    data.tensors.push_back(std::move(t));
    data.hparams.tied = false;
    return;
  }
  fail(ErrorKind::unsupported, "architecture {} has no output matrix but its embedding", data.arch->name);
}

}  // namespace

Checkpoint with_change(const Checkpoint& model, std::shared_ptr<const WeightChange> change, bool untie) {
  if (model.change() != nullptr)
    fail(ErrorKind::unsupported, "{}: the weights are changed already: {}", model.path(),
         model.change()->identity());
  auto data = std::make_shared<Checkpoint::Data>(model.data());
  if (untie && data->hparams.tied) give_output(*data);
  data->change = std::move(change);
  return Checkpoint(std::move(data));
}

}  // namespace nibble
