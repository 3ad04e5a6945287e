#!/usr/bin/env bash
# `hf upload` (stock client with hf-xet) against `zest publish`: pairs in turn, each to an empty zest origin on this
# machine, then each to an empty reference CAS server of Hugging Face's. Then what a second publication sends, and the
# memory that a repository four times as large takes. Prints the tables of docs/benchmarks.md.
#
#   bench/publish.sh                               9 rounds of a 1 GB repository at each
#   PAIRS=2 BYTES=50000000 bench/publish.sh        a smoke run
#   SEED=2 TMPFS=/mnt/ram bench/publish.sh         other content, another tmpfs (needs 10 x BYTES free)
set -euo pipefail
cd "$(dirname "$0")/.."

cas=$(interop/reference_cas.sh)
venv=$(interop/venv.sh)
exec bench/apart.sh publish --pairs "${PAIRS:-9}" --bytes "${BYTES:-1000000000}" \
  --hf "$venv/bin/hf" --reference-cas "$cas"
