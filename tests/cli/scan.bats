# nk-tokens --scan: which lines of a data set give listed tokens.
bats_require_minimum_version 1.5.0

setup() {
  cd "$BATS_TEST_DIRNAME/../.."
  tmp=$BATS_TEST_TMPDIR
  printf 'id\n' > "$tmp/listed.tsv"
  printf '%s\n' 260 262 300 1000 2000 8000 >> "$tmp/listed.tsv"
}

# expected FILE MODEL: the rows that encoding the lines one by one gives for listed.tsv
expected() {
  tr -d '\r' < "$1" | nk-tokens --encode - --no-special "$2" |
    awk -F '\t' -v OFS='\t' 'NR == FNR { listed[$1] = 1; next }
      FNR == 1 { print "line", "position", "id", "text"; next }
      { at = $3 == line ? at + 1 : 0; line = $3 }
      $1 in listed { print line, at, $1, $2 }' "$tmp/listed.tsv" -
}

@test "the hits are the listed tokens that encoding each line gives, whatever the threads" {
  for model in data/gpt2-tiny data/llama-tiny; do
    cat README.md lib/*/*.c tools/*.1 > "$tmp/text"
    expected "$tmp/text" $model > "$tmp/expected"
    [ "$(wc -l < "$tmp/expected")" -gt 1000 ]
    for threads in 1 2 5; do
      nk-tokens --threads $threads --scan "$tmp/text" --with "$tmp/listed.tsv" $model |
        cmp - "$tmp/expected"
    done
    cat "$tmp/text" | nk-tokens --scan - --with "$tmp/listed.tsv" $model | cmp - "$tmp/expected"
  done
}

@test "lines end in LF or CR LF, can be empty, and the last one can be without an end" {
  printf 'the\r\n\r\n\nthe the\nthe' > "$tmp/text"
  printf 'id\n%s\n' "$(nk-tokens -e the data/gpt2-tiny | sed -n '2s/\t.*//p')" > "$tmp/listed.tsv"
  run -0 --separate-stderr nk-tokens --scan "$tmp/text" --with "$tmp/listed.tsv" data/gpt2-tiny
  [ "$(cut -f 1,2 <<<"$output" | tr '\n' ' ')" = $'line\tposition 1\t0 4\t0 5\t0 ' ]
  [ -z "$stderr" ]
}

@test "a line longer than a block, and a file of many blocks, are scanned" {
  { head -c 9000000 /dev/zero | tr '\0' x; printf ' the\nthe\n'; } > "$tmp/text"
  seq 1 900000 >> "$tmp/text"
  printf 'the' >> "$tmp/text"
  nk-tokens -e ' the the' data/gpt2-tiny | cut -f 1 > "$tmp/listed.tsv"
  nk-tokens -e 'the' data/gpt2-tiny | sed 1d | cut -f 1 >> "$tmp/listed.tsv"
  nk-tokens --scan - --with "$tmp/listed.tsv" data/gpt2-tiny < "$tmp/text" > "$tmp/hits"
  [ "$(cut -f 1 "$tmp/hits" | tr '\n' ' ')" = "line 1 2 900003 " ]
}

@test "--summary counts hits and lines of each token and of all together" {
  printf 'the the\nof\nthe of\n\n' > "$tmp/text"
  nk-tokens -e 'the' data/gpt2-tiny | cut -f 1 > "$tmp/listed.tsv"
  nk-tokens -e ' the' data/gpt2-tiny | sed 1d | cut -f 1 >> "$tmp/listed.tsv"
  echo 8000 >> "$tmp/listed.tsv"
  nk-tokens --scan "$tmp/text" --with "$tmp/listed.tsv" --summary data/gpt2-tiny > "$tmp/summary"
  diff "$tmp/summary" - <<END
id	text	hits	lines	of_lines
		3	2	4
$(nk-tokens -e ' the' data/gpt2-tiny | sed 1d)	1	1	4
$(nk-tokens -e 'the' data/gpt2-tiny | sed 1d)	2	2	4
8000	$(nk-tokens -d 8000 data/gpt2-tiny)	0	0	4
END
}

