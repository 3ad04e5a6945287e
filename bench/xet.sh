#!/usr/bin/env bash
# zest-xet-cas beside xet-core-structures and xet-data 1.8, in turn in one process. Prints the tables of
# docs/benchmarks.md.
#
#   bench/xet.sh                     15 rounds
#   ROUNDS=3 ONLY=text bench/xet.sh  a smoke run of the inputs and tables whose names contain `text`
set -euo pipefail
cd "$(dirname "$0")/xet"

for name in $(compgen -e); do
  case $name in HF_* | HUGGING*) unset "$name" ;; esac
done
# xet-core allocates for every chunk. How fast that is depends on what the allocator has seen before, by up to 1.7 of
# the time of a xorb; this is the state in which it is fastest: only what is longer than a chunk comes from the system.
export MALLOC_MMAP_THRESHOLD_=1048576 MALLOC_TRIM_THRESHOLD_=67108864
# Threads of xet-data's runtime; it compresses on others besides.
export TOKIO_WORKER_THREADS=2
exec cargo run --release --locked --quiet
