#!/usr/bin/env bash
# One cache for zest and the stock Hugging Face client, in its present version and in one that continues partial
# files by their size: see cache.py.
set -euo pipefail
cd "$(dirname "$0")/.."

target=${CARGO_TARGET_DIR:-$PWD/target}
venv=$(interop/venv.sh)
old_venv=$(interop/venv.sh 1.17)
model=$(interop/model.sh "$venv")

cargo build --release -p zest-p2p
exec python3 interop/cache.py --zest "$target/release/zest" --python "$venv/bin/python" \
  --old-python "$old_venv/bin/python" --model "$model"
