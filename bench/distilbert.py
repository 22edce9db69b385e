#!/usr/bin/env python3
"""A DistilBERT-shaped encoder of random weights: file sizes and forward passes of nibble and PyTorch, in turns.

    bench/distilbert.py build/release/nibble FOLDER [threads]

Writes the f32 checkpoint and its int8 copy (matrices int8 with a scale a row, embeddings f32, as
torch.quantization.quantize_dynamic leaves them) below FOLDER. The PyTorch model has the same weights. Written for Debian's python3-torch 1.13.
"""
import json
import pathlib
import subprocess
import sys
import time

import numpy
import torch

from safetensors import write_model

VOCAB, POSITIONS, HIDDEN, LAYERS, HEADS, INNER = 30522, 512, 768, 6, 12, 3072
LINEARS = (("attention.q_lin", HIDDEN, HIDDEN), ("attention.k_lin", HIDDEN, HIDDEN), ("attention.v_lin", HIDDEN, HIDDEN),
           ("attention.out_lin", HIDDEN, HIDDEN), ("ffn.lin1", INNER, HIDDEN), ("ffn.lin2", HIDDEN, INNER))


def make_tensors():
    rng = numpy.random.RandomState(1)
    tensors = {}

    def normal(name, *shape, scale=0.02, mean=0.0):
        tensors[name] = (mean + scale * rng.standard_normal(shape)).astype("f4")

    def norm(name):
        normal(name + ".weight", HIDDEN, scale=0.1, mean=1.0)
        normal(name + ".bias", HIDDEN)

    normal("embeddings.word_embeddings.weight", VOCAB, HIDDEN)
    normal("embeddings.position_embeddings.weight", POSITIONS, HIDDEN)
    norm("embeddings.LayerNorm")
    for layer in range(LAYERS):
        stem = f"transformer.layer.{layer}."
        for name, rows, cols in LINEARS:
            normal(stem + name + ".weight", rows, cols, scale=1.0 / cols**0.5)
            normal(stem + name + ".bias", rows)
        norm(stem + "sa_layer_norm")
        norm(stem + "output_layer_norm")
    return tensors


def write_checkpoint(folder, tensors):
    config = {"architectures": ["DistilBertModel"], "model_type": "distilbert", "vocab_size": VOCAB,
              "max_position_embeddings": POSITIONS, "dim": HIDDEN, "n_layers": LAYERS, "n_heads": HEADS,
              "hidden_dim": INNER, "activation": "gelu"}
    write_model(folder, config, tensors)


