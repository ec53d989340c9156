# nk-tokens: the vocabulary, encoding and decoding, with the shipped models and what tests/fixtures
# holds of other tokenizers.
bats_require_minimum_version 1.5.0

FIXTURES=tests/fixtures/tokenizers

setup() {
  cd "$BATS_TEST_DIRNAME/../.."
  unset HF_HUB_CACHE HF_HOME XDG_CACHE_HOME
}

@test "a byte-level vocabulary has 256 bytes, 13 of them never in UTF-8" {
  for model in data/gpt2-tiny data/llama-tiny; do
    run -0 --separate-stderr nk-tokens "$model"
    [ "${#lines[@]}" -eq 8193 ]
    [ "${lines[0]}" = $'id\ttext\tcategory' ]
    [ "$(cut -f 3 <<<"$output" | grep -cx byte)" -eq 243 ]
    [ "$(cut -f 3 <<<"$output" | grep -cx unused_byte)" -eq 13 ]
    [ "$(grep -P '\tspecial$' <<<"$output")" = $'8191\t<|endoftext|>\tspecial' ]
  done
}

@test "rows of the model past the vocabulary are padding" {
  run -0 nk-tokens tests/fixtures/model
  [ "${lines[6]}" = $'5\t\tpadding' ]
  [ "${#lines[@]}" -eq 7 ]
}

@test "tokens that no text gives are unreachable" {
  run -0 nk-tokens $FIXTURES/llama2.json
  # "a" has a token of its own, so its byte token is never taken; U+00C3 has none.
  grep -P '^\d+\ta\tunreachable$' <<<"$output"
  grep -P '^\d+\ta\tbyte$' <<<"$output"
  grep -P '^\d+\t\\xC3\tbyte$' <<<"$output"
  grep -P '^\d+\t\\xF5\tunused_byte$' <<<"$output"
  grep -P '^0\t<unk>\tspecial$' <<<"$output"
}

@test "text comes back from its tokens" {
  printf '%s\n' 'The cat sat.' '' '  two  spaces ' $'t\tab' >"$BATS_TEST_TMPDIR/text"
  printf '%s\n' 'Größe Ελλάδα 漢字 한국어 😀' '\n \x41 \' >>"$BATS_TEST_TMPDIR/text"
  for model in data/gpt2-tiny data/llama-tiny $FIXTURES/llama2.json; do
    nk-tokens -e - "$model" <"$BATS_TEST_TMPDIR/text" | nk-tokens -d - --no-special "$model" |
      cmp - "$BATS_TEST_TMPDIR/text"
  done
}

@test "a text's tokens and a line's tokens are the same" {
  run -0 nk-tokens --encode 'Hello world' data/gpt2-tiny
  [ "${lines[0]}" = $'id\ttext' ]
  nk-tokens -e - data/gpt2-tiny <<<'Hello world' | cut -f 1-2 | diff - <(echo "$output")
  local ids
  ids=$(cut -f 1 <<<"$output" | tail -n +2 | paste -sd ,)
  [ "$(nk-tokens -d "$ids" data/gpt2-tiny)" = 'Hello world' ]
}

@test "lines are counted" {
  run -0 bash -c "printf 'a\n\nb' | nk-tokens -e - data/gpt2-tiny | cut -f 2,3"
  [ "$output" = $'text\tline\na\t1\nb\t3' ]
}

@test "a tokenizer's file alone gives its vocabulary, whatever its kind" {
  for file in llama.model bert-vocab.txt gpt2.json; do
    nk-tokens $FIXTURES/$file >"$BATS_TEST_TMPDIR/table"
    [ "$(wc -l <"$BATS_TEST_TMPDIR/table")" -gt 70 ]
  done
}

