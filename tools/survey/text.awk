# Texts and numbers of the report: strings of tables and models are hostile until they went through
# text() or attribute(). Run with LC_ALL=C: strings are bytes.

BEGIN {
  for (i = 1; i < 256; i++) hex_of[sprintf("%c", i)] = sprintf("%02X", i)
  for (i = 32; i < 127; i++) if (i != 92) printable["x" sprintf("%02X", i)] = sprintf("%c", i)
}

# Ends the program with a message; report.html is then incomplete.
function fail(message) {
  print "report: " message | "cat 1>&2"
  close("cat 1>&2")
  failed = 1
  exit 1
}

# ---- Text ----

# Bytes that are not printable UTF-8 become \xNN: control characters, and what is no character.
function valid(s,   r, n) {
  if (s !~ /[\001-\037\177-\377]/) return s
  r = ""
  while (s != "") {
    if (match(s, /^[ -~]+/) ||
        match(s, /^(\302[\240-\277]|[\303-\337][\200-\277])+/) ||
        match(s, /^(\340[\240-\277]|[\341-\354\356\357][\200-\277]|\355[\200-\237])[\200-\277]/) ||
        match(s, /^(\360[\220-\277]|[\361-\363][\200-\277]|\364[\200-\217])[\200-\277][\200-\277]/))
      n = RLENGTH
    else n = 0
    r = r (n > 0 ? substr(s, 1, n) : "\\x" hex_of[substr(s, 1, 1)])
    s = substr(s, n > 0 ? n + 1 : 2)
  }
  return r
}

function escape(s) {
  gsub(/&/, "\\&amp;", s)
  gsub(/</, "\\&lt;", s)
  gsub(/>/, "\\&gt;", s)
  gsub(/"/, "\\&quot;", s)
  return s
}

function attribute(s) { return escape(valid(s)) }

# A text of a table as a reader should see it: the escapes of printable characters undone, as
# nk-plot does; those of bytes, lines and backslashes stay.
function shown(s,   r, at) {
  if (s !~ /\\x[2-7][0-9A-F]/) return attribute(s)
  r = ""
  while (match(s, /\\x[2-7][0-9A-F]/)) {
    at = substr(s, RSTART + 1, 3)
    r = r substr(s, 1, RSTART - 1) (at in printable ? printable[at] : "\\" at)
    s = substr(s, RSTART + 4)
  }
  return attribute(r s)
}

function open_boxes(n,   r) {
  for (r = ""; n > 0; n--) r = r "\342\220\243"
  return "<i class=\"space\">" r "</i>"
}

# A text of a token: spaces at its ends are â£, as in nk-plot's pictures.
function token(s,   head, tail) {
  head = tail = ""
  if (match(s, /^ +/)) { head = open_boxes(RLENGTH); s = substr(s, RLENGTH + 1) }
  if (match(s, / +$/)) { tail = open_boxes(RLENGTH); s = substr(s, 1, RSTART - 1) }
  return head shown(s) tail
}

# A text of the report, in which backticks mark code.
function text(s,   r, code, at) {
  r = ""
  while ((at = index(s, "`")) > 0 && (code = index(substr(s, at + 1), "`")) > 0) {
    r = r attribute(substr(s, 1, at - 1)) "<code>" token(substr(s, at + 1, code - 1)) "</code>"
    s = substr(s, at + code + 1)
  }
  return r attribute(s)
}

# ---- Numbers ----

function is_number(s) {
  return s ~ /^[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9][0-9]?)?$/ && length(s) < 40
}

function exponent(x,   s) {
  s = sprintf("%.2e", x)
  return substr(s, index(s, "e") + 1) + 0
}

# 12345.6 as 12,345.6; a true minus sign.
function group(s,   sign, whole, rest, r) {
  sign = ""
  if (s ~ /^-/) { sign = "\342\210\222"; s = substr(s, 2) }
  if (s ~ /^0(\.0*)?$/) sign = ""
  rest = match(s, /\./) ? substr(s, RSTART) : ""
  whole = rest != "" ? substr(s, 1, RSTART - 1) : s
  r = ""
  while (length(whole) > 3) {
    r = "," substr(whole, length(whole) - 2) r
    whole = substr(whole, 1, length(whole) - 3)
  }
  return sign whole r rest
}

