# nk-survey --unblind: raters' judgements of blind.tsv, added to the report of a survey.

# What raters said, in place of what they said before: in report.txt before the section of words.
add_raters() {
  [ -e unblind.txt ] || return 0
  awk -F '\t' '$2 != "raters"' claims.tsv | cat - unblind.claims.tsv >claims.tsv.part
  cp unblind.txt raters.part
  b2sum --status -c unblind.sums 2>/dev/null || printf 'missing\t%s\n' \
    "The survey has other continuations now: these judgements are of those that \`blind.tsv\` had then." >>raters.part
  awk -F '\t' '
    function add(   line) { while ((getline line < "raters.part") > 0) print line }
    $1 == "section" { old = $2 == "raters"; if ($2 == "words") add() }
    !old
    END { add() }' report.txt >report.txt.part
  rm raters.part
  mv claims.tsv.part claims.tsv
  mv report.txt.part report.txt
}

# The words for a kind of item.
kind_words() {
  case $1 in
    ordinary) echo 'ordinary tokens' ;;
    glitch) echo 'glitch tokens' ;;
    near) echo 'nokens as far from the middle as half of the tokens' ;;
    far) echo 'nokens four times as far as the farthest token' ;;
  esac
}

# The raters' files, ordered by their names without folders, as absolute paths: a line each.
rater_files() {
  local file
  for file in "${operands[@]}"; do
    [[ $file != *[[:cntrl:]]* ]] || fail 'a name of a file has control characters; rename it'
    [ -f "$file" ] && [ -r "$file" ] || fail "$file: cannot be read"
    printf '%s\t%s\n' "${file##*/}" "$(realpath -s -- "$file")"
  done | sort | cut -f 2
}

unblind() {
  [ ${#operands[@]} -gt 0 ] || fail 'name the files of the raters; see nk-survey --help' 2
  [ -e "$folder/report.txt" ] || fail "$folder: the folder holds no survey"
  [ -e "$folder/key.tsv" ] || fail "$folder: the survey has no blind.tsv: run it with the part blind"
  local list files
  list=$(rater_files) || exit 1
  mapfile -t files <<<"$list"
  enter
  awk -f "$share/survey/unblind.awk" key.tsv "${files[@]}" >ratings.tsv.part || exit 1
  mv ratings.tsv.part ratings.tsv
  rm -f report.txt.part claims.tsv.part steps/raters.sh
  local part=raters
  judge
  b2sum blind.tsv key.tsv >unblind.sums.part
  mv unblind.sums.part unblind.sums
  mv claims.tsv.part unblind.claims.tsv
  mv report.txt.part unblind.txt
  add_raters
  render
}

# What the raters' section says.
judge() {
  local counts raters items ratings clusters='-c item' about='these raters'
  counts=$(awk -F '\t' 'NR > 1 { items[$1]; raters[$2]; n++ } END {
    for (i in items) i_n++
    for (r in raters) r_n++
    print r_n, i_n, n }' ratings.tsv)
  read -r raters items ratings <<<"$counts"
  [ "$raters" -lt 5 ] || clusters='-c item,rater' about='other raters too'
  [ "$raters" -gt 1 ] || clusters=
  section 'What did raters who saw no labels say?'
  text "$raters rater$([ "$raters" = 1 ] || echo s) judged $items of the $(($(wc -l <key.tsv) - 1)) continuations in \`blind.tsv\`, with" \
    "$ratings judgements: 1 for an odd one, 0 for a normal one. Intervals of shares are about other" \
    "continuations and about $about."
  local kinds='' others='' kind there
  there=" $(cut -f 4 ratings.tsv | sort -u | tr '\n' ' ')"
  for kind in ordinary glitch near far; do
    [[ $there == *" $kind "* ]] || continue
    kinds+=" $kind"
    [ $kind = ordinary ] || [[ $there != *' ordinary '* ]] || others+=" $kind"
  done
  step raters 'What raters judged odd, how well that separates what stood in the prompt, and how well they agree' <<END
nk-summary -q -b kind --share 'rating==1' $clusters --seed $seed -o odd.tsv ratings.tsv
awk -F '\t' -v OFS='\t' 'NR == 1 { print "item", "kind", "odd"; next }
  !(\$1 in n) { order[++items] = \$1; kind[\$1] = \$4 } { n[\$1]++
    odd[\$1] += \$3 } END { for (i = 1; i <= items; i++) print order[i], kind[order[i]], odd[order[i]] / n[order[i]] }' ratings.tsv > judged.tsv
for kind in$others; do nk-summary --between "kind=\$kind,ordinary" --auc odd judged.tsv; done |
  awk 'NR == 1 || !/^statistic/' > separated.tsv
nk-summary --kappa rating --items item --raters rater --seed $seed -o agreed.tsv ratings.tsv
nk-plot curve -x kind -y 'share rating==1' --yrange 0:1 --ylabel 'share judged odd' \\
  --title 'What raters judged odd, by what stood in the prompt' -o odd.svg odd.tsv
END
  for kind in $kinds; do
    claim "odd_$kind" raters share "Of the continuations after $(kind_words "$kind") {} are judged odd." \
      odd.tsv "kind=$kind"
  done
  local -A noun=([glitch]=token [near]=noken [far]=noken)
  for kind in $others; do
    claim "separated_$kind" raters '' \
      "With probability {} a continuation after a $kind ${noun[$kind]} is judged odder than one after an ordinary token (ties count half; 0.5 is no separation)." \
      separated.tsv "between=$kind > ordinary"
  done
  if [ "$raters" -gt 1 ]; then
    local kappa name
    kappa=$(awk -F '\t' '$1 ~ /kappa/ { print $1 }' agreed.tsv)
    name=${kappa%% *}
    claim raters_agreement raters share 'Two raters give a continuation the same judgement in {} of cases.' \
      agreed.tsv 'statistic=agreement rating'
    claim raters_kappa raters '' \
      "Beyond what chance gives they agree by {}, ${name^}'s kappa; 1 is full agreement." \
      agreed.tsv "statistic=$kappa"
  else
    write missing 'There is one rater: how well raters agree is not known.'
  fi
  picture odd.svg raters 'Share of continuations judged odd, with an interval, for each kind of item.' \
    'The share judged odd after ordinary tokens, glitch tokens, and near and far nokens.'
}
