#!/usr/bin/env bash
# Hugging Face's reference CAS behind a stand-in Hub, and `zest origin`: zest and the stock client publish to each and
# download from it what the other published. See reference.py.
set -euo pipefail
cd "$(dirname "$0")/.."

target=${CARGO_TARGET_DIR:-$PWD/target}
cas=$(interop/reference_cas.sh)
venv=$(interop/venv.sh)
model=$(interop/model.sh "$venv")

cargo build --release -p zest-p2p
exec python3 interop/reference.py --zest "$target/release/zest" --hf "$venv/bin/hf" --reference-cas "$cas" --model "$model"
