#!/usr/bin/env bash
# An origin whose bytes are in a bucket of an S3-compatible server on this machine: see s3.py.
set -euo pipefail
cd "$(dirname "$0")/.."

target=${CARGO_TARGET_DIR:-$PWD/target}
packages=("moto[server,s3]==5.2.5")
server=$target/s3-server-5.2.5
venv=$(interop/venv.sh)

if [ "$(cat "$server/packages" 2>/dev/null)" != "${packages[*]}" ]; then
  rm -rf "$server"
  timeout 120 python3 -m venv "$server" >&2
  timeout 900 "$server/bin/pip" install --quiet --disable-pip-version-check "${packages[@]}" >&2
  echo "${packages[*]}" >"$server/packages"
fi
# In a folder of its own: the program that the other scripts use is without the feature.
CARGO_TARGET_DIR=$target/interop-s3 cargo build -p zest-p2p --features s3
exec python3 interop/s3.py --zest "$target/interop-s3/debug/zest" --python "$venv/bin/python" --s3 "$server/bin/moto_server"
