#!/usr/bin/env bash
# `hf download` (stock client with hf-xet) against `zest pull`: pairs in turn from one zest origin
# on this machine, everything on a tmpfs. Prints the table of docs/benchmarks.md.
#
#   bench/pull.sh                              9 pairs of a 1 GB repository
#   PAIRS=3 BYTES=50000000 bench/pull.sh       a smoke run
#   SEED=2 TMPFS=/mnt/ram bench/pull.sh        other content, another tmpfs (needs 5 x BYTES free)
set -euo pipefail
cd "$(dirname "$0")/.."

target=${CARGO_TARGET_DIR:-$PWD/target}
venv=$(interop/venv.sh)
cargo build --release -p zest-p2p -p zest-testkit
exec python3 bench/pull.py --zest "$target/release/zest" --hf "$venv/bin/hf" \
  --generate "$target/release/zest-testkit-generate" --tmpfs "${TMPFS:-/dev/shm}" \
  --pairs "${PAIRS:-9}" --bytes "${BYTES:-1000000000}" --seed "${SEED:-1}"
