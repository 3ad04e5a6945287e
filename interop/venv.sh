#!/usr/bin/env bash
# Makes the stock Hugging Face client in the version that the other scripts were written against, or in the one
# given, and prints where its venv is. A venv that is already there with these packages is used again.
set -euo pipefail
cd "$(dirname "$0")/.."

version=${1:-2.4.0}
packages=("huggingface_hub==$version" hf-xet==1.8.0)
venv=${CARGO_TARGET_DIR:-$PWD/target}/interop-venv${1:+-$1}

if [ "$(cat "$venv/packages" 2>/dev/null)" != "${packages[*]}" ]; then
  rm -rf "$venv"
  timeout 120 python3 -m venv "$venv" >&2
  timeout 600 "$venv/bin/pip" install --quiet --disable-pip-version-check "${packages[@]}" >&2
  echo "${packages[*]}" >"$venv/packages"
fi
echo "$venv"
