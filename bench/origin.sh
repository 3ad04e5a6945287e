#!/usr/bin/env bash
# What `zest origin` costs beside Hugging Face's own reference CAS server: uploads and downloads by the stock client
# (hf-xet) and by one that does next to nothing, in turn. Then many downloads of one file at once, and what answers
# about metadata cost. Prints the tables of docs/benchmarks.md.
#
#   bench/origin.sh                                9 rounds of a 1 GB repository, 200 downloads of 100 MB
#   PAIRS=2 BYTES=50000000 CLIENTS=20 FILE_BYTES=5000000 REQUESTS=200 bench/origin.sh        a smoke run
#   SEED=2 TMPFS=/mnt/ram bench/origin.sh          other content, another tmpfs (needs 10 x BYTES free)
set -euo pipefail
cd "$(dirname "$0")/.."

cas=$(interop/reference_cas.sh)
venv=$(interop/venv.sh)
exec bench/apart.sh origin --pairs "${PAIRS:-9}" --bytes "${BYTES:-1000000000}" --clients "${CLIENTS:-200}" \
  --file-bytes "${FILE_BYTES:-100000000}" --requests "${REQUESTS:-5000}" --hf "$venv/bin/hf" --reference-cas "$cas"
