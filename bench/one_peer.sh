#!/usr/bin/env bash
# A pull from the origin alone beside a pull with one peer: on links where the origin's is a quarter of the peer's, and
# on loopback, where nothing is narrow. Prints the tables of docs/benchmarks.md.
#
#   bench/one_peer.sh                          9 rounds of 200 MB through links, 9 of 1 GB on loopback
#   PAIRS=2 BYTES=20000000 bench/one_peer.sh   a smoke run; on loopback it is five times as much
set -euo pipefail

cd "$(dirname "$0")/.."
exec bench/apart.sh one_peer --pairs "${PAIRS:-9}" --bytes "${BYTES:-200000000}"
