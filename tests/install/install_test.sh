#!/usr/bin/env bash
# What a user of the library does: install it, build the example against it, shrink a model with it.
# install_test.sh BUILD_DIR SOURCE_DIR
set -euo pipefail
build=$1 source=$2
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cmake --build "$build" --target nibble_library
cmake --install "$build" --component library --prefix "$scratch/prefix" >/dev/null
cmake -S "$source/examples" -B "$scratch/example" -DCMAKE_PREFIX_PATH="$scratch/prefix" >/dev/null
cmake --build "$scratch/example"
"$scratch/example/shrink_and_speak" "$source/models/demo" "$scratch/small.gguf" "Once upon a time" | tee "$scratch/said"
test -s "$scratch/small.gguf"
grep -q "bits per weight" "$scratch/said"
[ "$(wc -w <"$scratch/said")" -gt 50 ] # a hundred tokens were spoken

cmake --install "$build" --component program --prefix "$scratch/prefix" >/dev/null
"$scratch/prefix/bin/nibble" inspect "$scratch/small.gguf" --quiet >/dev/null
