#!/usr/bin/env bash
# 2, 4 and 8 pulls at once that know each other, and one narrow origin: how often its data goes out, and how near the
# last one comes to what the links allow. Prints the table of docs/benchmarks.md.
#
#   bench/fan_out.sh                           9 rounds of 50 MB
#   PAIRS=1 BYTES=10000000 bench/fan_out.sh    a smoke run
set -euo pipefail

cd "$(dirname "$0")/.."
exec bench/apart.sh fan_out --pairs "${PAIRS:-9}" --bytes "${BYTES:-50000000}"
