#!/usr/bin/env python3
"""Hessians and GPTQ for TinyLlama's shape (1.1B): nibble beside PyTorch, time for a layer.

    bench/gptq.py build/release/nibble FOLDER [threads] [sequences]

PyTorch does what the paper describes (arXiv 2210.17323) and its authors' program does: a layer reads 128 sequences of 512
tokens one after the other, the inputs of each of its seven matrices are summed up as X Xᵀ, every matrix is rounded column by
column in blocks of 128 against the inverse's Cholesky factor, and the layer runs once more for what the next one reads.
nibble quantizes a model of four such layers, files and all: `--solver gptq --passes 0 --fast`. Both: 4 bits, groups of 128,
asymmetric, damping 0.01. Written for Debian's python3-torch 1.13; the text is random words of models/demo.
"""
import json
import pathlib
import random
import shutil
import subprocess
import sys
import time

import numpy
import torch

from safetensors import write_model

HIDDEN, INNER, HEADS, KV_HEADS, DIM, LAYERS, LENGTH = 2048, 5632, 32, 4, 64, 4, 512
MATRICES = {"self_attn.q_proj": (HIDDEN, HIDDEN), "self_attn.k_proj": (KV_HEADS * DIM, HIDDEN),
            "self_attn.v_proj": (KV_HEADS * DIM, HIDDEN), "self_attn.o_proj": (HIDDEN, HIDDEN),
            "mlp.gate_proj": (INNER, HIDDEN), "mlp.up_proj": (INNER, HIDDEN), "mlp.down_proj": (HIDDEN, INNER)}
DEMO = pathlib.Path(__file__).resolve().parent.parent / "models" / "demo"


def write_layers(folder):
    config = json.loads((DEMO / "config.json").read_text())
    config.update(hidden_size=HIDDEN, intermediate_size=INNER, num_attention_heads=HEADS, num_key_value_heads=KV_HEADS,
                  head_dim=DIM, num_hidden_layers=LAYERS, max_position_embeddings=2048, torch_dtype="float16")
    shapes = {"model.embed_tokens.weight": (config["vocab_size"], HIDDEN), "model.norm.weight": (HIDDEN,)}
    if not config.get("tie_word_embeddings", False):
        shapes["lm_head.weight"] = (config["vocab_size"], HIDDEN)
    for layer in range(LAYERS):
        stem = f"model.layers.{layer}."
        shapes.update({stem + name + ".weight": shape for name, shape in MATRICES.items()})
        shapes.update({stem + name + ".weight": (HIDDEN,) for name in ("input_layernorm", "post_attention_layernorm")})
    rng = numpy.random.default_rng(1)
    tensors = {name: (0.02 * rng.standard_normal(shape) if len(shape) > 1 else numpy.ones(shape)).astype("f2")
               for name, shape in shapes.items()}
    write_model(folder, config, tensors)
    for name in DEMO.glob("token*"):
        shutil.copy(name, folder)
    return tensors


def write_text(path, tokens):
    words = (DEMO / "heldout.txt").read_text().split()
    random.seed(1)
    path.write_text(" ".join(random.choice(words) for _ in range(tokens)))


