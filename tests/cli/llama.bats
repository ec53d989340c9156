# The same model, prompt and nokens through llama.cpp, an implementation that shares nothing with
# this one. Skipped, with the reason, where its libraries cannot be had.
bats_require_minimum_version 1.5.0

setup_file() {
  run "$PWD/tests/runners/llama.sh" "$NOKEN_BUILD"
  export LLAMA_STATUS=$status
  export LLAMA_LINE=${lines[-1]}
  export DATA=$PWD/data ROOT=$PWD
  cd "$BATS_FILE_TMPDIR"
}

setup() {
  [ "$LLAMA_STATUS" -ne 77 ] || skip "$LLAMA_LINE"
  [ "$LLAMA_STATUS" -eq 0 ]
  runner=${LLAMA_LINE%% *}
  libraries=${LLAMA_LINE#* }
  cd "$BATS_TEST_TMPDIR"
}

# One line, of which the condition holds.
one_line() {
  awk "{ ok = $1 } END { exit !(NR == 1 && ok) }"
}

# The largest difference between the logits, and the root of the mean square.
differences() {
  nk-convert --model gguf "$DATA/$1" -o model.gguf
  "$runner" "$DATA/$1" model.gguf "$libraries" 2>/dev/null | tail -n 1
}

@test "llama-tiny: llama.cpp gives the same logits to 1e-3" {
  differences llama-tiny | one_line 'NF == 2 && $1 < 1e-3'
}

# llama.cpp looks GELU up in a table of half floats, which costs 1e-3 to 2e-3 here; Llama, whose
# activation it computes, shows how near the rest is.
@test "gpt2-tiny: the same logits to 1e-3 in the mean, to what a GELU in half floats costs at most" {
  differences gpt2-tiny | one_line 'NF == 2 && $1 < 4e-3 && $2 < 1e-3'
}

@test "blocks of every quantized type: the bits that ggml gives" {
  run "${runner%/*}/ggml"
  [ "$status" -eq 0 ]
  [[ ${lines[-1]} =~ ^[1-9][0-9]{6,}\ 0$ ]]
}

# A family's fixture, which has no tokenizer; with `sed` commands, its configuration changed so.
family() {
  cp -r "$ROOT/tests/fixtures/forward/$1" fixture
  sed -i "${2:-}" fixture/config.json
  nk-convert --model gguf fixture -o model.gguf 2>/dev/null
  "$runner" fixture model.gguf "$libraries" 2>/dev/null | tail -n 1
  rm -r fixture
}

@test "families without GELU: the same logits to 1e-5" {
  for name in llama llama-linear llama3 qwen3; do
    family "$name" | one_line 'NF == 2 && $1 < 1e-5'
  done
}

# llama.cpp has no windows for these, and its contexts are longer.
@test "families with a window in all layers: the same logits to 1e-5 without it" {
  for name in mistral qwen2 phi3; do
    family "$name" 's/"sliding_window": [0-9]*/"sliding_window": null/' |
      one_line 'NF == 2 && $1 < 1e-5'
  done
}

# llama.cpp has the scale of Gemma 2's attention by the width of a head.
@test "families with GELU: the same logits to 1e-3 in the mean" {
  for name in gpt2 gpt_neox gpt_neox-serial gemma gemma2 phi; do
    family "$name" 's/"query_pre_attn_scalar": 5/"query_pre_attn_scalar": 8/' |
      one_line 'NF == 2 && $1 < 4e-3 && $2 < 1e-3'
  done
}

@test "a model out of GGUF, and its copies in other types, give llama.cpp's logits" {
  nk-convert --model gguf "$DATA/llama-tiny" -o f32.gguf
  for type in f32 f16 bf16 q8_0; do
    nk-convert --model gguf --type "$type" f32.gguf -o copy.gguf
    nk-convert --model gguf copy.gguf -o widened.gguf
    "$runner" copy.gguf widened.gguf "$libraries" 2>/dev/null | tail -n 1 |
      one_line 'NF == 2 && $1 < 1e-3'
  done
}

@test "Q8_0 as nk-convert rounds to it: the bytes of ggml" {
  nk-convert --model gguf "$DATA/llama-tiny" -o f32.gguf
  nk-convert --model gguf --type q8_0 "$DATA/llama-tiny" -o q8.gguf
  run "${runner%/*}/ggml" rounding f32.gguf q8.gguf
  [ "$status" -eq 0 ]
  [[ ${lines[-1]} =~ ^[1-9][0-9]+\ 0$ ]]
}
