# nk-survey as a user calls it: its steps, how it goes on after an interruption, what it refuses, and
# what it says. The numbers of the first two questions are counted anew by awk.
bats_require_minimum_version 1.5.0

setup_file() {
  export root=$BATS_TEST_DIRNAME/../..
  export model=$root/data/gpt2-tiny options="--quick --only glitch,unusual"
  cd "$BATS_FILE_TMPDIR"
  nk-survey $options --truth "$model/counts.tsv" "$model" -o whole >output
}

setup() { cd "$BATS_TEST_TMPDIR" && whole=$BATS_FILE_TMPDIR/whole; }

# claim KEY COLUMN: a cell of the whole survey's claims.
claim() {
  awk -F '\t' -v key="$1" -v column="$2" 'NR == 1 { for (i = 1; i <= NF; i++) at[$i] = i }
    $1 == key { print $at[column] }' "$whole/claims.tsv"
}

# share TABLE CONDITION: the share of rows of a table that meet a condition of awk, in which a
# column's cell is $c["NAME"].
share() {
  awk -F '\t' 'NR == 1 { for (i = 1; i <= NF; i++) c[$i] = i; next }
    { n++; hits += ('"$2"') } END { printf "%.9g %d\n", hits / n, n }' "$whole/$1"
}

same_folder() { diff -r -x .lock "$whole" "$1"; }

@test "the claims are what the tables say" {
  [ "$(claim glitch_ood value) $(claim glitch_ood n)" = "$(share glitch-runs.tsv '$c["p_value"] <= 0.05')" ]
  [ "$(claim ordinary_flags value) $(claim ordinary_flags n)" = "$(share ordinary-runs.tsv '$c["flags"] != ""')" ]
  [ "$(claim far_ood n)" = $((6 * 4 * 6)) ]
  listed=$(awk -F '\t' 'NR == 1 { for (i = 1; i <= NF; i++) c[$i] = i; next }
    FNR == NR { ranked += $c["q_value"] != ""; listed += $c["q_value"] != "" && $c["q_value"] <= 0.05 }
    END { printf "%.9g %d\n", listed / ranked, ranked }' "$whole/ranking.tsv")
  [ "$(claim listed value) $(claim listed n)" = "$listed" ]
  [ "$(claim ordinary_ood clusters)" = '150 items, 6 prompts' ]
  # An interval has its level and its method.
  awk -F '\t' 'NR > 1 && ($5 == "" || $6 == "" || $7 == "" || $8 == "" || $11 == "") { print; bad = 1 }
    END { exit NR < 5 || bad }' "$whole/claims.tsv"
}

@test "its tables are read by readers with any rule of quoting" {
  for table in "$whole"/*.tsv; do
    [ "${table##*/}" != prompts.tsv ] || continue # a copy of what was given
    awk -F '\t' 'NR == 1 { n = NF } NF != n || /"/ { print FILENAME ": " $0; bad = 1 }
      END { exit NR < 2 || bad }' "$table"
  done
}

@test "each claim is in the report, with the command that made it" {
  while IFS=$'\t' read -r key _ sentence _; do
    [ "$key" = key ] || grep -qF "${sentence%%\{\}*}" "$whole/report.html"
  done <"$whole/claims.tsv"
  grep -qF 'nk-sample region.safetensors' "$whole/report.html"
  run ! grep -oE '(src|href)="?[a-z]+:' "$whole/report.html"
}

@test "pipelines are printed, and --dry-run prints a script that does the same" {
  nk-survey $options --truth "$model/counts.tsv" "$model" -o dry --dry-run >script
  [ ! -e dry ]
  bash script
  rm -r "dry/steps" 2>/dev/null || true
  run -1 diff -rq "$whole" dry
  for line in "${lines[@]}"; do [[ $line == "Only in $whole"* ]]; done
  grep -vE '^(#|$|set|mkdir)' script | while IFS= read -r line; do
    grep -qF -- "$line" "$BATS_FILE_TMPDIR/output"
  done
}

@test "a second run does nothing, and the folder can be moved" {
  cp -r "$whole" moved
  run -0 nk-survey $options --truth "$model/counts.tsv" "$model" -o moved
  run ! grep -q '^nk-' <<<"$output"
  same_folder moved
}