# x with d decimals; a 0 that is exact is "0", and a percentage of 100 is "100".
function decimals(x, d,   s) {
  if (x == 0) return "0"
  if (x == 100) return "100"
  if (d < 0) { # of a very large or very small number
    s = sprintf("%.2e", x)
    sub(/e\+?/, "e", s)
    sub(/e0+/, "e", s)
    sub(/e-0+/, "e\342\210\222", s)
    sub(/e-/, "e\342\210\222", s)
    sub(/^-/, "\342\210\222", s)
    return s
  }
  return group(sprintf("%." d "f", x))
}

# How many decimals show 3 significant digits of x. -1: mantissa and exponent.
function decimals_of(x,   e) {
  e = x == 0 ? 2 : exponent(x)
  if (e < -4 || e > 14) return -1
  return e > 2 ? 0 : 2 - e
}

# A number alone: a whole one in full, others to 3 significant digits, or to those that it has.
function number(s) {
  if (!is_number(s)) return attribute(s)
  if (s ~ /^-?[0-9]+$/) return length(s) < 16 ? group(s) : attribute(s)
  if (s ~ /^-?[0-9]?\.?[0-9][0-9]?$/) return group(s)
  return decimals(s + 0, decimals_of(s + 0))
}

# A count in the head: 8192 as 8,192, 1874688 as 1.87 million; other texts as they are.
function large(s,   x) {
  if (s !~ /^[0-9]+$/ || length(s) > 15) return text(s)
  if (length(s) < 7) return group(s)
  x = s / (length(s) < 10 ? 1e6 : 1e9)
  return decimals(x, decimals_of(x)) (length(s) < 10 ? " million" : " billion")
}

function magnitude(x) { return x < 0 ? -x : x }

# Decimals of a percentage p, by the width of its interval (-1: none). None where they say nothing;
# a p that is not 0 or 100 is not shown as 0 or 100.
function percent_decimals(p, width,   d, s) {
  if (width >= 0) d = width >= 5 ? 0 : width >= 0.5 ? 1 : 2
  else d = p >= 10 || p == 0 ? 0 : 1
  for (; d < 4; d++) {
    s = sprintf("%." d "f", p) + 0
    if (p == 0 || p == 100 || (s != 0 && s != 100)) break
  }
  return d
}

function largest(a, b) { return a > b ? a : b }

# "37% [31, 43]", "12 [3, 27] percentage points" of a difference of shares (unit points), "0.42
# [0.31, 0.55] nats", "at least 3.1" where only that end is known, or a dash.
function estimate(value, low, high, unit,   v, l, h, percent, scale, d, mark, after, r) {
  v = is_number(value); l = is_number(low); h = is_number(high)
  if (!v && !l && !h) return "\342\200\223"
  percent = unit == "share" || unit == "points"
  scale = percent ? 100 : 1
  mark = unit == "share" ? "%" : ""
  after = unit == "share" || unit == "" || unit == "-" ? "" : " " attribute(unit)
  if (unit == "points") after = " percentage points"
  if (v && !l && !h && !percent) return number(value) after
  if (percent)
    d = percent_decimals((v ? value : l ? low : high) * 100, l && h ? (high - low) * 100 : -1)
  else
    d = decimals_of(largest(v ? magnitude(value) : 0,
                            largest(l ? magnitude(low) : 0, h ? magnitude(high) : 0)))
  r = v ? decimals(value * scale, d) mark : ""
  low = l ? decimals(low * scale, d) : ""
  high = h ? decimals(high * scale, d) : ""
  if (l && h) return (v ? r " [" low ",\302\240" high "]" : low mark " to " high mark) after
  if (l) r = v ? r " (at least " low mark ")" : "at least " low mark
  if (h) r = v ? r " (at most " high mark ")" : "at most " high mark
  return r after
}
