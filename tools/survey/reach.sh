# At what distance in tokens does the effect still show? Texts differ more than tokens do, hence many.
each=16 items=64 fillers=32 reference=99 reach=64
[ $quick = 0 ] || each=3 items=12 fillers=16 reference=39
positions=$(info positions)
while [ "$reach" -gt 1 ] && [ $((2 * reach)) -gt $((${positions:-256} - 32)) ]; do reach=$((reach / 2)); done

section 'At what distance in tokens does the effect still show?'
if can runs 'What follows a token at a distance cannot be seen' &&
  has ordinary.tsv 20 'Ordinary tokens that the model repeats'; then
  text "Each token and noken stands in place of a word in $fillers texts, which are the lines of" \
    '`contexts.txt` from different words on. What the model says next is read in the slot itself and' \
    "1, 2, 4 and so on up to $reach tokens after it. It is out of distribution where its conformal p-value" \
    'is at most 0.05 among ordinary tokens in the same slot, at the same distance. At a distance the' \
    'effect is said to show where this happens more often than after ordinary tokens, with an interval of' \
    'the difference that lies above 0. For tokens or nokens of one kind the intervals of all distances' \
    'hold together at 95% (Bonferroni). A share says how often an effect is seen; how large it is, the' \
    'divergence says.' \
    "Nokens are at the median of the tokens' own Mahalanobis distances, at the largest one and at four" \
    'times that.'

  step fillers "Texts with a slot, and with words after it that make some $reach tokens" <<END
tr '{}' '  ' < contexts.txt | awk '{ for (i = 1; i <= NF; i++) word[n++] = \$i } END {
  for (f = 0; f < $fillers; f++) for (i = 0; i < 86; i++)
    printf "%s%s", word[(int(f * n / $fillers) + i) % n], i < 85 ? " " : "\n" }' > words.txt
nk-tokens $model --plain --no-special --encode - < words.txt |
  awk -F '\t' 'NR == FNR { tokens[\$3]++; next }
    FNR == 1 { print "prompt\ttext" }
    { n = split(\$0, word, " "); last = 8 + int(n * 1.2 * $reach / tokens[FNR]); line = ""
      for (i = 1; i <= n && i <= last; i++) line = line (i > 1 ? " " : "") (i == 7 ? "{}" : word[i])
      print "filler " FNR "\t" line }' - words.txt > fillers.tsv
END

  step reach "Run ordinary tokens, glitch tokens and nokens in them, and read at up to $reach tokens" \
    $((fillers * (12 * each + 2 * items + 2 * reference) * (reach + 16) / 8)) <<END
nk-sample region.safetensors -n $each -d isotropic,covariance,difference,token --quantile 0.5 --times 1,4 \\
  --seed $seed -o reach.safetensors
for table in ordinary.tsv glitch.tsv; do
  awk '$(few $items)' \$table | cut -f 1
done | awk 'NR == 1 || \$1 != "id"' > some.tsv
nk-run $model --prompts fillers.tsv --offsets $reach --reference $reference --exclude verdicts.tsv \\
  --seed $seed --ids-from some.tsv reach.safetensors |
  awk -F '\t' -v OFS='\t' 'NR == FNR { glitch[\$1]; next }
    FNR == 1 { for (i = 1; i <= NF; i++) at[\$i] = i; print "kind", "id", "prompt", "after", "kl", "p_value"; next }
    { offset = \$at["offset"]; while (offset > 1 && offset % 2 == 0) offset /= 2
      if (offset > 1) next
      times = \$at["times"]
      kind = times == "" ? (\$1 in glitch ? "glitch tokens" : "ordinary tokens") : "nokens at " \\
        (times < 1 ? "the median" : times == 1 ? "the largest" : "4 x largest")
      print kind, (times == "" ? "token " : "noken ") \$1, \$at["prompt"], \$at["offset"], \$at["kl"], \$at["p_value"] }' \\
    glitch.tsv - > reach-runs.tsv
rm reach.safetensors
END

  step distances 'At which distances are they out of distribution more often than ordinary tokens?' <<END
awk -F '\t' -v OFS='\t' 'NR > 1 && \$4 == 0 { \$4 = 0.5 } { print }' reach-runs.tsv |
  nk-summary --seed $seed -b kind,after -c id,prompt --share 'p_value<=0.05' --median kl -o reach.tsv