@test "killed at any moment and run again it ends with the same bytes" {
  seed=$RANDOM
  echo "seed $seed"
  RANDOM=$seed
  for _ in 1 2 3 4 5 6; do
    setsid nk-survey $options --truth "$model/counts.tsv" "$model" -o killed >/dev/null 2>&1 &
    sleep "$((RANDOM % 5)).$((RANDOM % 10))"
    kill -KILL -- -$! 2>/dev/null || true
    wait $! || true
  done
  nk-survey -q $options --truth "$model/counts.tsv" "$model" -o killed
  same_folder killed
}

@test "what a killed survey left running ends before the next one begins" {
  nk-survey $options --truth "$model/counts.tsv" "$model" -o killed >/dev/null 2>&1 &
  until [ -e killed/ranking.tsv ]; do sleep 0.1; done
  kill -KILL $!
  nk-survey $options --truth "$model/counts.tsv" "$model" -o killed >output
  same_folder killed
}

@test "other options run the steps anew that they change" {
  cp -r "$whole" other
  run -0 nk-survey $options --truth "$model/counts.tsv" --seed 5 "$model" -o other
  [[ $output == *"# Rank the vocabulary by its weights (done before)"* ]]
  [[ $output == *"nk-verify"*"--seed 5"* ]]
  run ! same_folder other
}

@test "other options, killed, and run again with these end as if they were the first" {
  cp -r "$whole" other
  sed '1!s/[.]$/ now./' "$root/data/prompts/survey.tsv" >prompts.tsv
  sed -i '2s/{}/{} as/' prompts.tsv
  nk-survey $options --prompts prompts.tsv "$model" -o fresh >/dev/null
  setsid nk-survey $options --prompts prompts.tsv "$model" -o other >/dev/null 2>&1 &
  until grep -q "$PWD/prompts.tsv" other/steps/inputs.sh; do sleep 0.1; done
  kill -KILL -- -$!
  wait $! || true
  nk-survey -q --only glitch --quick --prompts prompts.tsv "$model" -o other
  nk-survey -q $options --prompts prompts.tsv "$model" -o other
  rm other/{truth,indicators,found,false}.tsv other/steps/truth.*
  diff -r -x .lock fresh other
}

@test "a question or a table that was not asked for before leaves the other steps done" {
  cp -r "$whole" one
  rm one/steps/truth.* one/{truth,indicators,found,false}.tsv
  run -0 nk-survey $options --truth "$model/counts.tsv" "$model" -o one
  [ "$(grep -c '^nk-' <<<"$output")" = 3 ]
  same_folder one
  nk-survey -q --quick --only blind "$model" -o one
  run ! grep -q '^section.short' one/report.txt
  run -0 nk-survey --quick --only glitch,blind "$model" -o one
  run ! grep -q '^nk-' <<<"$output"
  grep -q '^section.short' one/report.txt
}

@test "raters get nokens at the median distance where no token is exactly there" {
  nk-survey --dry-run --only blind --quick "$model" -o . >script
  printf 'prompt\ttext\na\tSay {}\n' >prompts.tsv
  for kind in ordinary-runs glitch-runs nokens; do
    printf 'id\tprompt\tcontinuation\tquantile\ttimes\n' >$kind.tsv
    for id in 1 2 3 4 5 6; do printf '%s\ta\tso\t0.499892032\t0.7\n' $id >>$kind.tsv; done
  done
  for id in 7 8 9 10; do printf '%s\ta\tso\t1\t4\n' $id >>nokens.tsv; done
  awk -v RS= 'index($0, "# Continuations to judge") == 1' script | bash -e -o pipefail
  [ "$(awk -F '\t' '$2 == "near" && $3 <= 6' key.tsv | wc -l)" = 4 ]
  [ "$(awk -F '\t' '$2 == "far" && $3 > 6' key.tsv | wc -l)" = 4 ]
}

@test "a folder with other files is refused, and an input that a copy would replace" {
  mkdir mine
  cp "$root/data/prompts/survey.tsv" mine/prompts.tsv
  run -1 nk-survey -q $options "$model" -o mine
  [[ $output == 'nk-survey: mine: the folder has other files than a survey'*'name another one' ]]
  run -1 nk-survey -q $options --prompts mine/prompts.tsv "$model" -o mine
  [ "$output" = 'nk-survey: --prompts mine/prompts.tsv: is in the folder mine; name a copy elsewhere' ]
  [ "$(ls mine)" = prompts.tsv ]
  cmp mine/prompts.tsv "$root/data/prompts/survey.tsv"
}

