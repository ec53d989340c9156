# Continuations for people to judge, of which they cannot see what stood in the prompt:
#
#   awk -v seed=0 -v most=12 -f blind.awk prompts.tsv KIND=TABLE... >blind.tsv
#
# Each TABLE is of nk-run's, with the column continuation. Writes the items to judge to standard
# output and, to the file key.tsv, what each of them is. Of each kind as many different tokens or
# nokens are drawn, MOST at most, and the j-th of each kind stands in the same prompt. A kind with
# fewer than 4 is left out. All is drawn by the generator of Park and Miller, which all awks compute
# alike.

BEGIN {
  FS = OFS = "\t"
  for (i = 1; i <= length(seed ""); i++) state = (state * 10 + substr(seed "", i, 1)) % 2147483646
  state++
  for (i = 0; i < 10; i++) draw(1)
  for (i = 2; i < ARGC; i++) {
    kind[i - 1] = substr(ARGV[i], 1, index(ARGV[i], "=") - 1)
    ARGV[i] = substr(ARGV[i], index(ARGV[i], "=") + 1)
  }
  for (i = 0; i < 16; i++) hex[sprintf("%X", i)] = hex[sprintf("%x", i)] = i
}

# A whole number from 0 to n - 1.
function draw(n) { return (state = state * 16807 % 2147483647) % n }

FNR == 1 {
  file++
  split("", at)
  for (i = 1; i <= NF; i++) at[$i] = i
  next
}

file == 1 { name[n_prompts++] = $at["prompt"]; text[$at["prompt"]] = $at["text"]; next }

{
  k = file - 1
  id = $at["id"]
  if (!((k, id) in seen)) ids[k, n_ids[k]++] = id
  seen[k, id] = 1
  continuation[k, id, $at["prompt"]] = $at["continuation"]
}

# What a table escaped, as a person would see it, but that quotation marks are curly: readers take a
# straight one for the begin of a quoted cell. A cell that a spreadsheet could take for a formula
# begins with a space.
function plain(s,   out, p, c, broken) {
  while ((p = index(s, "\\")) > 0) {
    out = out substr(s, 1, p - 1)
    c = substr(s, p + 1, 1)
    if (p > 1) broken = 0
    if (c == "x") {
      c = hex[substr(s, p + 2, 1)] * 16 + hex[substr(s, p + 3, 1)]
      s = substr(s, p + 4)
      if (c >= 32 && c < 127) out = out sprintf("%c", c)
      else if (!broken) out = out "\357\277\275"
      broken = c < 32 || c > 126
      continue
    }
    broken = 0
    out = out (c == "n" ? " \342\217\216 " : c == "t" || c == "r" ? " " : c)
    s = substr(s, p + 2)
  }
  out = out s
  gsub(/"/, "\342\200\235", out)
  return (out ~ /^[-=+@]/ ? " " : "") out
}

# The prompt with blanks in place of the slots.
function blanks(s) { gsub(/[{][}]/, "____", s); return plain(s) }

# Exchanges the elements of order[0..n-1] at random.
function shuffle(order, n,   i, j, kept) {
  for (i = n - 1; i > 0; i--) {
    j = draw(i + 1)
    kept = order[i]; order[i] = order[j]; order[j] = kept
  }
}

END {
  for (k = 1; k < file; k++)
    if (n_ids[k] >= 4 && n_ids[k] < most) most = n_ids[k]
  n = 0
  for (k = 1; k < file; k++) {
    if (n_ids[k] < 4) continue
    for (i = 0; i < n_ids[k]; i++) order[i] = i
    shuffle(order, n_ids[k])
    for (j = 0; j < most; j++) {
      id = ids[k, order[j]]
      prompt = name[j % n_prompts]
      shown = plain(continuation[k, id, prompt])
      line[n] = blanks(text[prompt]) OFS (shown ~ /^ *$/ ? "(nothing)" : "\342\200\246 " shown)
      key[n++] = kind[k] OFS id OFS prompt
    }
  }
  for (i = 0; i < n; i++) order[i] = i
  shuffle(order, n)
  print "item", "prompt", "continuation", "rating"
  print "item", "kind", "id", "prompt" >"key.tsv"
  for (i = 0; i < n; i++) {
    print i + 1, line[order[i]], ""
    print i + 1, key[order[i]] >"key.tsv"
  }
}
