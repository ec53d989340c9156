# The pre-tokenizers of GGUF files: each name that llama.cpp knows, and the ids that llama.cpp gives
# texts under it. What needs llama.cpp is skipped, with the reason, where its libraries cannot be had.
bats_require_minimum_version 1.5.0

# Names that noken refuses: how their models' own tokenizers cut text is not known.
REFUSED="afmoe whitespace"

setup_file() {
  export ROOT=$PWD
}

setup() {
  command -v python3 >/dev/null || skip "python3 is not installed"
  cd "$BATS_TEST_TMPDIR"
}

need_llama() {
  run "$ROOT/tests/runners/llama.sh" "$NOKEN_BUILD"
  [ "$status" -ne 77 ] || skip "${lines[-1]}"
  [ "$status" -eq 0 ]
  runners=$(dirname "${lines[-1]%% *}")
  libraries=${lines[-1]#* }
}

# The names of the man page's list, one a line.
page_names() {
  sed -n '/^These are known:/,/^.Pp/p' "$ROOT/tools/noken-models.7" | sed '1d;$d' | tr -d '\n ' |
    sed 's/\.$//' | tr ',' '\n' | sort
}

@test "the names of noken-models(7) are those that are read" {
  page_names >page
  [ "$(wc -l <page)" -gt 80 ]
  # shellcheck disable=SC2046 # words
  "$ROOT/tests/runners/pre_vocabulary.py" . $(cat page) nonesuch
  while read -r name; do
    [ "$name" = default ] || nk-tokens -q "$name.0.gguf" --encode 'Hello' >/dev/null
  done <page
  run -1 nk-tokens nonesuch.0.gguf --encode 'Hello'
  [ "$output" = "nk-tokens: nonesuch.0.gguf: tokenizer.ggml.pre 'nonesuch' is unknown: expected one \
of the $(wc -l <page) names of noken-models(7)" ]
}

# llama.cpp does not tell upper from lower case in some patterns, and replaces white space beyond
# ASCII before it looks for a range of characters; the tokenizers' own files do neither.
expected_differences() {
  for name in cohere2moe kimi-k2 tiny_aya youtu; do
    echo "$name: 'Hello World! HELLO wORLD HelloWorld'"
  done
  for name in deepseek-coder deepseek-llm; do
    printf "%s: 'a\u00a0b\u2003c'\n" $name
  done
}

@test "each name of llama.cpp's gives llama.cpp's ids" {
  need_llama
  grep -oE 'tokenizer_pre == +"[^"]+"' "$runners/llama.cpp/src/llama-vocab.cpp" |
    sed 's/.*"\(.*\)"/\1/' | sort -u | grep -vxF "$(printf '%s\n' $REFUSED)" >names
  [ "$(wc -l <names)" -gt 80 ]
  # shellcheck disable=SC2046 # words
  "$ROOT/tests/runners/pre_vocabulary.py" . $(cat names)
  "$runners/tokens" "$libraries" texts ./*.gguf >counts 2>differences
  [ "$(wc -l <counts)" -eq "$((4 * $(wc -l <names)))" ]
  awk '$2 < 30 { exit 1 }' counts
  diff <(expected_differences | sort) \
    <(sed -n "s|^\./\(.*\)\.[0-9]\.gguf: '|\1: '|p" differences | sort -u)
}
