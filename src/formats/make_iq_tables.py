#!/usr/bin/env python3
"""Packs the grids of ggml's i-quants into iq_tables.inc: make_iq_tables.py GGML_COMMON_H > iq_tables.inc

A grid entry is 4 or 8 coordinates, a byte each in ggml. Each coordinate takes one of 3 or 8 levels, so the table
here holds the levels' numbers, 2 or 3 bits each, the first coordinate lowest: every entry fits 16 bits.
"""
import re
import sys

GRIDS = [  # ggml's name, ours, bytes per entry, levels in order
    ("iq2xxs_grid", "iq2_xxs_grid", 8, [8, 25, 43]),
    ("iq2xs_grid", "iq2_xs_grid", 8, [8, 25, 43]),
    ("iq2s_grid", "iq2_s_grid", 8, [8, 25, 43]),
    ("iq3xxs_grid", "iq3_xxs_grid", 4, [4, 12, 20, 28, 36, 44, 52, 62]),
    ("iq3s_grid", "iq3_s_grid", 4, [1, 3, 5, 7, 9, 11, 13, 15]),
    ("iq1s_grid", "iq1_grid", 8, [255, 0, 1]),
]


def main():
    text = open(sys.argv[1], encoding="utf-8").read()
    print("// Made by make_iq_tables.py from the grids in ggml/src/ggml-common.h; how entries are packed stands there.")
    print("// clang-format off")
    for theirs, ours, coordinates, levels in GRIDS:
        body = re.search(r"GGML_TABLE_BEGIN\(\w+, " + theirs + r", \w+\)(.*?)GGML_TABLE_END", text, re.S)[1]
        bits = 2 if len(levels) == 3 else 3
        words = []
        for number in re.findall(r"0x[0-9a-f]+", body):
            entry = int(number, 16).to_bytes(coordinates, "little")
            words.append(sum(levels.index(c) << bits * i for i, c in enumerate(entry)))
        print(f"inline constexpr uint16_t {ours}[{len(words)}] = {{")
        for i in range(0, len(words), 15):
            print(" " + ",".join(f"0x{w:04x}" for w in words[i : i + 15]) + ",")
        print("};")
    print("// clang-format on")


main()