plot="nk-plot curve -x after --by kind"
below='tokens after the slot (the slot itself: 0.5)'
\$plot -y 'share p_value<=0.05' --log x --xlabel "\$below" --ylabel 'share out of distribution' \\
  --title 'How often what follows a token is out of distribution' -o reach.svg reach.tsv
\$plot -y 'median kl' --log xy --xlabel "\$below" --ylabel 'median KL divergence (nats)' \\
  --title 'The divergence of what comes next, by distance' \\
  -o reach-kl.svg reach.tsv
level=\$(cut -f 4 reach-runs.tsv | sort -u | awk 'END { printf "%.6g", 1 - 0.05 / (NR - 1) }')
sed 1d reach-runs.tsv | cut -f 1 | sort -u | grep -v ordinary | while IFS= read -r kind; do
  nk-summary --seed $seed -b after -c id,prompt --level \$level --share 'p_value<=0.05' \\
    --between "kind==\$kind,kind==ordinary tokens" reach-runs.tsv |
    awk -F '\t' -v OFS='\t' -v kind="\$kind" '/ - / || NR == 1 { print NR == 1 ? "kind" : kind, \$0 }'
done | awk 'NR == 1 || !/^kind\t/' > reach-more.tsv
awk -F '\t' -v OFS='\t' 'NR == 1 { for (i = 1; i <= NF; i++) at[\$i] = i; print "shows", \$0; next }
  !(\$1 in last) { kind[++n] = \$1; last[\$1] = "no" OFS \$0 }
  \$at["low"] != "" && \$at["low"] > 0 { last[\$1] = "yes" OFS \$0 } END {
    for (i = 1; i <= n; i++) print last[kind[i]] }' reach-more.tsv > reach-last.tsv
END

  far='nokens at 4 times the largest distance of a token'
  reach_claim() { # KEY KIND WORDS
    local after where
    after=$(cell after reach-last.tsv "kind=$2" shows=yes)
    case $after in
      '') where='shows at none of these distances; in the slot itself' ;;
      0) where='shows in the slot itself and at no distance from it; there' ;;
      1) where='shows one token after the slot and at no larger distance; there' ;;
      "$reach") where="shows $after tokens after the slot, the largest distance that was read; there" ;;
      *) where="shows $after tokens after the slot and at no larger distance; there" ;;
    esac
    claim "$1" distances points "The effect of $3 $where the share out of distribution differs from that after ordinary tokens by {}." \
      reach-last.tsv "kind=$2"
  }
  reach_claim reach_near 'nokens at the median' "nokens at the tokens' median distance"
  reach_claim reach_edge 'nokens at the largest' 'nokens at the largest distance of a token'
  reach_claim reach_far 'nokens at 4 x largest' "$far"
  reach_kl() { # KEY KIND WORDS AFTER WHERE
    claim "$1" distances nats "After $3 the median divergence $5 is {}." reach.tsv \
      'statistic=median kl' "kind=$2" "after=$4"
  }
  reach_kl reach_kl_slot 'nokens at 4 x largest' "$far" 0.5 'of the next token in the slot itself'
  reach_kl reach_kl_end 'nokens at 4 x largest' "$far" "$reach" "$reach tokens later"
  reach_kl reach_kl_ordinary 'ordinary tokens' 'ordinary tokens' "$reach" "$reach tokens later"
  if has glitch.tsv 5 'Glitch tokens'; then
    reach_claim reach_glitch 'glitch tokens' 'glitch tokens'
    reach_kl reach_kl_glitch 'glitch tokens' 'glitch tokens' "$reach" "$reach tokens later"
  fi
  picture reach.svg distances 'Share out of distribution against the number of tokens after the slot, a line each for ordinary tokens, glitch tokens and nokens at three distances.' \
    'How often the model answers unlike after ordinary tokens, by the number of tokens between; bands are intervals for other tokens and other texts. Glitch tokens whose rows nearly coincide do the same in a text: their line counts texts, and can jump between two distances.'
  picture reach-kl.svg distances 'Median KL divergence against the number of tokens after the slot, a line each for ordinary tokens, glitch tokens and nokens at three distances.' \
    'The divergence of the next token from its mean distribution after ordinary tokens, by the number of tokens between.'
  table reach-more.tsv distances 'The share out of distribution, less that of ordinary tokens, by the number of tokens after the slot; intervals that hold together for all distances.' \
    'kind,after=tokens after the slot,value=difference,low,high,n' 40
fi
