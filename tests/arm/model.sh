#!/usr/bin/env bash
# model.sh PROGRAM: a whole model on an emulated AArch64. Fast products come within 0.1 % of the perplexity of exact ones, and
# every level gives the same bits: they differ in how they come to exact sums.
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
small=$scratch/q4_k_m.gguf

emulated() { QEMU_CPU=max qemu-aarch64 -L /usr/aarch64-linux-gnu "$program" "$@"; }
# perplexity CHUNKS [options of eval]
perplexity() {
  local chunks=$1
  shift
  emulated eval "$small" --text "$model/heldout.txt" --ctx 256 --chunks "$chunks" --quiet --json "$@" |
    sed -n '/"perplexity"/,/}/s/.*"value": *\([0-9.]*\).*/\1/p'
}

printf '\n== docs-21m in q4_k_m\n'
emulated quantize "$model" "$small" --to q4_k_m --quiet
status=0
exact=$(perplexity 4)
fast=$(perplexity 4 --fast)
awk -v exact="$exact" -v fast="$fast" 'BEGIN {
  off = (fast - exact) / exact * 100
  right = exact > 0 && off < 0.1 && off > -0.1
  printf "four chunks, perplexity exact %.4f, fast %.4f: %+.3f %%%s\n", exact, fast, off, right ? "" : ", TOO FAR"
  exit !right
}' || status=1

# Batches and single tokens, keys and values as bytes.
expected=
for level in neon dotprod i8mm; do
  export NIBBLE_ISA=$level
  number=$(perplexity 1 --fast --kv q8_0)
  text=$(emulated run "$small" --prompt "The compiler" --tokens 12 --temp 0 --kv q8_0 --quiet)
  expected=${expected:-$number $text}
  verdict=
  if [ -z "$number" ] || [ "$number $text" != "$expected" ]; then
    verdict=", DIFFERENT"
    status=1
  fi
  printf '%-8s one chunk %s, text "%s"%s\n' "$level" "$number" "$(tr '\n' ' ' <<<"$text")" "$verdict"
done
exit "$status"
