# Reads ctest's LastTest.log, whose tests print TAP, and counts their cases:
#   awk -f count.awk -v leg=NAME LastTest.log
# prints a line for each failed and each skipped case, then "count PASSED FAILED SKIPPED". A test
# that prints no TAP is one case. A program that failed beyond its reported cases (a crash, a
# sanitizer's finding, cases that never ran) has failed once more.
function begin(name) {
  test = name
  tap = 0
  plan = ran = bad = 0
  inside = 0
  built = !unable
  unable = 0
  before = ""
}
function skip(name, reason) {
  sub(/^[ \t-]*/, "", name)
  if (reason == "") reason = before
  if (reason == "") reason = "no reason given"
  skips[n_skips++] = "skipped: " leg " " test ": " name ": " reason
}
function finish(good, why) {
  if (!tap) {
    if (good) passed++
    else fails[n_fails++] = "FAILED: " leg " " test why
    return
  }
  if (!good && !bad) fails[n_fails++] = "FAILED: " leg " " test why
  else if (ran < plan) fails[n_fails++] = "FAILED: " leg " " test ": " plan - ran " cases never ran"
}

/^[0-9]+\/[0-9]+ Testing: / { begin($3) }
/^<end of output>$/ { inside = 0 }
/^Test time = / { inside = 0 }
/^Unable to find executable/ { unable = 1 } # stands before its test's own lines
/^Test Passed\.$/ { finish(built, ": not built") }
/^Test Failed\.$/ { finish(0, built ? "" : ": not built") }
/^Output:$/ { inside = 1; next }
!inside { next }

/^1\.\.[0-9]+/ { tap = 1; plan += substr($1, 4) + 0; next }
/^(not )?ok [0-9]+ # SKIP / { # cmocka; the reason is what the test printed last
  name = $0
  sub(/^(not )?ok [0-9]+ # SKIP /, "", name)
  skip(name, "")
  ran++
  before = ""
  next
}
/^ok [0-9]+ .*# skip/ {
  name = $0
  sub(/^ok [0-9]+ /, "", name)
  reason = name
  sub(/ *# skip.*/, "", name)
  sub(/.*# skip */, "", reason)
  skip(name, reason)
  ran++
  next
}
/^ok [0-9]+/ { ran++; passed++; before = ""; next }
/^not ok [0-9]+/ {
  name = $0
  sub(/^not ok [0-9]+[ -]*/, "", name)
  fails[n_fails++] = "FAILED: " leg " " test ": " name
  ran++
  bad++
  before = ""
  next
}
!/^#/ && NF { before = $0 }

END {
  for (i = 0; i < n_skips; i++) print skips[i]
  for (i = 0; i < n_fails; i++) print fails[i]
  print "count", passed + 0, n_fails + 0, n_skips + 0
}
