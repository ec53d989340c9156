# nk-extract: matrices of models as vector sets. The model and what is expected of it are NumPy's
# (tests/fixtures/model.py).
bats_require_minimum_version 1.5.0

MODEL=tests/fixtures/model

setup() {
  cd "$BATS_TEST_DIRNAME/../.."
  unset HF_HUB_CACHE HF_HOME XDG_CACHE_HOME
}

# A safetensors file of this header with N zero bytes after it.
make_safetensors() { # make_safetensors FILE HEADER N
  local length=${#2}
  printf '%b' "\\x$(printf %02x $((length % 256)))\\x$(printf %02x $((length / 256)))" >"$1"
  printf '\0\0\0\0\0\0%s' "$2" >>"$1"
  head -c "$3" /dev/zero >>"$1"
}

@test "the input, output and position matrices are the model's, widened" {
  nk-extract -q $MODEL | nk-convert --to npy | cmp - $MODEL/wte.npy
  nk-extract -q --matrix output $MODEL | nk-convert --to npy | cmp - $MODEL/wte.npy # tied
  nk-extract -q --matrix position $MODEL | nk-convert --to npy | cmp - $MODEL/wpe.npy
  nk-extract -q --matrix wpe.weight $MODEL | nk-convert --to npy | cmp - $MODEL/wpe.npy
}

@test "rows are chosen by ids, in the order given" {
  nk-extract -q --ids 4,0,4 $MODEL | nk-convert --to npy | cmp - $MODEL/rows-4-0-4.npy
  printf 'text\tid\nx\t4\ny\t0\nz\t4\n' | nk-extract -q --ids-from - $MODEL | nk-convert --to npy |
    cmp - $MODEL/rows-4-0-4.npy
  run -0 bash -c "nk-extract -q --ids 2-4 $MODEL | nk-convert --to tsv | cut -f 1,2"
  [ "$output" = $'id\ttext\n2\t a\n3\t\\n\n4\t\\xC3' ]
}

@test "a tokenizer with fewer ids than rows is warned about, and the rows are there" {
  run -0 --separate-stderr bash -c \
    "nk-extract $MODEL | nk-convert --to tsv | cut -f 1,2 | tail -n 1"
  [ "$output" = $'5\t' ]
  [[ $stderr == *"the tokenizer has 5 ids, the matrix 6 rows: rows past its end have no text" ]]
}

@test "a tokenizer with more ids than rows is warned about" {
  cp -r $MODEL "$BATS_TEST_TMPDIR/m"
  sed -i 's/"b": 1/"b": 1, "c": 17/' "$BATS_TEST_TMPDIR/m/tokenizer.json"
  run -0 --separate-stderr bash -c \
    "nk-extract '$BATS_TEST_TMPDIR/m' | nk-convert --to tsv | wc -l"
  [ "$output" -eq 7 ]
  [[ $stderr == *"the tokenizer has 18 ids, the matrix 6 rows: some tokens have no row" ]]
}

@test "without texts the tokenizer is not read" {
  cp -r $MODEL "$BATS_TEST_TMPDIR/m"
  echo '{"model":' >"$BATS_TEST_TMPDIR/m/tokenizer.json"
  run -1 --separate-stderr nk-extract "$BATS_TEST_TMPDIR/m"
  [[ $stderr == "nk-extract: cannot read the tokens' texts (--no-text): "* ]]
  [[ $stderr == *"tokenizer.json: line "* ]]
  run -0 bash -c "nk-extract --no-text '$BATS_TEST_TMPDIR/m' | nk-convert --to tsv | head -n 1"
  [ "$output" = $'id\tv1\tv2\tv3\tv4' ]
}

@test "the list of tensors is a table" {
  run -0 nk-extract --list $MODEL
  [ "$output" = "$(printf 'name\tdtype\tshape\tbytes\nwte.weight\tF16\t6x4\t48\n')
$(printf 'wpe.weight\tF16\t3x4\t24\nln_f.bias\tF16\t4\t8')" ]
  run -0 bash -c "nk-extract --list --json $MODEL | head -n 1"
  [ "$output" = '{"name":"wte.weight","dtype":"F16","shape":"6x4","bytes":48}' ]
}

@test "the metadata say model, space and history, and no folder" {
  nk-extract -q -m wpe.weight "$PWD/$MODEL" -o "$BATS_TEST_TMPDIR/a.safetensors"
  run -0 strings -n 8 "$BATS_TEST_TMPDIR/a.safetensors"
  [[ $output == *'"noken.model":"model","noken.space":"position"'* ]]
  [[ $output == *'["nk-extract -q -m wpe.weight model"]'* ||
    $output == *'[\"nk-extract -q -m wpe.weight model\"]'* ]]
  [[ $output != *"$BATS_TEST_TMPDIR"* ]]
}

@test "the same command gives the same bytes whatever the threads" {
  nk-extract -q --threads 1 $MODEL >"$BATS_TEST_TMPDIR/1"
  nk-extract -q --threads=2 $MODEL | cmp - "$BATS_TEST_TMPDIR/1"
}

@test "a model is found in the cache by its name" {
  local repository="$BATS_TEST_TMPDIR/hub/models--openai-community--gpt2"
  mkdir -p "$repository/refs" "$repository/snapshots"
  cp -r $MODEL "$repository/snapshots/0123abcd"
  printf 0123abcd >"$repository/refs/main"
  HF_HOME="$BATS_TEST_TMPDIR" nk-extract -q openai-community/gpt2 | nk-convert --to npy |
    cmp - $MODEL/wte.npy
  HF_HOME="$BATS_TEST_TMPDIR" nk-extract -q gpt2 | nk-convert --to npy | cmp - $MODEL/wte.npy
  HF_HOME="$BATS_TEST_TMPDIR" run -1 nk-extract no/such
  [[ $output == *": no/such: no such file or folder, nor in the cache $BATS_TEST_TMPDIR/hub"* ]]
}

@test "faults of usage end with 2" {
  run -2 nk-extract
  run -2 nk-extract $MODEL $MODEL
  run -2 nk-extract --ids 1,x $MODEL
  [ "$output" = "nk-extract: --ids: 'x' is neither an id nor a range such as 10-20 (nk-tokens -e \
TEXT MODEL gives the ids of a text)" ]
  run -2 nk-extract --ids 1 --ids-from x $MODEL
}

@test "what is not there is named" {
  run -1 nk-extract --matrix nothing.weight $MODEL
  [ "$output" = "nk-extract: model: no tensor 'nothing.weight'" ]
  make_safetensors "$BATS_TEST_TMPDIR/m.safetensors" \
    '{"w":{"dtype":"F32","shape":[1,1,2],"data_offsets":[0,8]}}' 8
  run -1 nk-extract --matrix w "$BATS_TEST_TMPDIR/m.safetensors"
  [ "$output" = "nk-extract: m.safetensors: tensor 'w' has 3 dimensions, rows of vectors need 2, a row 1" ]
  run -1 nk-extract --ids 3,6 $MODEL
  [ "$output" = "nk-extract: model: no row 6 in tensor 'wte.weight', which has 6" ]
  run -1 nk-extract --ids-from $MODEL/config.json $MODEL
  run -1 nk-extract /nonexistent/model
  [ "${#lines[@]}" -eq 1 ]
}

@test "an unknown type of model without known names lists what could be meant" {
  cp -r $MODEL "$BATS_TEST_TMPDIR/m"
  sed -i 's/gpt2/unheard_of/' "$BATS_TEST_TMPDIR/m/config.json"
  make_safetensors "$BATS_TEST_TMPDIR/m/model.safetensors" \
    '{"x.table":{"dtype":"F32","shape":[5,4],"data_offsets":[0,80]}}' 80
  run -1 nk-extract "$BATS_TEST_TMPDIR/m"
  [[ $output == "nk-extract: m: no input matrix known for model type unheard_of; "* ]]
  [[ $output == *"; tensors that could be meant: x.table [5, 4]" ]]
  run -0 --separate-stderr bash -c \
    "nk-extract -m x.table '$BATS_TEST_TMPDIR/m' | nk-convert --to tsv | wc -l"
  [ "$output" -eq 6 ]
}

@test "types that are not widened are refused before anything is written" {
  make_safetensors "$BATS_TEST_TMPDIR/q.safetensors" \
    '{"wte.weight":{"dtype":"I8","shape":[4,4],"data_offsets":[0,16]}}' 16
  run -1 --separate-stderr nk-extract "$BATS_TEST_TMPDIR/q.safetensors" -o "$BATS_TEST_TMPDIR/out"
  [[ $stderr == *"q.safetensors: tensor 'wte.weight': elements of type I8, where"* ]]
  [ ! -e "$BATS_TEST_TMPDIR/out" ]
}

@test "damaged files are an error of one line and leave nothing behind" {
  mkdir "$BATS_TEST_TMPDIR/out"
  local bad="$BATS_TEST_TMPDIR/bad.safetensors"
  refused() { # refused MESSAGE
    run -1 --separate-stderr nk-extract "$bad" -o "$BATS_TEST_TMPDIR/out/x"
    [ -z "$output" ]
    [ "${#stderr_lines[@]}" -eq 1 ]
    [[ $stderr == "nk-extract: "*"bad.safetensors: "*"$1"* ]]
    [ -z "$(ls -A "$BATS_TEST_TMPDIR/out")" ]
  }
  head -c 300 $MODEL/model.safetensors >"$bad"
  refused "tensor 'wpe.weight': its bytes end at"
  head -c 100 $MODEL/model.safetensors >"$bad"
  refused "cut short"
  printf '\0\0\0\0\0\0\0\200{}' >"$bad"
  refused "its header needs 9223372036854775808 bytes, the file has 10"
  make_safetensors "$bad" '{"w":{"dtype":"F32","shape":[4,4],"data_offsets":[0,32]}}' 32
  refused "tensor 'w': dtype and shape need 64 bytes, data_offsets give 32"
  make_safetensors "$bad" \
    '{"w":{"dtype":"F32","shape":[100000000000000000,1000],"data_offsets":[0,32]}}' 32
  refused "tensor 'w': the product of its shape overflows"
  make_safetensors "$bad" '{"w":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},
    "v":{"dtype":"F32","shape":[2,2],"data_offsets":[8,24]}}' 24
  refused "tensor 'v': overlaps 'w'"
  make_safetensors "$bad" '{"w":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},
    "w":{"dtype":"F32","shape":[2,2],"data_offsets":[16,32]}}' 32
  refused "duplicate tensor 'w'"
  make_safetensors "$bad" '{"w":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16],}}' 16
  refused "line 1, column"
}

