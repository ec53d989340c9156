# What noken-perturbation(7) says of the two models: whole chains of tools, and the intervals of
# their results.

setup_file() {
  export DATA=$PWD/data
  cd "$BATS_FILE_TMPDIR"
  for model in gpt2-tiny llama-tiny; do
    nk-convert --model hf --shuffle-weights 1 "$DATA/$model" -o "shuffled-$model"
  done
}

setup() {
  cd "$BATS_FILE_TMPDIR"
}

# width MODEL TOKENS-OF: "median low high" of the width in which the last stream at the slot goes
# from a tenth to nine tenths of its way, for 100 pairs of tokens that training showed in 300 steps
# or more.
width() {
  awk 'NR > 1 && $3 > 300 { print $1 }' "$DATA/$2/counts.tsv" | sed -n '1~7p' | head -200 >ids
  { printf 'a\tb\n' && paste - - <ids; } >pairs.tsv
  nk-extract "$1" --ids "$(paste -sd , ids)" |
    nk-sample --path lerp --steps 20 --pairs pairs.tsv |
    nk-run "$1" -p 'And the {}' --capture 4 |
    nk-stats --path --summary |
    nk-summary --by layer --median width --cluster pair |
    awk -F '\t' 'NR == 2 { print $3, $4, $5 }'
}

# For gpt2-tiny this is so in this prompt, by little; in others it is the other way round.
@test "trained models go from one token to another in a shorter part of the way than shuffled ones" {
  for model in gpt2-tiny llama-tiny; do
    read -r trained _ highest < <(width "$DATA/$model" "$model")
    read -r shuffled lowest _ < <(width "shuffled-$model" "$model")
    echo "# $model: $trained (at most $highest), shuffled $shuffled (at least $lowest)" >&3
    awk -v high="$highest" -v low="$lowest" 'BEGIN { exit !(high > 0 && high < low) }'
  done
}

@test "steps towards other states change the output at a shorter length than random ones" {
  for model in gpt2-tiny llama-tiny; do
    nk-run "$DATA/$model" --contexts "$DATA/prompts/contexts.txt" --every 1 --capture 1 -o states
    nk-run "$DATA/$model" --contexts "$DATA/prompts/contexts.txt" --position -1 --capture 1 -o last
    nk-region fit -q states -o region
    nk-sample region --from-set last -d towards,isotropic --with-origin --metric radius \
      --distance 64 -o far
    nk-boundary "$DATA/$model" far --contexts "$DATA/prompts/contexts.txt" --level 0.1 --summary \
      >onsets.tsv
    sed "s/^/# $model: /" onsets.tsv >&3
    awk -F '\t' '$1 == "towards" { high = $6 } $1 == "isotropic" { low = $5 }
      END { exit !(high > 0 && high < low) }' onsets.tsv
  done
}
