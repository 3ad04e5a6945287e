#!/usr/bin/env bash
# Installs `local_cas_server`, the CAS that Hugging Face tests its own client with, and prints where it is. One that is
# already there is used again.
set -euo pipefail
cd "$(dirname "$0")/.."

version=1.8.0
root=${CARGO_TARGET_DIR:-$PWD/target}/reference-cas-$version
program=$root/bin/local_cas_server
if [ ! -x "$program" ]; then
  CARGO_TARGET_DIR=$root/build cargo install xet-client --version "$version" --locked --features simulation \
    --bin local_cas_server --root "$root" >&2
  rm -rf "$root/build"
fi
echo "$program"
