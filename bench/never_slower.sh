#!/usr/bin/env bash
# A pull with peers that are of no use beside one without any. Prints the table of docs/benchmarks.md.
#
#   bench/never_slower.sh                          9 rounds of 100 MB
#   PAIRS=2 BYTES=20000000 bench/never_slower.sh   a smoke run
set -euo pipefail

cd "$(dirname "$0")/.."
exec bench/apart.sh never_slower --pairs "${PAIRS:-9}" --bytes "${BYTES:-100000000}"
