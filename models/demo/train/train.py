#!/usr/bin/env python3
"""Trains nibble's demo model from folders of plain text, on a CPU, and writes it as a Hugging Face LLaMA folder.

    train.py prepare  --tales tales/ --stories stories/ --heldout heldout/ --work work/   # clean, split, tokenizer
    train.py train    --work work/ --minutes 90          # a checkpoint every 5 minutes; run again to go on
    train.py export   --work work/ --out ..              # config, tokenizer, bf16 safetensors
    train.py evaluate --model .. --work work/ --text ../heldout.txt
    train.py sample   --model .. --prompt "Once upon a time" --temp 0.8

tales/ and heldout/ hold books as plain text (a frame of Project Gutenberg around them is cut off), stories/ holds short
stories, parted by <|endoftext|> where a file has several. A text that shares 13 words in a row with heldout/ is left
out; so is one of whose 13-word runs more than 30 % came before. Needs torch, numpy, sentencepiece and gcc (Debian:
python3-torch python3-numpy python3-sentencepiece gcc; libopenblas0 makes evaluate and sample many times quicker);
training is quick on a CPU with bf16 matrix instructions only.

The model's matrices are trained by Muon (orthogonalised momentum), the embeddings, output layer and norms by AdamW.
"""
import argparse
import ctypes
import json
import math
import os
import random
import re
import shutil
import struct
import subprocess
import sys
import time

import numpy as np

CONFIG = dict(hidden=256, ffn=768, layers=8, heads=4, kv_heads=2, head_dim=64,
              vocab=4096, context=512, theta=10000.0, eps=1e-5)
BOS, EOS = 1, 2

# ---------------------------------------------------------------- data

QUOTES = {"\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"', "\u2014": "--", "\u2013": "-",
          "\u2026": "...", "\u00a0": " ", "\ufeff": "", "\u2003": " ", "\u2009": " ", "\u200b": ""}
LICENCE = re.compile(r"gutenberg|transcriber|e-?text prepared|distributed proofread|\bebook\b|produced by|www\.|http|"
                     r"copyright|illustrat|footnote|(punctuation|printer.s|typographical) error|"
                     r"all rights|published by|printed (by|in)|entered according", re.I)
HEADING = re.compile(r"^(chapter|book|part|contents|index|preface|introduction|the end|finis|[ivxlc]+\.?$|\d+\.?$)",
                     re.I)


def clean(raw):
    """Returns the paragraphs of a plain-text book (bytes), unwrapped, in ASCII punctuation; None marks a heading."""
    text = raw.decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n")
    start = re.search(r"\*\*\* ?START OF.*?\*\*\*", text, re.S)
    text = text[start.end():] if start else text
    end = re.search(r"\*\*\* ?END OF|End of (the )?Project Gutenberg", text)
    text = text[:end.start()] if end else text
    for a, b in QUOTES.items():
        text = text.replace(a, b)
    text = re.sub(r"\[[^\]]{0,400}\]", "", text).replace("_", "")
    text = re.sub(r"</?[a-zA-Z][^<>]{0,200}>", "", text)
    text = re.sub(r"(?<!`)``(?!`)", '"', text)
    out = []
    for par in re.split(r"\n\s*\n", text):
        par = re.sub(r"\s+", " ", par).strip()
        letters = [c for c in par if c.isalpha()]
        if not letters:
            continue
        upper = sum(c.isupper() for c in letters) / len(letters)
        if upper > 0.7 or (len(par) < 90 and HEADING.match(par)):
            out.append(None)
        elif "\u00e2\u20ac" in par or "\ufffd" in par:
            continue  # wrongly decoded at its source
        elif LICENCE.search(par) and len(par) < 1500 or len(letters) < 0.65 * len(par):
            continue
        elif len(par) < 60 and not re.search(r"[.!?,;:'\"-]$", par):
            out.append(None)  # a title in mixed case
        else:
            out.append(par)
    return out


