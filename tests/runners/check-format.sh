#!/bin/bash
# The C sources and scripts are formatted as .clang-format says, within 100 columns, without marks
# of unfinished work.
set -uo pipefail
. tests/runners/tap.sh

folders=(include lib tools tests cmake)
mapfile -t c_files < <(find "${folders[@]}" -name '*.[ch]' | sort)
mapfile -t scripts < <(find ./*.sh "${folders[@]}" -name '*.sh' | sort)
# but for numbers that a script wrote
mapfile -t text_files < <(find "${folders[@]}" \( -name '*.cmake' \
  -o -name '*.awk' -o -name CMakeLists.txt -o -name '*.[ch]' ! -name '*_fixture.h' \) | sort)
text_files+=(CMakeLists.txt "${scripts[@]}")
# A sentence of a survey's report is a line.
mapfile -t text_files < <(printf '%s\n' "${text_files[@]}" | grep -v '^tools/survey/[a-z]*[.]sh$')

within_100_columns() {
  awk 'length > 100 { print FILENAME ":" FNR ": " length " columns"; bad = 1 }
    END { exit bad }' "${text_files[@]}"
}
without_unfinished_marks() {
  ! grep -nE '\b(TO''DO|FIX''ME|XX''X)\b' "${text_files[@]}"
}

# Versions of clang-format differ in what they make of the same file: one counts.
formatter=$(command -v clang-format-14 || command -v clang-format || true)
if [ -z "$formatter" ]; then
  skip "the sources are formatted" "clang-format is not installed"
elif ! "$formatter" --version | grep -qF 'version 14.'; then
  skip "the sources are formatted" "clang-format is not of version 14"
else
  check "the sources are formatted" "$formatter" --dry-run --Werror "${c_files[@]}"
fi
check "lines have at most 100 columns" within_100_columns
check "nothing is marked as unfinished" without_unfinished_marks
if command -v shellcheck >/dev/null; then
  mapfile -t survey < <(printf '%s\n' "${scripts[@]}" | grep 'tools/.*survey')
  mapfile -t others < <(printf '%s\n' "${scripts[@]}" | grep -v 'tools/.*survey')
  check "shellcheck finds nothing in the scripts" shellcheck -x -S warning "${others[@]}"
  # One script in several files: each uses variables of the others.
  check "shellcheck finds nothing in nk-survey" \
    shellcheck -s bash -S warning -e SC1090,SC2034,SC2154 "${survey[@]}"
else
  skip "shellcheck finds nothing in the scripts" "shellcheck is not installed"
  skip "shellcheck finds nothing in nk-survey" "shellcheck is not installed"
fi
end
