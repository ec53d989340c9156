#!/bin/bash
# dialect.sh BUILD [FILE]...: the rules of CONTRIBUTING.md's dialect that clang-query can check, in
# each FILE or in all of the library, tools and tests, as BUILD compiles them (by clang). Prints
# each place that breaks a rule; ends with status 1 if any does.
set -euo pipefail
build=$1
shift
files=("$@")
if [ ${#files[@]} -eq 0 ]; then
  mapfile -t files < <(sed -nE "s|^ *\"file\": \"$PWD/((lib\|tools\|tests)/.*\.c)\".*|\1|p" \
    "$build/compile_commands.json" | sort -u)
fi
found=$(printf '%s\n' "${files[@]}" |
  xargs -P "$(nproc)" -n 8 clang-query -p "$build" -f tests/runners/dialect.query 2>&1 |
  sed -nE "s|^$PWD/(.*): note: \"(.*)\" binds here|\1: \2|p; s|(.*: error: .*)|\1|p" |
  sort -u -t : -k 1,1 -k 2,2n -k 3,3n)
[ -z "$found" ] || { echo "$found"; exit 1; }
