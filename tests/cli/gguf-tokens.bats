# The pre-tokenizers of GGUF files: each name that llama.cpp knows, and the ids that llama.cpp gives
# texts under it. What needs llama.cpp is skipped, with the reason, where its libraries cannot be had.
bats_require_minimum_version 1.5.0

# Names that noken refuses: how their models' own tokenizers cut text is not known.
REFUSED="afmoe whitespace"

setup_file() {
  export ROOT=$PWD FIXTURES=$PWD/tests/fixtures/tokenizers
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

# The fixtures whose tokenizers are written, and why each other one is not.
WRITTEN="added_nul.json gemma.json gpt2.json llama.model llama2.json llama3.json nfc.json o200k.json
  qwen2.json starcoder.json unk_absent.json"

# model_of FIXTURE NAME: the folder NAME, with the fixture's tokenizer.
model_of() {
  local tables=("$FIXTURES"/expected*.tsv)
  "$ROOT/tests/runners/tokenizer_model.py" "$FIXTURES/$1" "$2" "${tables[@]}"
}

@test "a tokenizer that is written into a GGUF gives the same ids there" {
  for fixture in $WRITTEN; do
    model_of "$fixture" model
    nk-convert -q --model gguf model -o model.gguf
    [ "$(wc -l <model/lines)" -gt 60 ]
    for special in '' --no-special; do
      diff <(nk-tokens $special --encode - model <model/lines) \
        <(nk-tokens $special --encode - model.gguf <model/lines)
    done
    diff <(nk-extract model | nk-convert -t tsv) <(nk-extract model.gguf | nk-convert -t tsv)
    rm -r model model.gguf
  done
}

@test "a tokenizer that a GGUF cannot say is refused in one line that says what it is" {
  for path in "$FIXTURES"/*.json "$FIXTURES"/*.model; do
    fixture=${path##*/}
    case " $(echo $WRITTEN) " in *" $fixture "*) continue ;; esac
    model_of "$fixture" model
    run -1 nk-convert -q --model gguf model -o model.gguf
    [[ $output == "nk-convert: model: "*"tokenizer."*": "*" is not written as GGUF" ]]
    [ "${#lines[@]}" -eq 1 ]
    [ ! -e model.gguf ]
    rm -r model
  done
}

# Falcon's own vocabulary, which its pre-tokenizer has made, has no such tokens.
@test "Falcon's tokenizer is written where no token has numbers beside other characters" {
  python3 - "$FIXTURES/falcon.json" falcon.json <<'END'
import json
import sys
import unicodedata

tokenizer = json.load(open(sys.argv[1], encoding="utf-8"))
model = tokenizer["model"]
def joins(text): # characters of the byte-level alphabet
    return len({unicodedata.category(c)[0] == "N" for c in text}) > 1
def whole(merge):
    return "".join(merge if isinstance(merge, list) else merge.split(" "))
assert any(map(joins, model["vocab"]))
model["vocab"] = {text: id for text, id in model["vocab"].items() if not joins(text)}
model["merges"] = [merge for merge in model["merges"] if not joins(whole(merge))]
json.dump(tokenizer, open(sys.argv[2], "w", encoding="utf-8"))
END
  "$ROOT/tests/runners/tokenizer_model.py" falcon.json model "$FIXTURES"/expected.tsv
  nk-convert -q --model gguf model -o model.gguf
  diff <(nk-tokens --encode - model <model/lines) <(nk-tokens --encode - model.gguf <model/lines)
  need_llama
  "$runners/tokens" "$libraries" model/texts model.gguf >counts 2>differences
  [ ! -s differences ]
}

@test "llama.cpp gives the same ids with it, of texts in NFC, which it does not normalize" {
  need_llama
  for fixture in $WRITTEN; do
    model_of "$fixture" "${fixture%.*}"
    nk-convert -q --model gguf "${fixture%.*}" -o "${fixture%.*}.gguf"
  done
  "$runners/tokens" "$libraries" gpt2/texts ./*.gguf >counts 2>differences
  [ ! -s differences ]
  awk '$2 > 60 && $3 == 0 { n++ } END { exit n != 11 }' counts
}

@test "tokenizers of well-known models: llama.cpp gives the ids of Hugging Face's library" {
  data=${NOKEN_TEST_DATA:-$HOME/.cache/noken/test-data}/tokenizers
  [ -d "$data" ] || skip "no test data: setup.sh --test-data"
  need_llama
  for name in gpt2 llama3 qwen3 deepseek_v3 gptoss llama2 gemma; do
    "$ROOT/tests/runners/tokenizer_model.py" "$data/$name/tokenizer.json" model \
      "$data/$name/expected.tsv"
    nk-convert -q --model gguf --type q8_0 model -o model.gguf
    "$runners/tokens" "$libraries" model/texts model.gguf >counts 2>differences
    [ ! -s differences ]
    awk '{ exit !(NR == 1 && $2 > 1000 && $3 == 0) }' counts
    rm -r model model.gguf
  done
}
