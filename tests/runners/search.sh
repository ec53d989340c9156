#!/bin/bash
# What nk-search finds beside random nokens at the same distance: a table of both shipped models,
# two prompts and six distances, with the 0.99 quantile and the largest KL divergence of N_RANDOM
# random nokens and the median of N_FOUND found ones. Takes N_RANDOM (1000), N_FOUND (32) and the
# number of steps (50); needs the tools in PATH.
set -euo pipefail
n_random=${1:-1000} n_found=${2:-32} n_steps=${3:-50}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# The KL divergences of a set on standard input, ascending.
divergences() { # divergences MODEL PROMPT
  nk-run -q "data/$1" -p "$2" |
    awk -F'\t' 'NR == 1 { for (i = 1; i <= NF; i++) if ($i == "kl") c = i; next } { print $c }' |
    sort -g
}

printf 'model\tprompt\tdistance\trandom_q99\trandom_max\tfound_median\n'
for model in gpt2-tiny llama-tiny; do
  nk-extract -q "data/$model" | nk-region fit -q -o "$folder/region"
  for prompt in 'The {} of' 'There was once a {} and'; do
    for distance in '--quantile 0.5' '--quantile 0.9' '--quantile 0.99' '--times 1.5' '--times 2' \
      '--times 4'; do
      # shellcheck disable=SC2086 # an option and its value
      random=$(nk-sample -q "$folder/region" $distance -n "$n_random" |
        divergences $model "$prompt" |
        awk -v OFS='\t' '{ v[NR] = $1 } END { n = int(NR * 0.99 + 0.9999); print v[n], v[NR] }')
      # shellcheck disable=SC2086
      found=$(nk-search -q "data/$model" "$folder/region" -p "$prompt" $distance -n "$n_found" \
        --steps "$n_steps" | divergences $model "$prompt" |
        awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }')
      printf '%s\t%s\t%s\t%s\t%s\n' $model "$prompt" "${distance#--}" "$random" "$found"
    done
  done
done
