# A real model: SmolLM2-135M-Instruct as a Q4_1 GGUF, which runners/real-model.sh downloads. What
# llama.cpp says of it is compared where its libraries can be had (runners/llama.sh). Each test is
# skipped, with the reason, where what it needs is absent.
bats_require_minimum_version 1.5.0

setup_file() {
  run "$PWD/tests/runners/real-model.sh"
  export MODEL_STATUS=$status MODEL=${lines[-1]}
  run "$PWD/tests/runners/llama.sh" "$NOKEN_BUILD"
  export LLAMA_STATUS=$status LLAMA_LINE=${lines[-1]}
  export FIXTURES=$PWD/tests/fixtures PROMPTS=$PWD/data/prompts
  cd "$BATS_FILE_TMPDIR"
}

setup() {
  [ "$MODEL_STATUS" -ne 77 ] || skip "$MODEL"
  [ "$MODEL_STATUS" -eq 0 ]
  cd "$BATS_FILE_TMPDIR"
}

# Sets runner and libraries.
need_llama() {
  [ "$LLAMA_STATUS" -ne 77 ] || skip "$LLAMA_LINE"
  [ "$LLAMA_STATUS" -eq 0 ]
  runner=${LLAMA_LINE%% *}
  libraries=${LLAMA_LINE#* }
}

@test "all quantized weights are the floats that ggml makes of them" {
  need_llama
  run "${runner%/*}/ggml" tensors "$MODEL"
  [ "$status" -eq 0 ]
  [[ ${lines[-1]} =~ ^[0-9]{9}\ 0$ ]]
}

@test "texts give the ids that Hugging Face's library gives" {
  local text ids raw n=0
  while IFS=$'\t' read -r text ids; do
    [ "$text" != text ] || continue
    printf -v raw %b "$text"
    [ "$(nk-tokens -e "$raw" "$MODEL" | tail -n +2 | cut -f 1 | paste -sd ' ')" = "$ids" ]
    n=$((n + 1))
  done <"$FIXTURES/smollm2.tsv"
  [ "$n" -ge 40 ]
}

# llama.cpp rounds what quantized weights are multiplied by to 8 bits; on the same weights as F32 it
# does not.
@test "next-token logits are llama.cpp's: 1e-3 on F32 weights, within its own rounding on Q4_1" {
  need_llama
  nk-convert --model gguf --type f32 "$MODEL" -o f32.gguf
  run -0 "$runner" "$MODEL" f32.gguf "$libraries"
  awk '{ exit !(NF == 2 && $1 < 1e-3) }' <<<"${lines[-1]}"
  run -0 "$runner" "$MODEL" "$MODEL" "$libraries"
  echo "# on Q4_1: the largest difference and the root of the mean square: ${lines[-1]}" >&3
  awk '{ exit !(NF == 2 && $2 < 0.5) }' <<<"${lines[-1]}"
}

# 5 and 7 to 16 are special tokens of program code that training never showed: one row, nearly.
@test "the ranking finds glitch tokens beside the special tokens that share a row" {
  nk-extract --ids 0-16 "$MODEL" | nk-knn -k 1 >near.tsv
  [ "$(awk -F '\t' 'NR > 1 && $6 < 0.01 { printf "%s ", $1 }' near.tsv)" = \
    "5 7 8 9 10 11 12 13 14 15 16 " ]
  nk-glitch -n 12 "$MODEL" >glitch.tsv
  [ "$(awk -F '\t' 'NR > 1 && $7 < 0.05 { printf "%s ", $1 }' glitch.tsv)" = \
    "36744 48047 45175 36743 " ]
}

@test "the model repeats nearly all control tokens, and no token of the list's top" {
  [ -e glitch.tsv ] || skip "there is no ranking"
  nk-verify --controls 48 "$MODEL" glitch.tsv --summary >verdicts.tsv
  sed 's/^/# /' verdicts.tsv >&3
  awk -F '\t' 'NR == 1 { for (i = 1; i <= NF; i++) if ($i == "strongly_verified") s = i }
    $1 == "listed" { listed = $s }
    $1 == "control" { control = $s; n = $2 }
    END { exit !(listed >= 10 && n >= 40 && control <= 2) }' verdicts.tsv
}

@test "regions, samples and runs go end to end" {
  nk-extract -m output "$MODEL" -o output.set
  nk-region fit output.set -o region
  nk-sample region -n 4 -d isotropic --quantile 0.5 --times 1,3 -o nokens.set
  nk-run "$MODEL" -p 'The word {} means' --reference 16 nokens.set >ran.tsv
  [ "$(wc -l <ran.tsv)" -eq 13 ] # four at each of three distances
  awk -F '\t' 'NR == 1 { for (i = 1; i <= NF; i++) if ($i == "entropy") e = i }
    NR > 1 && !($e > 0 && $e < 10.81) { exit 1 }' ran.tsv
}

# The ids are those of the template's text, rendered and encoded by transformers, without the turn of
# the system that it adds.
@test "--chat auto takes ChatML from the model's template; the ids are those of the template" {
  printf '<|im_start|>user\nWhat is xyz?<|im_end|>\n<|im_start|>assistant\n' >turn
  nk-tokens -e "$(cat turn; echo x)" "$MODEL" | sed '1d;$d' >ids
  [ "$(cut -f 1 ids | paste -sd ' ')" = \
    "1 4093 198 1780 314 29023 106 47 2 198 1 520 9531 198" ]
  nk-glitch -n 8 "$MODEL" >few.tsv
  run -0 --separate-stderr nk-verify "$MODEL" few.tsv --chat auto --summary --controls 24
  [[ "$stderr" == *"the chat template has the format chatml"* ]]
  sed 's/^/# /' <<<"$output" >&3
  auto=$output
  run -0 --separate-stderr nk-verify "$MODEL" few.tsv --chat chatml --controls 24 --summary
  [ "$output" = "$auto" ]
  run -1 nk-verify "$MODEL" few.tsv --chat llama3
  [[ "$output" == *"has no token '<|start_header_id|>'"* ]]
}

@test "the model repeats more ordinary tokens after fifty repetitions than on a request" {
  nk-glitch -n 8 "$MODEL" >few.tsv
  for table in repeat echo20 repeat50; do
    nk-verify "$MODEL" few.tsv --controls 48 --summary --prompts "$PROMPTS/$table.tsv" >$table.tsv
    sed 's/^/# /' $table.tsv >&3
  done
  verified() { awk -F '\t' '$1 == "control" { print $7 }' "$1.tsv"; }
  awk -v a="$(verified repeat)" -v b="$(verified repeat50)" 'BEGIN { exit !(b < a && b < 0.2) }'
}
