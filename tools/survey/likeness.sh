# Are nokens like glitch tokens? Which distance, metric and direction give those that are closest?
each=48 items=200
[ $quick = 0 ] || each=16 items=48

section 'Are nokens like glitch tokens, and which of them are?'
if can runs 'What they do cannot be seen' && has glitch.tsv 8 'Glitch tokens' &&
  has ordinary.tsv 20 'Ordinary tokens that the model repeats'; then
  text 'Behaviour is compared by four numbers at the end of each prompt: the entropy of the next token, the' \
    'probability of the most probable one, the divergence from the mean after ordinary tokens, and the norm' \
    'of the last residual stream. The energy distance (Székely and Rizzo) is 0 where two samples behave the' \
    'same, in each prompt, and 1 where each is a single point. Its mean is 0 for samples that behave the same,' \
    'so that it can be a little negative. Intervals are about other tokens and nokens in these prompts.'

  step metrics 'Nokens at distances by four metrics, in all prompts' $(($(prompts) * 96 * each)) <<END
for metric in mahalanobis l2 cosine knn; do
  nk-sample -q region.safetensors -m \$metric -n $each -d isotropic,covariance,difference,token \\
    --quantile 0.5,0.9,0.99 --times 1,2,4 --unreached skip --seed $seed |
    nk-run $model --prompts prompts.tsv$chat_option --exclude verdicts.tsv --seed $seed |
    awk -v OFS='\t' -v metric=\$metric 'NR == 1 { print "metric", \$0; next } { print metric, \$0 }'
done | awk 'NR == 1 || !/^metric\t/' > metrics.tsv
END

  step clouds 'Vectors that lie as the glitch tokens lie, and as the ordinary tokens do' \
    $(($(prompts) * 4 * items)) <<END
awk '$(few $items)' glitch.tsv > some.tsv
nk-sample -q region.safetensors --match some.tsv --vectors wte.safetensors --seed $seed -o matched.safetensors
nk-extract $model --ids-from glitch.tsv | nk-region fit -q --kind mahalanobis --seed $seed |
  nk-sample --gaussian $items --seed $seed -o glitch-cloud.safetensors
nk-sample region.safetensors --gaussian $items --seed $seed -o ordinary-cloud.safetensors
nk-sample region.safetensors --resample -n $items --seed $seed -o resampled.safetensors
for kind in matched glitch-cloud ordinary-cloud resampled; do
  nk-run $model --prompts prompts.tsv$chat_option --exclude verdicts.tsv --seed $seed \$kind.safetensors \\
    -o \$kind.tsv
  rm \$kind.safetensors
done
END

  step likeness 'How far is their behaviour from that of glitch tokens?' <<END
far="nk-summary --energy entropy,top_prob,kl,residual_norm --strata prompt -c id --seed $seed"
awk -F '\t' 'NR == 1 || (\$1 in half ? half[\$1] : half[\$1] = n++ % 2)' glitch-runs.tsv > half.tsv
awk -F '\t' 'NR == 1 || (\$1 in half ? !half[\$1] : !(half[\$1] = n++ % 2))' glitch-runs.tsv |
  \$far --against half.tsv -o half-far.tsv
for kind in matched glitch-cloud ordinary-cloud resampled ordinary-runs; do
  \$far --against glitch-runs.tsv -o \$kind-far.tsv \$kind.tsv
done
awk -v OFS='\t' 'FNR == 1 { kind = FILENAME; sub(/-far.tsv/, "", kind); sub(/-runs/, "", kind)
    if (NR > 1) next }
  { print NR == 1 ? "kind" : kind, \$0 }' \\
  half-far.tsv glitch-cloud-far.tsv matched-far.tsv ordinary-cloud-far.tsv resampled-far.tsv \\
  ordinary-runs-far.tsv > kinds.tsv
