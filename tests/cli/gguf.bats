# A GGUF is a model wherever MODEL stands. The files are made by nk-convert of the shipped models,
# whose F32 weights they hold bit for bit.
bats_require_minimum_version 1.5.0

setup_file() {
  export DATA=$PWD/data
  cd "$BATS_FILE_TMPDIR"
  nk-convert --model gguf "$DATA/gpt2-tiny" -o gpt2-tiny.gguf
  nk-convert --model gguf "$DATA/llama-tiny" -o llama-tiny.gguf
}

setup() {
  cd "$BATS_FILE_TMPDIR"
}

# Runs a command with the folder and with the file in place of MODEL, and compares what they print.
same() {
  for model in gpt2-tiny llama-tiny; do
    diff <("${@//MODEL/$DATA/$model}") <("${@//MODEL/$model.gguf}")
  done
}

@test "the same texts, rows and statistics" {
  same nk-tokens MODEL
  for matrix in input output; do
    for model in gpt2-tiny llama-tiny; do
      diff <(nk-extract --matrix "$matrix" "$DATA/$model" | nk-convert -t tsv) \
        <(nk-extract --matrix "$matrix" "$model.gguf" | nk-convert -t tsv)
    done
  done
}

@test "the same ranking" {
  same nk-glitch MODEL
}

@test "the same behaviour of vectors, bit for bit" {
  for model in gpt2-tiny llama-tiny; do nk-extract "$DATA/$model" --ids 0-40 >"$model.set"; done
  for model in gpt2-tiny llama-tiny; do
    diff <(nk-run "$DATA/$model" -p 'The {} of the' --generate 3 "$model.set") \
      <(nk-run "$model.gguf" -p 'The {} of the' --generate 3 "$model.set")
  done
}

@test "every type: what is written is read, to the rounding of the type" {
  nk-extract "$DATA/llama-tiny" | nk-convert -t f32 | od -An -v -t f4 -w4 >exact
  while read -r type bound; do
    nk-convert --model gguf --type "$type" "$DATA/llama-tiny" -o "$type.gguf"
    nk-extract "$type.gguf" | nk-convert -t f32 | od -An -v -t f4 -w4 >rounded
    # Beside the largest of 32 values, which is what a block of Q8_0 rounds by.
    paste exact rounded | awk -v bound="$bound" '
      { a[NR % 32] = $1; b[NR % 32] = $2; if ($1 * $1 > most * most) most = $1 }
      NR % 32 == 0 {
        for (i in a) if ((a[i] - b[i]) ^ 2 > (bound * most) ^ 2) exit bad = 1
        most = 0
      }
      END { exit bad || NR != 8192 * 128 }'
    nk-run "$type.gguf" -p 'The {}' --ids 300-310 >ran.tsv
    [ "$(wc -l <ran.tsv)" -eq 12 ]
  done <<<"f32 0
f16 0.000489
bf16 0.00391
q8_0 0.00443"
}

@test "the same verdicts, to what other orders of sums make" {
  printf 'id\n300\n301\n8000\n' >ids.tsv
  for model in gpt2-tiny llama-tiny; do
    paste <(nk-verify "$DATA/$model" ids.tsv | cut -f 3-4) \
      <(nk-verify "$model.gguf" ids.tsv | cut -f 3-4) |
      awk -F '\t' 'NR > 1 && ($2 != $4 || $1 / $3 > 1 + 1e-6 || $3 / $1 > 1 + 1e-6) { exit 1 }
        END { exit NR != 4 }'
  done
}

@test "a type that is not read is refused by its name" {
  cp llama-tiny.gguf other.gguf
  name=$(grep -abo token_embd.weight other.gguf | head -n 1 | cut -d : -f 1)
  printf '\020' | dd of=other.gguf bs=1 seek=$((name + 17 + 4 + 16)) conv=notrunc status=none
  run -1 nk-extract other.gguf -o out
  [[ $output == *"IQ2_XXS"* ]]
  [ "${#lines[@]}" -eq 1 ]
}

@test "damage is one line" {
  head -c 100000 llama-tiny.gguf >cut.gguf
  run -1 nk-glitch cut.gguf
  [ "${#lines[@]}" -eq 1 ]
  run -1 nk-run cut.gguf -p '{}' llama-tiny.set
  [ "${#lines[@]}" -eq 1 ]
  cp llama-tiny.gguf m-00002-of-00003.gguf
  run -2 nk-glitch m-00002-of-00003.gguf
  [[ $output == *"name the first, ...-00001-of-00003.gguf" ]]
}
