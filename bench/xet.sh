#!/usr/bin/env bash
# zest-xet-cas beside xet-core-structures and xet-data 1.8, in turn in one process. Prints the tables of
# docs/benchmarks.md.
#
#   bench/xet.sh                     15 rounds
#   ROUNDS=3 ONLY=text bench/xet.sh  a smoke run of the inputs and jobs whose names contain `text`
set -euo pipefail
cd "$(dirname "$0")/xet"

for name in $(compgen -e); do
  case $name in HF_* | HUGGING*) unset "$name" ;; esac
done
# The machines that run this have two; what it compresses on besides are two more of its own.
export TOKIO_WORKER_THREADS=2
exec cargo run --release --locked --quiet