\$far --against glitch-runs.tsv -b metric,direction,times,distance -o likeness.tsv metrics.tsv
\$far --against glitch-runs.tsv -b metric,times -o near-far.tsv metrics.tsv
half=\$(awk -F '\t' 'NR == 1 { for (i = 1; i <= NF; i++) at[\$i] = i; next }
  { printf "%.4f", \$at["value"] }' half-far.tsv)
for metric in mahalanobis l2 cosine knn; do
  name=\${metric/mahal/Mahal} name=\${name/l2/Euclidean} name=\${name/knn/k-NN}
  awk -F '\t' -v metric=\$metric 'NR == 1 || \$1 == metric' likeness.tsv |
    nk-plot curve -x times --by direction --log x --ordinary kind=ordinary --ordinary-from kinds.tsv \\
      --line "y=\$half:two halves of the glitch tokens" --ylabel 'energy distance from glitch tokens' \\
      --xlabel "\$name distance, in units of that of the farthest token" \\
      --title "How unlike glitch tokens nokens behave, by \$name distance" -o like-\$metric.svg
done
END

  step closest 'Draw the nokens that are closest anew, so that it is not chance that chose them' \
    $(($(prompts) * items)) <<END
{ head -n 1 likeness.tsv; sed 1d likeness.tsv | sort -t \$'\t' -k 6,6g; } > closest-first.tsv
awk -F '\t' 'NR == 1 { for (i = 1; i <= NF; i++) at[\$i] = i; print; next }
  \$at["n_id"] >= $((each / 2)) + \$at["n_second"] / \$at["n_prompt"] && !n++' closest-first.tsv > chosen.tsv
sed 1d chosen.tsv | while IFS=\$'\t' read -r metric direction times distance _; do
  nk-sample -q region.safetensors -m \$metric -d \$direction --distance \$distance -n $items \\
    --unreached skip --seed $((seed + 1))
done | nk-run $model --prompts prompts.tsv$chat_option --exclude verdicts.tsv --seed $seed -o closest-runs.tsv
nk-summary --energy entropy,top_prob,kl,residual_norm --strata prompt -c id --seed $seed \\
  -b direction,times --against glitch-runs.tsv -o closest.tsv closest-runs.tsv
END

  metric_name() { case $1 in mahalanobis) echo Mahalanobis ;; l2) echo Euclidean ;; knn) echo k-NN ;; *) echo "$1" ;; esac; }
  like() { # KEY KIND SENTENCE
    claim "$1" likeness '' "$3" kinds.tsv "kind=$2"
  }
  # The nearest or the farthest distance of nokens in all directions together.
  end() { # near | far
    [ $dry$planning = 00 ] || return 0
    awk -F '\t' -v place="$1" '$1 == "mahalanobis" && (!n++ || (place == "near") == ($2 < best)) { best = $2 }
      END { print best }' near-far.tsv
  }
  like like_ordinary ordinary 'The behaviour of ordinary tokens is at an energy distance of {} from that of glitch tokens.'
  like like_half half 'One half of the glitch tokens is at an energy distance of {} from the other half.'
  metric=$(cell metric chosen.tsv) times=$(cell times chosen.tsv)
  claim like_closest closest '' "Of all these nokens, those of the direction \`$(cell direction chosen.tsv)\` at $(printf %.3g "${times:-0}") times the $(metric_name "$metric") distance of the farthest ordinary token came closest to glitch tokens; others of these, drawn anew, are at an energy distance of {} from them." \
    closest.tsv
  for place in near far; do
    times=$(end $place)
    claim like_$place likeness '' "Nokens in all directions at $(printf %.3g "${times:-0}") times the Mahalanobis distance of the farthest token are at an energy distance of {} from glitch tokens." \
      near-far.tsv metric=mahalanobis "times=$times"
  done
  # Both intervals, one after the other.
  text "$(awk -F '\t' 'NF < 2 { exit } $1 > $4 { print "Of the two, the near ones behave more like glitch tokens." }
    $3 > $2 { print "Of the two, the far ones behave more like glitch tokens." }
    $1 <= $4 && $3 <= $2 { print "The intervals of the two overlap: far nokens are as good as near ones, as far as this sample can tell." }' \
    <<<"$(for place in far near; do for bound in low high; do
      cell $bound near-far.tsv metric=mahalanobis "times=$(end $place)"
    done; done | paste -s)")"
  like like_matched matched 'Nokens with the norm and the distances of real glitch tokens are at an energy distance of {} from them.'
  like like_cloud glitch-cloud 'Vectors from the normal distribution that has the mean and the covariance of the glitch tokens are at an energy distance of {} from them.'
  like like_ordinary_cloud ordinary-cloud 'Vectors from the normal distribution of the ordinary tokens are at an energy distance of {} from glitch tokens.'
  for metric in mahalanobis l2 cosine knn; do
    picture like-$metric.svg likeness "Energy distance of nokens from glitch tokens against their $(metric_name $metric) distance, a line for each direction; ordinary tokens as a band, and half of the glitch tokens against the other as a line." \
      "The behaviour of nokens and that of glitch tokens, by $(metric_name $metric) distance and direction; 0 is the same behaviour, the grey line is that of ordinary tokens."
  done
  table kinds.tsv likeness 'Energy distances from glitch tokens: of `half` of them from the other half; of vectors from the normal distribution of glitch tokens (`glitch-cloud`) and of ordinary tokens (`ordinary-cloud`); of nokens at the norm and distances of glitch tokens (`matched`); of ordinary tokens moved a little (`resampled`), and as they are (`ordinary`). The last column but one has what 95% of distances are below where behaviour is the same.' \
    'kind,value=energy distance,low,high,p_value=p-value,null_q95=0.95 quantile if the same,n_id=items' 20
  table closest-first.tsv closest 'Nokens by metric, direction and distance (in units of that of the farthest token), those closest to glitch tokens first. The first is partly so by chance: the sentence above is about others, drawn anew.' \
    'metric,direction,times=distance,value=energy distance,low,high,p_value=p-value' 200
fi
