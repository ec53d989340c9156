# Tables that other programs write, and tables that they read.
bats_require_minimum_version 1.5.0

MODEL=data/gpt2-tiny
PYTHON=${NOKEN_PYTHON:-python3}

setup() {
  cd "$BATS_TEST_DIRNAME/../.."
}

# reads READER: reads the vocabulary of both models with it and compares every text.
reads() {
  local model
  command -v "$PYTHON" >/dev/null || skip "python3 is not installed"
  for model in data/gpt2-tiny data/llama-tiny; do
    nk-tokens "$model" >"$BATS_TEST_TMPDIR/tokens.tsv"
    run "$PYTHON" tests/cli/read_table.py "$1" "$BATS_TEST_TMPDIR/tokens.tsv" "$model"
    echo "$output"
    [ "$status" -ne 77 ] || skip "$1 is not installed: $output"
    [ "$status" -eq 0 ]
  done
}

@test "Python's csv module reads every token" { reads csv; }
@test "pandas reads every token with its defaults" { reads pandas; }
@test "polars reads every token with its defaults" { reads polars; }
@test "DuckDB reads every token with its defaults" { reads duckdb; }
@test "csvkit (agate) reads every token with its defaults" { reads agate; }
@test "Miller reads every token with its defaults" { reads mlr; }
@test "R reads every token with its defaults" { reads r; }

@test "no cell has a quotation mark, and no text is a word for a missing value" {
  nk-tokens $MODEL >"$BATS_TEST_TMPDIR/tokens.tsv"
  [ "$(wc -l <"$BATS_TEST_TMPDIR/tokens.tsv")" = 8193 ]
  run -0 awk -F '\t' '
    NF != 3 || /"/ { print NR ": " $0 }
    { text = tolower($2); gsub(/^ +| +$/, "", text) }
    text == "" || text ~ /^(na|n\/a|nan|null|none|\.)$/ { print NR ": " $0 }' \
    "$BATS_TEST_TMPDIR/tokens.tsv"
  [ "$output" = "" ]
  [ "$(nk-tokens --encode '"' $MODEL | cut -f 2 | tail -n 1)" = '\x22' ]
  [ "$(nk-tokens --encode '\' $MODEL | cut -f 2 | tail -n 1)" = '\x5C' ]
}

@test "a byte order mark, CR LF and 300.0 as an id are read" {
  printf '\357\273\277id\tname\r\n300.0\tx\r\n' >"$BATS_TEST_TMPDIR/excel.tsv"
  run -0 nk-extract -q --ids-from "$BATS_TEST_TMPDIR/excel.tsv" $MODEL -o "$BATS_TEST_TMPDIR/set"
  run -0 bash -c "nk-convert --to tsv '$BATS_TEST_TMPDIR/set' | cut -f 1 | paste -sd ,"
  [ "$output" = id,300 ]
}

@test "a table whose columns are separated by commas is named as such" {
  cd "$BATS_TEST_TMPDIR"
  printf 'id,text\n1,a\n' >t.csv
  run -1 nk-summary --median id t.csv
  [ "$output" = "nk-summary: t.csv: no column 'id'; the columns are: id,text (one column: separate \
columns by tabs)" ]
  printf 'id\ttext\n1\ta\n' >t.tsv
  run -1 nk-summary --median kl t.tsv
  [ "$output" = "nk-summary: t.tsv: no column 'kl'; the columns are: id text" ]
  printf 'id\n1\n' >one.tsv
  run -1 nk-summary --median kl one.tsv
  [ "$output" = "nk-summary: one.tsv: no column 'kl'; the columns are: id" ]
}

@test "counts that are missing in a table of --truth leave their tokens out" {
  awk -F '\t' -v OFS='\t' 'NR > 1 && NR % 3 == 0 { $2 = $3 = NR % 2 ? "NA" : "NaN" } 1' \
    $MODEL/counts.tsv >"$BATS_TEST_TMPDIR/some.tsv"
  run -0 nk-glitch -q --truth "$BATS_TEST_TMPDIR/some.tsv" $MODEL
  awk -F '\t' 'NR == 1 || NR % 3 != 0' $MODEL/counts.tsv >"$BATS_TEST_TMPDIR/fewer.tsv"
  [ "$output" = "$(nk-glitch -q --truth "$BATS_TEST_TMPDIR/fewer.tsv" $MODEL)" ]
}

# judged FILE: a vector set of gpt2-tiny's width, row 0 zeros, with the columns p_value (0.5) and
# set_p_value (NaN).
judged() {
  perl -e 'my $h = q({"vectors":{"dtype":"F32","shape":[1,128],"data_offsets":[0,512]},
      "p_value":{"dtype":"F64","shape":[1],"data_offsets":[512,520]},
      "set_p_value":{"dtype":"F64","shape":[1],"data_offsets":[520,528]}});
    print pack("Q<", length $h), $h, pack("f<128 d<2", (0) x 128, 0.5, "nan")' >"$1"
}

