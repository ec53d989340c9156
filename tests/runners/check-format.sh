#!/bin/bash
# The C sources and scripts are formatted as .clang-format says, within 100 columns, without marks
# of unfinished work.
set -uo pipefail
. tests/runners/tap.sh

if ! git rev-parse --is-inside-work-tree >/dev/null 2>&1; then
  skip "the sources are formatted" "not a git checkout"
  end
  exit
fi
mapfile -t c_files < <(git ls-files '*.c' '*.h')
mapfile -t text_files < <(git ls-files '*.c' '*.h' '*.sh' '*.bats' '*.awk' '*.cmake' \
  CMakeLists.txt '*/CMakeLists.txt' | grep -v '_fixture\.h$') # numbers a script wrote

within_100_columns() {
  awk 'length > 100 { print FILENAME ":" FNR ": " length " columns"; bad = 1 }
    END { exit bad }' "${text_files[@]}"
}
without_unfinished_marks() {
  ! grep -nE '\b(TO''DO|FIX''ME|XX''X)\b' "${text_files[@]}"
}

if command -v clang-format >/dev/null; then
  check "the sources are formatted" clang-format --dry-run --Werror "${c_files[@]}"
else
  skip "the sources are formatted" "clang-format is not installed"
fi
check "lines have at most 100 columns" within_100_columns
check "nothing is marked as unfinished" without_unfinished_marks
if command -v shellcheck >/dev/null; then
  mapfile -t scripts < <(git ls-files '*.sh')
  check "shellcheck finds nothing in the scripts" shellcheck -x -S warning "${scripts[@]}"
else
  skip "shellcheck finds nothing in the scripts" "shellcheck is not installed"
fi
end
