#!/usr/bin/env bash
# The stock Python client, the Hub's own Rust client and curl against a zest origin: see clients.py.
set -euo pipefail
cd "$(dirname "$0")/.."

target=${CARGO_TARGET_DIR:-$PWD/target}
venv=$(interop/venv.sh)

cargo build --release -p zest-p2p
CARGO_TARGET_DIR=$target/interop-hf-hub cargo build --locked --manifest-path interop/hf-hub/Cargo.toml
exec python3 interop/clients.py --zest "$target/release/zest" --hf "$venv/bin/hf" \
  --hf-hub "$target/interop-hf-hub/debug/interop-hf-hub"
