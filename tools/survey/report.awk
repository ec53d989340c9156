# The report of a survey as one page. In the survey's folder:
#
#   LC_ALL=C awk -f text.awk -f picture.awk -f beside.awk -f report.awk \
#     report.css report.js claims.tsv report.txt > report.html
#
# with the paths of the first six files. report.txt has a directive a line, its fields separated by
# tabs; claims.tsv a row a claim. Pictures, tables and steps/NAME.sh are read from the folder. The
# page is made of these files alone.

BEGIN {
  FS = "\t"
  # The digest of the script between its tags; the page runs no other.
  # printf '\n%s\n' "$(cat report.js)" | openssl dgst -sha256 -binary | base64
  digest = "P8ax9fkSveaVL8h3J9skLbk/yk9AYyCBLMEt9ATuVvQ="
  folded = 24 # a table of more rows opens by a click; on paper it is open
  dash = "\342\200\223"
  dot = " \302\267 "
}

{ sub(/\r$/, "") }
FILENAME == ARGV[1] { style[++n_style] = $0; next }
FILENAME == ARGV[2] { script[++n_script] = $0; next }
FILENAME == ARGV[3] { claim_row("", FNR, $0); next }
$0 != "" { directive[++n_directives] = $0; line_of[n_directives] = FNR }

# ---- Claims and steps ----

# A row of FOLDER's claims.tsv; "" is the survey's own folder.
function claim_row(folder, row, line,   cell, n, i, key) {
  n = split(line, cell, "\t")
  if (row == 1) {
    for (i = 1; i <= n; i++) claim_column[folder, i] = cell[i]
    return
  }
  key = cell[1]
  if (key == "") return
  if ((folder, key) in claim_known) fail("claims.tsv: claim '" valid(key) "' occurs twice")
  claim_known[folder, key] = 1
  claim_key[folder, ++n_claims[folder]] = key
  for (i = 2; i <= n; i++) claim[folder, key, claim_column[folder, i]] = cell[i]
}

function claims_of(folder,   line, row, code, file) {
  file = folder "/claims.tsv"
  for (row = 1; (code = (getline line < file)) > 0; row++) claim_row(folder, row, line)
  if (code < 0 || row == 1) fail(file ": cannot be read, or empty")
  close(file)
}

