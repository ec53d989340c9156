# nk-search as a user calls it. What it finds is judged by other tools.
bats_require_minimum_version 1.5.0

setup() {
  cd "$BATS_TEST_DIRNAME/../.."
  t=$BATS_TEST_TMPDIR
  region=$BATS_FILE_TMPDIR/gpt2-tiny
  [ -f "$region" ] && return
  for model in gpt2-tiny llama-tiny; do
    nk-extract data/$model -o "$BATS_FILE_TMPDIR/$model.tokens"
    nk-region fit "$BATS_FILE_TMPDIR/$model.tokens" -o "$BATS_FILE_TMPDIR/$model"
  done
}

# numbers NAME: a column of a table on standard input, ascending
numbers() {
  awk -F'\t' -v name="$1" 'NR == 1 { for (i = 1; i <= NF; i++) if ($i == name) c = i; next }
    { print $c }' | sort -g
}

# above A B: the number A is larger than B
above() {
  awk -v a="$1" -v b="$2" 'BEGIN { exit !(a > b) }'
}

@test "found nokens do more than nearly all random ones at the same distance" {
  tests/runners/search.sh 100 5 10 >"$t/table"
  [ "$(wc -l <"$t/table")" -eq 25 ]
  awk -F'\t' 'NR > 1 && !($6 >= $4) { print; bad = 1 } END { exit bad }' "$t/table"
}

@test "nokens stay within the p-value, by nk-region score, and do more the less it is" {
  for model in gpt2-tiny llama-tiny; do
    region=$BATS_FILE_TMPDIR/$model
    for p in 0.05 0.5; do
      nk-search -q data/$model "$region" -p 'The {} of' --p-value $p -n 3 --steps 15 \
        --restarts 2 -o "$t/$p"
      nk-region score -q "$region" "$t/$p" >"$t/score"
      above "$(numbers p_value <"$t/score" | head -n 1)" "$(awk "BEGIN { print $p - 1e-9 }")"
      nk-run -q data/$model "$t/$p" -p 'The {} of' | numbers kl | tail -n 1 >"$t/kl$p"
    done
    above "$(cat "$t/kl0.05")" "$(cat "$t/kl0.5")"
    above "$(cat "$t/kl0.5")" 0.5
  done
}

@test "the objective is the divergence of nk-run, and more than at the start" {
  nk-search -q data/gpt2-tiny "$region" -p 'The {} of' --times 1.5 -n 3 --steps 5 -o "$t/found"
  nk-run -q data/gpt2-tiny "$t/found" -p 'The {} of' >"$t/run"
  paste <(numbers kl <"$t/run") <(numbers objective <"$t/run") |
    awk '{ if (!(($1 - $2) ^ 2 < ($1 * 1e-4) ^ 2)) exit 1 }'
  above "$(numbers objective <"$t/run" | head -n 1)" "$(numbers objective_start <"$t/run" | tail -n 1)"
  nk-plot scatter "$t/run" -x objective_start -y kl --format text >"$t/plot"
}

@test "each metric is kept, and quantiles are those of nk-sample" {
  for metric in l2 cosine mahalanobis knn; do
    nk-sample -q "$region" -m $metric --quantile 0.9 --unreached redraw | nk-convert --to tsv |
      numbers distance >"$t/asked"
    nk-search -q data/gpt2-tiny "$region" -p 'The {} of' -m $metric --quantile 0.9 -n 2 --steps 4 |
      nk-convert --to tsv >"$t/found"
    awk -v asked="$(cat "$t/asked")" '{ if (!(($1 - asked) ^ 2 < (1e-4 * asked) ^ 2)) exit 1 }' \
      < <(numbers $metric <"$t/found"; numbers distance <"$t/found")
  done
}

@test "a radius holds about each row, without a region too; rows keep what they have" {
  nk-extract data/gpt2-tiny --ids 300-302 -o "$t/rows"
  nk-search -q data/gpt2-tiny -p 'The {} of' --radius 0.2 --from-set "$t/rows" --steps 5 \
    -o "$t/found" </dev/null
  nk-convert --to tsv "$t/found" >"$t/tsv"
  [ "$(numbers origin <"$t/tsv" | paste -sd ' ')" = "300 301 302" ]
  [[ $(head -n 1 "$t/tsv") == id$'\t'text$'\t'*objective* ]]
  [[ $(head -n 1 "$t/tsv") != *p_value* ]]
  above 0.200001 "$(numbers radius <"$t/tsv" | tail -n 1)"
  above "$(numbers radius <"$t/tsv" | head -n 1)" 0.01
  nk-search -q data/gpt2-tiny "$region" -p 'The {} of' --radius 0.2 --from-set "$t/rows" \
    --steps 2 | nk-convert --to tsv | numbers p_value >"$t/p"
  [ "$(grep -c . "$t/p")" -eq 3 ]
}

@test "tokens, texts and flags are made likely, entropies small" {
  common=(-q data/llama-tiny "$BATS_FILE_TMPDIR/llama-tiny" -p 'The {} of' --times 1.5 --steps 10)
  nk-search "${common[@]}" --maximize 'token: the' | nk-run -q data/llama-tiny -p 'The {} of' >"$t/run"
  [ "$(numbers top_text <"$t/run")" = " the" ]
  nk-search "${common[@]}" --minimize entropy | nk-convert --to tsv >"$t/low"
  above "$(numbers objective_start <"$t/low")" "$(numbers objective <"$t/low")"
  above "$(numbers objective <"$t/low")" 0
  printf 'name\tpattern\ndigit\t[0-9]\n' >"$t/flags"
  for what in 'text: the same' "flag:$t/flags"; do
    nk-search "${common[@]}" --maximize "$what" | nk-convert --to tsv >"$t/found"
    above "$(numbers objective <"$t/found")" "$(numbers objective_start <"$t/found")"
    above 0 "$(numbers objective <"$t/found")"
  done
}

