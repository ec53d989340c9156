# nk-tokens --prune: the tokenizer without the listed tokens, with the shipped models and what
# tests/fixtures holds of other tokenizers.
bats_require_minimum_version 1.5.0

FIXTURES=tests/fixtures/tokenizers

setup() {
  cd "$BATS_TEST_DIRNAME/../.."
  unset HF_HUB_CACHE HF_HOME XDG_CACHE_HOME
  TEXTS=(README.md data/README.md data/prompts/*.tsv data/prompts/contexts.txt)
}

# The ids of the lines of the texts.
encode() {
  cat "${TEXTS[@]}" | nk-tokens -e - --no-special "$1" | cut -f 1,3
}

never_seen() {
  awk -F '\t' 'NR == 1 || $2 == 0' "$1/counts.tsv"
}

@test "tokens never seen in training are given by no text, and other texts keep their ids" {
  for model in data/gpt2-tiny data/llama-tiny; do
    never_seen $model |
      nk-tokens --prune - $model -o "$BATS_TEST_TMPDIR/t.json" "${TEXTS[@]/#/--check=}" \
        >"$BATS_TEST_TMPDIR/report"
    awk -F '\t' '$3 == "pruned" { print $1 }' "$BATS_TEST_TMPDIR/report" >"$BATS_TEST_TMPDIR/ids"
    [ "$(wc -l <"$BATS_TEST_TMPDIR/ids")" -gt 200 ]
    encode $model >"$BATS_TEST_TMPDIR/before"
    encode "$BATS_TEST_TMPDIR/t.json" >"$BATS_TEST_TMPDIR/after"
    # No pruned token came after; lines with one before are left out of both.
    awk -F '\t' 'FNR == 1 { file++ }
      file == 1 { pruned[$1] }
      file == 2 && $1 in pruned { used[$2] }
      file == 3 && !($2 in used) { print > out "/kept-before" }
      file == 4 && !($2 in used) { print > out "/kept-after" }
      file == 4 && $1 in pruned { exit 1 }' out="$BATS_TEST_TMPDIR" \
      "$BATS_TEST_TMPDIR"/{ids,before,before,after}
    [ "$(wc -l <"$BATS_TEST_TMPDIR/kept-before")" -gt 1000 ]
    cmp "$BATS_TEST_TMPDIR/kept-before" "$BATS_TEST_TMPDIR/kept-after"
    # All the texts come back.
    cat "${TEXTS[@]}" >"$BATS_TEST_TMPDIR/text"
    nk-tokens -e - --no-special "$BATS_TEST_TMPDIR/t.json" <"$BATS_TEST_TMPDIR/text" |
      nk-tokens -d - "$BATS_TEST_TMPDIR/t.json" | cmp - "$BATS_TEST_TMPDIR/text"
  done
}

@test "only the merges that make a pruned token are cut out of the file" {
  local pair
  # The last token of the vocabulary is that of the last merge.
  pair=$(grep -o '"[^"]* [^"]*"\]}}$' data/llama-tiny/tokenizer.json | grep -o '"[^"]*"')
  run -0 --separate-stderr nk-tokens --prune <(printf 'id\n8190\n') data/llama-tiny \
    -o "$BATS_TEST_TMPDIR/t.json"
  [ "$(cut -f 3 <<<"${lines[1]}")" = pruned ]
  sed "s/,$pair\]}}\$/]}}/" data/llama-tiny/tokenizer.json | cmp - "$BATS_TEST_TMPDIR/t.json"
}

@test "without tokens to prune the file is copied" {
  run -0 --separate-stderr nk-tokens --prune <(echo id) data/gpt2-tiny -o "$BATS_TEST_TMPDIR/t.json"
  [ "$output" = $'id\ttext\tresult\treason' ]
  cmp data/gpt2-tiny/tokenizer.json "$BATS_TEST_TMPDIR/t.json"
}

@test "a token is kept with the reason" {
  run -0 --separate-stderr nk-tokens --prune <(printf 'id\n8191\n33\n257\n182\n') \
    data/gpt2-tiny -o "$BATS_TEST_TMPDIR/t.json"
  [ "${lines[1]}" = $'8191\t<|endoftext|>\tkept\tan added token: its name gives it' ]
  [[ "${lines[2]}" = *$'\tkept\tno other tokens stand for its text' ]]
  [[ "${lines[3]}" =~ $'\tkept\ttoken '[0-9]+' is built from it: ' ]]
  [[ "${lines[4]}" = *$'\tunreachable\t' ]] # a byte that UTF-8 never holds
}

@test "a token goes together with those that are built from it" {
  local parts
  parts=$(nk-tokens -e ' the' data/gpt2-tiny | sed -n 2p | cut -f 1)
  run -0 --separate-stderr nk-tokens --prune <(printf 'id\n%s\n' "$parts") data/gpt2-tiny \
    -o "$BATS_TEST_TMPDIR/t.json"
  [[ "${lines[1]}" = *$'\tkept\t'* ]]
  # All tokens that begin with " the".
  nk-tokens data/gpt2-tiny | awk -F '\t' 'NR == 1 || $2 ~ /^ the/' >"$BATS_TEST_TMPDIR/list"
  run -0 --separate-stderr nk-tokens --prune "$BATS_TEST_TMPDIR/list" data/gpt2-tiny \
    -o "$BATS_TEST_TMPDIR/t.json"
  [ "${#lines[@]}" -gt 5 ]
  run ! grep -q kept <<<"$output"
  run -0 nk-tokens -e ' the theory' "$BATS_TEST_TMPDIR/t.json"
  run ! grep -qx ' the' <(cut -f 2 <<<"$output")
}

@test "of a table of verdicts the verified tokens are pruned" {
  printf 'id\tverdict\n8000\tverified\n8001\tfailed\n' >"$BATS_TEST_TMPDIR/verdicts"
  run -0 --separate-stderr nk-tokens --prune "$BATS_TEST_TMPDIR/verdicts" data/gpt2-tiny \
    -o "$BATS_TEST_TMPDIR/t.json"
  [ "${#lines[@]}" -eq 2 ]
  [ "${lines[1]%%$'\t'*}" = 8000 ]
}

@test "tokens that a look-up gives are pruned, and decode as before" {
  # llama3: ignore_merges; llama2: a character that bytes replace; unigram_bytes: all.
  for name in llama3 llama2 gemma unigram_bytes unigram_always; do
    nk-tokens $FIXTURES/$name.json >"$BATS_TEST_TMPDIR/vocabulary"
    nk-tokens --prune "$BATS_TEST_TMPDIR/vocabulary" $FIXTURES/$name.json \
      -o "$BATS_TEST_TMPDIR/t.json" >"$BATS_TEST_TMPDIR/report"
    [ "$(grep -c $'\tpruned\t' "$BATS_TEST_TMPDIR/report")" -gt 10 ]
    nk-tokens "$BATS_TEST_TMPDIR/t.json" | cut -f 1,2 |
      cmp - <(cut -f 1,2 "$BATS_TEST_TMPDIR/vocabulary")
    # Once more: a file whose strings have a mark already.
    nk-tokens --prune "$BATS_TEST_TMPDIR/vocabulary" "$BATS_TEST_TMPDIR/t.json" \
      -o "$BATS_TEST_TMPDIR/again.json" >"$BATS_TEST_TMPDIR/report"
    nk-tokens "$BATS_TEST_TMPDIR/again.json" | cut -f 1,2 |
      cmp - <(cut -f 1,2 "$BATS_TEST_TMPDIR/vocabulary")
  done
}

@test "a pruned tokenizer with marked strings is not written as GGUF, one with fewer merges is" {
  local model=$BATS_TEST_TMPDIR/model
  cp -r data/llama-tiny "$model"
  for name in llama3 llama2; do
    nk-tokens --prune <(nk-tokens $FIXTURES/$name.json) $FIXTURES/$name.json \
      -o "$model/tokenizer.json" >/dev/null
    run -1 nk-convert --model gguf "$model" -o "$BATS_TEST_TMPDIR/m.gguf"
    [[ "$output" = *'the tokenizer is pruned and token '*' has a string with a mark'* ]]
    [ ! -e "$BATS_TEST_TMPDIR/m.gguf" ]
  done
  cp -r data/gpt2-tiny "$BATS_TEST_TMPDIR/cut"
  nk-tokens --prune <(printf 'id\n8190\n') data/gpt2-tiny -o "$BATS_TEST_TMPDIR/cut/tokenizer.json" |
    grep -q pruned
  nk-convert --model gguf "$BATS_TEST_TMPDIR/cut" -o "$BATS_TEST_TMPDIR/cut.gguf"
  head -c 20000 README.md >"$BATS_TEST_TMPDIR/text"
  nk-tokens -e - "$BATS_TEST_TMPDIR/cut.gguf" <"$BATS_TEST_TMPDIR/text" |
    cmp - <(nk-tokens -e - "$BATS_TEST_TMPDIR/cut" <"$BATS_TEST_TMPDIR/text")
}

@test "what cannot be pruned is refused, and nothing is written" {
  local out=$BATS_TEST_TMPDIR/t.json
  run -1 nk-tokens --prune <(echo id) $FIXTURES/bert.json -o "$out"
  [[ "$output" = *'WordPiece model cannot be pruned' ]]
  run -1 nk-tokens --prune <(echo id) $FIXTURES/llama.model -o "$out"
  [[ "$output" = *'not a tokenizer.json'* ]]
  sed 's/"dropout":null/"dropout":0.1/' data/gpt2-tiny/tokenizer.json >"$BATS_TEST_TMPDIR/drop.json"
  run -1 nk-tokens --prune <(echo id) "$BATS_TEST_TMPDIR/drop.json" -o "$out"
  [[ "$output" = *'dropped at random'* ]]
  run -1 nk-tokens --prune <(echo id) $FIXTURES/no_decoder.json -o "$out"
  [[ "$output" = *'without a decoder, spaces stand between'* ]]
  run -1 nk-tokens --prune <(printf 'id\n-1\n') data/gpt2-tiny -o "$out"
  run -1 nk-tokens --prune <(echo id) data/gpt2-tiny -o "$out" --check <(printf 'a\xff')
  [[ "$output" = *'not valid UTF-8 at byte 1' ]]
  [ ! -e "$out" ]
}

@test "options that --prune needs, and those that it excludes" {
  run -2 nk-tokens --prune x data/gpt2-tiny
  [[ "$output" = *'--prune needs -o FILE'* ]]
  run -2 nk-tokens --prune x data/gpt2-tiny -o -
  run -2 nk-tokens --prune x --summary data/gpt2-tiny -o "$BATS_TEST_TMPDIR/t.json"
  [[ "$output" = *'--check alone' ]]
  run -2 nk-tokens --prune x --texts data/gpt2-tiny -o "$BATS_TEST_TMPDIR/t.json"
  run -2 nk-tokens --prune - --check - data/gpt2-tiny -o "$BATS_TEST_TMPDIR/t.json"
  [[ "$output" = *'standard input is one of them' ]]
  run -2 nk-tokens --prune x --check - --check - data/gpt2-tiny -o "$BATS_TEST_TMPDIR/t.json"
  run -2 nk-tokens --check x data/gpt2-tiny
  [ "$output" = 'nk-tokens: --check needs --prune' ]
}
