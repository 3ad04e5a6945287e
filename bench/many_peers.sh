#!/usr/bin/env bash
# How much of the links of an origin and of 1, 2 and 4 peers a pull fills. Prints the table of docs/benchmarks.md.
#
#   bench/many_peers.sh                            9 rounds of 400 MB
#   PAIRS=2 BYTES=50000000 bench/many_peers.sh     a smoke run
set -euo pipefail

cd "$(dirname "$0")/.."
exec bench/apart.sh many_peers --pairs "${PAIRS:-9}" --bytes "${BYTES:-400000000}"
