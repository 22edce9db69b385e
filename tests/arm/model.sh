#!/usr/bin/env bash
# model.sh PROGRAM: a whole model on an emulated AArch64. The fast kernels of each level come within 0.1 % of the perplexity
# of exact products, and all give the same number: they differ in how they come to exact sums.
set -euo pipefail
program=$1
data=${NIBBLE_TEST_DATA:-../shared/data}
model=$data/models/docs-21m
if [ ! -e "$model/model.safetensors" ]; then
  echo "skipped: no $model (NIBBLE_TEST_DATA)"
  exit 0
fi
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
emulated() { QEMU_CPU=max qemu-aarch64 -L /usr/aarch64-linux-gnu "$program" "$@"; }
perplexity() {
  emulated eval "$@" --text "$model/heldout.txt" --ctx 256 --chunks 2 --quiet --json |
    sed -n '/"perplexity"/,/}/s/.*"value": *\([0-9.]*\).*/\1/p'
}

printf '\n== %s\n' "docs-21m, two chunks of 256 tokens, perplexity"
status=0
for word in q4_k_m q8_0; do
  emulated quantize "$model" "$scratch/$word.gguf" --to "$word" --quiet
  exact=$(perplexity "$scratch/$word.gguf")
  first=
  for level in neon dotprod i8mm; do
    fast=$(NIBBLE_ISA=$level perplexity "$scratch/$word.gguf" --fast)
    awk -v level="$word $level" -v exact="$exact" -v fast="$fast" -v first="${first:-$fast}" 'BEGIN {
      off = (fast - exact) / exact * 100
      right = exact > 0 && off < 0.1 && off > -0.1 && fast == first
      printf "%-16s exact %s, fast %s: %+.3f %%%s\n", level, exact, fast, off, right ? "" : " WRONG"
      exit !right
    }' || status=1
    first=${first:-$fast}
  done
done
exit "$status"
