#!/usr/bin/env bash
# The stock Hugging Face client through `zest origin --mirror`, with and without Xet, also when the Hub behind it is gone,
# and from what `zest origin import` has copied: see mirror.py.
set -euo pipefail
cd "$(dirname "$0")/.."

target=${CARGO_TARGET_DIR:-$PWD/target}
venv=$(interop/venv.sh)

cargo build --release -p zest-p2p
exec python3 interop/mirror.py --zest "$target/release/zest" --python "$venv/bin/python"
