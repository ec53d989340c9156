# How often is what glitch tokens and nokens do out of distribution, and how often is it unwanted?
each=48 tokens=1000 words=16
[ $quick = 0 ] || each=6 tokens=150

section 'How often is what they do out of distribution, in which prompts, and how often is it unwanted?'
if can runs 'What nokens do cannot be seen' &&
  has ordinary.tsv 20 'Ordinary tokens that the model repeats'; then
  text 'A noken, a vector that no token has, is put into the slot of each prompt. What the model says' \
    'next is out of distribution where its conformal p-value among ordinary tokens in the same slot' \
    'is at most 0.05: about 5% of ordinary tokens are. It is unwanted where the continuation of' \
    "$words tokens matches a pattern of \`flags.tsv\`: nothing is said, or the same again and again." \
    'Glitch tokens whose rows nearly coincide do the same in a prompt, so that nearly all or nearly none' \
    'of them are out of distribution there: their share says in which part of the prompts, and its' \
    'interval is about other prompts too.'

  step region 'The region of the ordinary tokens, and nokens at distances from its middle' <<END
nk-extract $model -o wte.safetensors
nk-region fit -q wte.safetensors --exclude verdicts.tsv --seed $seed -o region.safetensors
nk-sample region.safetensors -n $each -d isotropic,covariance,difference,token \\
  --quantile 0.5,0.9,0.99 --times 0.5,1,2,4 --seed $seed -o nokens.safetensors
END

  step runs 'Run them, glitch tokens and ordinary tokens in all prompts' \
    $(($(prompts) * (words + 1) * (28 * each + 2 * tokens))) <<END
options="--prompts prompts.tsv$chat_option --exclude verdicts.tsv --generate $words --flag flags.tsv --seed $seed"
for kind in ordinary glitch; do
  awk '$(few $tokens)' \$kind.tsv > some.tsv
  nk-run $model \$options --ids-from some.tsv -o \$kind-runs.tsv
done
nk-run $model \$options nokens.safetensors -o nokens.tsv
END

  step unusual 'In what share is it out of distribution, and in what share unwanted?' <<END
asked="--share p_value<=0.05 --share flags --seed $seed"
for kind in ordinary glitch; do
  nk-summary \$asked -c id,prompt -o \$kind-shares.tsv \$kind-runs.tsv
  nk-summary \$asked -c id -b prompt -o \$kind-prompts.tsv \$kind-runs.tsv
done
nk-summary \$asked -c id,prompt -b quantile,times -o distance-shares.tsv nokens.tsv
nk-summary \$asked -c id -b prompt -w 'times>=4' -o noken-prompts.tsv nokens.tsv
nk-summary \$asked -c id,prompt -b direction,distance -o noken-shares.tsv nokens.tsv
nk-plot curve -x distance -y 'share p_value<=0.05' --by direction --log x \\
  --ordinary 'statistic=share p_value<=0.05' --ordinary-from ordinary-shares.tsv \\
  --xlabel 'Mahalanobis distance of the noken' --ylabel 'share out of distribution' \\
  --title 'Nokens by distance, and ordinary tokens' -o unusual.svg noken-shares.tsv
nk-plot curve -x distance -y 'share flags' --by direction --log x \\
  --ordinary 'statistic=share flags' --ordinary-from ordinary-shares.tsv \\
  --xlabel 'Mahalanobis distance of the noken' --ylabel 'share of continuations' \\
  --title 'Unwanted continuations by distance, and of ordinary tokens' -o flags.svg noken-shares.tsv
awk -F '\t' -v OFS='\t' 'FNR == 1 { for (i = 1; i <= NF; i++) at[\$i] = i
    kind = FILENAME; sub(/-.*/, "", kind)
    if (NR == 1) print "kind", "prompt", "n", "ood", "ood_low", "ood_high", "flagged", "flagged_low", "flagged_high"
    next }
  { numbers = \$at["value"] OFS \$at["low"] OFS \$at["high"] }
  /share p_value/ { ood = numbers; next }
  { print kind, \$1, \$at["n"], ood, numbers }' ordinary-prompts.tsv glitch-prompts.tsv noken-prompts.tsv > by-prompt.tsv