@test "a column of a set with the name of a table's column is carried as set_NAME" {
  cd "$BATS_TEST_TMPDIR"
  judged set.safetensors
  nk-extract "$OLDPWD/$MODEL" | nk-region fit -q -o region.safetensors
  for table in 'nk-region score region.safetensors set.safetensors' \
    "nk-run $OLDPWD/$MODEL -p x{} --reference 8 set.safetensors"; do
    run -0 $table
    [[ "${lines[0]}" == *"	p_value	"*"	set_p_value	set_set_p_value" ]]
    [[ "${lines[1]}" == *"	0.5	" ]]
    run -0 $table --json
    [[ "$output" == *'"set_p_value":0.5}' ]]
  done
}

@test "a number that is missing is an empty cell, and nan is read as one" {
  cd "$BATS_TEST_TMPDIR"
  judged set.safetensors
  run -0 nk-convert --to tsv set.safetensors
  [[ "${lines[1]}" == "0	0.5		0	"* ]]
  printf 'id\tx\n300\tnan\n301\tNaN\n302\t\n303\t0.5\n' >cells.tsv
  nk-verify "$OLDPWD/$MODEL" cells.tsv | cut -f 1,2 | cmp - cells.tsv # copied as it is
  run -0 nk-verify --json "$OLDPWD/$MODEL" cells.tsv
  for i in 0 1 2; do [[ "${lines[$i]}" == "{\"id\":30$i,\"encoded\":"* ]]; done
  [[ "${lines[3]}" == '{"id":303,"x":0.5,"encoded":'* ]]
}

@test "JSON Lines with Python's NaN and Infinity are read" {
  printf '{"id": 5, "x": NaN}\n{"id": 6.0, "x": -Infinity}\n' >"$BATS_TEST_TMPDIR/t.jsonl"
  run -0 bash -c "nk-extract -q --ids-from '$BATS_TEST_TMPDIR/t.jsonl' $MODEL |
    nk-convert --to tsv | cut -f 1 | paste -sd ,"
  [ "$output" = id,5,6 ]
}

@test "an escape sequence in a token does not reach a terminal" {
  id=$(nk-tokens $MODEL | awk -F '\t' '$2 == "\\x1B" { print $1 }')
  [ "$(nk-tokens --decode "$id" $MODEL | od -An -tx1)" = " 1b 0a" ]
  run -0 script -qec "nk-tokens --decode $id $MODEL" /dev/null
  [ "${output%$'\r'}" = '\x1B' ]
}

@test "sizes that an option cannot mean are usage errors that name the limit" {
  run -2 timeout 10 nk-stats --threads 1000000000000000000 /dev/null
  [[ $output == *"the limit is 1024" ]]
  run -2 timeout 10 nk-sample -n 1000000000000000000 /dev/null
  [[ $output == *"the limit is 16777216" ]]
  run -2 timeout 10 nk-verify --steps 4294967296 $MODEL
  [[ $output == *"the limit is 1024" ]]
}