@test "of a table with verdicts the verified tokens are found" {
  echo 'the cat' > "$tmp/text"
  nk-tokens -e 'the cat' data/gpt2-tiny |
    awk -F '\t' -v OFS='\t' 'NR == 1 { print $0, "verdict" }
      NR > 1 { print $0, NR == 2 ? "strongly_rejected" : "weakly_verified" }' > "$tmp/listed.tsv"
  [ "$(nk-tokens --scan "$tmp/text" --with "$tmp/listed.tsv" data/gpt2-tiny | cut -f 2 | tr '\n' ' ')" = \
    "position 1 " ]
}

@test "lines that are not UTF-8 are counted and the others scanned" {
  printf 'the\nth\xFFe the\nthe\n\xC3\n' > "$tmp/text"
  nk-tokens -e the data/gpt2-tiny | cut -f 1 > "$tmp/listed.tsv"
  run -0 --separate-stderr nk-tokens --scan "$tmp/text" --with "$tmp/listed.tsv" data/gpt2-tiny
  [ "$(cut -f 1 <<<"$output" | tr '\n' ' ')" = "line 1 3 " ]
  [ "$stderr" = "nk-tokens: warning: $tmp/text: 2 lines are not valid UTF-8 and were not scanned, line 2 first" ]
  nk-tokens -q --scan "$tmp/text" --with "$tmp/listed.tsv" --summary data/gpt2-tiny |
    sed -n 2p | grep -qx $'\t\t2\t2\t2'
}

@test "--field scans a text of JSON Lines, unescaped" {
  printf '%s\n' '{"a": 1, "text": "x\nthe \u00e9"}' '{"text": null}' '{"text": "x"}' '{}' > "$tmp/text"
  printf 'x\nthe \xC3\xA9' | nk-tokens -e "$(cat)" data/gpt2-tiny > "$tmp/ids"
  cut -f 1 "$tmp/ids" > "$tmp/listed.tsv"
  run -0 --separate-stderr nk-tokens --scan "$tmp/text" --field text --with "$tmp/listed.tsv" data/gpt2-tiny
  [ "$(sed 1d <<<"$output" | awk '$1 == 1' | cut -f 3)" = "$(sed 1d "$tmp/ids" | cut -f 1)" ]
  [ "$(sed 1d <<<"$output" | cut -f 1 | sort -u | tr '\n' ' ')" = "1 3 " ]
  [ "$stderr" = "nk-tokens: warning: $tmp/text: 2 lines have no text 'text'" ]
  run -1 nk-tokens --scan "$tmp/text" --field txet --with "$tmp/listed.tsv" data/gpt2-tiny
  [ "$output" = "nk-tokens: $tmp/text: no line has a text 'txet'" ]
  echo '{"text": ' >> "$tmp/text"
  run -1 --separate-stderr nk-tokens --scan "$tmp/text" --field text --with "$tmp/listed.tsv" data/gpt2-tiny
  [[ $stderr == "nk-tokens: $tmp/text: line 5: column 9: "* ]]
  echo '[1]' > "$tmp/text"
  run -1 --separate-stderr nk-tokens --scan "$tmp/text" --field text --with "$tmp/listed.tsv" data/gpt2-tiny
  [[ $stderr == *"line 1: column 1: another value: expected a JSON object" ]]
}

@test "--field counts half surrogate pairs as lines that are not valid, and passes blank lines over" {
  printf '{"text": "\\ud800 the"}\n\n \t\n{"text": "the \\ud83d\\ude00"}\n{"text": "x"}\n' > "$tmp/text"
  nk-tokens -e the data/gpt2-tiny | cut -f 1 > "$tmp/listed.tsv"
  run -0 --separate-stderr nk-tokens --scan "$tmp/text" --field text --summary --with "$tmp/listed.tsv" data/gpt2-tiny
  [ "${lines[1]}" = $'\t\t1\t1\t2' ]
  [ "$stderr" = "nk-tokens: warning: $tmp/text: 1 lines are not valid UTF-8, or escape half a \
surrogate pair, and were not scanned, line 1 first" ]
}