def books(folder):
    """Yields pieces (text, ends) of about 4000 characters, cut between paragraphs; ends: the tale ends there."""
    for name in sorted(os.listdir(folder)):
        pars = clean(open(os.path.join(folder, name), "rb").read())
        words = " ".join(p for p in pars if p).split()
        common = sum(w in ("the", "and", "of", "to", "a", "he", "she", "was") for w in words)
        if len(words) < 300 or common < 0.12 * len(words):
            continue  # too short, or not English
        doc, size = [], 0
        for p in pars + [None]:
            if p is not None:
                if size > 4000:
                    yield "\n".join(doc), False
                    doc, size = [], 0
                doc.append(p)
                size += len(p)
            elif doc:
                if size > 400:
                    yield "\n".join(doc), True
                    doc, size = [], 0


def stories(folder):
    """Yields (text, True) for every story of files that hold one, or several parted by <|endoftext|>."""
    for name in sorted(os.listdir(folder)):
        text = open(os.path.join(folder, name), encoding="utf-8", errors="replace").read()
        for a, b in QUOTES.items():
            text = text.replace(a, b)
        for story in text.split("<|endoftext|>"):
            story = "\n".join(re.sub(r"\s+", " ", p).strip() for p in story.split("\n") if p.strip())
            if len(story) > 200:
                yield story, True


def grams(text, n=13):
    words = re.findall(r"[a-z]+", text.lower())
    return [hash(tuple(words[i:i + n])) for i in range(len(words) - n + 1)]


def prepare(args):
    """Cleans, splits and de-duplicates the texts, trains the tokenizer and writes train.bin, valid.bin, heldout.txt."""
    import sentencepiece as spm
    held_text, held = [], set()
    for name in sorted(os.listdir(args.heldout)):
        part = "\n".join(p for p in clean(open(os.path.join(args.heldout, name), "rb").read()) if p)
        held_text.append(part)
        held.update(grams(part))
    os.makedirs(args.work, exist_ok=True)
    open(os.path.join(args.work, "heldout.txt"), "w").write("\n".join(held_text) + "\n")
    prefix = os.path.join(args.work, "tokenizer")
    if args.reuse:
        for name in ("tokenizer.model", "valid.bin"):
            shutil.copy(os.path.join(args.reuse, name), os.path.join(args.work, name))
        sp = spm.SentencePieceProcessor(model_file=prefix + ".model")
        ids = np.fromfile(os.path.join(args.work, "valid.bin"), np.uint16).tolist()
        held.update(grams(sp.decode([i for i in ids if i > EOS])))
    seen, docs, stats = set(), [], dict(overlap=0, duplicate=0)
    sources = [("stories", s) for s in stories(args.stories)] + [("tales", s) for s in books(args.tales)]
    for source, (text, ends) in sources:
        g = grams(text)
        if any(x in held for x in g):
            stats["overlap"] += 1
        elif g and sum(x in seen for x in g) > 0.3 * len(g):
            stats["duplicate"] += 1
        else:
            seen.update(g)
            docs.append((source, text, ends))
            stats[source + "_chars"] = stats.get(source + "_chars", 0) + len(text)
    del seen
    random.Random(1).shuffle(docs)
    nvalid = 0 if args.reuse else len(docs) // 100
    if not args.reuse:
        corpus = os.path.join(args.work, "spm.txt")
        with open(corpus, "w") as f:
            budget = 24e6
            for _, text, _ in sorted(docs[nvalid:], key=lambda d: d[0]):  # stories first
                f.write(text + "\n")
                budget -= len(text)
                if budget < 0:
                    break
        spm.SentencePieceTrainer.train(
            input=corpus, model_prefix=prefix, model_type="bpe", vocab_size=CONFIG["vocab"], byte_fallback=True,
            character_coverage=0.9999, normalization_rule_name="identity", add_dummy_prefix=True,
            remove_extra_whitespaces=False, split_digits=True, unk_id=0, bos_id=BOS, eos_id=EOS, pad_id=-1,
            max_sentence_length=20000, num_threads=2, input_sentence_size=120000, shuffle_input_sentence=True)
        sp = spm.SentencePieceProcessor(model_file=prefix + ".model")
    learn = docs[nvalid:] + [d for d in docs[nvalid:] if d[0] == "stories"] * (args.repeat_stories - 1)
    random.Random(2).shuffle(learn)
    for name, part in (("valid", docs[:nvalid]), ("train", learn)):
        if not part:
            continue
        ids = []
        for _, text, ends in part:
            ids.append(BOS)
            ids.extend(sp.encode(text))
            if ends:
                ids.append(EOS)
        np.array(ids, np.uint16).tofile(os.path.join(args.work, name + ".bin"))
        stats[name + "_tokens"], stats[name + "_docs"] = len(ids), len(part)
    json.dump(stats, open(os.path.join(args.work, "data.json"), "w"), indent=1)
    print(stats)