@test "a missing shard is a warning, and an error where its tensor is asked for" {
  mkdir "$BATS_TEST_TMPDIR/m"
  cp $MODEL/model.safetensors "$BATS_TEST_TMPDIR/m/model-00001-of-00002.safetensors"
  echo '{"weight_map":{"wte.weight":"model-00001-of-00002.safetensors",
    "h.0.w":"model-00002-of-00002.safetensors"}}' \
    >"$BATS_TEST_TMPDIR/m/model.safetensors.index.json"
  nk-extract -q "$BATS_TEST_TMPDIR/m" | nk-convert --to npy | cmp - $MODEL/wte.npy
  run -0 --separate-stderr bash -c "nk-extract '$BATS_TEST_TMPDIR/m' | wc -c"
  [[ $stderr == *"1 of 2 shards are missing (the first is 'model-00002-of-00002.safetensors')"* ]]
  run -1 nk-extract -q -m h.0.w "$BATS_TEST_TMPDIR/m"
  [[ $output == *"tensor 'h.0.w' is not there: its shard 'model-00002-of-00002.safetensors' is missing" ]]
  rm "$BATS_TEST_TMPDIR/m/model-00001-of-00002.safetensors"
  run -1 nk-extract -q "$BATS_TEST_TMPDIR/m"
  [[ $output == *"shard 'model-00001-of-00002.safetensors' is missing, and all others" ]]
}