@test "a line of 64 MiB is refused by its number" {
  { printf 'the\nthe\n'; head -c 67108864 /dev/zero | tr '\0' a; } > "$tmp/text"
  run -1 --separate-stderr nk-tokens --scan "$tmp/text" --with "$tmp/listed.tsv" data/gpt2-tiny
  [[ $stderr == "nk-tokens: $tmp/text: line 3 has 64 MiB or more: "* ]]
}

@test "a model's padding rows can be listed, and ids past them cannot" {
  cp -r data/llama-tiny "$tmp/padded" # 8,192 rows
  cp tests/fixtures/tokenizers/llama3.json "$tmp/padded/tokenizer.json" # hundreds of ids
  nk-tokens "$tmp/padded" | awk -F '\t' 'NR == 1 || $3 == "padding"' > "$tmp/listed.tsv"
  [ "$(wc -l < "$tmp/listed.tsv")" -gt 7000 ]
  run -0 --separate-stderr nk-tokens --scan README.md --with "$tmp/listed.tsv" --summary "$tmp/padded"
  [ "${#lines[@]}" -eq $(($(wc -l < "$tmp/listed.tsv") + 1)) ]
  run -0 --separate-stderr nk-tokens --prune "$tmp/listed.tsv" "$tmp/padded" -o "$tmp/t.json"
  [ "$(sed 1d <<<"$output" | cut -f 3 | sort -u)" = unreachable ]
  for use in "--scan README.md --with" "--prune"; do
    for id in 8192 9223372036854775807; do
      run -1 nk-tokens $use <(printf 'id\n%s\n' $id) "$tmp/padded" -o "$tmp/x"
      [[ "$output" == *": no token has the id $id: $tmp/padded has 8192 ids" ]]
    done
  done
}

@test "a table without a listed token is warned of" {
  echo id > "$tmp/listed.tsv"
  for use in "--scan README.md --with" "--prune"; do
    run -0 --separate-stderr nk-tokens $use "$tmp/listed.tsv" data/gpt2-tiny -o "$tmp/x"
    [ "$stderr" = "nk-tokens: warning: $tmp/listed.tsv: no tokens are listed" ]
  done
}

@test "a name of a special token is that token, and with --plain text" {
  echo 'a<|endoftext|>b' > "$tmp/text"
  printf 'id\n8191\n' > "$tmp/listed.tsv"
  nk-tokens --scan "$tmp/text" --with "$tmp/listed.tsv" data/gpt2-tiny | grep -qx $'1\t1\t8191\t<|endoftext|>'
  [ "$(nk-tokens --plain --scan "$tmp/text" --with "$tmp/listed.tsv" data/gpt2-tiny | wc -l)" -eq 1 ]
}

# That memory does not grow with the file is a line of bench_tokenizer.
@test "a closed pipe ends the scan" {
  run -0 bash -c "yes the | nk-tokens --scan - --with <(nk-tokens -e the data/gpt2-tiny) data/gpt2-tiny | head -n 3"
  [ "${#lines[@]}" -eq 3 ]
}

@test "files that cannot be scanned, and bad uses, are errors that say so" {
  run -1 nk-tokens --scan no/such --with "$tmp/listed.tsv" data/gpt2-tiny
  [ "$output" = "nk-tokens: no/such: No such file or directory" ]
  run -1 nk-tokens --scan data --with "$tmp/listed.tsv" data/gpt2-tiny
  run -2 nk-tokens --scan README.md data/gpt2-tiny
  run -2 nk-tokens --with "$tmp/listed.tsv" data/gpt2-tiny
  run -2 nk-tokens --field text data/gpt2-tiny
  run -2 nk-tokens --scan - --with - data/gpt2-tiny
  run -2 nk-tokens --scan README.md --with "$tmp/listed.tsv" -e x data/gpt2-tiny
  run -2 nk-tokens --scan README.md --with "$tmp/listed.tsv" --texts data/gpt2-tiny
}