@test "special tokens are added, left out, or read as text" {
  run -0 bash -c "nk-tokens -e the $FIXTURES/llama3.json | cut -f 2 | paste -sd '|'"
  [ "$output" = 'text|<s>|the|</s>' ]
  run -0 bash -c "nk-tokens --no-special -e the $FIXTURES/llama3.json | cut -f 2 | paste -sd '|'"
  [ "$output" = 'text|the' ]
  run -0 nk-tokens -e '<|endoftext|>' data/gpt2-tiny
  [ "${lines[1]}" = $'8191\t<|endoftext|>' ]
  run -0 nk-tokens --plain -e '<|endoftext|>' data/gpt2-tiny
  run ! grep -q 8191 <<<"$output"
  [ "$(nk-tokens -d 8191 data/gpt2-tiny)" = '<|endoftext|>' ]
  [ "$(nk-tokens --no-special -d 8191 data/gpt2-tiny)" = '' ]
  nk-tokens --no-special data/gpt2-tiny | tail -n 1 | grep -v special
}

@test "parts of characters are bytes in text and escaped in tables" {
  run -0 nk-tokens tests/fixtures/model
  [ "${lines[5]}" = $'4\t\\xC3\tbyte' ]
  [ "$(nk-tokens -d 4 tests/fixtures/model | od -An -tx1)" = ' c3 0a' ]
}

@test "a tokenizer opens from a folder without weights and from a file" {
  mkdir "$BATS_TEST_TMPDIR/model"
  cp data/gpt2-tiny/tokenizer.json "$BATS_TEST_TMPDIR/model"
  nk-tokens "$BATS_TEST_TMPDIR/model" | cmp - <(nk-tokens data/gpt2-tiny)
  nk-tokens data/gpt2-tiny/tokenizer.json | cmp - <(nk-tokens data/gpt2-tiny)
}

@test "JSON Lines hold the text itself" {
  run -0 nk-tokens --json -e 'a é' data/gpt2-tiny
  [[ ${lines[0]} == '{"id":'*',"text":"a"}' ]]
}

@test "text that is not UTF-8 is an error with its position" {
  run -1 --separate-stderr bash -c "printf 'ok\na\xFFb\n' | nk-tokens -e - data/gpt2-tiny"
  [ "$stderr" = 'nk-tokens: line 2: the text is not valid UTF-8 at byte 1' ]
}

@test "an unsupported component is named in the message" {
  sed 's/"type":"BPE"/"type":"Other"/' $FIXTURES/gpt2.json >"$BATS_TEST_TMPDIR/a.json"
  run -1 nk-tokens "$BATS_TEST_TMPDIR/a.json"
  [[ $output == *"the tokenizer model 'Other' is not supported" ]]
  sed 's/"type":"NFC"/"type":"Nmt"/' $FIXTURES/nfc.json >"$BATS_TEST_TMPDIR/b.json"
  run -1 nk-tokens "$BATS_TEST_TMPDIR/b.json"
  [[ $output == *"the normalizer 'Nmt' is not supported" ]]
  sed 's/"pre_tokenizer":{"type":"Whitespace"/"pre_tokenizer":{"type":"UnicodeScripts"/' \
    $FIXTURES/whitespace.json >"$BATS_TEST_TMPDIR/c.json"
  run -1 nk-tokens "$BATS_TEST_TMPDIR/c.json"
  [[ $output == *"the pre-tokenizer 'UnicodeScripts' is not supported" ]]
  sed 's/"decoder":{"type":"Fuse"/"decoder":{"type":"CTC"/' $FIXTURES/unk_none.json \
    >"$BATS_TEST_TMPDIR/d.json"
  run -1 nk-tokens "$BATS_TEST_TMPDIR/d.json"
  [[ $output == *"the decoder 'CTC' is not supported" ]]
}

@test "invalid ids and options are errors" {
  run -1 nk-tokens -d 3,99999 data/gpt2-tiny
  [[ $output == *'no token has the id 99999' ]]
  run -2 nk-tokens -d 3,x data/gpt2-tiny
  run -2 nk-tokens -d 3 -e x data/gpt2-tiny
  run -2 nk-tokens -d 3 --json data/gpt2-tiny
  run -2 nk-tokens data/gpt2-tiny/model.safetensors
  run -1 nk-tokens no/such/model
  run -2 nk-tokens
  run -1 bash -c "printf 'name\nx\n' | nk-tokens -d - data/gpt2-tiny"
  run -1 bash -c "printf 'id\tline\n5\t2\n5\t1\n' | nk-tokens -d - data/gpt2-tiny"
  printf '{"model": {"vocab": {"a": 0}' >"$BATS_TEST_TMPDIR/cut.json"
  run -1 nk-tokens "$BATS_TEST_TMPDIR/cut.json"
  [[ $output == *'line 1, column '* ]]
}

