#!/usr/bin/env bash
# A pull from the origin alone against a pull from one peer: pairs in turn on loopback, everything on a
# tmpfs. Prints the table of docs/benchmarks.md.
#
#   bench/peer.sh                              9 pairs of a 1 GB repository
#   PAIRS=3 BYTES=50000000 bench/peer.sh       a smoke run
set -euo pipefail
cd "$(dirname "$0")/.."

target=${CARGO_TARGET_DIR:-$PWD/target}
cargo build --release -p zest-p2p -p zest-testkit
exec python3 bench/peer.py --zest "$target/release/zest" --generate "$target/release/zest-testkit-generate" \
  --tmpfs "${TMPFS:-/dev/shm}" --pairs "${PAIRS:-9}" --bytes "${BYTES:-1000000000}" --seed "${SEED:-1}"
