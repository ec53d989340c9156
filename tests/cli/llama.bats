# The same model, prompt and nokens through llama.cpp, an implementation that shares nothing with
# this one. Skipped, with the reason, where its libraries cannot be had. One thread: those of ggml
# wait for each other in loops, which takes minutes on a machine that has other work.
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
  export OMP_NUM_THREADS=1
  cd "$BATS_TEST_TMPDIR"
}

# One line, of which the condition holds.
one_line() {
  awk "{ ok = $1 } END { exit !(NR == 1 && ok) }"
}

# The largest difference between the logits, the root of the mean square, and the largest between
# those of the folder and of the file.
differences() {
  nk-convert --model gguf "$DATA/$1" -o model.gguf
  "$runner" "$DATA/$1" model.gguf "$libraries" 2>/dev/null | tail -n 1
}

@test "llama-tiny: llama.cpp gives the same logits to 1e-3" {
  differences llama-tiny | one_line 'NF == 3 && $1 < 1e-3 && $3 < 1e-5'
}

# llama.cpp looks GELU up in a table of half floats, which costs 1e-3 to 2e-3 here; Llama, whose
# activation it computes, shows how near the rest is.
@test "gpt2-tiny: the same logits to 1e-3 in the mean, to what a GELU in half floats costs at most" {
  differences gpt2-tiny | one_line 'NF == 3 && $1 < 4e-3 && $2 < 1e-3 && $3 < 1e-5'
}

# In nats, GELU's half floats cost an entropy what they cost a logit; not a probability and not the
# divergence, for which 1e-3 holds in both models.
@test "a set of nk-sample in llama_batch.embd: what nk-run says, to 1e-3" {
  for model in gpt2-tiny llama-tiny; do
    entropy=1e-3
    [ $model = llama-tiny ] || entropy=4e-3
    nk-extract "$DATA/$model" | nk-region fit -q -o region
    nk-sample -q region -n 6 -d isotropic,difference --times 0.5,2 -o nokens
    ids=$(nk-tokens "$DATA/$model" -e 'The ' | awk 'NR > 1 { printf "%d,", $1 }')
    ids=${ids}_,$(nk-tokens --no-special "$DATA/$model" -e ' of' | awk 'NR > 1 { print $1 }')
    nk-convert --model gguf "$DATA/$model" -o model.gguf
    "$runner" "$DATA/$model" model.gguf "$libraries" set nokens "$ids" >theirs
    nk-run --unverified "$DATA/$model" nokens -p 'The {} of' >ours.tsv
    awk -F '\t' 'NR == 1 { for (i = 1; i <= NF; i++) c[$i] = i; next }
      { print $c["entropy"], $c["top_id"], $c["top_prob"] }' ours.tsv >ours
    [ "$(wc -l <theirs)" -eq 24 ]
    paste ours theirs | awk -v e=$entropy '
      ($1 - $4)^2 > e^2 || ($3 - $6)^2 > 1e-6 || $7^2 > 1e-6 { bad++ }
      { same += $2 == $5 }
      END { exit bad > 0 || same < 23 }'
  done
}

@test "blocks of every quantized type: the bits that ggml gives" {
  run "${runner%/*}/ggml"
  [ "$status" -eq 0 ]
  [[ ${lines[-1]} =~ ^[1-9][0-9]{6,}\ 0$ ]]
}

# Every family that is written as GGUF: a line of the table is a fixture, which has no tokenizer, and
# what is changed in its configuration. llama.cpp's logits, and noken's own of the file.
@test "every family's fixture: the logits of the checkpoint, as near as the table says" {
  n=0 failed=""
  while IFS=$'\t' read -r name change kind _; do
    case $kind in
      exact | mxfp4) ok='$1 < 1e-5' ;;
      gelu) ok='$1 < 6e-3 && $2 < 1e-3' ;;
      yarn) ok='$1 < 6e-3' ;;
      windows) ok='$1 >= 0' ;;
      *) continue ;;
    esac
    rm -rf fixture
    cp -r "$ROOT/tests/fixtures/forward/$name" fixture
    [ "$change" = - ] || sed -i "$change" fixture/config.json
    nk-convert -q --model gguf fixture -o model.gguf
    if [ "$kind" = mxfp4 ]; then
      mv model.gguf packed.gguf
      nk-convert -q --model gguf packed.gguf -o model.gguf
    fi
    "$runner" fixture model.gguf "$libraries" 2>/dev/null | tail -n 1 >line
    one_line "NF == 3 && \$3 < 1e-5 && $ok" <line || failed+="$name $change: $(cat line)"$'\n'
    n=$((n + 1))
  done < <(grep -v '^#' "$ROOT/tests/fixtures/gguf-families.tsv")
  echo "$failed"
  [ -z "$failed" ]
  [ "$n" -gt 40 ]
}

@test "a model out of GGUF, and its copies in other types, give llama.cpp's logits" {
  nk-convert --model gguf "$DATA/llama-tiny" -o f32.gguf
  for type in f32 f16 bf16 q8_0; do
    nk-convert --model gguf --type "$type" f32.gguf -o copy.gguf
    nk-convert --model gguf copy.gguf -o widened.gguf
    "$runner" copy.gguf widened.gguf "$libraries" 2>/dev/null | tail -n 1 |
      one_line 'NF == 3 && $1 < 1e-3 && $3 < 1e-5'
  done
}

@test "Q8_0 as nk-convert rounds to it: the bytes of ggml" {
  nk-convert --model gguf "$DATA/llama-tiny" -o f32.gguf
  nk-convert --model gguf --type q8_0 "$DATA/llama-tiny" -o q8.gguf
  run "${runner%/*}/ggml" rounding f32.gguf q8.gguf
  [ "$status" -eq 0 ]
  [[ ${lines[-1]} =~ ^[1-9][0-9]+\ 0$ ]]
}
