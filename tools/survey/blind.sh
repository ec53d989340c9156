# Would people who know nothing of this agree?
judged=48
[ $quick = 0 ] || judged=12

section 'Would people who know nothing of this agree?'
if can runs 'There is nothing to judge' && has ordinary.tsv 20 'Ordinary tokens that the model repeats'; then
  step blind 'Continuations to judge, without a sign of what stood in the prompt' <<END
# half of the tokens as nearly as their number allows
nearest='NR == 1 { for (i = 1; i <= NF; i++) at[\$i] = i; print; next } \$at["quantile"] > 0.4 && \$at["quantile"] < 0.6'
farthest='NR == 1 { for (i = 1; i <= NF; i++) at[\$i] = i; print; next } \$at["times"] == 4'
awk -F '\t' "\$nearest" nokens.tsv > near-runs.tsv
awk -F '\t' "\$farthest" nokens.tsv > far-runs.tsv
awk -v seed=$seed -v most=$judged -f $(printf %q "$share/survey/blind.awk") prompts.tsv ordinary=ordinary-runs.tsv \\
  glitch=glitch-runs.tsv near=near-runs.tsv far=far-runs.tsv > blind.tsv
rm near-runs.tsv far-runs.tsv
END
  text "\`blind.tsv\` has continuations of prompts in which a blank is shown where an ordinary token, a glitch" \
    'token, a noken as far from the middle as half of the tokens, or one four times as far as the farthest' \
    'token stood: as many of each, in the same prompts, made in the same way, in random order.' \
    "$({ awk -F '\t' 'FNR > 1 { n[FILENAME == "key.tsv" ? $2 : "all"]++ } END {
      printf "There are %d of them", n["all"]; comma = ": "
      split("ordinary glitch near far", kind, " ")
      for (i = 1; i <= 4; i++) if (n[kind[i]] > 0) { printf "%s%d of kind `%s`", comma, n[kind[i]], kind[i]; comma = ", " }
      print "." }' blind.tsv key.tsv; } 2>/dev/null)"
  has glitch.tsv 4 'Glitch tokens to judge' || true
  text 'Give each rater a copy, and neither `key.tsv`, which says what each of them is, nor this report. The rater' \
    'writes 1 in the column rating where a continuation is odd (broken, meaningless, or not about the prompt)' \
    'and 0 where it is a normal one; a spreadsheet can open the file, and save it as CSV. The copies, one for each' \
    'rater and named by them, are added to this report by `nk-survey --unblind RATINGS... -o FOLDER`.'
fi
