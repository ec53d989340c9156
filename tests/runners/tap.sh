# shellcheck shell=bash
# Sourced by the checks of this folder: prints TAP.
number=0
failures=0
ok() { # ok NAME
  number=$((number + 1))
  echo "ok $number $1"
}
not_ok() { # not_ok NAME DETAILS
  number=$((number + 1))
  failures=$((failures + 1))
  echo "not ok $number $1"
  echo "#   ${2//$'\n'/$'\n'#   }"
}
skip() { # skip NAME REASON
  number=$((number + 1))
  echo "ok $number $1 # skip $2"
}
# check NAME COMMAND...: ok when the command succeeds; what it prints explains a failure.
check() {
  local name=$1 output
  shift
  if output=$("$@" 2>&1); then ok "$name"; else not_ok "$name" "$output"; fi
}
# The last line, and the status that ctest sees.
end() {
  echo "1..$number"
  [ "$failures" -eq 0 ]
}
