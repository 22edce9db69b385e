#!/usr/bin/env bash
# The main job on the bundled model: shrink it in several ways, measure what was lost, hear the small one speak.
set -euo pipefail
nibble=$(readlink -f "$1")
cd "$(dirname "$(readlink -f "$0")")/.."
model=models/demo
out=build/demo
text=$model/heldout.txt
rm -rf "$out"
mkdir -p "$out"

say() { printf '\n== %s\n' "$*"; }

say "The original"
"$nibble" inspect "$model" --depth 2

say "Shrinking it"
candidates=()
for type in Q8_0 Q6_K Q4_K_M Q3_K_M Q2_K; do
  "$nibble" quantize "$model" "$out/$type.gguf" "$type" --quiet
  candidates+=("$out/$type.gguf")
done
for word in int4:g128 nf4:b64; do
  "$nibble" quantize "$model" "$out/${word//:/-}" --to "$word" --quiet
  candidates+=("$out/${word//:/-}")
done
printf '%s\n' "${candidates[@]}"

say "What was lost"
"$nibble" eval "$model" "${candidates[@]}" --against "$model" --text "$text" --ctx 256 --chunks 40

say "What it did to the matrices (Q4_K_M)"
"$nibble" inspect "$out/Q4_K_M.gguf" --against "$model" --depth 0 | tail -n 12

say "The 4-bit model goes on from: Once upon a time"
"$nibble" run "$out/Q4_K_M.gguf" -p "Once upon a time" -n 120 --temp 0.5 --seed 7 --quiet

say "Now your own model"
cat <<'TEXT'
  build/release/nibble quantize ./my-llama my-llama-q4.gguf q4_k_m
  build/release/nibble eval my-llama-q4.gguf --text some.txt --against ./my-llama
  build/release/nibble run my-llama-q4.gguf -p "Once upon a time"
TEXT
