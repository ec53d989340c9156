# Several surveys side by side: a table of their claims, and their pictures. A part of report.awk.

# The pictures of FOLDER's report: names in order.
function pictures_of(folder, first,   line, field, file, code) {
  file = folder "/report.txt"
  while ((code = (getline line < file)) > 0) {
    split(line, field, "\t")
    if (field[1] != "picture") continue
    drawn_by[folder, field[2]] = 1
    alt_of[folder, field[2]] = field[4]
    if (first && !(field[2] in compared)) {
      compared[field[2]] = 1
      compared_name[++n_compared] = field[2]
      compared_caption[n_compared] = field[5]
    }
  }
  if (code < 0) fail(file ": cannot be read")
  close(file)
}

# A claim's sentence without its number.
function bare_sentence(folder, key,   s) {
  s = claim[folder, key, "sentence"]
  sub(/[{][}][.]?/, "\342\200\246", s)
  return text(s)
}

# A row: the sentence of the first survey that has the claim, and the numbers of all. Where a survey
# has another sentence (another distance, say) it stands above its number.
function compare_row(key, n, folders,   i, line, folder, first) {
  for (i = 1; !((folders[i], key) in claim_known); i++) continue
  first = folders[i]
  line = bare_sentence(first, key)
  if (claim_interval(first, key) != "") line = line " " from(claim_interval(first, key))
  line = "<th scope=\"row\">" line "</th>"
  for (i = 1; i <= n; i++) {
    folder = folders[i]
    if (!((folder, key) in claim_known)) line = line "<td>" dash "</td>"
    else {
      line = line "<td>"
      if (bare_sentence(folder, key) != bare_sentence(first, key))
        line = line bare_sentence(folder, key) "<br>"
      line = line "<b>" claim_estimate(folder, key) "</b>"
      if (claim_size(folder, key) != "") line = line "<br>" from(claim_size(folder, key))
      line = line "</td>"
    }
  }
  print "<tr>" line "</tr>"
}

function put_comparison(n, field,   i, j, labels, folders, line, seen) {
  line = "<th scope=\"col\">Claim</th>"
  for (i = 2; i <= n; i++) {
    if (!match(field[i], /=/)) fail("comparison: '" valid(field[i]) "' is not LABEL=FOLDER")
    labels[i - 1] = substr(field[i], 1, RSTART - 1)
    folders[i - 1] = substr(field[i], RSTART + 1)
    if (n_claims[folders[i - 1]] == 0) claims_of(folders[i - 1])
    pictures_of(folders[i - 1], 1)
    line = line "<th scope=\"col\">" attribute(labels[i - 1]) "</th>"
  }
  n--
  print "<figure class=\"table wide\">"
  put_scroll("Claims of all surveys", "compared")
  print "<thead><tr>" line "</tr></thead>"
  print "<tbody>"
  for (i = 1; i <= n; i++)
    for (j = 1; j <= n_claims[folders[i]]; j++)
      if (!(claim_key[folders[i], j] in seen)) {
        seen[claim_key[folders[i], j]] = 1
        compare_row(claim_key[folders[i], j], n, folders)
      }
  print "</tbody></table></div>"
  print "</figure>"
  for (j = 1; j <= n_compared; j++) {
    print "<figure class=\"beside wide\">"
    print "<div class=\"row\">"
    for (i = 1; i <= n; i++) {
      print "<div><p>" attribute(labels[i]) "</p>"
      if ((folders[i], compared_name[j]) in drawn_by)
        picture(folders[i] "/" compared_name[j], "p" ++n_pictures "-",
                alt_of[folders[i], compared_name[j]])
      else print "<p class=\"missing\">No such picture.</p>"
      print "</div>"
    }
    print "</div>"
    put_caption(text(compared_caption[j]), "")
    print "</figure>"
  }
}
