# What ci/setup, ci/verify and ci/test share: where the project is, how they speak, how they fail. To be sourced.
# shellcheck shell=bash

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
self=ci/$(basename "$0")

say() { printf '%s: %s\n' "$self" "$*" >&2; }

# die STATUS MESSAGE [REMEDY]; 2 is a mistake in the call, 3 something that could not be done.
die() {
  local status=$1
  say "error: $2"
  [ -z "${3:-}" ] || say "  $3"
  exit "$status"
}

# The comment at the head of a script is its --help.
help() { sed -n '2,/^[^#]/ { s/^# \{0,1\}//p }' "$1"; }

# quietly WHAT REMEDY COMMAND...: keeps the output in build/logs, shows its end if the command fails.
quietly() {
  local what=$1 remedy=$2 log
  shift 2
  log="$top/build/logs/${what//[^a-z0-9]/-}.log"
  mkdir -p "$top/build/logs"
  if ! "$@" >"$log" 2>&1; then
    tail -n 15 "$log" | sed 's/^/    /' >&2
    die 3 "$what failed; all of its output is in ${log#"$top"/}" "$remedy"
  fi
}

# Parallel compilations: one a processor, and two GiB of memory each, which a file with LibTorch's headers takes.
jobs() {
  local cpus memory
  cpus=$(nproc)
  memory=$(awk '/^MemAvailable:/ { print int($2 / 2097152) }' /proc/meminfo)
  [ "${memory:-0}" -ge 1 ] || memory=1
  echo $((cpus < memory ? cpus : memory))
}