class Layer(torch.nn.Module):
    def __init__(self, data):
        super().__init__()
        self.linear = torch.nn.ModuleDict()
        for name, (rows, cols) in MATRICES.items():
            linear = torch.nn.Linear(cols, rows, bias=False)
            linear.weight.data = torch.from_numpy(data[f"model.layers.0.{name}.weight"].astype("f4"))
            self.linear[name.split(".")[1]] = linear
        angle = torch.outer(torch.arange(LENGTH), 10000.0 ** (-torch.arange(0, DIM, 2) / DIM))
        self.cos, self.sin = torch.cat((angle, angle), 1).cos(), torch.cat((angle, angle), 1).sin()
        self.mask = torch.full((LENGTH, LENGTH), float("-inf")).triu(1)

    def norm(self, x):
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-5)

    def turn(self, x):
        half = torch.cat((-x[..., DIM // 2:], x[..., :DIM // 2]), -1)
        return x * self.cos + half * self.sin

    def forward(self, x):
        m, h = self.linear, self.norm(x)
        q = self.turn(m["q_proj"](h).view(LENGTH, HEADS, DIM).transpose(0, 1))
        k = self.turn(m["k_proj"](h).view(LENGTH, KV_HEADS, DIM).transpose(0, 1)).repeat_interleave(HEADS // KV_HEADS, 0)
        v = m["v_proj"](h).view(LENGTH, KV_HEADS, DIM).transpose(0, 1).repeat_interleave(HEADS // KV_HEADS, 0)
        weights = torch.softmax(q @ k.transpose(1, 2) * DIM**-0.5 + self.mask, -1)
        x = x + m["o_proj"]((weights @ v).transpose(0, 1).reshape(LENGTH, HIDDEN))
        h = self.norm(x)
        return x + m["down_proj"](torch.nn.functional.silu(m["gate_proj"](h)) * m["up_proj"](h))


def gptq(w, hessian, group=128, block=128, damping=0.01, bits=4):
    """Section 3.3 and algorithm 1 of the paper."""
    w, rows, cols, most = w.clone(), w.shape[0], w.shape[1], 2**bits - 1
    dead = torch.diag(hessian) == 0
    hessian[dead, dead] = 1
    w[:, dead] = 0
    hessian.diagonal().add_(damping * hessian.diagonal().mean())
    inverse = torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(hessian)), upper=True)
    out = torch.empty_like(w)
    for begin in range(0, cols, block):
        end = min(cols, begin + block)
        part, errors, factor = w[:, begin:end].clone(), torch.empty(rows, end - begin), inverse[begin:end, begin:end]
        for i in range(end - begin):
            if (begin + i) % group == 0:
                g = w[:, begin + i:begin + i + group] if i == 0 else part[:, i:i + group]
                low, high = g.amin(1).clamp(max=0), g.amax(1).clamp(min=0)
                scale = (high - low) / most
                zero = torch.round(-low / scale)
            column = part[:, i]
            q = scale * (torch.clamp(torch.round(column / scale) + zero, 0, most) - zero)
            out[:, begin + i] = q
            error = (column - q) / factor[i, i]
            part[:, i:] -= error[:, None] * factor[i, i:][None]
            errors[:, i] = error
        w[:, end:] -= errors @ inverse[begin:end, end:]
    return out


@torch.inference_mode()
def torch_layer(data, sequences):
    layer, hessians = Layer(data), {}
    inputs = [torch.randn(LENGTH, HIDDEN) * 0.02 for _ in range(sequences)]

    def watch(name):
        def see(_, given, __):
            x = given[0].t()
            hessians[name] = hessians.get(name, 0) + x @ x.t()
        return see

    hooks = [m.register_forward_hook(watch(name)) for name, m in layer.linear.items()]
    start = time.perf_counter()
    for x in inputs:
        layer(x)
    middle = time.perf_counter()
    for hook in hooks:
        hook.remove()
    for name, m in layer.linear.items():
        m.weight.data = gptq(m.weight.data, hessians[name])
    solved = time.perf_counter()
    for i, x in enumerate(inputs):
        inputs[i] = layer(x)
    return middle - start, solved - middle, time.perf_counter() - solved


def nibble_layer(program, folder, threads, sequences):
    command = [program, "quantize", str(folder / "model"), str(folder / "out"), "--to", "int4:g128:asym:minmax", "--keep", "*embd*",
               "--keep", "output*", "--solver", "gptq", "--passes", "0", "--fast", "--calibrate", str(folder / "text.txt"),
               "--samples", str(sequences), "--length", str(LENGTH), "--threads", str(threads), "--fresh", "--quiet"]
    start = time.perf_counter()
    subprocess.run(["/usr/bin/env", "time", "-f", "%M", "-o", str(folder / "memory"), *command], check=True)
    seconds = (time.perf_counter() - start) / LAYERS
    return seconds, int((folder / "memory").read_text()) / 1e6


def main():
    program, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    threads = int(sys.argv[3]) if len(sys.argv) > 3 else 2
    sequences = int(sys.argv[4]) if len(sys.argv) > 4 else 128
    torch.set_num_threads(threads)
    torch.manual_seed(1)
    data = write_layers(folder / "model")
    write_text(folder / "text.txt", sequences * LENGTH)
    ours = []
    for _ in range(2):
        ours.append(nibble_layer(program, folder, threads, sequences))
    read, solve, again = torch_layer(data, sequences)
    ours.append(nibble_layer(program, folder, threads, sequences))
    middle = sorted(s for s, _ in ours)[1]
    print(f"{sequences} x {LENGTH} tokens, {threads} threads, seconds for a layer")
    print(f"  PyTorch {torch.__version__}: {read + solve + again:.1f} (layer and Hessians {read:.1f}, GPTQ {solve:.1f}, "
          f"layer again {again:.1f})")
    print(f"  nibble: {middle:.1f} of {', '.join(f'{s:.1f}' for s, _ in sorted(ours))}; peak of resident memory "
          f"{max(m for _, m in ours):.2f} GB")
    print(f"  {(read + solve + again) / middle:.2f} times; without the layer's second run, which nibble does not need, "
          f"{(read + solve) / middle:.2f}")


if __name__ == "__main__":
    main()
