#!/usr/bin/env python3
"""Hidden states of the small BERT and DistilBERT checkpoints, by PyTorch's own encoder layer.

    encoders.py GOLDENS OUT.npz

GOLDENS is tests/data/goldens/arch. nn.TransformerEncoderLayer (post-norm, exact GELU) is what both models are made
of, so this reference shares no code and no formula with nibble. Written for Debian's python3-torch 1.13.
"""
import json
import pathlib
import sys

import numpy
import torch


def read_safetensors(path):
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, end = (8 + length + offset for offset in entry["data_offsets"])
        assert entry["dtype"] in ("BF16", "F32")
        if entry["dtype"] == "BF16":
            bits = numpy.frombuffer(data[begin:end], "<u2").astype("<u4") << 16
            values = bits.view("<f4")
        else:
            values = numpy.frombuffer(data[begin:end], "<f4")
        tensors[name] = torch.tensor(values.reshape(entry["shape"]).astype("f8"))
    return tensors


NAMES = {
    "bert": {
        "layers": "encoder.layer.{}.",
        "q": "attention.self.query", "k": "attention.self.key", "v": "attention.self.value",
        "out": "attention.output.dense", "norm1": "attention.output.LayerNorm",
        "up": "intermediate.dense", "down": "output.dense", "norm2": "output.LayerNorm",
    },
    "distilbert": {
        "layers": "transformer.layer.{}.",
        "q": "attention.q_lin", "k": "attention.k_lin", "v": "attention.v_lin",
        "out": "attention.out_lin", "norm1": "sa_layer_norm",
        "up": "ffn.lin1", "down": "ffn.lin2", "norm2": "output_layer_norm",
    },
}


def encode(kind, folder, ids, types):
    config = json.loads((folder / "config.json").read_text())
    tensors = {name.split(kind + ".", 1)[-1]: t for name, t in read_safetensors(folder / "model.safetensors").items()}
    hidden = config.get("hidden_size", config.get("dim"))
    heads = config.get("num_attention_heads", config.get("n_heads"))
    layers = config.get("num_hidden_layers", config.get("n_layers"))
    inner = config.get("intermediate_size", config.get("hidden_dim"))
    eps = config.get("layer_norm_eps", 1e-12)
    x = tensors["embeddings.word_embeddings.weight"][ids] + tensors["embeddings.position_embeddings.weight"][: len(ids)]
    if kind == "bert":
        x = x + tensors["embeddings.token_type_embeddings.weight"][types]
    x = torch.nn.functional.layer_norm(
        x, (hidden,), tensors["embeddings.LayerNorm.weight"], tensors["embeddings.LayerNorm.bias"], eps
    )
    names = NAMES[kind]
    x = x[None]
    for number in range(layers):
        def get(part, what):
            return tensors[names["layers"].format(number) + names[part] + "." + what]

        layer = torch.nn.TransformerEncoderLayer(
            hidden, heads, inner, dropout=0.0, activation=torch.nn.functional.gelu, layer_norm_eps=eps, batch_first=True
        ).double()
        state = {}
        for what in ("weight", "bias"):
            state["self_attn.in_proj_" + what] = torch.cat([get(part, what) for part in "qkv"])
            for mine, theirs in (("out", "self_attn.out_proj"), ("up", "linear1"), ("down", "linear2"),
                                 ("norm1", "norm1"), ("norm2", "norm2")):
                state[theirs + "." + what] = get(mine, what)
        layer.load_state_dict(state)
        layer.train()  # the plain path; without dropout it is the same function
        x = layer(x)
    return x[0].detach().numpy()


def main():
    goldens = pathlib.Path(sys.argv[1])
    arrays = {}
    generator = numpy.random.RandomState(7)
    for length in (1, 13, 24):
        ids = generator.randint(0, 96, length)
        types = (numpy.arange(length) * 2 >= length).astype("i8") if length > 1 else numpy.zeros(1, "i8")
        arrays[f"ids_{length}"] = ids.astype("i4")
        arrays[f"types_{length}"] = types.astype("i4")
        for kind in NAMES:
            states = encode(kind, goldens / kind, torch.tensor(ids), torch.tensor(types))
            arrays[f"{kind}_{length}"] = states.astype("f4")
    numpy.savez(sys.argv[2], **arrays)


if __name__ == "__main__":
    main()
