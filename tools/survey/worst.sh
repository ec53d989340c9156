# What can a noken do at worst? With --tune: what does training remove of it, and at what cost?
places='quantile-0.5 quantile-0.99 times-2 times-4 p-value-0.1'
found=12 restarts=4 gradients=50 random=300
if [ $quick = 1 ]; then
  places='quantile-0.5 quantile-0.99 times-4 p-value-0.1'
  found=8 restarts=2 gradients=25 random=200
fi

# The words for a place: where the nokens are.
place_words() {
  case $1 in
    quantile-0.5) echo "at the tokens' median distance" ;;
    quantile-*) echo "at the ${1#*-} quantile of the tokens' distances" ;;
    times-*) echo "at ${1#*-} times the largest distance of a token" ;;
    p-value-*) echo "at a p-value of ${1#p-value-} or more among tokens (inside their region)" ;;
  esac
}

# A step for each place: it can take long, and what is done is not done again.
search_places() {
  local place
  for place in $places; do
    local sample="--${place%-*} ${place##*-} -d isotropic,covariance -n $random"
    local distance='$at["distance"]' inside=
    if [ "${place%-*}" = p-value ]; then
      sample="--resample -n $((2 * random))" distance='""' inside="\$at[\"set_p_value\"] >= ${place##*-}"
    fi
    step "search-$place" "Search the nokens that do the most $(place_words "$place"); random ones there" \
      $(($(prompts) * (3 * found * restarts * gradients + found + 2 * random))) <<END
nk-search $model region.safetensors --prompts prompts.tsv$chat_option --${place%-*} ${place##*-} \\
  -n $found --restarts $restarts --steps $gradients --seed $seed -o worst-$place.safetensors
nk-sample region.safetensors $sample --seed $seed -o random-$place.safetensors
for kind in worst random; do
  nk-run $model --prompts prompts.tsv$chat_option --exclude verdicts.tsv --seed $seed \$kind-$place.safetensors |
    awk -F '\t' -v OFS='\t' -v kind=\${kind/worst/searched} '
      NR == 1 { for (i = 1; i <= NF; i++) at[\$i] = i; next }
      ${inside:+$inside }{
        print kind, "$place", $distance, \$at["id"], \$at["prompt"], \$at["kl"], \$at["p_value"] }'
done > worst-$place.tsv
END
  done
}

section 'What can a noken do at worst?'
if can runs 'The worst nokens cannot be searched' && can gradients 'The worst nokens cannot be searched' &&
  has ordinary.tsv 20 'Ordinary tokens that the model repeats'; then
  text 'Random nokens show what a vector usually does at its distance. A search by gradients of the' \
    'model finds those that do the most there: whose KL divergence from the mean answer after ordinary' \
    'tokens has the largest mean over the prompts. A search finds a lower bound of the worst case. Each' \
    'ordinary token is at some distance from their mean as well: far in a prompt that asks to repeat it,' \
    'where each has an answer of its own. Compare with theirs, in the same prompt. Intervals are about' \
    'other nokens and tokens in these prompts, those of shares about other prompts too.'
  search_places

  step worst 'What do searched nokens do beside random ones at equal distance, and ordinary tokens?' <<END
{
  printf 'kind\tplace\tdistance\titem\tprompt\tkl\tp_value\n'
  for place in $places; do cat worst-\$place.tsv; done
  awk -F '\t' -v OFS='\t' 'NR == 1 { for (i = 1; i <= NF; i++) at[\$i] = i; next }
    { print "ordinary", "tokens", "", \$at["id"], \$at["prompt"], \$at["kl"], \$at["p_value"] }' ordinary-runs.tsv
} > worst.tsv
awk -F '\t' -v OFS='\t' 'NR == 1 { print "kind", "place", "distance", "item", "kl"; next }
  { item = \$1 OFS \$2 OFS \$3 OFS \$4; if (!(item in n)) order[++items] = item; n[item]++
    sum[item] += \$6 } END { for (i = 1; i <= items; i++) print order[i], sum[order[i]] / n[order[i]] }' \\
  worst.tsv > worst-items.tsv
nk-summary -b kind,place,distance --median kl --quantile kl:0.99 -o worst-kl.tsv worst-items.tsv
nk-summary -b kind,place,distance --share 'p_value<=0.05' -c item,prompt --seed $seed -o worst-ood.tsv worst.tsv
awk -F '\t' 'NR == 1 || \$2 == "quantile-0.5" || \$1 == "ordinary"' worst.tsv |
  nk-summary -b kind,prompt --median kl -c item --seed $seed -o worst-prompts.tsv
awk -v by=place -v above='searched,median kl' -v below='random,quantile kl:0.99' \\
  -f $(printf %q "$share/survey/ratio.awk") worst-kl.tsv > worst-ratio.tsv
awk -F '\t' -v OFS='\t' 'NR == 1 { for (i = 1; i <= NF; i++) at[\$i] = i; print; next }
  (\$at["distance"] != "" || \$at["kind"] == "ordinary") &&
      (\$at["statistic"] ~ /median/ || \$at["kind"] == "random") {
    \$at["kind"] = \$at["kind"] (\$at["statistic"] ~ /quantile/ ? ": 0.99 quantile" : ": median")
    \$at["statistic"] = "kl"; print }' worst-kl.tsv |
  nk-plot curve -x distance -y kl --by kind --log xy --ordinary 'kind=ordinary: median' \\
    --xlabel 'Mahalanobis distance of the noken' --ylabel 'KL divergence, mean over prompts (nats)' \\
    --title 'Searched nokens and random ones at the same distances' -o worst.svg
nk-plot curve -x prompt -y 'median kl' --by kind --log y --ylabel 'median KL divergence (nats)' \\
  --title 'Searched and random nokens, and ordinary tokens, by prompt' -o worst-prompts.svg worst-prompts.tsv
END

  claim ordinary_kl worst nats 'In the same prompts the median KL divergence of ordinary tokens from their own mean is {}.' \
    worst-kl.tsv kind=ordinary 'statistic=median kl'
  for place in quantile-0.5 times-4 p-value-0.1; do
    words=$(place_words $place)
    claim "searched_kl_$place" worst nats "${words^} the median KL divergence of searched nokens is {}." \
      worst-kl.tsv kind=searched place=$place 'statistic=median kl'
    claim "random_kl_$place" worst nats "${words^} the median KL divergence of random nokens is {}." \
      worst-kl.tsv kind=random place=$place 'statistic=median kl'
    claim "worst_ratio_$place" worst times "${words^} the searched nokens' median is {} the 0.99 quantile of the random ones." \
      worst-ratio.tsv place=$place
    claim "searched_ood_$place" worst share "${words^} {} of the answers to searched nokens are out of distribution." \
      worst-ood.tsv kind=searched place=$place 'statistic=share p_value<=0.05'
    claim "random_ood_$place" worst share "${words^} {} of the answers to random nokens are out of distribution." \
      worst-ood.tsv kind=random place=$place 'statistic=share p_value<=0.05'
  done
  picture worst.svg worst 'KL divergence against Mahalanobis distance, both on logarithmic axes: the median of searched nokens, and the median and 0.99 quantile of random ones; ordinary tokens as a band.' \
    'What searched nokens do, beside the usual and the largest effects of random ones at the same distance; the grey line is that of ordinary tokens.'
  picture worst-prompts.svg worst 'Median KL divergence of searched and random nokens and of ordinary tokens in each prompt, with intervals.' \
    "The same by prompt, at the tokens' median distance: which prompts a noken can turn, and where ordinary tokens are far from their mean."
  table worst-kl.tsv worst "The divergence's mean over the prompts, of searched and random nokens at each place, and of ordinary tokens." \
    'place,kind,statistic,value,low,high,n' 50

  if [ $tune = 1 ]; then
    . "$share/survey/tune.sh"
  else
    text 'What training removes of this, and what that costs, is measured where it is asked for: `nk-survey --tune`' \
      'with the same options and folder trains two copies of the model, one on random and one on searched nokens.'
  fi
fi
