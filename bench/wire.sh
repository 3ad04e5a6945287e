#!/usr/bin/env bash
# bt-wire beside librqbit-peer-protocol, and its connections beside a raw read loop: 9 pairs of each in turn.
# Prints the tables of docs/benchmarks.md.
set -euo pipefail
cd "$(dirname "$0")/wire"

exec cargo run --release --locked