@test "tensors of other types are listed, and block no other" {
  make_safetensors "$BATS_TEST_TMPDIR/m.safetensors" '{"wte.weight":{"dtype":"F32","shape":[2,1],
    "data_offsets":[0,8]},"a":{"dtype":"F8_E8M0","shape":[4],"data_offsets":[8,12]},"b":{"dtype":
    "F4","shape":[2,3],"data_offsets":[12,15]},"c":{"dtype":"Q5_\u001b[1m","shape":[9,9],"data_offsets":[15,16]}}' 16
  run -0 nk-extract --list "$BATS_TEST_TMPDIR/m.safetensors"
  [ "$output" = $'name\tdtype\tshape\tbytes\nwte.weight\tF32\t2x1\t8\na\tF8_E8M0\t4\t4\nb\tF4\t2x3\t3\nc\tQ5_\\x1B[1m\t9x9\t1' ]
  run -0 bash -c "nk-extract '$BATS_TEST_TMPDIR/m.safetensors' | nk-convert --to tsv"
  [ "$output" = $'id\tv1\n0\t0\n1\t0' ]
  run -1 nk-extract -m c "$BATS_TEST_TMPDIR/m.safetensors"
  [[ $output == *"tensor 'c': elements of type Q5_\\x1B[1m, where F32, F16, BF16 or F64 is needed; "* ]]
}

