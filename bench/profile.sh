#!/usr/bin/env bash
# Where the processor time of a pull goes: `perf record` of a pull from the origin, of one from a peer, and of the peer
# that serves it, on loopback, everything on a tmpfs. Prints the table of docs/benchmarks.md.
#
#   bench/profile.sh                           3 rounds of a 1 GB repository
#   ROUNDS=1 BYTES=50000000 bench/profile.sh   a smoke run
set -euo pipefail
cd "$(dirname "$0")/.."

# Symbols make it another build: it has a folder of its own.
target=${CARGO_TARGET_DIR:-$PWD/target}/profile
CARGO_PROFILE_RELEASE_DEBUG=line-tables-only cargo build --release -p zest-p2p -p zest-testkit --target-dir "$target"
exec python3 bench/profile.py --zest "$target/release/zest" --generate "$target/release/zest-testkit-generate" \
  --tmpfs "${TMPFS:-/dev/shm}" --rounds "${ROUNDS:-3}" --bytes "${BYTES:-1000000000}" --seed "${SEED:-1}"