@test "prompts, patterns and a chat format with a fault end it before the first step" {
  bad() { # bad MESSAGE OPTION...
    run -1 nk-survey -q $options "${@:2}" "$model" -o bad
    [ "${#lines[@]}" = 1 ]
    [[ $output == *"$1"* ]]
    [ -z "$(ls bad/steps)" ]
  }
  printf 'prompt\ttext\na\tno slot\n' >slots.tsv
  bad "prompt 'a' has no slot" --prompts slots.tsv
  printf 'prompt\tbody\na\t{}\n' >columns.tsv
  bad "no column 'text'" --prompts columns.tsv
  printf 'name\tpattern\nx\t(((\n' >flags.tsv
  bad "flag 'x'" --flag flags.tsv
  bad "unknown format 'none at all'" --chat 'none at all'
}

@test "the survey of another model is refused" {
  cp -r "$whole" other
  run -1 --separate-stderr nk-survey -q $options "$root/data/llama-tiny" -o other
  [ "${#stderr_lines[@]}" = 1 ]
  [[ $stderr == "nk-survey: other holds the survey of another model"* ]]
  same_folder other
}

@test "a full disk ends it with one line, and it goes on when there is room" {
  mkdir small
  mount -t tmpfs -o size=400k none small 2>/dev/null || skip 'no tmpfs can be mounted here'
  run -1 --separate-stderr nk-survey -q $options --truth "$model/counts.tsv" "$model" -o small/out
  mount -o remount,size=100m small
  echo "$stderr"
  [ "${#stderr_lines[@]}" = 1 ]
  [[ $stderr == *'No space left on device'* ]]
  nk-survey -q $options --truth "$model/counts.tsv" "$model" -o small/out
  same_folder small/out
  umount small
}

@test "paths may have spaces, quotes, tabs, line feeds and dashes" {
  name=$'-a\tmodel\'s\n\\files'
  mkdir -- "$name" && cp "$model"/*.json "$model"/*.safetensors "./$name"
  nk-survey --quick --only glitch -o $'-an "out"\nfolder' -- "$name" >output
  grep -q '^# About .* sequences are left to run' output
  cmp "$whole/ranking.tsv" $'./-an "out"\nfolder/ranking.tsv'
  cmp "$whole/model.sums" $'./-an "out"\nfolder/model.sums'
}

@test "what a model does not allow is missing, with the reason, and the rest is there" {
  mkdir odd && cp "$model"/*.json "$model"/*.safetensors odd
  sed -i 's/gelu_new/strange/' odd/config.json
  nk-survey -q --quick odd -o survey
  [ "$(grep -c "^missing.*: activation 'strange' is not implemented.$" survey/report.txt)" = 7 ]
  grep -qF 'strange' survey/report.html
  cmp survey/ranking.tsv "$whole/ranking.tsv"
  rm odd/tokenizer.json
  nk-survey -q --quick odd -o without
  [ "$(grep -c '^missing.*: no tokenizer.json' without/report.txt)" = 7 ]
  [ "$(grep '^claim' without/report.txt | sort -u)" = $'claim\tlisted' ]
}

@test "faults of usage" {
  run -2 --separate-stderr nk-survey "$model"
  [ "$stderr" = 'nk-survey: name the output with -o; see nk-survey --help' ]
  run -2 nk-survey -o x
  run -2 nk-survey -o x --only glitch,nothing "$model"
  [[ $output == *'the parts are glitch, unusual'* ]]
  run -2 nk-survey -o x --only '' "$model"
  run -2 nk-survey -o x --seed 1e3 "$model"
  run -2 nk-survey -o x --threads all "$model"
  [ "$output" = 'nk-survey: --threads all: a whole number is needed' ]
  run -2 nk-survey -o x --compare --dry-run "$model" "$model"
  run -1 nk-survey -o x --prompts nothing.tsv "$model"
  [ "$output" = 'nk-survey: --prompts nothing.tsv: cannot be read' ]
  run -1 nk-survey -o x nothing
  [[ $output == *nothing* ]]
  [ ! -e x ]
}
