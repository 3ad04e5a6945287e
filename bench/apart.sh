#!/usr/bin/env bash
# Builds zest and runs one of the measurements of this folder in a network of its own, which nothing leaves:
#
#   bench/apart.sh NAME [OPTION...]            bench/NAME.py with these options and those that all have in common
#
# Needs Debian's iproute2, and root or a kernel that gives namespaces to users. SEED=N makes other content, and
# TMPFS=DIR keeps it elsewhere: up to 25 times what --bytes says. WITH_PEERS='OPTION...' goes to every `zest pull`
# that is told of peers. Namespaces, links and mounts end with the last process in them.
set -euo pipefail
cd "$(dirname "$0")/.."

name=$1
shift
# Not everybody has the folders of these in PATH.
PATH=$PATH:/usr/sbin:/sbin
for program in ip tc nsenter; do
  command -v "$program" >/dev/null || { echo "$program is missing: apt-get install iproute2 util-linux" >&2; exit 1; }
done
target=${CARGO_TARGET_DIR:-$PWD/target}
cargo build --release -p zest-p2p -p zest-testkit
# `ip netns` keeps its names in /run.
exec unshare --map-root-user --net --mount bash -ec '
  mount -t tmpfs tmpfs /run
  ip link set lo up
  exec "$@"' bash python3 "bench/$name.py" --programs "$target/release" --tmpfs "${TMPFS:-/dev/shm}" \
  --seed "${SEED:-1}" --with-peers="${WITH_PEERS:-}" "$@"
