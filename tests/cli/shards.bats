# --shard I/N: parts of a scan in processes that know nothing of each other. Sets have more items than
# a block, and in most tests more than one prompt or layer: rows that did not go through the model in
# the same blocks would differ in their last digits.
bats_require_minimum_version 1.5.0
load rays.bash

setup() {
  root=$PWD
  cd "$BATS_TEST_TMPDIR"
  ln -s "$root/data" .
  gpt2=data/gpt2-tiny
}

# joins_to WHOLE COMMAND...: the outputs of N parts, one after the other, for N from 1 to 7.
joins_to() {
  local whole=$1 n i
  shift
  for n in 1 2 3 4 5 6 7; do
    for ((i = 1; i <= n; i++)); do "$@" --shard $i/$n || return; done | cmp - "$whole" ||
      { echo "$n parts of: $*"; return 1; }
  done
}

# nokens N SEED: a set with columns.
nokens() {
  [ -e region.safetensors ] || nk-extract -q $gpt2 | nk-region fit -o region.safetensors
  nk-sample region.safetensors -n $(($1 / 2)) -d isotropic,difference --quantile 0.9 --seed "$2"
}

@test "nk-run: tables of tokens and vectors" {
  nokens 1200 1 >set
  ask=(nk-run $gpt2 set --ids 3000-6999 -p 'The {} of' -p 'Once {}' --unverified --reference 16)
  "${ask[@]}" >whole
  [ "$(wc -l <whole)" -eq $((2 * 5200 + 1)) ]
  joins_to whole "${ask[@]}"
}

@test "nk-run: layers, offsets, norms, echoes, generations and flags, and JSON Lines" {
  printf 'prompt\ttext\trepetition\nrow\t{} {} \t1\n' >prompts.tsv
  ask=(nk-run $gpt2 --ids 100-4299 --prompts prompts.tsv --at 0,2 --offsets 2 --norms 1,4 --generate 2
    --flag data/prompts/flags.tsv --unverified --reference 16 --json)
  "${ask[@]}" >whole
  for i in 1 2 3; do "${ask[@]}" --shard $i/3 -o "part-$i"; done
  cat part-1 part-2 part-3 | cmp - whole
}

@test "nk-run --lens" {
  nokens 200 2 >set
  ask=(nk-run $gpt2 set --ids 0-4099 -p 'The {} of' --lens 1,4 --top 2 --offsets 1)
  "${ask[@]}" >whole
  joins_to whole "${ask[@]}"
}

@test "nk-run --capture: nk-convert --cat gives the whole's set" {
  nokens 200 3 >set
  ask=(nk-run $gpt2 set --ids 0-4099 -p 'The {} of' -p '{}' --capture 2,3:0,end)
  "${ask[@]}" -o whole
  for n in 2 5 7; do
    for ((i = 1; i <= n; i++)); do "${ask[@]}" --shard $i/$n -o "part-$i"; done
    run -0 --separate-stderr nk-convert --cat $(seq -f part-%g $n) -o joined
    [ -z "$stderr" ]
    cmp joined whole
  done
  run -0 --separate-stderr nk-convert --cat part-1 part-3 -o joined
  [[ $stderr = "nk-convert: warning: "*"1/2"*"missing"* ]]
  run -0 --separate-stderr nk-convert --cat part-2 part-1 -o joined
  [[ $stderr = "nk-convert: warning: "* ]]
  ! grep -q noken.shard joined
  grep -aq -- 'nk-convert --cat part-2 part-1' joined
}

@test "nk-run --contexts --capture: batches of contexts" {
  for i in $(seq 90); do cat data/prompts/contexts.txt; done >contexts
  ask=(nk-run $gpt2 --contexts contexts --every 3 --capture 1)
  "${ask[@]}" -o whole
  for n in 2 3; do
    for ((i = 1; i <= n; i++)); do "${ask[@]}" --shard $i/$n -o "part-$i"; done
    nk-convert --cat $(seq -f part-%g $n) -o joined
    cmp joined whole
  done
  [ "$(nk-stats part-1 | wc -l)" -lt "$(nk-stats whole | wc -l)" ]
}

@test "nk-run --paired: prompts and layers" {
  [ -e region.safetensors ] || nk-extract -q $gpt2 | nk-region fit -o region.safetensors
  nk-sample region.safetensors -n 20 --metric radius --distance 1,2 --with-origin -o rays
  ask=(nk-run $gpt2 rays --paired -p 'The {} of' -p 'Once {}' --at 0,2 --norms 3)
  "${ask[@]}" >whole
  joins_to whole "${ask[@]}"
}

