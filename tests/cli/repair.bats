# Both repairs, measured by the tools: texts of pruned and of patched tokens, and what stays the same.
bats_require_minimum_version 1.5.0

setup_file() {
  cd "$BATS_TEST_DIRNAME/../.."
  export DATA=$PWD/data
  cd "$BATS_FILE_TMPDIR"
  for model in gpt2-tiny llama-tiny; do
    nk-verify -q "$DATA/$model" --all > $model-verified.tsv
    mkdir fixed && cp "$DATA/$model"/{config.json,model.safetensors} fixed
    nk-tokens --prune $model-verified.tsv "$DATA/$model" -o fixed/tokenizer.json |
      awk -F '\t' 'NR == 1 || $3 == "pruned"' | cut -f 1-2 > $model-texts.tsv
    mkdir fixed-$model && mv fixed fixed-$model/$model
    nk-tokens --scan "$DATA/prompts/contexts.txt" --with $model-verified.tsv "$DATA/$model" |
      awk 'NR == FNR { hit[$1] = 1; next } !(FNR in hit)' - "$DATA/prompts/contexts.txt" > $model-clean.txt
  done
}

setup() {
  cd "$BATS_FILE_TMPDIR"
}

# repeated MODEL TEXTS [N]: the share of texts, and of N controls, that the model repeats
repeated() {
  nk-verify -q "$1" --text "$2" --summary --controls "${3:-20}" |
    awk -F '\t' '$1 == "listed" || $1 == "control" { printf "%.3f ", 1 - $7 }
      END { print "" }'
}

@test "a pruned model repeats the pruned tokens' texts as often as ordinary texts of as many tokens" {
  for model in gpt2-tiny llama-tiny; do
    n=$(($(wc -l < $model-texts.tsv) - 1))
    [ "$n" -gt 900 ]
    read -r before _ < <(repeated "$DATA/$model" $model-texts.tsv)
    read -r after control < <(repeated fixed-$model/$model $model-texts.tsv $n)
    echo "# $model: $n texts, repeated before $before, after $after; controls $control" >&3
    awk -v before="$before" -v after="$after" -v control="$control" \
      'BEGIN { exit !(before == 0 && control > 0.3 && after >= 0.9 * control) }'
  done
}

@test "text without pruned tokens has the same ids and, to the bit, the same states" {
  for model in gpt2-tiny llama-tiny; do
    [ "$(wc -l < $model-clean.txt)" -gt 40 ]
    for source in "$DATA/$model" fixed-$model/$model; do
      nk-tokens --encode - "$source" < $model-clean.txt > "ids-$(dirname "$source" | xargs basename)"
      nk-run -q "$source" --contexts $model-clean.txt --position -1 --capture 4 |
        nk-convert --to f32 > "states-$(dirname "$source" | xargs basename)"
    done
    cmp ids-data ids-fixed-$model
    cmp states-data states-fixed-$model
    [ "$(wc -c < states-data)" -eq $(($(wc -l < $model-clean.txt) * 128 * 4)) ]
  done
}

@test "patched rows alone bring few texts back, means none; an untied model says the same elsewhere" {
  for model in gpt2-tiny llama-tiny; do
    for with in mean neighbours text; do
      nk-convert -q --model hf --patch-rows $model-verified.tsv --with $with --patch-output \
        "$DATA/$model" -o $model-$with
      read -r share _ < <(repeated $model-$with $model-texts.tsv)
      echo "# $model, $with: repeated $share" >&3
      awk -v share="$share" -v with=$with 'BEGIN { exit !(with == "text" ? share > 0 && share < 0.4 : share < 0.01) }'
    done
  done
  nk-convert -q --model hf --patch-rows llama-tiny-verified.tsv --with text "$DATA/llama-tiny" -o input-only
  nk-run -q "$DATA/llama-tiny" --contexts llama-tiny-clean.txt --position -1 --capture 4 |
    nk-convert --to f32 > before
  nk-run -q input-only --contexts llama-tiny-clean.txt --position -1 --capture 4 |
    nk-convert --to f32 | cmp - before
}
