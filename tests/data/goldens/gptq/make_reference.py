#!/usr/bin/python3
"""Layer errors of GPTQ as published (arXiv 2210.17323: damping 1 % of the mean diagonal, groups of 128 whose minimum
and maximum are taken when the group begins, blocks of 128 columns, no reordering), in PyTorch, double precision.
Prints errors.json: tr((W - Q) H (W - Q)^T) / tr(W H W^T). The problems are those of test::make_problem in
tests/methods/under_solver.cpp, made here from the same random numbers."""
import json
import math

import torch


class Rng:
    """base/rng.h: SplitMix64, Box and Muller."""

    def __init__(self, seed):
        self.state = seed

    def uniform(self):
        mask = (1 << 64) - 1
        self.state = (self.state + 0x9E3779B97F4A7C15) & mask
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        return ((z ^ (z >> 31)) >> 11) * 2.0**-53

    def normal(self):
        r = math.sqrt(-2.0 * math.log(1.0 - self.uniform()))
        return r * math.cos(6.283185307179586 * self.uniform())


def make_problem(rows, cols, seed):
    rng = Rng(seed)
    w = torch.tensor([rng.normal() * 0.02 for _ in range(rows * cols)], dtype=torch.float32).double().view(rows, cols)
    samples = 2 * cols
    x = torch.empty(samples, cols, dtype=torch.float64)
    for s in range(samples):
        walk = rng.normal()
        for j in range(cols):
            walk = 0.9 * walk + 0.45 * rng.normal()
            x[s, j] = walk * (6.0 if j % 29 == 3 else 1.0)
    return w, (x.T @ x / samples).float().double()


def gptq(w, h, bits, group):
    rows, cols = w.shape
    top = 2**bits - 1
    w = w.clone()
    damped = h + 0.01 * h.diagonal().mean() * torch.eye(cols, dtype=torch.float64)
    u = torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(damped)), upper=True)
    q = torch.zeros_like(w)
    for begin in range(0, cols, 128):
        end = min(begin + 128, cols)
        errors = torch.zeros(rows, end - begin, dtype=torch.float64)
        for j in range(begin, end):
            if j % group == 0:
                part = w[:, j : j + group]
                low = part.min(1).values.clamp(max=0)
                high = part.max(1).values.clamp(min=0)
                scale = (high - low) / top
                zero = torch.round(-low / scale)
            code = torch.clamp(torch.round(w[:, j] / scale) + zero, 0, top)
            q[:, j] = scale * (code - zero)
            errors[:, j - begin] = (w[:, j] - q[:, j]) / u[j, j]
            w[:, j:end] -= errors[:, j - begin, None] * u[j, j:end][None]
        w[:, end:] -= errors @ u[begin:end, end:]
    return q


def relative(w, h, q):
    return (((w - q) @ h) * (w - q)).sum().item() / ((w @ h) * w).sum().item()


results = []
for seed in (31, 32):
    w, h = make_problem(64, 256, seed)
    for bits in (4, 3):
        results.append({"seed": seed, "rows": 64, "cols": 256, "bits": bits, "group": 128,
                        "error": relative(w, h, gptq(w, h, bits, 128))})
print(json.dumps({"from": "make_reference.py, PyTorch " + torch.__version__, "errors": results}, indent=1))
