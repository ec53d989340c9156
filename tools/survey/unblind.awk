# Raters' copies of blind.tsv as one table:
#
#   awk -f unblind.awk key.tsv RATER.csv... >ratings.tsv
#
# A copy is a table as written here or as a spreadsheet saves it: tabs, commas or semicolons, cells
# in quotes, a byte order mark, CRLF, other columns, rows in any order. The file names the rater.
# The output has a row for each item and rater who judged it, with the kind and the id of the key.

BEGIN { OFS = "\t" }

function error(line, message) {
  failed = 1
  printf "nk-survey: %s: line %d: %s\n", file, line, message >"/dev/stderr"
  exit 1
}

function trim(s) { sub(/^[ \t]+/, "", s); sub(/[ \t]+$/, "", s); return s }

# What a message can show of a cell.
function shown(s) { gsub(/[^ -~]/, "?", s); return "'" substr(s, 1, 40) "'" }

# Splits the record into cell[1..]: returns their number, or 0 where a quotation goes on.
function parse(s, separator,   n, c) {
  for (n = 1; ; n++) {
    cell[n] = ""
    if (substr(s, 1, 1) == "\"") {
      s = substr(s, 2)
      while ((c = index(s, "\"")) > 0 && substr(s, c + 1, 1) == "\"") {
        cell[n] = cell[n] substr(s, 1, c)
        s = substr(s, c + 2)
      }
      if (c == 0) return 0
      cell[n] = cell[n] substr(s, 1, c - 1)
      s = substr(s, c + 1)
    }
    c = index(s, separator)
    cell[n] = trim(cell[n] (c > 0 ? substr(s, 1, c - 1) : s))
    if (c == 0) return n
    s = substr(s, c + 1)
  }
}

# The header says what separates cells, and where the two columns are.
function header(s,   n, i, k) {
  for (k = 1; k <= 3; k++) {
    separator = substr("\t;,", k, 1)
    n = parse(s, separator)
    item_at = rating_at = 0
    for (i = 1; i <= n; i++) {
      if (tolower(cell[i]) == "item") item_at = i
      if (tolower(cell[i]) == "rating") rating_at = i
    }
    if (item_at && rating_at) return
  }
  error(1, "no columns item and rating: fill in a copy of blind.tsv, and save it as UTF-8 with " \
    "tabs, commas or semicolons")
}

function record(   n, item, rating) {
  n = parse(pending, separator)
  if (n == 0) return 0
  item = item_at <= n ? cell[item_at] : ""
  rating = rating_at <= n ? cell[rating_at] : ""
  if (item == "" && rating == "") return 1
  if (!(item in kind)) error(begun, "item " shown(item) " is not in blind.tsv")
  if ((item, n_raters) in row)
    error(begun, "item " item " again, after line " row[item, n_raters])
  row[item, n_raters] = begun
  if (rating == "") return 1
  if (rating !~ /^[01]([.,]0*)?$/)
    error(begun, "rating " shown(rating) " of item " item \
      ": 1 (odd), 0 (normal) or nothing is needed")
  value[item, n_raters] = substr(rating, 1, 1)
  n_ratings[n_raters]++
  return 1
}

{ sub(/\r$/, "") }

FNR == NR {
  if (NR == 1) next
  split($0, cell, "\t")
  items[++n_items] = cell[1]
  kind[cell[1]] = cell[2]
  id[cell[1]] = cell[3]
  next
}

FNR == 1 {
  if (pending != "") exit # at the end of the file before
  file = FILENAME
  name = file
  sub(/^.*\//, "", name)
  if (name ~ /.[.][^.]*$/) sub(/[.][^.]*$/, "", name)
  if (name in known) error(1, "a second file of the rater '" name "': each is named by its rater")
  known[name] = 1
  rater[++n_raters] = name
  sub(/^\357\273\277/, "")
  header($0)
  next
}

{
  if (pending == "") begun = FNR
  pending = pending == "" ? $0 : pending "\n" $0
  if (record()) pending = ""
}

END {
  if (failed) exit 1
  if (pending != "") error(begun, "a quotation begins that does not end")
  for (r = 1; r <= n_raters; r++)
    if (n_ratings[r] == 0) {
      printf "nk-survey: %s: no rating is filled in\n", rater[r] >"/dev/stderr"
      exit 1
    }
  print "item", "rater", "rating", "kind", "id"
  for (i = 1; i <= n_items; i++)
    for (r = 1; r <= n_raters; r++)
      if ((items[i], r) in value)
        print items[i], rater[r], value[items[i], r], kind[items[i]], id[items[i]]
}