@test "nk-verify: tokens and their controls, sampled attempts" {
  { printf 'id\tnote\n'; seq 3000 7120 | sed 's/$/\tx/'; } >table
  ask=(nk-verify $gpt2 table -p 'The {} the {} the ' --controls 60 --steps 2)
  "${ask[@]}" >whole
  [ "$(wc -l <whole)" -eq 4182 ]
  joins_to whole "${ask[@]}"
  ask=(nk-verify $gpt2 table -p '{}' --repeats 1 --temperature 1 --steps 1)
  "${ask[@]}" >whole
  for i in 1 2; do "${ask[@]}" --shard $i/2; done | cmp - whole
}

@test "nk-verify: texts, and the whole vocabulary" {
  nk-tokens $gpt2 | awk -F '\t' 'NR == 1 { print "text"; next } NR > 300 { print $2 $2 }' |
    head -n 4300 >texts
  ask=(nk-verify $gpt2 texts --text -p 'Say {}: ')
  "${ask[@]}" >whole
  joins_to whole "${ask[@]}"
  nk-verify $gpt2 --all -p '{}{}' >whole
  joins_to whole nk-verify $gpt2 --all -p '{}{}'
}

@test "nk-knn --query: exact and by an index, neighbours and their summary" {
  nk-extract -q $gpt2 -o base
  nk-extract -q $gpt2 --ids 0-4499,0-199 -o query
  for options in '-k 3' '-k 5 --metric cosine --summary' '-k 2 --index IVF16,Flat --search nprobe=2'; do
    # shellcheck disable=SC2086
    nk-knn base --query query $options >whole
    # shellcheck disable=SC2086
    joins_to whole nk-knn base --query query $options
  done
}

@test "nk-boundary: rays in prompts and in contexts" {
  [ -e region.safetensors ] || nk-extract -q $gpt2 | nk-region fit -o region.safetensors
  nk-sample region.safetensors -n 1040 --metric radius --distance 4 --with-origin -o far
  ask=(nk-boundary $gpt2 far -p '{}' -p 'A {}' --level 0.01 --grid 2 --tolerance 0.9)
  "${ask[@]}" >whole
  [ "$(wc -l <whole)" -eq 2081 ]
  joins_to whole "${ask[@]}"
  for i in $(seq 11); do cat data/prompts/contexts.txt; done >contexts
  nk-run $gpt2 --contexts contexts --position -1 --capture 3 | nk-convert --to tsv | rays 3 6 |
    nk-convert --to safetensors - -o far
  ask=(nk-boundary $gpt2 far --contexts contexts --level 0.01 --grid 2 --tolerance 0.9)
  "${ask[@]}" >whole
  [ "$(wc -l <whole)" -eq 1057 ]
  for i in 1 2; do "${ask[@]}" --shard $i/2; done | cmp - whole
}

@test "without items there is a header in part 1, and more parts than blocks are empty" {
  printf 'id\n' >none
  nk-run $gpt2 --ids-from none -p '{}' >whole
  [ "$(wc -l <whole)" -eq 1 ]
  nk-run $gpt2 --ids-from none -p '{}' --shard 1/3 | cmp - whole
  run -0 nk-run $gpt2 --ids-from none -p '{}' --shard 3/3
  [ -z "$output" ]
  run -0 nk-run $gpt2 --ids 300-303 -p '{}' --shard 1/3
  [ "${#lines[@]}" -eq 1 ]
  run -0 nk-run $gpt2 --ids 300-303 -p '{}' --shard 2/3
  [ -z "$output" ]
  run -0 nk-run $gpt2 --ids 300-303 -p '{}' --shard 3/3
  [ "${#lines[@]}" -eq 4 ]
}

@test "a part is I/N, and what is of all rows has none" {
  for shard in 0/3 4/3 1/0 -1/3 1 1/ /3 1/3/4 a/b 1/99999999; do
    run -2 nk-run $gpt2 --ids 300 -p '{}' --shard $shard
    [[ $output = "nk-run: --shard: '$shard' is not I/N, "* ]]
  done
  run -2 nk-run $gpt2 --ids 300 -p '{}' --generate 1 --flag data/prompts/flags.tsv --flag-summary --shard 1/2
  [ "$output" = "nk-run: --shard: a row of --flag-summary is of all items together" ]
  for option in --summary --agree "--truth table"; do
    # shellcheck disable=SC2086
    run -2 nk-verify $gpt2 table $option --shard 1/2
    [[ $output = "nk-verify: --shard: ${option%% *} is of all rows together"* ]]
  done
  run -2 nk-boundary $gpt2 rays -p '{}' --level 1 --dose --shard 1/2
  [ "$output" = "nk-boundary: --shard: --dose numbers the vectors of all rays" ]
  run -2 nk-boundary $gpt2 rays -p '{}' --level 1 --summary --shard 1/2
  [ "$output" = "nk-boundary: --shard: a row of --summary is of all rays together" ]
  run -2 nk-knn base --shard 1/2
  [ "$output" = "nk-knn: --shard needs --query, whose rows it divides" ]
}
