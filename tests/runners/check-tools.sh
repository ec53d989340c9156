#!/bin/bash
# Every tool has a man page that mandoc finds nothing against, and a help that fits on a screen.
# Needs the tools in PATH.
set -uo pipefail
. tests/runners/tap.sh

has_page() {
  [ -f "tools/$1.1" ] || { echo "tools/$1.1 is not there"; return 1; }
}
lints() {
  local found
  found=$(mandoc -T lint -W warning "tools/$1" 2>&1)
  [ -z "$found" ] || { echo "$found"; return 1; }
}
# groff, which man uses, drops what mandoc understands: names of macros within the lines of others.
man_prints_it() {
  local found
  found=$(groff -mandoc -T utf8 "tools/$1" 2>&1 >/dev/null)
  [ -z "$found" ] || { echo "$found"; return 1; }
}
# The options that every tool has are explained in nk(1), to which the page then points.
is_listed_with_every_option() {
  local option missing="" page
  local common=" --output --json --threads --seed --quiet --help --version "
  page=$(mandoc -T ascii "tools/$1.1" | sed 's/.\x08//g')
  for option in $("$1" --help | sed -nE 's/^ +(-[a-zA-Z], +)?(--[a-z][a-z0-9-]+).*/\2/p'); do
    case $common in
      *" $option "*) grep -qF -e 'nk(1)' -e "$option" <<<"$page" || missing+=" $option" ;;
      *) grep -qF -- "$option" <<<"$page" || missing+=" $option" ;;
    esac
  done
  [ -z "$missing" ] || { echo "not on the page:$missing"; return 1; }
}
help_fits() {
  local help
  help=$("$1" --help) || { echo "--help ends with status $?"; return 1; }
  [ -n "$help" ] || { echo "--help prints nothing"; return 1; }
  awk -v tool="$1" 'length > 80 { print "over 80 columns: " $0; bad = 1 }
    END { if (NR > 48) { print NR " lines"; bad = 1 }; exit bad }' <<<"$help"
}
says_its_version() {
  "$1" --version | grep -qE '[0-9]+\.[0-9]+\.[0-9]+' || { echo "no number in --version"; return 1; }
}
faults_of_usage_end_with_2() {
  local status=0 message
  message=$("$1" --no-such-option </dev/null 2>&1 >/dev/null) || status=$?
  echo "status $status, message '$message'"
  [ "$status" -eq 2 ] && [ -n "$message" ]
}

notices_a_full_device() {
  local status=0 message
  message=$("$1" --help 2>&1 >/dev/full) || status=$?
  echo "status $status, message '$message'"
  [ "$status" -eq 1 ] && [[ $message = "$1: "* ]]
}

# noken-models(7) has the families of the table, as it has them, and of the others only such whose
# matrices are tested.
families() { # families SECTION
  awk -v section="$1" '/^\.Ss/ { inside = index($0, section) }
    inside && /^\.It [a-z][^ ]* Ta / { print $2, $NF }' tools/noken-models.7 | sort
}
runs_natively() {
  diff <(families "run natively") <(awk -F'"' '
    /^    [{]$/ { gguf = "-"; runs = 0 }
    /^        \.type = / { type = $2 }
    /^        \.gguf = / { gguf = $2 }
    /^        (\.block = |LLAMA_BLOCK)/ { runs = 1 }
    /^    [}],$/ && runs { print type, gguf }' lib/model/architectures.c | sort)
}
matrices_are_tested() {
  local type bad=0
  while read -r type _; do
    grep -qF "\"$type\\\"" tests/unit/matrices.h || { echo "not tested: $type"; bad=1; }
  done < <(families "matrices alone")
  return $bad
}
for page in tools/*.7; do
  page=${page#tools/}
  check "${page%.7}: mandoc finds no fault in the page" lints "$page"
done
for page in tools/*.[17]; do
  page=${page#tools/}
  name="${page%.[17]}: groff prints the page without a complaint"
  if command -v groff >/dev/null; then
    check "$name" man_prints_it "$page"
  else
    skip "$name" "groff is not installed"
  fi
done
check "noken-models lists the families that run natively" runs_natively
check "noken-models: the matrices of the other families are tested" matrices_are_tested

for source in tools/nk-*.c tools/nk-*.sh tools/nk.c; do
  [ -f "$source" ] || continue
  tool=$(basename "${source%.*}")
  check "$tool has a page" has_page "$tool"
  check "$tool: mandoc finds no fault in the page" lints "$tool.1"
  check "$tool: --help fits on a screen" help_fits "$tool"
  [ "$tool" = nk ] || check "$tool: the page knows every option" is_listed_with_every_option "$tool"
  check "$tool says its version" says_its_version "$tool"
  check "$tool notices a full device" notices_a_full_device "$tool"
  [ "$tool" = nk ] || check "$tool: an unknown option is a fault of usage" \
    faults_of_usage_end_with_2 "$tool"
done
end
