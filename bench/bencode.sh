#!/usr/bin/env bash
# zest-bencode beside bendy, librqbit-bencode, bt_bencode and serde_bencode, in turn in one process. Prints the tables
# of docs/benchmarks.md.
#
#   bench/bencode.sh                 61 rounds
#   ROUNDS=5 bench/bencode.sh        a smoke run
set -euo pipefail
cd "$(dirname "$0")/bencode"

exec cargo run --release --locked --quiet