@test "the stream of a layer is searched like the embedding" {
  nk-run -q data/gpt2-tiny --contexts data/prompts/contexts.txt --position -2 --capture 2 -o "$t/states"
  nk-region fit -q "$t/states" --kind mahalanobis -o "$t/layer"
  nk-search -q data/gpt2-tiny "$t/layer" -p 'The {} of' --at 2 --times 1 --steps 5 -o "$t/found"
  nk-run -q data/gpt2-tiny "$t/found" -p 'The {} of' --at 2 >"$t/run"
  paste <(numbers kl <"$t/run") <(numbers objective <"$t/run") |
    awk '{ if (!(($1 - $2) ^ 2 < ($1 * 1e-4) ^ 2)) exit 1 }'
  nk-search -q data/gpt2-tiny "$t/layer" -p 'The {} of' --at 2 --mode add --position -1 --times 1 \
    --steps 5 | nk-convert --to tsv | numbers objective >"$t/added"
  above "$(cat "$t/added")" 0
}

@test "the same command gives the same bytes, and the first nokens of more the same starts" {
  search=(nk-search -q data/gpt2-tiny "$region" -p 'The {} of' --times 2 --steps 6)
  "${search[@]}" -n 2 --threads 2 >"$t/two"
  "${search[@]}" -n 2 --threads 2 | cmp - "$t/two"
  "${search[@]}" -n 3 --threads 1 | nk-convert --to tsv | numbers objective_start >"$t/three"
  nk-convert --to tsv "$t/two" | numbers objective_start | while read -r value; do
    awk -v v="$value" '($1 - v) ^ 2 < (1e-4 * v) ^ 2 { found = 1 } END { exit !found }' "$t/three"
  done
}

@test "rows outside the region, and constraints that cannot be, are refused by name" {
  nk-sample -q "$region" --times 2 -o "$t/outside"
  run -1 nk-search -q data/gpt2-tiny "$region" -p {} --p-value 0.1 --from-set "$t/outside" -o "$t/x"
  [[ $output == "nk-search: $t/outside: row 0, id 0: p-value "*", expected at least 0.1 to start"* ]]
  run -2 nk-search -q data/gpt2-tiny -p {} --radius 1e300 --from-set "$t/outside" -o "$t/x"
  [[ $output == *"a radius of 1e+300: expected a number above 0, of at most 3.4e+38" ]]
  run -1 nk-search -q data/llama-tiny tests/fixtures/forward/gpt2 -p {} --p-value 0.1 -o "$t/x"
  nk-extract -q tests/fixtures/forward/gpt2 | nk-region fit -q --kind mahalanobis -o "$t/small"
  run -1 nk-search -q data/gpt2-tiny "$t/small" -p {} --times 1 -o "$t/x"
  [[ $output == *"the region is for 16 values, the model's vectors have 128"* ]]
  for bad in '--p-value 0.00001' '--p-value 2' '--distance 0' '--distance -3' '--quantile 2' \
    '--times 2 --p-value 0.1' '' '-m l2 --p-value 0.1' '--radius 1' "--times 1 -n 2 --from-set $t/outside" \
    '--times 1 --maximize nothing' '--times 1 --at 7' '--times 1 -n 0' '--times 1 --restarts 0' \
    '--times 1 --steps 0'; do
    run -2 nk-search -q data/gpt2-tiny "$region" -p {} $bad -o "$t/x" </dev/null
    [ "${#lines[@]}" -eq 1 ]
  done
  run -2 nk-search -q data/gpt2-tiny "$region" -p {} --times -1 -o "$t/x"
  [ "$output" = "nk-search: -1 times the largest distance: expected a number above 0" ]
  run -2 nk-search -q data/gpt2-tiny "$region" -p {} --times 1 --maximize text: -o "$t/x"
  [ "$output" = "nk-search: --maximize text: the text is empty" ]
  run -1 nk-search -q data/gpt2-tiny "$region" -p {} -m cosine --distance 1.99 -o "$t/x"
  [[ $output == *"reach every distance: cosine distance 1.99; choose another one, or other origins" ]]
  run -1 nk-search -q data/gpt2-tiny "$region" -p {} --p-value 1 -o "$t/x"
  [ "${#lines[@]}" -eq 1 ]
  [[ $output == *"has a p-value above 1; choose a smaller one" ]]
  run -2 nk-search -q data/gpt2-tiny "$region" --times 1 -o "$t/x"
  [ "$output" = "nk-search: no prompt: use -p TEXT or --prompts FILE" ]
  run -2 nk-search -q data/gpt2-tiny -p {} --top-directions 0
  [ "$output" = "nk-search: --top-directions: at least 1" ]
  [ ! -e "$t/x" ]
}

@test "a token that a list has twice counts once" {
  for list in ids:3 ids:3,3 ids:3-3,3; do
    nk-search -q data/gpt2-tiny "$region" -p 'The {} of' --times 1.5 --steps 1 --restarts 1 \
      --maximize "$list" | nk-convert --to f32 >"$t/$list"
  done
  cmp "$t/ids:3" "$t/ids:3,3"
  cmp "$t/ids:3" "$t/ids:3-3,3"
}

@test "an interrupted search leaves no file" {
  run timeout --signal=INT 2 nk-search -q data/gpt2-tiny "$region" -p 'The {} of' --times 2 -n 64 \
    --steps 10000 -o "$t/x"
  [ "$status" -eq 124 ]
  [ -z "$(ls "$t")" ]
}