@test "a tensor of one dimension is extracted as one row" {
  run -0 bash -c "nk-extract -m ln_f.bias $MODEL | nk-convert --to tsv"
  [ "$output" = $'id\tv1\tv2\tv3\tv4\n0\t0\t0\t0\t0' ]
}

@test "a Git LFS pointer is named as such, whatever file it stands for" {
  pointer=$'version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345'
  for file in model.safetensors config.json tokenizer.json; do
    cp -r $MODEL "$BATS_TEST_TMPDIR/$file.m"
    echo "$pointer" >"$BATS_TEST_TMPDIR/$file.m/$file"
    run -1 nk-extract "$BATS_TEST_TMPDIR/$file.m"
    [[ $output == *"$file: is a Git LFS pointer, not the file itself: "*"'git lfs pull'"* ]]
  done
  for file in x.npy x.gguf x.tsv; do
    echo "$pointer" >"$BATS_TEST_TMPDIR/$file"
  done
  run -1 nk-stats "$BATS_TEST_TMPDIR/x.npy"
  [[ $output == *"x.npy: is a Git LFS pointer"* ]]
  run -1 nk-tokens "$BATS_TEST_TMPDIR/x.gguf"
  [[ $output == *"x.gguf: is a Git LFS pointer"* ]]
  run -1 nk-extract --ids-from "$BATS_TEST_TMPDIR/x.tsv" $MODEL
  [[ $output == *"x.tsv: is a Git LFS pointer"* ]]
}

@test "JSON files are read as Python writes them" {
  cp -r $MODEL "$BATS_TEST_TMPDIR/m"
  for file in config.json tokenizer.json; do # a byte order mark, CRLF, and numbers that are not finite
    { printf '\xEF\xBB\xBF{"limits": [Infinity, -Infinity, NaN],\r\n'; tail -c +2 $MODEL/$file; } \
      >"$BATS_TEST_TMPDIR/m/$file"
  done
  nk-extract -q -m position "$BATS_TEST_TMPDIR/m" | nk-convert --to npy | cmp - $MODEL/wpe.npy
  diff <(nk-tokens $MODEL) <(nk-tokens "$BATS_TEST_TMPDIR/m")
}

@test "an output matrix of an unknown name is found, with a warning" {
  mkdir "$BATS_TEST_TMPDIR/m"
  make_safetensors "$BATS_TEST_TMPDIR/m/model.safetensors" '{"wte.weight":{"dtype":"F32","shape":[3,1],
    "data_offsets":[0,12]},"ff_out.weight":{"dtype":"F32","shape":[3,1],"data_offsets":[12,24]}}' 12
  printf '\0\0\x80\x3F\0\0\0\x40\0\0\x40\x40' >>"$BATS_TEST_TMPDIR/m/model.safetensors"
  run -0 --separate-stderr bash -c "nk-extract -m output '$BATS_TEST_TMPDIR/m' | nk-convert --to tsv"
  [ "$output" = $'id\tv1\n0\t1\n1\t2\n2\t3' ]
  [[ $stderr == *"'ff_out.weight' is taken as the output matrix: its name is unknown"* ]]
}

