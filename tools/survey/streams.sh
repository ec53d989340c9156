# The same for the residual stream: by layer, along directions, and beside shuffled weights.
each=24 places=24 states=200 reference=99 rays=4 lines=1000000
[ $quick = 0 ] || each=4 places=8 states=60 reference=39 rays=1 lines=16
blocks=$(info blocks)
layers=$(awk -v n="${blocks:-0}" 'BEGIN { m = n < 9 ? n : 7
  for (i = 0; i <= m; i++) printf "%s%d", i ? " " : "", m ? int(i * n / m + 0.5) : 0 }')
n_layers=$(wc -w <<<"$layers")
middle=$(cut -d ' ' -f $((n_layers / 2 + 1)) <<<"$layers")

# The radius at which rays from real states of a model change its answer, a row for each ray. A ray
# that does not reach it within 8 spreads has an onset of inf; so has its ratio to that of a square
# law where the law predicts less than 8 spreads.
onsets() { # MODEL TABLE
  cat <<END
nk-run -q $1 --contexts lines.txt --every 2 --capture ${layers// /,} --seed $seed |
  nk-region fit -q --by layer --seed $seed -o 'rays-{}.safetensors'
for layer in $layers; do
  nk-run -q $1 --contexts lines.txt --position -1 --capture \$layer -o last.safetensors
  spread=\$(nk-stats -q --no-mahalanobis --summary last.safetensors | awk -F '\t' '
    NR == 1 { for (i = 1; i <= NF; i++) at[\$i] = i } \$1 == "centroid_l2" { print \$at["median"] }')
  nk-sample -q rays-\$layer.safetensors --from-set last.safetensors -n $rays --seed $seed --with-origin \\
    -d isotropic,covariance,difference,towards -m radius --distance \$(awk "BEGIN { print 8 * \$spread }") |
    nk-boundary -q $1 --contexts lines.txt --level 0.1 --tolerance 0.02 |
    awk -F '\t' -v OFS='\t' -v spread=\$spread '
      NR == 1 { for (i = 1; i <= NF; i++) at[\$i] = i; print "onset_spreads", "plateau", "step", \$0; next }
      { onset = \$at["onset"]; fisher = \$at["fisher"]; width = \$at["width"]
        print (onset == "" ? "inf" : onset / spread), (!fisher ? "" : onset != "" ? onset / fisher : \\
          fisher < 8 * spread ? "inf" : ""), (onset == "" || width == "" ? "" : width / onset), \$0 }'
done | awk 'NR == 1 || !/^onset_/' > $2
rm rays-*.safetensors last.safetensors
END
}

# Whether the streams can be read and replaced: llama.cpp does not show those of all architectures.
streams_shown() {
  local error
  [ $dry$planning = 00 ] && [ "$(info runs)" = llama ] || return 0
  error=$(eval "nk-run -q $model -p 'The {} of' --ids 0 --capture ${layers// /,} -o /dev/null" 2>&1) ||
    { write missing "What it does cannot be seen: ${error##*$'\n'}." && return 1; }
}

section 'What does the model do with nokens of its residual stream, by layer and direction?'
if can runs 'What it does cannot be seen' && streams_shown &&
  has ordinary.tsv 20 'Ordinary tokens that the model repeats'; then
  text "Layer 0 is the input embedding, layer L the stream that enters block L, and layer $blocks the stream" \
    "that the last block leaves. Nokens of a layer are vectors at distances from the middle of the states" \
    "that ordinary tokens have there, in the first $places lines of \`contexts.txt\`, whose last word they" \
    'replace; they are out of distribution where their conformal p-value among ordinary tokens in that' \
    'place is at most 0.05.'

  step streams 'Nokens of the stream at each layer, and what they do' \
    $((n_layers * places * (2 * 15 * each + 4 * reference + states))) <<END
awk 'length > 11 && n++ < $lines' contexts.txt > lines.txt
tr '{}' '  ' < lines.txt | awk 'BEGIN { print "prompt\ttext" }
  { if (NF > 1) \$NF = "{}"; else \$0 = \$0 " {}"; text[NR] = \$0 } END {
    n = NR < $places ? NR : $places; for (i = 1; i <= n; i++) print "line " i "\t" text[i] }' > places.tsv
awk '$(few $states)' ordinary.tsv > some.tsv
nk-run -q $model --prompts places.tsv --ids-from some.tsv --capture ${layers// /,} |
  nk-region fit -q --by layer --seed $seed -o 'states-{}.safetensors'
for layer in $layers; do
  nk-sample -q states-\$layer.safetensors -n $each -d isotropic,covariance,difference \\
    --times 0.25,0.5,1,2,4 --seed $seed |
    nk-run -q $model --prompts places.tsv --at \$layer --reference $reference --exclude verdicts.tsv --seed $seed
done | awk 'NR == 1 || !/^id\t/' > stream-runs.tsv
rm states-*.safetensors
nk-summary --seed $seed -b at,times -c id,prompt --share 'p_value<=0.05' --median kl -o streams.tsv stream-runs.tsv
nk-summary --seed $seed -b at,times,direction -c id,prompt --share 'p_value<=0.05' --median kl \\
  -o stream-directions.tsv stream-runs.tsv
plot="nk-plot heatmap -x times -y at --ylabel layer"
far='distance, in units of that of the farthest ordinary state'
awk 'NR == 1 { sub(/value/, "share") } NR == 1 || /share p/' streams.tsv | \$plot -z share --xlabel "\$far" \\
  --title 'The share of nokens of the stream that are out of distribution' -o streams.svg
awk 'NR == 1 { sub(/value/, "nats") } NR == 1 || /median kl/' streams.tsv | \$plot -z nats --log z --xlabel "\$far" \\
  --title 'The median divergence of the next token, in nats' -o streams-kl.svg
END
  for place in first:0 "middle:$middle" "last:${layers##* }"; do
    layer=${place#*:}
    claim "stream_${place%:*}" streams share "Nokens of layer $layer that are as far from its middle as the farthest ordinary state are out of distribution in {} of cases." \
      streams.tsv "at=$layer" times=1 'statistic=share p_value<=0.05'
  done
  picture streams.svg streams 'Heatmap of the share of nokens out of distribution, by distance and layer.' \
    'The share of nokens that the model treats unlike ordinary states, by layer and distance.'
  picture streams-kl.svg streams 'Heatmap of the median divergence of the next token, by distance and layer.' \
    'The median divergence of the next token from its mean distribution after ordinary tokens.'
  table stream-directions.tsv streams 'Share out of distribution and median divergence, by layer, distance and direction.' \
    'at=layer,direction,times=distance,statistic,value,low,high,n' 1000

  text 'How far can a real state be moved before the model says something else? The state of the last' \
    'token of a line moves along a direction: random (`isotropic`), as states spread (`covariance`), the' \
    'difference of two other states (`difference`), or towards another one (`towards`). The onset is the' \
    'length at which the next token diverges by 0.1 nats, in units of the spread: the median distance of' \
    'such states from their mean. Where the answer changes with the square of the length from the start,' \
    'the onset is as far as the curvature there predicts, and their ratio is 1; on a plateau it is larger.' \
    'The width is the way on which the divergence goes from a tenth to nine tenths of what it is at 8' \
    'spreads. Directions are followed up to 8 spreads; what does not reach the onset there counts as' \
    'longer than all others.'
  evaluations=$((n_layers * 4 * rays * (quick ? lines : 48) * 10))
  step onsets 'How far real states have to move until the next token differs by 0.1 nats' $evaluations <<END
$(onsets "$model" onsets.tsv)
END
  tables=onsets.tsv
  if [ "$(info format)" != folder ]; then
    write missing "The control, the model with shuffled weights: it is made of a folder with safetensors files only."
  else
    bytes=$(info bytes)
    step control "The same in a copy with shuffled weights, which takes the model's size on the disk${bytes:+ ($((bytes / 1000000 + 1)) MB)} until the step ends" $evaluations <<END
rm -rf shuffled
nk-convert -q --model hf --shuffle-weights $seed $model -o shuffled
$(onsets shuffled control.tsv)
rm -r shuffled
END
    tables+=' control.tsv'
  fi
  step radii "Medians of the onsets, by layer and direction" <<END
awk -F '\t' -v OFS='\t' 'FNR == 1 && NR > 1 { next }
  { print NR == 1 ? "weights" : FILENAME == "onsets.tsv" ? "trained" : "shuffled", \$0 }' $tables > radii-rays.tsv
asked="--seed $seed -c context --median onset_spreads --median plateau --median step --share reached==0"
nk-summary \$asked -b weights,layer,direction -o radii.tsv radii-rays.tsv
nk-summary \$asked -b weights,layer -o weights.tsv radii-rays.tsv
nk-summary --seed $seed -w layer==$middle -w weights==trained -c context --median onset_spreads \\
  --between 'direction==isotropic,direction==difference' -o real.tsv radii-rays.tsv
nk-plot curve -x layer -y 'median onset_spreads' --by direction --ylabel 'onset, in spreads' \\
  --title 'How far a state moves until the next token differs by 0.1 nats' -o radii.svg \\
  <(awk -F '\t' 'NR == 1 || \$1 == "trained"' radii.tsv)
nk-plot curve -x layer -y 'median onset_spreads' --by weights --ylabel 'onset, in spreads' \\
  --title 'The onset with trained and with shuffled weights' -o weights.svg weights.tsv
nk-plot curve -x layer -y 'median plateau' --by weights --line 'y=1:no plateau' \\
  --ylabel 'onset over that of a square law' \\
  --title 'Plateaus: how much farther the onset is than the curvature predicts' -o plateaus.svg weights.tsv
END
  # A median is infinite where about half of the rays or more do not reach the onset.
  onset_claim() { # KEY WHICH TABLE COLUMN=VALUE...
    local sentence="At layer $middle the median onset $2 is {}."
    [ "$(cell value "${@:3}")" != inf ] ||
      sentence="At layer $middle the median onset $2 is beyond 8 spreads, where the search for it ends; by its interval it is {}."
    claim "$1" radii spreads "$sentence" "${@:3}"
  }
  plateau_claim() { # KEY WEIGHTS WORDS
    local row=(weights.tsv "weights=$2" "layer=$middle" 'statistic=median plateau') sentence
    case $(cell value "${row[@]}") in
      inf) sentence="$3, half of the directions or more have no onset within 8 spreads, where the curvature at their start predicts one." ;;
      *) sentence="$3, the median onset is {} times what the curvature at its start predicts." ;;
    esac
    claim "$1" radii '' "$sentence" "${row[@]}"
  }
  for direction in isotropic covariance difference towards; do
    onset_claim "onset_$direction" "along directions of the kind \`$direction\`" \
      radii.tsv weights=trained "layer=$middle" "direction=$direction" 'statistic=median onset_spreads'
  done
  claim onset_unreached radii share "At layer $middle {} of all directions have no onset within 8 spreads." \
    weights.tsv weights=trained "layer=$middle" 'statistic=share reached==0'
  row=(real.tsv 'between=direction==isotropic - direction==difference')
  [ -z "$(cell value "${row[@]}")" ] ||
    claim onset_real radii spreads "At layer $middle the median onset along random directions, less that along differences of real states, is {}." \
      "${row[@]}"
  picture radii.svg radii 'Median onset against the layer, a line for each direction.' \
    'Onset radii by layer and direction, in units of the spread of the states at the layer; bands are intervals for other texts.'
  plateau_claim plateau_trained trained "At layer $middle"
  if [ "$tables" != onsets.tsv ]; then
    plateau_claim plateau_shuffled shuffled "At layer $middle, with shuffled weights"
    onset_claim onset_all 'over all directions' weights.tsv weights=trained "layer=$middle" 'statistic=median onset_spreads'
    onset_claim onset_shuffled 'over all directions, with shuffled weights,' \
      weights.tsv weights=shuffled "layer=$middle" 'statistic=median onset_spreads'
    picture weights.svg radii 'Median onset of all directions against the layer, a line for the model and one for shuffled weights.' \
      'What of this comes from training: the same radii with the weights of each matrix in random order.'
  fi
  picture plateaus.svg radii 'Median ratio of the onset and the onset of a square law against the layer, with a line at 1.' \
    'Above 1 the answer stays the same for longer than its curvature at the start predicts: a plateau.'
  table radii.tsv radii 'Onset in spreads, its ratio to the onset of a square law (plateau), and width over onset (step).' \
    'weights,layer,direction,statistic,value,low,high,n' 1000
fi
