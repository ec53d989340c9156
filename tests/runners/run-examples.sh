#!/bin/bash
# Runs the examples of every man page. In a page's section EXAMPLES, the lines of its displays
# (mdoc: .Dl, .D1 and .Bd -literal or -unfilled; man: .nf or .EX) that begin with "$ " are
# commands; one that ends in a backslash or | goes on in the next line of the display. All other
# lines are the output as a reader would see it, and are not compared. A page's commands run in
# order, in one shell, in a temporary folder of their own that holds `data` and `plots` (links to
# the repository's), so that what one command writes the next can read. Each has to succeed, a
# pipeline in every part, and to be silent on standard error but for warnings.
#
# Needs the tools in PATH; runs from the root of the repository.
set -uo pipefail
. tests/runners/tap.sh
root=$PWD

# The commands of page $1, one line each.
commands_of() {
  mandoc -T ascii -O width=1000 "$1" | sed 's/.\x08//g' | awk '
    /^[^ ]/ { inside = ($0 == "EXAMPLES") }
    !inside { next }
    { sub(/^ +/, "") }
    more { command = command " " $0 }
    !more && /^\$ / { command = substr($0, 3); more = 1 }
    more {
      if (sub(/\\$/, "", command) || command ~ /\|$/) next
      print command
      more = 0
    }'
}

# Stops at the first command that fails; it is named.
run_commands() { # run_commands FILE-OF-COMMANDS
  local command statuses=()
  while IFS= read -r command <&9; do
    eval "$command
      statuses=(\"\${PIPESTATUS[@]}\")" >output 2>errors 9<&-
    # 141: the next command had read enough, as head does.
    if grep -qvxE '0|141' < <(printf '%s\n' "${statuses[@]}"); then
      echo "$command: status ${statuses[*]}"
      head -5 errors
      return 1
    fi
    if grep -vE ': warning: |^[^:]*: (note|info): ' errors >complaints; then
      echo "$command: on standard error:"
      head -5 complaints
      return 1
    fi
  done 9<"$1"
}

# The tools that page-commands $1 use and that nk lists but this build does not have.
missing_tools() {
  local tool
  for tool in $(grep -oE '\bnk-[a-z]+' "$1" | sort -u); do
    if grep -q "{\"${tool#nk-}\"," tools/nk.c && ! command -v "$tool" >/dev/null; then
      echo "$tool"
    fi
  done
}

for page in tools/*.[17]; do
  [ -f "$page" ] || continue
  tool=$(basename "${page%.[17]}")
  folder=$(mktemp -d)
  ln -s "$root/data" "$root/plots" "$folder"
  commands_of "$page" >"$folder/commands"
  missing=$(missing_tools "$folder/commands" | paste -sd' ')
  if [ -n "$missing" ]; then
    skip "$tool: the page's examples work" "they need tools that are not built: $missing"
  elif [ -s "$folder/commands" ]; then
    check "$tool: the page's $(wc -l <"$folder/commands") examples work" \
      bash -c "$(declare -f run_commands); cd '$folder' && run_commands commands" \
      </dev/null
  elif [ "$page" != "${page%.1}" ]; then
    not_ok "$tool: the page's examples work" "no line in its section EXAMPLES begins with '\$ '"
  fi
  rm -rf "$folder"
done
end