END

  step examples 'Some of the continuations, a token or noken in each prompt in turn' <<END
awk -F '\t' -v OFS='\t' -v prompts=$(prompts) '
  FNR == 1 { split("", at); split("", item); n = 0; for (i = 1; i <= NF; i++) at[\$i] = i
    kind = FILENAME; sub(/-.*|s[.].*/, "", kind)
    if (NR == 1) print "kind", "token", "prompt", "continuation", "p_value", "flags"; next }
  kind == "noken" && \$at["times"] != 4 { next }
  { if (!(\$at["id"] in item)) item[\$at["id"]] = n++
    if (!(\$at["prompt"] in prompt)) prompt[\$at["prompt"]] = p++
    i = item[\$at["id"]]
    if (kind == "noken") i = i % $each < 2 ? int(i / $each) * 2 + i % $each : 9
    if (i < 8)
      if (i % prompts == prompt[\$at["prompt"]])
        print kind, kind == "noken" ? \$at["direction"] : \$at["text"], \$at["prompt"],
          \$at["continuation"], \$at["p_value"], \$at["flags"] }
' ordinary-runs.tsv glitch-runs.tsv nokens.tsv > examples.tsv
END

  claim ordinary_ood unusual share 'Ordinary tokens are out of distribution in {} of cases.' \
    ordinary-shares.tsv 'statistic=share p_value<=0.05'
  claim glitch_ood unusual share 'Glitch tokens, which the model fails to repeat, are out of distribution in {} of cases.' \
    glitch-shares.tsv 'statistic=share p_value<=0.05'
  # The share of the region's tokens that lie nearer is 0.5 as nearly as their number allows.
  median=$([ $dry$planning != 00 ] || awk -F '\t' '$1 > 0.4 && $1 < 0.6 { print $1; exit }' distance-shares.tsv)
  claim near_ood unusual share 'Nokens as far from the middle as half of the tokens are out of distribution in {} of cases.' \
    distance-shares.tsv 'statistic=share p_value<=0.05' "quantile=$median"
  claim far_ood unusual share 'Nokens four times as far as the farthest token are out of distribution in {}.' \
    distance-shares.tsv 'statistic=share p_value<=0.05' times=4
  picture unusual.svg unusual 'Share of nokens out of distribution against their Mahalanobis distance, a line for each direction, ordinary tokens as a band.' \
    'The share of nokens that the model treats unlike ordinary tokens, by distance and direction; the grey band is that of ordinary tokens.'
  claim ordinary_flags unusual share 'After ordinary tokens {} of the continuations are unwanted.' \
    ordinary-shares.tsv 'statistic=share flags'
  claim glitch_flags unusual share 'After glitch tokens {} of them are unwanted.' glitch-shares.tsv 'statistic=share flags'
  claim far_flags unusual share 'After nokens four times as far as the farthest token {} of the continuations are unwanted.' \
    distance-shares.tsv 'statistic=share flags' times=4
  picture flags.svg unusual 'Share of unwanted continuations against the distance of the noken, a line for each direction, ordinary tokens as a band.' \
    'Continuations that say nothing or repeat themselves, by distance and direction.'
  table examples.tsv examples 'Continuations after ordinary tokens, glitch tokens and nokens (their direction is named) at four times the distance of the farthest token.' \
    'kind,token,prompt,continuation,p_value=p-value,flags' 24
  table by-prompt.tsv unusual 'Each prompt: the shares out of distribution and unwanted; nokens at four times the distance of the farthest token.' \
    'kind,prompt,n,ood=out of distribution,ood_low=low,ood_high=high,flagged=unwanted,flagged_low=low,flagged_high=high' 40
fi
