# The same model, prompt and nokens through llama.cpp, an implementation that shares nothing with
# this one. Skipped, with the reason, where its libraries cannot be had.
bats_require_minimum_version 1.5.0

setup_file() {
  run "$PWD/tests/runners/llama.sh" "$NOKEN_BUILD"
  export LLAMA_STATUS=$status
  export LLAMA_LINE=${lines[-1]}
  export DATA=$PWD/data
  cd "$BATS_FILE_TMPDIR"
}

setup() {
  [ "$LLAMA_STATUS" -ne 77 ] || skip "$LLAMA_LINE"
  [ "$LLAMA_STATUS" -eq 0 ]
  runner=${LLAMA_LINE%% *}
  libraries=${LLAMA_LINE#* }
  cd "$BATS_TEST_TMPDIR"
}

# The largest difference between the logits, and the root of the mean square.
differences() {
  nk-convert --model gguf "$DATA/$1" -o model.gguf
  "$runner" "$DATA/$1" model.gguf "$libraries" 2>/dev/null | tail -n 1
}

@test "llama-tiny: llama.cpp gives the same logits to 1e-3" {
  differences llama-tiny | awk '{ exit !(NF == 2 && $1 < 1e-3) }'
}

# llama.cpp looks GELU up in a table of half floats, which costs 1e-3 to 2e-3 here; Llama, whose
# activation it computes, shows how near the rest is.
@test "gpt2-tiny: the same logits to 1e-3 in the mean, to what a GELU in half floats costs at most" {
  differences gpt2-tiny | awk '{ exit !(NF == 2 && $1 < 4e-3 && $2 < 1e-3) }'
}

@test "blocks of every quantized type: the bits that ggml gives" {
  run "${runner%/*}/ggml"
  [ "$status" -eq 0 ]
  [[ ${lines[-1]} =~ ^[1-9][0-9]{6,}\ 0$ ]]
}
