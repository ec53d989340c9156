# nk-run --flag-summary: the shares that the table with a row for each item gives.
bats_require_minimum_version 1.5.0

setup() {
  cd "$BATS_TEST_DIRNAME/../.."
  tmp=$BATS_TEST_TMPDIR
  nk-extract data/gpt2-tiny | nk-region fit -q -o "$tmp/in.safetensors"
  nk-sample "$tmp/in.safetensors" -n 7 -d isotropic,difference --times 0.5,2 -o "$tmp/n.safetensors"
  printf 'name\tpattern\nloop\t(?s)(.{1,40}?)\\1{4,}\nnever\t\\A\\z.\nspace\t \n' > "$tmp/flags.tsv"
}

# shares FLAG: prompt, direction, distance, n, flagged from a table with a row for each item
shares() {
  awk -F'\t' -v flag="$1" '
    NR == 1 { for (i = 1; i <= NF; i++) at[$i] = i; next }
    { key = $at["prompt"] "\t" $at["direction"] "\t" $at["distance"]; n[key]++
      flagged[key] += ("," $at["flags"] ",") ~ ("," flag ",") }
    END { for (key in n) print key "\t" n[key] "\t" flagged[key] }' | sort
}

@test "counts are those of the rows of the items, tokens as a group of their own" {
  nk-run -q data/gpt2-tiny -p 'The {} of' -p '{} is' --ids 300-310 "$tmp/n.safetensors" \
    --generate 8 --flag "$tmp/flags.tsv" --reference 8 > "$tmp/rows.tsv"
  nk-run data/gpt2-tiny -p 'The {} of' -p '{} is' --ids 300-310 "$tmp/n.safetensors" \
    --generate 8 --flag "$tmp/flags.tsv" --flag-summary > "$tmp/summary.tsv"
  [ "$(head -n 1 "$tmp/summary.tsv")" = \
    $'flag\tprompt\tdirection\tdistance\tn\tflagged\tshare\tlow\thigh' ]
  for flag in loop never space; do
    shares $flag < "$tmp/rows.tsv" > "$tmp/expected"
    [ "$(wc -l < "$tmp/expected")" -eq 10 ]
    awk -F'\t' -v OFS='\t' -v flag=$flag '$1 == flag { print $2, $3, $4, $5, $6 }' \
      "$tmp/summary.tsv" | sort | diff "$tmp/expected" -
  done
  # the tokens: 11 of each prompt; a flag that never matches is there, with a share of 0
  awk -F'\t' '$3 == "" && $4 == "" { n++; if ($5 != 11) exit 1 } END { exit n != 6 }' \
    <(tail -n +2 "$tmp/summary.tsv")
  awk -F'\t' '$1 == "never" && $6 != 0 { exit 1 }' "$tmp/summary.tsv"
  awk -F'\t' '$1 == "loop" && $6 > 0 { found = 1 } END { exit !found }' "$tmp/summary.tsv"
}

# By scipy: binomtest(k, n).proportion_ci(method="wilson")
@test "the interval is Wilson's" {
  printf 'name\tpattern\nall\t.\nnothing\t\\A\\z.\n' > "$tmp/flags.tsv"
  run -0 nk-run data/gpt2-tiny -p '{} is' --ids 300-302 --generate 2 --flag "$tmp/flags.tsv" \
    --flag-summary
  [ "${lines[0]}" = $'flag\tprompt\tn\tflagged\tshare\tlow\thigh' ]
  [ "${lines[1]}" = $'all\t1\t3\t3\t1\t0.438502968\t1' ]
  [ "${lines[2]}" = $'nothing\t1\t3\t0\t0\t0\t0.561497032' ]
}

@test "a table for nk-plot with a column at for each layer that vectors go in" {
  nk-run data/gpt2-tiny -p 'The {} of' --at 0,2 "$tmp/n.safetensors" --generate 4 \
    --flag "$tmp/flags.tsv" --flag-summary > "$tmp/summary.tsv"
  [ "$(wc -l < "$tmp/summary.tsv")" -eq 25 ]
  [ "$(cut -f 3 "$tmp/summary.tsv" | sort -u | tr '\n' ' ')" = '0 2 at ' ]
  awk -F'\t' 'NR == 1 || ($1 == "space" && $3 == 2)' "$tmp/summary.tsv" |
    nk-plot curve -q -x distance -y share --by direction -o "$tmp/shares.png"
}

@test "bad uses are errors that name the option" {
  run -2 --separate-stderr nk-run data/gpt2-tiny -p '{}' --ids 300 --flag-summary
  [[ $stderr == *"--flag-summary needs the flags"* ]]
  run -2 --separate-stderr nk-run data/gpt2-tiny -p '{}' --ids 300 --flag "$tmp/flags.tsv" \
    --flag-summary
  [[ $stderr == *"use --generate N"* ]]
  run -2 --separate-stderr nk-run data/gpt2-tiny -p '{}' --ids 300 --flag "$tmp/flags.tsv" \
    --generate 2 --flag-summary --capture 2
  [[ $stderr == *"--capture has no use with --flag-summary"* ]]
  printf 'name\tpattern\nbad\t(\n' > "$tmp/bad.tsv"
  run -1 --separate-stderr nk-run data/gpt2-tiny -p '{}' --ids 300 --flag "$tmp/bad.tsv" \
    --generate 2 --flag-summary
  [[ $stderr == *"bad.tsv: flag 'bad'"* ]]
}
