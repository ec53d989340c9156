# The residual stream with the tools of the embedding space: capture, fit, sample, run.
bats_require_minimum_version 1.5.0

setup() {
  cd "$BATS_TEST_DIRNAME/../.."
  cd_tmp=$BATS_TEST_TMPDIR
}

# behaviour MODEL LAYER: the median kl of nokens at half and at eight times the farthest distance
behaviour() {
  awk -F'\t' 'NR == 1 || ($2 >= 300 && ++n <= 400)' "data/$1/counts.tsv" > "$cd_tmp/ordinary.tsv"
  nk-run "data/$1" -p 'He said to the {}' --ids-from "$cd_tmp/ordinary.tsv" --capture "$2" \
    -o "$cd_tmp/states.safetensors"
  nk-region fit -q "$cd_tmp/states.safetensors" -o "$cd_tmp/region.safetensors"
  nk-sample "$cd_tmp/region.safetensors" -n 11 --times 0.5,8 |
    nk-run "data/$1" -p 'He said to the {}' --at "$2" --reference 64 > "$cd_tmp/behaviour.tsv"
  awk -F'\t' 'NR == 1 { for (i = 1; i <= NF; i++) at[$i] = i; next }
    { print $at["times"], $at["kl"] }' "$cd_tmp/behaviour.tsv" | sort -k1,1g -k2,2g |
    awk 'NR == 6 || NR == 17 { printf "%s ", $2 } END { print NR }'
}

# entropy TABLE: its column of that name
entropy() {
  awk -F'\t' 'NR == 1 { for (i = 1; i <= NF; i++) at[$i] = i; next } { print $at["entropy"] }' "$1"
}

@test "nokens far from a layer's states change the next token more than near ones, in both models" {
  for model in gpt2-tiny llama-tiny; do
    for layer in 0 2 4; do
      read -r near far n < <(behaviour $model $layer)
      [ "$n" -eq 22 ]
      awk -v near="$near" -v far="$far" 'BEGIN { exit !(far > 1.2 * near) }' || {
        echo "$model, layer $layer: kl $near near, $far far"
        return 1
      }
    done
  done
}

@test "captured states keep their layer's name, and their tokens' ids and texts, in the region" {
  nk-run data/llama-tiny -p 'He said to the {}' --ids 300-360 --capture 2 -o "$cd_tmp/s.safetensors"
  run -0 bash -c "nk-stats --no-mahalanobis '$cd_tmp/s.safetensors' | sed -n 2p | cut -f 1"
  [ "$output" = 300 ]
  grep -aq 'residual:2' "$cd_tmp/s.safetensors"
  nk-region fit -q "$cd_tmp/s.safetensors" | nk-sample --times 2 > "$cd_tmp/n.safetensors"
  grep -aq 'residual:2' "$cd_tmp/n.safetensors"
}

@test "a state put back where it was captured has the effect of its token" {
  nk-run data/gpt2-tiny -p 'He said to the {}' --ids 300-330 --capture 3 |
    nk-run data/gpt2-tiny -p 'He said to the {}' --at 3 --reference 64 > "$cd_tmp/states.tsv"
  nk-run data/gpt2-tiny -p 'He said to the {}' --ids 300-330 --reference 64 > "$cd_tmp/tokens.tsv"
  paste <(entropy "$cd_tmp/states.tsv") <(entropy "$cd_tmp/tokens.tsv") |
    awk '{ d = $1 - $2; if (d < -1e-3 || d > 1e-3) bad++ } END { exit !(NR == 31 && !bad) }'
}
