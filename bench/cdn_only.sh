#!/usr/bin/env bash
# `hf download` (stock client with hf-xet) against `zest pull`, without peers: pairs in turn from one zest origin on this
# machine, then from Hugging Face's own reference CAS server. Prints the tables of docs/benchmarks.md.
#
#   bench/cdn_only.sh                              9 rounds of a 1 GB repository at each
#   PAIRS=2 BYTES=50000000 bench/cdn_only.sh       a smoke run
#   SEED=2 TMPFS=/mnt/ram bench/cdn_only.sh        other content, another tmpfs (needs 5 x BYTES free)
set -euo pipefail
cd "$(dirname "$0")/.."

cas=$(interop/reference_cas.sh)
venv=$(interop/venv.sh)
exec bench/apart.sh cdn_only --pairs "${PAIRS:-9}" --bytes "${BYTES:-1000000000}" \
  --hf "$venv/bin/hf" --reference-cas "$cas"
