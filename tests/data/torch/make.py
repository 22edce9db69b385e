"""Writes the torch files that tests/containers/torch_test.cpp reads: make.py FOLDER.

small.pt was written by it once (PyTorch 1.13) and is kept; the test writes the others anew where PyTorch is installed.
"""

import collections
import sys

import torch

folder = sys.argv[1]
base = torch.arange(24, dtype=torch.float32)
small = {
    "plain": base.reshape(4, 6),
    "transposed": base.reshape(4, 6).t(),
    "slice": base[6:12],
    "columns": base.reshape(4, 6)[:, 1:3],
    "bf16": (torch.arange(8, dtype=torch.float32) / 4).to(torch.bfloat16),
    "f16": torch.tensor([[1.5, -2.0]], dtype=torch.float16),
    "ints": torch.tensor([1, -2, 3]),
    "flags": torch.tensor([True, False]),
    "scalar": torch.tensor(2.5),
    "none": torch.zeros(0, 3),
    "weight": torch.nn.Parameter(torch.tensor([7.0, 8.0])),
    "nested": {"list": [torch.tensor([9], dtype=torch.int8)], "epoch": 3, "name": "x", "rate": 0.5, "on": True},
}
torch.save(small, folder + "/small.pt")

module = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.LayerNorm(2))
with torch.no_grad():
    module[0].weight.copy_(torch.arange(6, dtype=torch.float32).reshape(2, 3))
for protocol in (2, 3, 4, 5):
    torch.save(module.state_dict(), f"{folder}/module{protocol}.bin", pickle_protocol=protocol)
torch.save(collections.OrderedDict(w=base), folder + "/old.bin", _use_new_zipfile_serialization=False)
torch.save(module, folder + "/whole_module.pt")
torch.save({"expanded": torch.ones(1).expand(1000, 1000)}, folder + "/expanded.pt")