@test "GPT-2's vocabulary has its known tokens" {
  local vocab made=${NOKEN_TEST_DATA:-${XDG_CACHE_HOME:-$HOME/.cache}/noken/test-data}
  for vocab in "${NOKEN_SHARED:-/nowhere}/data" ../shared/data ../../shared/data "$made"; do
    vocab=$vocab/vocab/ggml-vocab-gpt-2.gguf
    [ -r "$vocab" ] && break
  done
  [ -r "$vocab" ] || skip "no GPT-2 vocabulary: run ./setup.sh --test-data"
  nk-tokens "$vocab" | tail -n +2 | cut -f 3 | sort | uniq -c | awk '{ print $2, $1 }' |
    diff - <(printf '%s\n' 'byte 243' 'ok 49784' 'partial_utf8 216' 'special 1' 'unused_byte 13')
}

# The ids that transformers 4.57's AutoTokenizer gives for these classes and options.
@test "tokenizer_config.json says which tokens are put around a text, as in transformers" {
  local folder=$BATS_TEST_TMPDIR/model
  mkdir "$folder"
  cp $FIXTURES/llama3.json "$folder/tokenizer.json"
  around() {
    echo "$1" >"$folder/tokenizer_config.json"
    nk-tokens -e a "$folder" | cut -f 2 | tail -n +2 | tr '\n' ' '
  }
  [ "$(around '{"tokenizer_class": "PreTrainedTokenizerFast", "add_eos_token": false}')" = "<s> a </s> " ]
  [ "$(around '{"tokenizer_class": "LlamaTokenizerFast", "bos_token": "<s>"}')" = "<s> a " ]
  [ "$(around '{"tokenizer_class": "LlamaTokenizer", "add_bos_token": false}')" = "a " ]
  [ "$(around '{"tokenizer_class": "GemmaTokenizer", "add_bos_token": false, "add_eos_token": true,
    "eos_token": {"content": "</s>", "lstrip": false}}')" = "a </s> " ]
  [ "$(around '{"tokenizer_class": "GPTNeoXTokenizerFast", "model_max_length": 1e30}')" = "a " ]
  echo '{"bos_token": {"content": "<s>"}}' >"$folder/special_tokens_map.json"
  [ "$(around '{"tokenizer_class": "CohereTokenizerFast"}')" = "<s> a " ]
  run -0 nk-tokens --summary "$folder"
  [[ $output == *$'token before a text\t<s>'* ]]
  [[ $output == *"tokenizer_config.json: class CohereTokenizer"* ]]
}

@test "tokens that text gives only before other text are reachable" {
  run -0 nk-tokens $FIXTURES/clip.json
  [[ $output == *$'\tthe\tok'* ]] # within a word; "the " is the whole word
  [[ $output == *$'\tthe \tok'* ]]
  run -0 nk-tokens -d 518,515 $FIXTURES/clip.json
}

@test "a folder without a file that noken reads is an error that says what to do" {
  mkdir "$BATS_TEST_TMPDIR/empty"
  run -1 nk-tokens "$BATS_TEST_TMPDIR/empty"
  [[ $output == *"no tokenizer.json"*"save_pretrained writes tokenizer.json"* ]]
}

@test "a decoder or a normalizer that multiplies a text is rejected in little time" {
  local step='{"type":"Replace","pattern":{"String":"a"},"content":"aaaa"}' steps
  steps=$(for _ in {1..14}; do echo "$step"; done | paste -sd,)
  echo "{\"decoder\":{\"type\":\"Sequence\",\"decoders\":[$steps]},
    \"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[]}}" >"$BATS_TEST_TMPDIR/d.json"
  run -1 timeout 5 nk-tokens "$BATS_TEST_TMPDIR/d.json"
  [[ $output == *"the decoder makes more than"* ]]
  step='{"type":"Replace","pattern":{"Regex":""},"content":"aaaa"}'
  steps=$(for _ in {1..14}; do echo "$step"; done | paste -sd,)
  echo "{\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[$steps]},
    \"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[]}}" >"$BATS_TEST_TMPDIR/n.json"
  run -1 timeout 5 nk-tokens -e aaa "$BATS_TEST_TMPDIR/n.json"
  [[ $output == *"the normalizer makes more than"* ]]
}

