# shellcheck shell=bash
# What the scripts share: how they speak, fail, and leave a trace. Source it after setting `me` to the script's name.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

say() { echo "$me: $*" >&2; }
die() { say "$*"; exit 1; }

# A short hash of the files named.
digest() { cat "$@" | sha256sum | cut -c1-12; }

engine_answers() { docker version >/dev/null 2>&1; }
