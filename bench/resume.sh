#!/usr/bin/env bash
# What a pull fetches again after it was killed at 90 %, beside the stock client killed at the same place:
# everything on a tmpfs. Prints the table of docs/benchmarks.md.
#
#   bench/resume.sh                            3 rounds of a 1 GB repository
#   ROUNDS=1 BYTES=100000000 bench/resume.sh   a smoke run
set -euo pipefail
cd "$(dirname "$0")/.."

target=${CARGO_TARGET_DIR:-$PWD/target}
cargo build --release -p zest-p2p -p zest-testkit

venv=$(interop/venv.sh)
exec python3 bench/resume.py --zest "$target/release/zest" --generate "$target/release/zest-testkit-generate" \
  --hf "$venv/bin/hf" \
  --tmpfs "${TMPFS:-/dev/shm}" --rounds "${ROUNDS:-3}" --bytes "${BYTES:-1000000000}" --seed "${SEED:-1}"
