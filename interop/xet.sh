#!/usr/bin/env bash
# xet-cas beside the crates of the deployed client, in one process: each reads what the other wrote, and both give
# everything the same names. See xet/src/main.rs.
#
#   interop/xet.sh
#   SEED=7 interop/xet.sh            other files
set -euo pipefail
cd "$(dirname "$0")/xet"

exec cargo run --locked --quiet