@test "rows that are not finite are extracted as they are" {
  make_safetensors "$BATS_TEST_TMPDIR/nan.safetensors" \
    '{"w":{"dtype":"BF16","shape":[2,1],"data_offsets":[0,4]}}' 0
  printf '\300\177\200\377' >>"$BATS_TEST_TMPDIR/nan.safetensors"
  run -0 bash -c "nk-extract -m w '$BATS_TEST_TMPDIR/nan.safetensors' | nk-convert --to tsv"
  [ "$output" = $'id\tv1\n0\t\n1\t-inf' ]
}

@test "outputs that fail are noticed" {
  run -1 nk-extract -q $MODEL -o /dev/full
  [[ $output == "nk-extract: /dev/full: No space left on device" ]]
  run -1 bash -c "nk-extract -q $MODEL >/dev/full"
  [[ $output == *"No space left on device" ]]
  run -1 nk-extract -q $MODEL -o "$BATS_TEST_TMPDIR"
  [[ $output == *"is a directory"* ]]
  run -1 nk-extract -q $MODEL -o "$BATS_TEST_TMPDIR/no/such/folder"
  run -1 nk-extract $MODEL/config.json
  [[ $output == *"config.json: not a safetensors file"* ]]
}

@test "a reader that has seen enough ends it quietly" {
  make_safetensors "$BATS_TEST_TMPDIR/long.safetensors" \
    '{"w":{"dtype":"F16","shape":[65536,64],"data_offsets":[0,8388608]}}' 8388608
  run -0 --separate-stderr bash -c \
    "nk-extract -m w '$BATS_TEST_TMPDIR/long.safetensors' | head -c 100 | wc -c"
  [ "$output" -eq 100 ]
  [ -z "$stderr" ]
}

@test "a terminal is refused as output" {
  command -v script >/dev/null || skip "script(1) is not installed"
  run script -qec "nk-extract -q $MODEL" /dev/null
  [ "$status" -eq 2 ]
  [[ $output == *"nk-extract: binary output to a terminal"* ]]
}

@test "a double beyond the range of a float is extracted with a warning" {
  make_safetensors "$BATS_TEST_TMPDIR/f64.safetensors" \
    '{"w":{"dtype":"F64","shape":[2,1],"data_offsets":[0,16]}}' 8
  printf '\x9C\x75\x00\x88\x3C\xE4\x37\x7E' >>"$BATS_TEST_TMPDIR/f64.safetensors" # 1e300, little-endian
  run -0 --separate-stderr bash -c "nk-extract -m w '$BATS_TEST_TMPDIR/f64.safetensors' | nk-convert --to tsv"
  [ "$output" = $'id\tv1\n0\t0\n1\tinf' ]
  [[ $stderr == *"tensor 'w': row 1 holds 1e+300, beyond the range of a float: it is written as an infinity" ]]
}

@test "a message stays one printable line, whatever a file calls its tensors" {
  local name='a\u001b[31m\nb'
  make_safetensors "$BATS_TEST_TMPDIR/esc.safetensors" \
    "{\"$name\":{\"dtype\":\"F32\",\"shape\":[2,2],\"data_offsets\":[0,8]}}" 8
  run -1 --separate-stderr nk-extract "$BATS_TEST_TMPDIR/esc.safetensors"
  [ "${#stderr_lines[@]}" -eq 1 ]
  [[ $stderr == *"tensor 'a\\x1B[31m\\nb': dtype and shape need 16 bytes"* ]]
  cp -r $MODEL "$BATS_TEST_TMPDIR/esc"
  sed -i 's/"gpt2"/"x\\u001b[31m\\ny"/' "$BATS_TEST_TMPDIR/esc/config.json"
  run -1 --separate-stderr nk-verify "$BATS_TEST_TMPDIR/esc" <<<$'id\n1'
  [ "${#stderr_lines[@]}" -eq 1 ]
  [[ $stderr == *'x\x1B[31m\ny'* ]]
  echo '{"weight_map":{"wte.weight":"\u001b[31m\n.safetensors"}}' \
    >"$BATS_TEST_TMPDIR/esc/model.safetensors.index.json"
  rm "$BATS_TEST_TMPDIR/esc/model.safetensors"
  run -1 --separate-stderr nk-extract "$BATS_TEST_TMPDIR/esc"
  [ "${#stderr_lines[@]}" -eq 1 ]
  [[ $stderr == *"shard '\\x1B[31m\\n.safetensors' is missing"* ]]
}