@test "--texts: the ids of each text, and the tokens within others, as comparing all with all has them" {
  for model in data/gpt2-tiny data/llama-tiny $FIXTURES/{llama2,gemma,unigram_bytes,qwen2}.json; do
    nk-tokens --texts "$model" | python3 tests/cli/token_texts.py >"$BATS_TEST_TMPDIR/n"
    [ "$(cat "$BATS_TEST_TMPDIR/n")" -ge 300 ]
  done
  # "a" is a byte token too: its text gives the other one, and both are in " a" and " apple".
  nk-tokens --texts $FIXTURES/llama2.json >"$BATS_TEST_TMPDIR/texts"
  awk -F '\t' '$2 == "a" { n++; ids[$4]++; within[$5]++ } $2 == "a" && $3 == "unreachable" { u++ }
    END { exit !(n == 2 && u == 1 && length(ids) == 1 && length(within) == 1) }' \
    "$BATS_TEST_TMPDIR/texts"
  run -0 nk-tokens --texts tests/fixtures/model
  [ "${lines[6]}" = $'5\t\tpadding\t\t\t' ]
  run -2 nk-tokens --texts --summary data/gpt2-tiny
  [ "$output" = "nk-tokens: --texts excludes --summary, --encode and --decode" ]
}

# Land and Bartolo's report of GPT-2 lists the tokens that contain those it found
# (in_other_tokens, results/reports/openai_community_gpt2.md, cohere-ai/magikarp).
@test "--texts: GPT-2's tokens within others are those of the published report" {
  data=${NOKEN_TEST_DATA:-${XDG_CACHE_HOME:-$HOME/.cache}/noken/test-data}
  [ -e "$data/tokenizers/gpt2/tokenizer.json" ] || skip "no GPT-2: run ./setup.sh --test-data"
  nk-tokens --texts "$data/tokenizers/gpt2" >"$BATS_TEST_TMPDIR/gpt2"
  while read -r id n first; do
    [ "$(awk -F '\t' -v id="$id" '$1 == id { print $5 "\t" $6 }' "$BATS_TEST_TMPDIR/gpt2")" = \
      "$n	${first//_/ }" ]
  done <<<'40241 1 BuyableInstoreAndOnline
30905 1 rawdownloadcloneembedreportprint
40240 2 InstoreAndOnline
30898 2 cloneembedreportprint
36173 1 _RandomRedditorWithNo
42089 1 _TheNitromeFan
30897 3 embedreportprint
30208 2 _externalToEVA
37574 1 TPPStreamerBot
42066 2 _TheNitrome
39714 1 isSpecialOrderable
40219 3 oreAndOnline
13150 3 _suburban
17629 2 _practitioners'
}

@test "--texts: long runs of one character take no time; tokens of over 256 bytes are not searched" {
  cd "$BATS_TEST_TMPDIR"
  python3 - <<'PYTHON'
import json
words = [chr(c) for c in range(33, 127)] + ["b" * 256, "c" * 257] + ["a" * n for n in range(3600, 4100)]
json.dump({"version": "1.0", "added_tokens": [], "normalizer": None, "pre_tokenizer": None,
           "post_processor": None, "decoder": None,
           "model": {"type": "BPE", "vocab": {w: i for i, w in enumerate(words)}, "merges": []}},
          open("runs.json", "w"))
PYTHON
  timeout 30 nk-tokens --texts runs.json >table
  awk -F '\t' 'NR == 1 { for (i = 1; i <= NF; i++) at[$i] = i; next }
    $at["text"] == "b" { b = $at["in_other_tokens"] } $at["text"] == "c" { c = $at["in_other_tokens"] }
    END { exit !(b == 1 && c == 0) }' table
}
