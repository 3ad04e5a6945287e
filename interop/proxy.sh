#!/usr/bin/env bash
# The stock Hugging Face client against `zest origin` behind nginx with TLS, configured as docs/origin.md says: see
# proxy.py. Needs nginx and openssl.
set -euo pipefail
cd "$(dirname "$0")/.."

target=${CARGO_TARGET_DIR:-$PWD/target}
venv=$(interop/venv.sh)

cargo build --release -p zest-p2p
exec python3 interop/proxy.py --zest "$target/release/zest" --python "$venv/bin/python" --docs docs/origin.md