# ---------------------------------------------------------------- model, in bf16 with fused weights

def shapes():
    c = CONFIG
    q, kv = c["heads"] * c["head_dim"], c["kv_heads"] * c["head_dim"]
    out = {"embed": (c["vocab"], c["hidden"]), "head": (c["vocab"], c["hidden"]), "norm": (c["hidden"],)}
    for i in range(c["layers"]):
        out[f"{i}.qkv"] = (q + 2 * kv, c["hidden"])
        out[f"{i}.o"] = (c["hidden"], q)
        out[f"{i}.gu"] = (2 * c["ffn"], c["hidden"])
        out[f"{i}.down"] = (c["hidden"], c["ffn"])
        out[f"{i}.n1"] = out[f"{i}.n2"] = (c["hidden"],)
    return out


def init(torch, seed):
    g = torch.Generator().manual_seed(seed)
    params = {}
    for name, shape in shapes().items():
        if len(shape) == 1:
            t = torch.ones(shape)
        elif name.endswith((".o", ".down")):
            t = torch.zeros(shape)  # every block starts as the identity
        else:
            t = torch.randn(shape, generator=g) * (0.02 if name in ("embed", "head") else 0.6 / math.sqrt(shape[1]))
        params[name] = t
    return params


def build(torch, work):
    """Returns loss(weights, tokens): mean cross-entropy in nats of a [batch, time + 1] block of token ids."""
    import torch.nn.functional as F
    c = CONFIG
    H, KV, D, rep = c["heads"], c["kv_heads"], c["head_dim"], c["heads"] // c["kv_heads"]
    source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "kernels.c")
    library = os.path.join(work, "kernels.so")
    subprocess.check_call(["gcc", "-O3", "-march=native", "-ffast-math", "-shared", "-fPIC", "-o", library, source,
                           "-lmvec", "-lm"])
    lib = ctypes.CDLL(library)
    lib.cross_entropy.restype = ctypes.c_double

    def call(name, *args):
        """Calls a kernel: tensors go as pointers to contiguous memory, ints as long, floats as float."""
        out = []
        for a in args:
            if isinstance(a, torch.Tensor):
                assert a.is_contiguous()
                out.append(ctypes.c_void_p(a.data_ptr()))
            else:
                out.append(ctypes.c_float(a) if isinstance(a, float) else ctypes.c_long(a))
        return getattr(lib, name)(*out)

    freq = c["theta"] ** (-torch.arange(0, D, 2).float() / D)
    angle = torch.outer(torch.arange(c["context"]).float(), freq)
    cos, sin = angle.cos().contiguous(), angle.sin().contiguous()

    class RmsNorm(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, w):
            y, r = torch.empty_like(x), torch.empty(x.numel() // x.shape[-1])
            call("rms_forward", x, w, y, r, len(r), x.shape[-1], c["eps"])
            ctx.save_for_backward(x, w, r)
            return y

        @staticmethod
        def backward(ctx, g):
            x, w, r = ctx.saved_tensors
            g = g.contiguous()
            gx, gw = torch.empty_like(x), torch.zeros(w.shape)
            call("rms_backward", x, w, r, g, gx, gw, len(r), x.shape[-1])
            return gx, gw.to(w.dtype)

    class SwiGlu(torch.autograd.Function):
        @staticmethod
        def forward(ctx, gu):
            ctx.save_for_backward(gu)
            y = torch.empty(*gu.shape[:-1], gu.shape[-1] // 2, dtype=gu.dtype)
            call("swiglu_forward", gu, y, y.numel() // y.shape[-1], y.shape[-1])
            return y

        @staticmethod
        def backward(ctx, g):
            gu, = ctx.saved_tensors
            out = torch.empty_like(gu)
            call("swiglu_backward", gu, g.contiguous(), out, g.numel() // g.shape[-1], g.shape[-1])
            return out

    class Attention(torch.autograd.Function):
        """Causal grouped-query attention on [batch, time, (H + 2 KV) D], by blocks of queries."""
        BLOCK = 128

        @staticmethod
        def forward(ctx, qkv):
            B, t, _ = qkv.shape
            q, k, v = qkv.new_empty(B * KV, t * rep, D), qkv.new_empty(B * KV, t, D), qkv.new_empty(B * KV, t, D)
            call("rope_split", qkv, q, k, v, cos, sin, B, t, KV, rep, D, D ** -0.5, 0)
            probs, outs = [], []
            for t0 in range(0, t, Attention.BLOCK):
                t1 = min(t, t0 + Attention.BLOCK)
                p = torch.bmm(q[:, t0 * rep:t1 * rep], k[:, :t1].transpose(1, 2))
                call("softmax_forward", p, B * KV, (t1 - t0) * rep, t1, t0, rep)
                probs.append(p)
                outs.append(torch.bmm(p, v[:, :t1]))
            ctx.save_for_backward(q, k, v, *probs)
            ctx.size = B, t
            return torch.cat(outs, 1).view(B, KV, t, rep, D).transpose(1, 2).reshape(B, t, H * D)

        @staticmethod
        def backward(ctx, g):
            q, k, v, *probs = ctx.saved_tensors
            B, t = ctx.size
            g = g.reshape(B, t, KV, rep, D).transpose(1, 2).reshape(B * KV, t * rep, D)
            gq, gk, gv = torch.empty_like(q), torch.zeros_like(k), torch.zeros_like(v)
            for i in reversed(range(len(probs))):
                t0 = i * Attention.BLOCK
                t1 = min(t, t0 + Attention.BLOCK)
                rows, p = slice(t0 * rep, t1 * rep), probs[i]
                gv[:, :t1] += torch.bmm(p.transpose(1, 2), g[:, rows])
                s = torch.bmm(g[:, rows], v[:, :t1].transpose(1, 2))
                call("softmax_backward", p, s, p.shape[0] * p.shape[1], t1)
                gq[:, rows] = torch.bmm(s, k[:, :t1])
                gk[:, :t1] += torch.bmm(s.transpose(1, 2), q[:, rows])
            out = torch.empty(B, t, (H + 2 * KV) * D, dtype=q.dtype)
            call("rope_split", out, gq, gk, gv, cos, sin, B, t, KV, rep, D, D ** -0.5, 1)
            return out

    class HeadLoss(torch.autograd.Function):
        """Mean cross-entropy of the output layer; its gradients are made in the forward pass, chunk by chunk."""
        @staticmethod
        def forward(ctx, x, w, target):
            n = x.shape[0]
            gx, gw, total = torch.empty_like(x), torch.zeros(w.shape), 0.0
            for i in range(0, n, 1024):
                xs, ts = x[i:i + 1024], target[i:i + 1024]
                z = F.linear(xs, w)
                total += call("cross_entropy", z, ts, z.shape[0], z.shape[1])
                gx[i:i + 1024] = (z @ w) / n
                gw += (z.t() @ xs)
            ctx.save_for_backward(gx, (gw / n).to(w.dtype))
            return torch.tensor(total / n)

        @staticmethod
        def backward(ctx, g):
            gx, gw = ctx.saved_tensors
            return gx * g.to(gx.dtype), gw * g.to(gw.dtype), None

    def loss(w, block):
        x = F.embedding(block[:, :-1], w["embed"])
        for i in range(c["layers"]):
            h = RmsNorm.apply(x, w[f"{i}.n1"])
            x = x + F.linear(Attention.apply(F.linear(h, w[f"{i}.qkv"])), w[f"{i}.o"])
            h = RmsNorm.apply(x, w[f"{i}.n2"])
            x = x + F.linear(SwiGlu.apply(F.linear(h, w[f"{i}.gu"])), w[f"{i}.down"])
        x = RmsNorm.apply(x, w["norm"])
        return HeadLoss.apply(x.reshape(-1, c["hidden"]), w["head"], block[:, 1:].reshape(-1).contiguous())

    return loss


def orthogonalise(torch, g):
    """Newton-Schulz iteration of the Muon optimizer: g -> nearly the orthogonal factor of its polar decomposition."""
    x = g.bfloat16()
    flip = x.shape[0] > x.shape[1]
    x = x.t() if flip else x
    x = x / (x.norm() + 1e-7)
    for _ in range(5):
        a = x @ x.t()
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * (a @ a)) @ x
    return (x.t() if flip else x).float()


def adamw_step(p, g, m, v, lr, decay, k):
    m.mul_(0.9).add_(g, alpha=0.1)
    v.mul_(0.95).addcmul_(g, g, value=0.05)
    if p.dim() > 1:
        p.mul_(1 - lr * decay)
    else:
        lr *= 0.5
    p.addcdiv_(m / (1 - 0.9 ** k), (v / (1 - 0.95 ** k)).sqrt_().add_(1e-8), value=-lr)


def muon_step(torch, p, g, m, lr, decay, rows):
    """One step for a matrix whose consecutive groups of rows are matrices of their own (fused projections)."""
    m.mul_(0.95).add_(g, alpha=0.05)
    parts = (0.05 * g + 0.95 * m).split(rows)
    u = torch.cat([orthogonalise(torch, x) * math.sqrt(max(1.0, x.shape[0] / x.shape[1])) for x in parts])
    p.mul_(1 - lr * decay).add_(u, alpha=-lr)


def train(args):
    """Trains until args.minutes of training time are used up; goes on from a checkpoint where there is one."""
    import torch
    torch.set_num_threads(args.threads)
    c = CONFIG
    loss_of = build(torch, args.work)
    data = np.fromfile(os.path.join(args.work, "train.bin"), np.uint16).astype(np.int64)
    valid = np.fromfile(os.path.join(args.work, "valid.bin"), np.uint16).astype(np.int64)
    T = c["context"]
    nv = min(len(valid) // (T + 1), 48)
    valid = torch.from_numpy(valid[:nv * (T + 1)].reshape(nv, T + 1))
    master = init(torch, 7)
    state = {n: torch.zeros_like(t) for n, t in master.items()}
    second = {n: torch.zeros_like(t) for n, t in master.items() if t.dim() == 1 or not n[0].isdigit()}  # by AdamW
    step, spent, seen, epoch, cursor = 0, 0.0, 0, 0, 0
    ckpt = os.path.join(args.work, "checkpoint.pt")
    if os.path.exists(ckpt):
        s = torch.load(ckpt)
        master, state, second = s["master"], s["state"], s["second"]
        step, spent, seen, epoch, cursor = s["step"], s["spent"], s["seen"], s["epoch"], s["cursor"]
        if s.get("data", len(data)) != len(data):
            epoch, cursor = epoch + 1, 0  # the data are others now
        print("resumed at step", step, flush=True)
    q, kv = c["heads"] * c["head_dim"], c["kv_heads"] * c["head_dim"]
    pieces = {"qkv": [q, kv, kv], "gu": [c["ffn"], c["ffn"]]}
    limit = args.minutes * 60
    order, last, saved = None, time.time(), time.time()

    def evaluate():
        with torch.no_grad():
            w = {n: t.bfloat16() for n, t in master.items()}
            return float(np.mean([float(loss_of(w, valid[i:i + 8])) for i in range(0, nv, 8)]))

    def save():
        torch.save(dict(master=master, state=state, second=second, step=step, spent=spent, seen=seen, epoch=epoch,
                        cursor=cursor, data=len(data)), ckpt + ".new")
        os.replace(ckpt + ".new", ckpt)

    while True:
        now = time.time()
        spent += now - last
        last = now
        frac = spent / limit
        if frac >= 1:
            break
        shape = min(1.0, (step + 1) / 60) * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * min(1.0, frac))))
        w = {n: t.bfloat16().requires_grad_() for n, t in master.items()}
        total = 0.0
        for _ in range(args.accumulate):
            if order is None or cursor + args.batch > len(order):
                if order is not None:
                    epoch, cursor = epoch + 1, 0
                rng = np.random.default_rng(1000 + epoch)
                offset = int(rng.integers(T))
                order = rng.permutation((len(data) - offset - 1) // T) * T + offset
            block = np.stack([data[o:o + T + 1] for o in order[cursor:cursor + args.batch]])
            cursor += args.batch
            loss = loss_of(w, torch.from_numpy(block)) / args.accumulate
            loss.backward()
            total += float(loss)
            seen += block.shape[0] * T
        with torch.no_grad():
            norm = math.sqrt(sum(float(t.grad.float().square().sum()) for t in w.values()))
            for n, t in w.items():
                if n in second:
                    g = t.grad.float() * min(1.0, 1.0 / (norm + 1e-6))
                    adamw_step(master[n], g, state[n], second[n], args.lr * shape, args.decay, step + 1)
                else:
                    muon_step(torch, master[n], t.grad.float(), state[n], args.muon_lr * shape, args.decay,
                              pieces.get(n.split(".")[1], [master[n].shape[0]]))
        step += 1
        if step % 10 == 0:
            print(f"step {step} loss {total:.4f} norm {norm:.2f} lr {shape:.3f} tokens {seen/1e6:.2f}M epoch {epoch} "
                  f"{seen / max(1e-9, spent):.0f} tok/s", flush=True)
        if time.time() - saved > 300:
            saved = time.time()
            save()
            print(f"valid {evaluate():.4f} nats/token at step {step}", flush=True)
    save()
    print(f"done: step {step} tokens {seen} valid {evaluate():.4f}", flush=True)


# ---------------------------------------------------------------- Hugging Face layout

def to_bf16(x):
    u = np.ascontiguousarray(x, np.float32).view(np.uint32).astype(np.uint64)
    return ((u + 0x7FFF + ((u >> 16) & 1)) >> 16).astype(np.uint16)


def export(args):
    """Writes the checkpoint as a Hugging Face LLaMA folder: config, tokenizer and bfloat16 safetensors."""
    import torch
    c = CONFIG
    w = {n: t.numpy() for n, t in torch.load(os.path.join(args.work, "checkpoint.pt"))["master"].items()}
    q, kv, f = c["heads"] * c["head_dim"], c["kv_heads"] * c["head_dim"], c["ffn"]
    tensors = {"model.embed_tokens.weight": w["embed"], "model.norm.weight": w["norm"], "lm_head.weight": w["head"]}
    for i in range(c["layers"]):
        p, qkv, gu = f"model.layers.{i}.", w[f"{i}.qkv"], w[f"{i}.gu"]
        tensors[p + "self_attn.q_proj.weight"] = qkv[:q]
        tensors[p + "self_attn.k_proj.weight"] = qkv[q:q + kv]
        tensors[p + "self_attn.v_proj.weight"] = qkv[q + kv:]
        tensors[p + "self_attn.o_proj.weight"] = w[f"{i}.o"]
        tensors[p + "mlp.gate_proj.weight"] = gu[:f]
        tensors[p + "mlp.up_proj.weight"] = gu[f:]
        tensors[p + "mlp.down_proj.weight"] = w[f"{i}.down"]
        tensors[p + "input_layernorm.weight"] = w[f"{i}.n1"]
        tensors[p + "post_attention_layernorm.weight"] = w[f"{i}.n2"]
    header, blob = {"__metadata__": {"format": "pt"}}, b""
    for name in sorted(tensors):
        data = to_bf16(tensors[name]).tobytes()
        span = [len(blob), len(blob) + len(data)]
        header[name] = dict(dtype="BF16", shape=list(tensors[name].shape), data_offsets=span)
        blob += data
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    os.makedirs(args.out, exist_ok=True)
    with open(os.path.join(args.out, "model.safetensors"), "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + blob)
    shutil.copy(os.path.join(args.work, "tokenizer.model"), os.path.join(args.out, "tokenizer.model"))
    ids = dict(bos_token_id=BOS, eos_token_id=EOS)
    files = {
        "config.json": dict(
            architectures=["LlamaForCausalLM"], model_type="llama", vocab_size=c["vocab"], hidden_size=c["hidden"],
            intermediate_size=c["ffn"], num_hidden_layers=c["layers"], num_attention_heads=c["heads"],
            num_key_value_heads=c["kv_heads"], head_dim=c["head_dim"], max_position_embeddings=c["context"],
            hidden_act="silu", rms_norm_eps=c["eps"], rope_theta=c["theta"], rope_scaling=None, attention_bias=False,
            mlp_bias=False, tie_word_embeddings=False, torch_dtype="bfloat16", use_cache=True, **ids),
        "generation_config.json": dict(do_sample=True, temperature=0.8, top_p=0.95, max_length=c["context"], **ids),
        "tokenizer_config.json": dict(
            tokenizer_class="LlamaTokenizer", add_bos_token=True, add_eos_token=False, bos_token="<s>",
            eos_token="</s>", unk_token="<unk>", legacy=True, clean_up_tokenization_spaces=False,
            model_max_length=c["context"]),
    }
    for name, value in files.items():
        with open(os.path.join(args.out, name), "w") as f:
            f.write(json.dumps(value, indent=2) + "\n")
    print(f"{sum(t.size for t in tensors.values())} parameters, {len(blob)} bytes of weights in {args.out}")


class Reader:
    """An independent float32 forward pass over an exported folder, to check what was written."""

    def __init__(self, folder):
        import sentencepiece as spm
        import torch
        self.torch, self.c = torch, json.load(open(os.path.join(folder, "config.json")))
        self.sp = spm.SentencePieceProcessor(model_file=os.path.join(folder, "tokenizer.model"))
        raw = open(os.path.join(folder, "model.safetensors"), "rb").read()
        n = struct.unpack("<Q", raw[:8])[0]
        self.w = {}
        for name, t in json.loads(raw[8:8 + n]).items():
            if name != "__metadata__":
                a, b = t["data_offsets"]
                u = np.frombuffer(raw[8 + n + a:8 + n + b], np.uint16).astype(np.uint32) << 16
                self.w[name] = torch.from_numpy(u.view(np.float32).reshape(t["shape"]))

    def logits(self, ids):
        torch, c, w = self.torch, self.c, self.w
        t, d, H, KV = len(ids), c["head_dim"], c["num_attention_heads"], c["num_key_value_heads"]
        angle = torch.outer(torch.arange(t).float(), c["rope_theta"] ** (-torch.arange(0, d, 2).float() / d))
        cos, sin = (torch.cat([f(angle)] * 2, 1) for f in (torch.cos, torch.sin))

        def norm(x, g):
            return x / (x.square().mean(-1, keepdim=True) + c["rms_norm_eps"]).sqrt() * g

        def rope(x):
            return x * cos + torch.cat([-x[..., d // 2:], x[..., :d // 2]], -1) * sin

        mask = torch.full((t, t), float("-inf")).triu(1)
        x = w["model.embed_tokens.weight"][torch.tensor(ids)]
        for i in range(c["num_hidden_layers"]):
            p = f"model.layers.{i}."
            h = norm(x, w[p + "input_layernorm.weight"])
            q, k, v = ((h @ w[p + f"self_attn.{n}_proj.weight"].t()).view(t, -1, d).transpose(0, 1) for n in "qkv")
            k, v = (z.repeat_interleave(H // KV, 0) for z in (rope(k), v))
            a = torch.softmax(rope(q) @ k.transpose(1, 2) / d ** 0.5 + mask, -1) @ v
            x = x + a.transpose(0, 1).reshape(t, H * d) @ w[p + "self_attn.o_proj.weight"].t()
            h = norm(x, w[p + "post_attention_layernorm.weight"])
            g = h @ w[p + "mlp.gate_proj.weight"].t()
            h = g * torch.sigmoid(g) * (h @ w[p + "mlp.up_proj.weight"].t())
            x = x + h @ w[p + "mlp.down_proj.weight"].t()
        return norm(x, w["model.norm.weight"]) @ w["lm_head.weight"].t()

    def nll(self, ids):
        """Negative log-likelihoods (nats) of ids[1:]."""
        z = self.torch.log_softmax(self.logits(ids[:-1]), -1)
        return -z[self.torch.arange(len(ids) - 1), self.torch.tensor(ids[1:])]


def evaluate(args):
    """Loss of an exported folder: on valid.bin in the training's windows (--work), or on a text file (--text)."""
    import torch
    torch.set_num_threads(args.threads)
    with torch.no_grad():
        m = Reader(args.model)
        T = m.c["max_position_embeddings"]
        if args.work:
            ids = np.fromfile(os.path.join(args.work, "valid.bin"), np.uint16).astype(int).tolist()
            windows = [ids[i:i + T + 1] for i in range(0, len(ids) - T, T + 1)]
            nll = torch.cat([m.nll(x) for x in windows])
            print(f"{args.work}/valid.bin: {nll.mean():.4f} nats/token over {len(nll)} tokens")
        if args.text:
            text = open(args.text, encoding="utf-8").read()
            ids = m.sp.encode(text)
            windows = [[BOS] + ids[i:i + T - 1] for i in range(0, len(ids), T - 1)]
            nll = torch.cat([m.nll(x) for x in windows])
            print(f"{args.text}: {nll.mean():.4f} nats/token, perplexity {math.exp(nll.mean()):.3f}, "
                  f"{nll.sum() / math.log(2) / len(text.encode()):.4f} bits per byte over {len(nll)} tokens")


def sample(args):
    """Writes text with an exported folder (no cache: a check, not a fast program)."""
    import torch
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    with torch.no_grad():
        m = Reader(args.model)
        ids = [BOS] + m.sp.encode(args.prompt)
        while len(ids) < min(args.tokens, m.c["max_position_embeddings"]):
            z = m.logits(ids)[-1]
            if args.temp > 0:
                p, at = torch.softmax(z / args.temp, -1).sort(descending=True)
                p[p.cumsum(0) - p > args.top_p] = 0
                ids.append(int(at[torch.multinomial(p, 1)]))
            else:
                ids.append(int(z.argmax()))
            if ids[-1] == EOS:
                break
        print(m.sp.decode(ids[1:]))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)

    def verb(function, **options):
        p = verbs.add_parser(function.__name__, help=function.__doc__.split("\n")[0])
        for name, default in options.items():
            kind = str if default is None else type(default)
            p.add_argument("--" + name.replace("_", "-"), type=kind, default=default)
        p.set_defaults(function=function)

    verb(prepare, tales="tales", stories="stories", heldout="heldout", work="work", repeat_stories=3, reuse=None)
    verb(train, work="work", minutes=90.0, threads=1, batch=4, accumulate=4, lr=3e-3, muon_lr=0.02, decay=0.05)
    verb(export, work="work", out="out")
    verb(evaluate, model="out", work=None, text=None, threads=1)
    verb(sample, model="out", prompt="Once upon a time", tokens=256, temp=0.8, top_p=0.95, seed=1, threads=1)
    args = parser.parse_args()
    if args.verb == "train" and os.environ.get("MALLOC_MMAP_MAX_") != "0":
        # glibc would give every large tensor back to the system; keeping the memory doubles the speed
        os.environ.update(MALLOC_MMAP_MAX_="0", MALLOC_TRIM_THRESHOLD_=str(1 << 40), MALLOC_TOP_PAD_=str(1 << 28),
                          OMP_NUM_THREADS=str(args.threads))
        os.execv(sys.executable, [sys.executable] + sys.argv)
    args.function(args)


if __name__ == "__main__":
    main()
