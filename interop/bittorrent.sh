#!/usr/bin/env bash
# bt-wire beside libtorrent and transmission-daemon, in a network of its own: see bittorrent.py.
set -euo pipefail
cd "$(dirname "$0")/.."

target=${CARGO_TARGET_DIR:-$PWD/target}
package=libtorrent==2.1.1
venv=$target/interop-bittorrent-venv
if [ "$(cat "$venv/packages" 2>/dev/null)" != "$package" ]; then
  rm -rf "$venv"
  timeout 120 python3 -m venv "$venv"
  timeout 600 "$venv/bin/pip" install --quiet --disable-pip-version-check "$package"
  echo "$package" >"$venv/packages"
fi

cargo build -p zest-testkit --bin zest-testkit-bt-peer
# Programs do not take every address in 127/8 for a peer's.
exec unshare --map-root-user --net bash -c '
  ip link set lo up
  ip address add 10.77.0.1/16 dev lo
  exec "$@"' bash "$venv/bin/python" interop/bittorrent.py --peer "$target/debug/zest-testkit-bt-peer"