class Layer(torch.nn.Module):
    def __init__(self, tensors, stem):
        super().__init__()
        for name, rows, cols in LINEARS:
            linear = torch.nn.Linear(cols, rows)
            linear.weight.data = torch.from_numpy(tensors[stem + name + ".weight"])
            linear.bias.data = torch.from_numpy(tensors[stem + name + ".bias"])
            setattr(self, name.split(".")[1], linear)
        for name in ("sa_layer_norm", "output_layer_norm"):
            norm = torch.nn.LayerNorm(HIDDEN, eps=1e-12)
            norm.weight.data = torch.from_numpy(tensors[stem + name + ".weight"])
            norm.bias.data = torch.from_numpy(tensors[stem + name + ".bias"])
            setattr(self, name, norm)

    def forward(self, x):
        batch, length, _ = x.shape
        q, k, v = (linear(x).view(batch, length, HEADS, HIDDEN // HEADS).transpose(1, 2)
                   for linear in (self.q_lin, self.k_lin, self.v_lin))
        scores = torch.matmul(q * (HIDDEN // HEADS) ** -0.5, k.transpose(2, 3))
        mixed = torch.matmul(torch.softmax(scores, -1), v).transpose(1, 2).reshape(batch, length, HIDDEN)
        x = self.sa_layer_norm(self.out_lin(mixed) + x)
        return self.output_layer_norm(self.lin2(torch.nn.functional.gelu(self.lin1(x))) + x)


class Encoder(torch.nn.Module):
    def __init__(self, tensors):
        super().__init__()
        self.words = torch.nn.Embedding.from_pretrained(torch.from_numpy(tensors["embeddings.word_embeddings.weight"]))
        self.places = torch.nn.Embedding.from_pretrained(
            torch.from_numpy(tensors["embeddings.position_embeddings.weight"]))
        self.norm = torch.nn.LayerNorm(HIDDEN, eps=1e-12)
        self.norm.weight.data = torch.from_numpy(tensors["embeddings.LayerNorm.weight"])
        self.norm.bias.data = torch.from_numpy(tensors["embeddings.LayerNorm.bias"])
        self.layers = torch.nn.ModuleList(Layer(tensors, f"transformer.layer.{i}.") for i in range(LAYERS))

    def forward(self, ids):
        x = self.norm(self.words(ids) + self.places(torch.arange(ids.shape[1]))[None])
        for layer in self.layers:
            x = layer(x)
        return x


def torch_rate(model, ids):
    start = time.perf_counter()
    with torch.inference_mode():
        model(ids)
    return ids.numel() / (time.perf_counter() - start)


def nibble_rate(program, model, threads, length, *options):
    out = subprocess.run([program, "bench", str(model), "-p", str(length), "-r", "1", "--threads", str(threads), "--json",
                          *options], check=True, capture_output=True)
    return json.loads(out.stdout)["results"][0]["tokens_per_second"]


def megabytes(folder):
    return sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()) / 1e6


def main():
    program, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    threads = int(sys.argv[3]) if len(sys.argv) > 3 else 2
    torch.set_num_threads(threads)
    tensors = make_tensors()
    plain, small = folder / "f32", folder / "int8"
    write_checkpoint(plain, tensors)
    subprocess.run([program, "quantize", str(plain), str(small), "--to", "int8:channel", "--keep", "*embd*", "--fresh",
                    "--quiet"], check=True)
    smallest = folder / "recipe"  # embeddings as well
    subprocess.run([program, "quantize", str(plain), str(smallest), "--recipe", "dynamic-int8", "--fresh", "--quiet"],
                   check=True)
    model = Encoder(tensors).eval()
    engine = next(e for e in ("fbgemm", "onednn", "qnnpack") if e in torch.backends.quantized.supported_engines)
    torch.backends.quantized.engine = engine
    dynamic = torch.quantization.quantize_dynamic(model, {torch.nn.Linear}, dtype=torch.qint8)
    print(f"files: {megabytes(plain):.1f} MB f32, {megabytes(small):.1f} MB int8, "
          f"{megabytes(smallest):.1f} MB with embeddings int8 too (--recipe dynamic-int8); {threads} threads; "
          f"PyTorch {torch.__version__}, engine {engine}")

    for batch, length in ((1, 128), (8, 128)):
        ids = torch.from_numpy((numpy.arange(batch * length) * 7919 + 1).reshape(batch, length) % VOCAB)
        rates = {"nibble f32": [], "nibble f32, fastest products": [], "nibble int8": [], "PyTorch f32": [], "PyTorch quantize_dynamic": []}
        torch_rate(model, ids), torch_rate(dynamic, ids)
        for _ in range(7):  # nibble reads one sequence after the other
            rates["nibble f32"].append(nibble_rate(program, plain, threads, length, "--exact"))
            rates["nibble f32, fastest products"].append(nibble_rate(program, plain, threads, length))
            rates["nibble int8"].append(nibble_rate(program, small, threads, length, "--activations", "int8"))
            rates["PyTorch f32"].append(torch_rate(model, ids))
            rates["PyTorch quantize_dynamic"].append(torch_rate(dynamic, ids))
        print(f"batch {batch} x {length} tokens")
        for name, r in rates.items():
            print(f"  {name:28} {sorted(r)[len(r) // 2]:9.1f} tokens/s (best {max(r):.1f})")


if __name__ == "__main__":
    main()
