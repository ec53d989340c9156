#!/bin/bash
# cppcheck.sh BUILD: cppcheck over the library and the tools, as BUILD compiles them. Prints what is
# found; ends with status 1 if anything is. What is not to be found stands, with its reason, in
# cppcheck-suppressions.txt.
set -euo pipefail
build=$1
mkdir -p "$build/cppcheck"
exec cppcheck --project="$build/compile_commands.json" --file-filter="lib/*" \
  --file-filter="tools/*" --cppcheck-build-dir="$build/cppcheck" -j "$(nproc)" --quiet \
  --enable=warning,performance,portability,style --inline-suppr \
  --suppressions-list=tests/runners/cppcheck-suppressions.txt \
  --template='{file}:{line}: {severity}: {message} [{id}]' --error-exitcode=1
