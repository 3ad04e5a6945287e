#!/usr/bin/env bash
# A real model through `zest origin`, `zest publish` and `zest pull`, and the stock Hugging Face
# client against the same origin and the same cache: see hub.py.
set -euo pipefail
cd "$(dirname "$0")/.."

target=${CARGO_TARGET_DIR:-$PWD/target}
venv=$(interop/venv.sh)
model=$(interop/model.sh "$venv")

cargo build --release -p zest-p2p
exec python3 interop/hub.py --zest "$target/release/zest" --python "$venv/bin/python" --model "$model"
