#!/usr/bin/env bash
# What `zest serve` does for peers under a limit: equal shares for many at once, and what compressing
# costs and saves for kinds of content. Prints the tables of docs/benchmarks.md.
#
#   bench/uploads.sh                           64 MB of each kind
#   BYTES=8000000 PEERS=3 bench/uploads.sh     a smoke run
set -euo pipefail
cd "$(dirname "$0")/.."

target=${CARGO_TARGET_DIR:-$PWD/target}
cargo build --release -p zest-p2p
exec python3 bench/uploads.py --zest "$target/release/zest" --tmpfs "${TMPFS:-/dev/shm}" \
  --bytes "${BYTES:-64000000}" --peers "${PEERS:-8}"