# Reads steps/NAME.sh, whose first line is "# TITLE".
function read_step(name,   file, line, code) {
  if (name in step_number) return
  step_number[name] = ++n_steps
  step_title[n_steps] = name
  file = "steps/" name ".sh"
  while ((code = (getline line < file)) > 0) {
    if (step_lines[n_steps] == 0 && sub(/^# */, "", line)) step_title[n_steps] = line
    else step_line[n_steps, ++step_lines[n_steps]] = line
  }
  if (code < 0) fail(file ": cannot be read")
  close(file)
}

# What a claim, a table or a picture is from.
function from(s) { return "<span class=\"from\">" s "</span>" }

# The link to a step's command.
function link(name) {
  if (name == "" || name == "-") return ""
  if (!(name in step_number)) fail("step '" valid(name) "': report.txt does not list it")
  name = step_number[name]
  return "<a class=\"command\" href=\"#step-" name "\">command " name "</a>"
}

function join(a, b) { return a == "" ? b : b == "" ? a : a dot b }

function given(s) { return s != "" && s != "-" }

function claim_estimate(folder, key) {
  return estimate(claim[folder, key, "value"], claim[folder, key, "low"],
                  claim[folder, key, "high"], claim[folder, key, "unit"])
}

# "n = 120 · 12 clusters", where they are known. Clusters of two kinds are a text: "40 items, 6
# prompts".
function claim_size(folder, key,   n, clusters) {
  n = claim[folder, key, "n"]
  clusters = claim[folder, key, "clusters"]
  if (is_number(clusters)) clusters = number(clusters) (clusters == 1 ? " cluster" : " clusters")
  else clusters = given(clusters) ? attribute(clusters) : ""
  return join(given(n) ? "<i>n</i> = " number(n) : "", clusters)
}

# "95% Wilson", "99.38% bootstrap"
function claim_interval(folder, key,   level, name) {
  level = claim[folder, key, "level"]
  name = claim[folder, key, "interval"]
  if (!given(name)) return ""
  if (is_number(level)) level = sprintf("%.4g%% ", level <= 1 ? level * 100 : level)
  else level = ""
  return level attribute(name)
}

function put_claim(key,   sentence, at, id) {
  if (!(("", key) in claim_known)) fail("claim '" valid(key) "' is not in claims.tsv")
  sentence = claim["", key, "sentence"]
  at = index(sentence, "{}")
  if (at > 0)
    sentence = text(substr(sentence, 1, at - 1)) "<b>" claim_estimate("", key) "</b>" \
      text(substr(sentence, at + 2))
  else sentence = text(sentence)
  id = ""
  if (key ~ /^[-A-Za-z0-9_.]+$/ && !(key in claim_shown)) id = " id=\"claim-" key "\""
  claim_shown[key] = 1
  print "<div class=\"claim\"" id ">"
  print "<p>" sentence "</p>"
  at = join(join(claim_size("", key), claim_interval("", key)), link(claim["", key, "step"]))
  if (at != "") print "<p class=\"badge\">" at "</p>"
  print "</div>"
}

# ---- Pictures and tables ----

function put_picture(file, step, alt, caption) {
  print "<figure>"
  picture(file, "p" ++n_pictures "-", alt)
  put_caption(text(caption), link(step))
  print "</figure>"
}

function put_caption(caption, rest) {
  if (rest != "") caption = caption (caption == "" ? "" : " ") from(rest)
  if (caption != "") print "<figcaption>" caption "</figcaption>"
}

# Reads a table: column[1..n_columns] with label[], cell[row, i] of at most MOST rows; returns how
# many rows the file has.
function read_table(file, columns, most,
                    line, row, name, wanted, field, at, n, i, code) {
  n_columns = n_shown = 0
  for (row = -1; (code = (getline line < file)) > 0; row++) {
    sub(/\r$/, "", line)
    n = split(line, field, "\t")
    if (row < 0) {
      for (i = 1; i <= n; i++) at[field[i]] = i
      n_columns = columns == "" ? n : split(columns, wanted, ",")
      for (i = 1; i <= n_columns; i++) {
        name = columns == "" ? field[i] : wanted[i]
        label[i] = name
        if (columns != "" && match(name, /=/)) {
          label[i] = substr(name, RSTART + 1)
          name = substr(name, 1, RSTART - 1)
        }
        if (!(name in at)) fail(file ": no column '" valid(name) "'")
        column[i] = at[name]
        counts[i] = name ~ /^(n|n_.*|tokens)$/
        numeric[i] = 1
      }
    } else if (row < most) {
      n_shown++
      for (i = 1; i <= n_columns; i++) {
        cell[n_shown, i] = field[column[i]]
        if (given(field[column[i]]) && !is_number(field[column[i]]) && field[column[i]] != "inf")
          numeric[i] = 0
      }
    }
    split("", field)
  }
  if (code < 0) fail(file ": cannot be read")
  close(file)
  return row
}

# A cell that is a number is shown short and sorted by what the file has. Whole numbers are counts,
# with separators, or ids.
function put_cell(s, numeric, counts) {
  if (!given(s)) return numeric ? "<td class=\"n\">" dash : "<td>"
  if (!numeric) return "<td>" token(s)
  if (s == "inf") return "<td class=\"n\" data-v=\"Infinity\">\342\210\236"
  if (s ~ /^-?[0-9]+$/ && !(counts && length(s) > 3)) return "<td class=\"n\">" s
  return "<td class=\"n\" data-v=\"" s "\">" number(s)
}

# The beginning of a table that scrolls by itself where it is too wide.
function put_scroll(name, class) {
  print "<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-label=\"" name "\">" \
    "<table class=\"" class "\">"
}

function put_table(file, step, caption, columns, most,   rows, i, row, line, note) {
  most = most == "" ? 1e9 : most + 0
  rows = read_table(file, columns, most)
  if (rows < 0) fail(file ": no header")
  note = "<code>" attribute(file) "</code>"
  if (rows > n_shown) note = note ", the first " group(n_shown) " of " group(rows) " rows"
  print "<figure class=\"table\">"
  put_caption(text(caption), join(note, link(step)))
  if (n_shown > folded) print "<details><summary>" group(n_shown) " rows</summary>"
  put_scroll(attribute(file), "sorts")
  line = ""
  for (i = 1; i <= n_columns; i++)
    line = line "<th scope=\"col\"" (numeric[i] ? " class=\"n\"" : "") ">" shown(label[i]) "</th>"
  print "<thead><tr>" line "</tr></thead>"
  print "<tbody>"
  for (row = 1; row <= n_shown; row++) {
    line = ""
    for (i = 1; i <= n_columns; i++)
      line = line put_cell(cell[row, i], numeric[i], counts[i]) "</td>"
    print "<tr>" line "</tr>"
  }
  print "</tbody></table></div>"
  if (n_shown > folded) print "</details>"
  print "</figure>"
}

# ---- The page ----

function put_head(title,   i) {
  print "<!DOCTYPE html>"
  print "<html lang=\"en\">"
  print "<head>"
  print "<meta charset=\"utf-8\">"
  print "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; " \
    "style-src 'unsafe-inline'; script-src 'sha256-" digest "'; " \
    "base-uri 'none'; form-action 'none'\">"
  print "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">"
  print "<meta name=\"color-scheme\" content=\"light dark\">"
  print "<title>" attribute(title) "</title>"
  print "<style>"
  for (i = 1; i <= n_style; i++) print style[i]
  print "</style>"
  print "</head>"
  print "<body>"
}

# Title, lead and facts, which are above the contents.
function put_top(   i, field, facts) {
  print "<header>"
  for (i = 1; i <= n_directives; i++) {
    split(directive[i], field, "\t")
    if (field[1] == "title") print "<h1>" text(field[2]) "</h1>"
    if (field[1] == "lead") print "<p class=\"lead\">" text(field[2]) "</p>"
    if (field[1] == "fact") facts++
  }
  if (facts > 0) print "<dl>"
  for (i = 1; i <= n_directives; i++) {
    split(directive[i], field, "\t")
    if (field[1] == "fact")
      print "<dt>" text(field[2]) "</dt><dd>" \
        (field[2] == "Model" ? text(field[3]) : large(field[3])) "</dd>"
  }
  if (facts > 0) print "</dl>"
  print "</header>"
}

function put_contents(   i, field, n) {
  for (i = 1; i <= n_directives && directive[i] !~ /^section\t/; i++) continue
  if (i > n_directives) return
  print "<nav aria-label=\"Contents\">"
  print "<ol>"
  for (i = 1; i <= n_directives; i++) {
    split(directive[i], field, "\t")
    if (field[1] != "section") continue
    if (field[2] !~ /^[A-Za-z][-A-Za-z0-9_]*$/ || field[2] in section)
      fail("section '" valid(field[2]) "': not a name, or twice")
    section[field[2]] = ++n
    print "<li><a href=\"#" field[2] "\">" text(field[3]) "</a></li>"
  }
  print "</ol>"
  if (n_steps > 0) print "<p><a href=\"#commands\">Commands</a></p>"
  print "</nav>"
}

function end_terms() {
  if (in_terms) print "</dl>"
  in_terms = 0
}

function put_directive(line, at,   field, n) {
  n = split(line, field, "\t")
  if (field[1] ~ /^(title|lead|fact|step)$/) return
  if (field[1] == "term") {
    if (!in_terms++) print "<dl class=\"terms\">"
    print "<dt>" text(field[2]) "</dt><dd>" text(field[3]) "</dd>"
    return
  }
  end_terms()
  if (field[1] == "section") {
    if (in_section++) print "</section>"
    print "<section id=\"" field[2] "\">"
    print "<h2>" text(field[3]) "</h2>"
  } else if (field[1] == "text") print "<p>" text(field[2]) "</p>"
  else if (field[1] == "claim") put_claim(field[2])
  else if (field[1] == "picture") put_picture(field[2], field[3], field[4], field[5])
  else if (field[1] == "table") put_table(field[2], field[3], field[4], field[5], field[6])
  else if (field[1] == "missing") print "<p class=\"missing\">" text(field[2]) "</p>"
  else if (field[1] == "comparison") put_comparison(n, field)
  else fail("report.txt: line " at ": unknown directive '" valid(field[1]) "'")
}

function put_commands(   i, j) {
  if (n_steps == 0) return
  print "<section id=\"commands\">"
  print "<h2>Commands</h2>"
  print "<p>Each step as it was run, in the folder of this report.</p>"
  for (i = 1; i <= n_steps; i++) {
    print "<div class=\"step\" id=\"step-" i "\">"
    print "<h3><span>" i "</span> " text(step_title[i]) "</h3>"
    printf "<pre tabindex=\"0\"><code>"
    for (j = 1; j <= step_lines[i]; j++) print attribute(step_line[i, j])
    print "</code></pre>"
    print "</div>"
  }
  print "</section>"
}

END {
  if (failed) exit 1
  for (i = 1; i <= n_directives && directive[i] !~ /^title\t/; i++) continue
  title = i > n_directives ? "Survey" : substr(directive[i], 7)
  gsub(/`/, "", title)
  for (i = 1; i <= n_directives; i++)
    if (directive[i] ~ /^step\t/) read_step(substr(directive[i], 6))
  put_head(title)
  put_top()
  put_contents()
  print "<main>"
  for (i = 1; i <= n_directives; i++) put_directive(directive[i], line_of[i])
  end_terms()
  if (in_section) print "</section>"
  put_commands()
  print "</main>"
  print "<script>"
  for (i = 1; i <= n_script; i++) print script[i]
  print "</script>"
  print "</body>"
  print "</html>"
}
