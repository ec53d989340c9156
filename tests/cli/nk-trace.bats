# nk-trace as a user calls it. The parts themselves are checked in tests/unit/test_trace.c.
bats_require_minimum_version 1.5.0

setup_file() {
  cd "$BATS_TEST_DIRNAME/../.."
  nk-extract -q data/gpt2-tiny | nk-region -q fit -o "$BATS_FILE_TMPDIR/in.safetensors"
  nk-sample -q "$BATS_FILE_TMPDIR/in.safetensors" -n 3 -d isotropic --times 2 \
    -o "$BATS_FILE_TMPDIR/nokens.safetensors"
}

setup() {
  cd "$BATS_TEST_DIRNAME/../.."
  t=$BATS_TEST_TMPDIR
  nokens=$BATS_FILE_TMPDIR/nokens.safetensors
}

# column NAME: its cells, from a table on standard input
column() {
  awk -F '\t' -v name="$1" 'NR == 1 { for (i = 1; i <= NF; i++) if ($i == name) c = i; next }
    { print $c }'
}

@test "a row for each item, output and position, then the set's columns" {
  nk-trace -q data/gpt2-tiny "$nokens" -p 'The{} of the' --ordinary 2 >"$t/out"
  [ "$(head -n 1 "$t/out" | cut -f 1-11)" = "$(printf '%s\t' id prompt offset position token site \
    layer head undone caused)effect" ]
  head -n 1 "$t/out" | grep -q direction
  [ "$(wc -l <"$t/out")" -eq $((1 + 3 * (1 + 4 * 2 * 3))) ]
  [ "$(column site <"$t/out" | sort | uniq -c | tr -s ' ' | paste -sd ,)" = \
    " 36 attention, 36 mlp, 3 stream" ]
  [ "$(column token <"$t/out" | sort -u | paste -sd ,)" = " of, the,{}" ]
  [ "$(column head <"$t/out" | sort -u)" = "" ]
}

@test "replacing the item itself undoes and causes all" {
  for model in gpt2-tiny llama-tiny; do
    nk-trace -q data/$model --ids 700,2000 -p 'He said that the{} was a' |
      nk-summary -q --by site --mean undone --mean caused -w site==stream >"$t/out"
    [ "$(column value <"$t/out" | awk '{ printf "%.4f ", $1 }')" = "1.0000 1.0000 " ]
  done
}

@test "of several slots each is replaced alone" {
  nk-trace -q data/gpt2-tiny "$nokens" -p '{}{} of' --ordinary 1 >"$t/out"
  awk -F '\t' 'NR == 1 { for (i = 1; i <= NF; i++) c[$i] = i; next }
    $c["site"] == "stream" { n++; if ($c["undone"] > 0.999) bad = 1 } END { exit bad || n != 6 }' "$t/out"
}

@test "heads are traced where they are wanted" {
  nk-trace -q data/llama-tiny --ids 700 --heads -p '{} of' --ordinary 1 >"$t/out"
  [ "$(wc -l <"$t/out")" -eq $((1 + 1 + 4 * 6 * 2)) ]
  [ "$(column head <"$t/out" | sort -u | paste -sd ,)" = ",0,1,2,3" ]
}

@test "vectors of a layer are traced from that block on" {
  nk-trace -q data/gpt2-tiny "$nokens" --at 2,3 --mode add -p 'A{} is' --ordinary 1 >"$t/out"
  [ "$(column at <"$t/out" | sort -u | paste -sd ,)" = "2,3" ]
  paste -d ' ' <(column at <"$t/out") <(column layer <"$t/out") | sort -u | paste -sd , >"$t/layers"
  [ "$(cat "$t/layers")" = "2 2,2 3,3 3" ]
}

@test "the same table again, in one thread too" {
  nk-trace -q data/llama-tiny "$nokens" -p '{} of' --seed 3 >"$t/a"
  nk-trace -q data/llama-tiny "$nokens" -p '{} of' --seed 3 >"$t/b"
  cmp "$t/a" "$t/b"
  nk-trace -q data/llama-tiny "$nokens" -p '{} of' --seed 3 --threads 1 >"$t/b"
  paste <(column undone <"$t/a") <(column undone <"$t/b") |
    awk '{ d = $1 - $2; if (d > 1e-4 || d < -1e-4) bad = 1 } END { exit bad || NR == 0 }'
}

@test "a pipe of the other tools" {
  nk-convert --to tsv "$nokens" | nk-trace -q data/gpt2-tiny -p 'The{} of' |
    nk-summary -q --by layer,token --mean undone -w site==mlp |
    nk-plot heatmap -x token -y layer -z value --format text >"$t/plot"
  grep -q 'of' "$t/plot"
}

@test "faults of usage" {
  run -2 nk-trace data/gpt2-tiny "$nokens"
  [[ "$output" == *"no prompt: use -p TEXT"* ]]
  run -2 nk-trace data/gpt2-tiny "$nokens" -p 'no slot'
  [[ "$output" == *"has no slot {}"* ]]
  run -2 nk-trace data/gpt2-tiny "$nokens" -p '{} of' --at 5
  [[ "$output" == *"--at"* ]]
  run -2 nk-trace data/gpt2-tiny "$nokens" -p '{} of' --at 1,1
  [ "$output" = "nk-trace: --at: layer 1 is given twice" ]
  run -2 nk-trace data/gpt2-tiny "$nokens" -p '{} of' --ordinary 0
  [[ "$output" == *"--ordinary"* ]]
  run -2 nk-trace data/gpt2-tiny --ids 9000 -p '{} of'
  run -2 nk-trace data/gpt2-tiny --ids 700 -p '{} of' --at 1
  [[ "$output" == *"layer 0"* ]]
}

@test "faults of data" {
  printf 'id\tv0\tv1\n1\t0\t1\n' >"$t/small.tsv"
  run -1 nk-trace data/gpt2-tiny "$t/small.tsv" -p '{} of'
  [[ "$output" == *"vectors have 2 values, the model's have 128"* ]]
  run -1 nk-trace "$t/none" "$nokens" -p '{} of'
  printf 'prompt\ttext\n' >"$t/prompts.tsv"
  run -1 nk-trace data/gpt2-tiny "$nokens" --prompts "$t/prompts.tsv"
  [ "$output" = "nk-trace: $t/prompts.tsv: no prompts: a row for each is needed" ]
}
