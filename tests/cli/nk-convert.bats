# nk-convert: vector sets in other formats and back.
bats_require_minimum_version 1.5.0

NPY=tests/fixtures/npy
MODEL=tests/fixtures/model

setup() {
  cd "$BATS_TEST_DIRNAME/../.."
}

@test "every .npy of floats becomes the same set, whatever its type and order" {
  for name in f4 f4-fortran f4-version2 f4-version3 f2 f8-fortran; do
    nk-convert --to npy $NPY/$name.npy | cmp - $NPY/f4.npy
    nk-convert --to safetensors <$NPY/$name.npy | nk-convert --to npy | cmp - $NPY/f4.npy
    cat $NPY/$name.npy | nk-convert --to npy | cmp - $NPY/f4.npy
  done
}

@test "raw floats are the rows and nothing else" {
  nk-convert --to f32 $NPY/f4-fortran.npy | cmp - <(tail -c 48 $NPY/f4.npy)
}

@test "raw floats and a table come back as the set that they were written from" {
  s=$BATS_TEST_TMPDIR/s
  nk-extract data/gpt2-tiny --ids 300-310 -o "$s.safetensors"
  nk-convert --to npy "$s.safetensors" >"$s.npy"
  nk-convert --to f32 "$s.safetensors" | nk-convert --dim 128 --to npy | cmp - "$s.npy"
  nk-convert --to tsv "$s.safetensors" >"$s.tsv"
  nk-convert --to npy "$s.tsv" | cmp - "$s.npy"
  nk-convert --to tsv "$s.tsv" | cmp - "$s.tsv"
  nk-stats --summary "$s.tsv" | cmp - <(nk-stats --summary "$s.safetensors")
  run -1 nk-convert --dim 100 --to npy <(nk-convert --to f32 "$s.safetensors")
  [[ "$output" == *"5632 bytes are not whole rows of 100 floats" ]]
  run -2 nk-convert --dim 100 --model gguf data/gpt2-tiny
  run -1 nk-stats <(nk-stats "$s.safetensors")
  [[ "$output" == *"a table, but not a vector set"* ]]
}

@test "a table has ids, texts, columns and values" {
  run -0 nk-convert --to tsv $NPY/one-row.npy
  [ "$output" = $'id\tv1\tv2\tv3\tv4\n0\t0.5\t1.5\t2.5\t3.5' ]
  run -0 bash -c "nk-extract -q --ids 2 $MODEL | nk-convert --to tsv --json"
  [[ $output == '{"id":2,"text":" a","v1":-0.4921875,"v2":'* ]]
}

@test "word2vec's words hold no space, are never empty, and values come back exactly" {
  run -0 bash -c "nk-extract -q $MODEL | nk-convert --to word2vec"
  [ "${lines[0]}" = "6 4" ]
  [ "$(cut -d ' ' -f 1 <<<"$output" | tail -n +2 | paste -sd '|')" = 'a|b|\x20a|\n|\xC3|id:5' ]
  [ "$(awk 'NR > 1 { print NF }' <<<"$output" | sort -u)" = 5 ]
  [ "$(sed -n 4p <<<"$output")" = '\x20a -0.4921875 -0.620605469 0.489746094 0.356933594' ]
  run -0 nk-convert --to word2vec $NPY/f4.npy
  [ "${lines[3]}" = "2 8.5 9.5 10.5 11.5" ]
}

@test "spaces of Unicode cannot split a word of word2vec" {
  cp -r $MODEL "$BATS_TEST_TMPDIR/m"
  # U+00A0 and U+3000 in the alphabet of bytes
  sed -i 's/"\\u00c3": 4/"\\u00c2\\u0142": 4, "\\u00e3\\u0122\\u0122": 5/' \
    "$BATS_TEST_TMPDIR/m/tokenizer.json"
  run -0 bash -c "nk-extract -q --ids 4,5 '$BATS_TEST_TMPDIR/m' | nk-convert --to word2vec"
  [[ ${lines[1]} == '\xC2\xA0 '* ]]
  [[ ${lines[2]} == '\xE3\x80\x80 '* ]]
}

@test "a set's columns are in its table, and none may be taken for a value" {
  make_set() { # make_set COLUMN: one row, the values 0 and 0, the column's value 0
    local header="{\"vectors\":{\"dtype\":\"F32\",\"shape\":[1,2],\"data_offsets\":[0,8]},"
    header+="\"$1\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[8,12]}}"
    printf '%b\0\0\0\0\0\0\0%s\0\0\0\0\0\0\0\0\0\0\0\0' "\\x$(printf %02x ${#header})" "$header"
  }
  run -0 bash -c "$(declare -f make_set); make_set distance | nk-convert --to tsv"
  [ "$output" = $'id\tdistance\tv1\tv2\n0\t0\t0\t0' ]
  run -1 bash -c "$(declare -f make_set); make_set v2 | nk-convert --to tsv"
  [[ $output == *"the set's column 'v2' has the name of a value" ]]
  run -0 bash -c "$(declare -f make_set); make_set v3 | nk-convert --to tsv"
}

@test "the projector's folder holds values, metadata and a configuration" {
  nk-extract -q $MODEL | nk-convert --to projector -o "$BATS_TEST_TMPDIR/p"
  [ "$(ls "$BATS_TEST_TMPDIR/p")" = $'metadata.tsv\nprojector_config.pbtxt\nvectors.tsv' ]
  [ "$(cat "$BATS_TEST_TMPDIR/p/metadata.tsv")" = \
    $'text\tid\na\t0\nb\t1\n a\t2\n\\n\t3\n\\xC3\t4\n\t5' ]
  run -0 awk -F '\t' 'NF != 4 { print "bad" } END { print NR }' "$BATS_TEST_TMPDIR/p/vectors.tsv"
  [ "$output" = 6 ]
  grep -q 'metadata_path: "metadata.tsv"' "$BATS_TEST_TMPDIR/p/projector_config.pbtxt"
  nk-convert --to projector $NPY/f4.npy -o "$BATS_TEST_TMPDIR/p" # again, into the same folder
  [ "$(cat "$BATS_TEST_TMPDIR/p/metadata.tsv")" = $'0\n1\n2' ] # one column: no header
}

@test "a set is written back with a longer history and no other change" {
  nk-extract -q $MODEL -o "$BATS_TEST_TMPDIR/a"
  nk-convert --to safetensors "$BATS_TEST_TMPDIR/a" -o "$BATS_TEST_TMPDIR/b"
  cmp <(nk-convert --to tsv "$BATS_TEST_TMPDIR/a") <(nk-convert --to tsv "$BATS_TEST_TMPDIR/b")
  strings -n 8 "$BATS_TEST_TMPDIR/b" | grep -F 'nk-convert --to safetensors a\"'
  strings -n 8 "$BATS_TEST_TMPDIR/b" | grep -F 'nk-extract -q model\"'
}

@test "a history has no threads, whatever the length of the option" {
  for threads in --threads=1 '--threads 1' '--thr 1' '--th=1'; do
    nk-convert --to safetensors $threads $NPY/f4.npy -o "$BATS_TEST_TMPDIR/h"
    grep -aqF 'nk-convert --to safetensors f4.npy\"' "$BATS_TEST_TMPDIR/h"
  done
  # --r is --resample here, and not --rpc
  nk-extract -q data/gpt2-tiny | nk-region fit -q -o "$BATS_TEST_TMPDIR/r"
  nk-sample "$BATS_TEST_TMPDIR/r" -n 1 --r -o "$BATS_TEST_TMPDIR/s"
  grep -aqF 'nk-sample r -n 1 --r\"' "$BATS_TEST_TMPDIR/s"
}

@test "empty sets are written as such" {
  nk-convert --to npy $NPY/no-rows.npy | cmp - $NPY/no-rows.npy
  run -0 nk-convert --to tsv $NPY/no-rows.npy
  [ "$output" = $'id\tv1\tv2\tv3\tv4' ]
  run -0 nk-convert --to word2vec $NPY/no-rows.npy
  [ "$output" = "0 4" ]
  [ "$(nk-convert --to f32 $NPY/no-rows.npy | wc -c)" -eq 0 ]
}

@test "an array of one dimension is a set of one row" {
  nk-convert --to npy $NPY/one-dimension.npy | cmp - $NPY/one-row.npy
  nk-convert --to npy $NPY/one-dimension-f8.npy | cmp - $NPY/one-row.npy
}

@test "a value beyond the range of a float is called that" {
  run -0 --separate-stderr nk-convert --to tsv $NPY/beyond-float.npy
  [[ $stderr == *": row 2 holds 1e+300, beyond the range of a float: it is read as an infinity" ]]
  [ "${lines[3]}" = $'2\t8.5\tinf\t10.5\t11.5' ]
}

@test "a set without rows has no endless header" {
  local header='{"vectors":{"dtype":"F32","shape":[0,1000000000],"data_offsets":[0,0]}}'
  printf '%b\0\0\0\0\0\0\0%s' "\\x$(printf %02x ${#header})" "$header" \
    >"$BATS_TEST_TMPDIR/empty.safetensors"
  run -1 timeout 10 nk-convert --to tsv "$BATS_TEST_TMPDIR/empty.safetensors"
  [[ $output == *"0 rows of 1000000000 values: too many columns for a table" ]]
}

@test "rotary positions of a kind that GGUF is not given are an error under both of their names" {
  cp -r data/llama-tiny "$BATS_TEST_TMPDIR/m"
  for name in rope_scaling rope_parameters; do
    sed "1s/{/{\"$name\": {\"rope_type\": \"ntk\", \"factor\": 2.0},/; /\"rope_scaling\": null/d" \
      data/llama-tiny/config.json >"$BATS_TEST_TMPDIR/m/config.json"
    run -1 nk-convert --model gguf "$BATS_TEST_TMPDIR/m" -o "$BATS_TEST_TMPDIR/x.gguf"
    [[ $output == *"config.json: $name 'ntk' is not written as GGUF" ]]
  done
}

@test "an unreadable input gives a message of one line" {
  for name in object structured big-endian i8 three-dimensions complex; do
    run -1 --separate-stderr nk-convert --to tsv $NPY/$name.npy
    [ -z "$output" ]
    [ "${#stderr_lines[@]}" -eq 1 ]
    [[ $stderr == "nk-convert: $NPY/$name.npy: "* ]]
  done
  run -1 nk-convert --to tsv "$BATS_TEST_TMPDIR"
  [[ $output == *"is a directory"* ]]
  run -1 nk-convert --to tsv "$BATS_TEST_TMPDIR/none"
  [[ $output == *"No such file"* ]]
  run -1 nk-convert --to tsv /dev/null
  [[ $output == *"only 0 bytes"* ]]
}

@test "a model as GGUF keeps its matrices and vocabulary, another architecture is an error" {
  root=$BATS_TEST_DIRNAME/../..
  cd "$BATS_TEST_TMPDIR"
  nk-convert --model gguf "$root/data/llama-tiny" -o f32.gguf
  nk-convert --model gguf --type f16 "$root/data/llama-tiny" -o f16.gguf
  [ "$(head -c 4 f32.gguf)" = GGUF ]
  # Half of the matrices' bytes and nothing else is gone.
  [ $(($(wc -c <f32.gguf) - $(wc -c <f16.gguf))) -ge 4000000 ]
  grep -aq SolidGoldNokenkarp f32.gguf
  run -1 nk-convert --model gguf "$root/tests/fixtures/forward/opt" -o x.gguf
  [[ $output == *"architecture 'opt' is not written as GGUF"* ]]
  [ ! -e x.gguf ]
  nk-convert --model gguf "$root/tests/fixtures/forward/phi" -o phi.gguf
  run -1 nk-convert --model gguf "$root/tests/fixtures/forward/phi-norms" -o x.gguf
  [[ $output == *"config.json: qk_layernorm = true is not written as GGUF" ]]
  run -2 nk-convert --model gguf --to npy "$root/data/llama-tiny"
  run -2 nk-convert --model gguf
}

@test "usage errors exit with 2" {
  run -2 nk-convert $NPY/f4.npy
  [[ $output == "nk-convert: --to FORMAT is needed ("* ]]
  run -2 nk-convert --to gif $NPY/f4.npy
  run -2 nk-convert --to npy --type q8_0 $NPY/f4.npy
  [ "$output" = "nk-convert: --type is of a model's matrices: give --model too" ]
  run -2 nk-convert --to npy --type f32 $NPY/f4.npy
  run -2 nk-convert --to npy --dim 0 $NPY/f4.npy
  [ "$output" = "nk-convert: --dim: at least 1 float to a row" ]
  run -2 nk-convert --to projector $NPY/f4.npy
  [[ $output == *"-o FOLDER"* ]]
}

@test "failed outputs leave no file" {
  run -1 nk-convert --to npy $NPY/f4.npy -o /dev/full
  run -1 bash -c "nk-convert --to tsv $NPY/f4.npy >/dev/full"
  [[ $output == *"No space left on device" ]]
  echo old >"$BATS_TEST_TMPDIR/file"
  run -1 nk-convert --to projector $NPY/f4.npy -o "$BATS_TEST_TMPDIR/file"
  run -1 nk-convert --to npy $NPY/object.npy -o "$BATS_TEST_TMPDIR/file"
  [ "$(cat "$BATS_TEST_TMPDIR/file")" = old ]
}

@test "binary formats are not written to a terminal, text is" {
  command -v script >/dev/null || skip "script(1) is not installed"
  for format in npy f32 safetensors; do
    run script -qec "nk-convert --to $format $NPY/f4.npy" /dev/null
    [ "$status" -eq 2 ]
  done
  run script -qec "nk-convert --to tsv $NPY/f4.npy" /dev/null
  [ "$status" -eq 0 ]
}

@test "a GGUF is refused where it would leave out parts of blocks, or blocks" {
  cd "$BATS_TEST_TMPDIR"
  cp -rL "$BATS_TEST_DIRNAME"/../fixtures/forward/{llama,qwen3} .
  chmod -R u+w llama qwen3
  sed -i 's/hidden_layers": 3/hidden_layers": 2/' llama/config.json
  sed -i 's/"qwen3"/"llama"/' qwen3/config.json
  run -1 nk-convert --model gguf llama -o out.gguf
  [[ "$output" == "nk-convert: llama: tensor 'model.layers.2."*" belongs to block 2, config.json says 2 blocks" ]]
  run -1 nk-convert --model gguf qwen3 -o out.gguf
  [[ "$output" == *"_norm.weight': 'llama' models have no such part" ]]
  [ ! -e out.gguf ]
}

# The tensors of a set: its bytes after the header, and the header without metadata.
tensors() { # tensors SET
  python3 -c '
import json, struct, sys
data = open(sys.argv[1], "rb").read()
n = struct.unpack("<Q", data[:8])[0]
header = json.loads(data[8:8 + n])
header.pop("__metadata__")
sys.stdout.buffer.write(json.dumps(header).encode() + data[8 + n:])' "$1"
}
history() { # history SET
  python3 -c '
import json, struct, sys
data = open(sys.argv[1], "rb").read()
n = struct.unpack("<Q", data[:8])[0]
print("\n".join(json.loads(json.loads(data[8:8 + n])["__metadata__"]["noken.history"])))' "$1"
}

@test "sets one after another have the bytes of the set that was not in parts" {
  command -v python3 >/dev/null || skip "python3 is not installed"
  root=$PWD
  cd "$BATS_TEST_TMPDIR"
  for ids in 300-309 300-302 303 304-309; do
    nk-extract -q "$root/data/gpt2-tiny" --ids $ids -o $ids
  done
  nk-convert --cat 300-302 303 304-309 -o joined
  cmp <(tensors 300-309) <(tensors joined)
  nk-convert --cat 300-302 - 304-309 <303 | cmp <(tensors joined) <(tensors /dev/stdin)
  history joined >lines
  [ "$(sed -n 4p lines)" = "nk-convert --cat 300-302 303 304-309" ]
  [ "$(wc -l <lines)" -eq 4 ]
  # Texts, twice the same history, an empty set, ids that occur twice.
  nk-extract -q "$root/data/gpt2-tiny" --ids 5-9,5-9 -o all
  nk-extract -q "$root/data/gpt2-tiny" --ids 5-9 -o some
  nk-convert --cat some some -o twice
  cmp <(tensors all) <(tensors twice)
  [ "$(wc -l < <(history twice))" -eq 2 ]
  nk-convert --cat some -o once
  cmp <(tensors some) <(tensors once)
}

@test "integers beyond a double's, floats and doubles of columns survive" {
  command -v python3 >/dev/null || skip "python3 is not installed"
  cd "$BATS_TEST_TMPDIR"
  python3 - <<'END'
import json, struct
def write(path, rows):
    n = len(rows)
    parts = [("id", "I64", [n], struct.pack("<%dq" % n, *[r[0] for r in rows])),
             ("big", "I64", [n], struct.pack("<%dq" % n, *[r[1] for r in rows])),
             ("wide", "F64", [n], struct.pack("<%dd" % n, *[r[2] for r in rows])),
             ("vectors", "F32", [n, 2], struct.pack("<%df" % (2 * n), *[x for r in rows for x in r[3]])),
             ("narrow", "F32", [n], struct.pack("<%df" % n, *[r[4] for r in rows]))]
    header, data = {"__metadata__": {"mine": "kept"}}, b""
    for name, dtype, shape, bytes in parts:
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(bytes)]}
        data += bytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    open(path, "wb").write(struct.pack("<Q", len(text)) + text + data)
rows = [(7 * i, 2**62 + i, 1 / (i + 1), (i, -i), 0.1 * i) for i in range(5)]
write("whole", rows)
write("a", rows[:2])
write("b", rows[2:2])
write("c", rows[2:])
END
  nk-convert --cat a b c -o joined
  nk-convert --to safetensors whole -o expected
  cmp <(tensors expected) <(tensors joined)
  grep -aq '"mine":"kept"' joined
}

@test "sets that differ in shape, columns, words or texts are refused" {
  cd "$BATS_TEST_TMPDIR"
  printf 'id\tx\tv1\tv2\n1\t2\t3\t4\n' >a
  printf 'id\tv1\tv2\n1\t3\t4\n' >b
  printf 'id\tx\tv1\tv2\n1\t0.5\t3\t4\n' >c
  printf 'id\tx\tv1\n1\t2\t3\n' >d
  printf 'id\ttext\tx\tv1\tv2\n1\tt\t2\t3\t4\n' >e
  run -1 nk-convert --cat a b
  [ "$output" = "nk-convert: b: no column 'x', which a has: all sets need the same" ]
  run -1 nk-convert --cat b a
  [ "$output" = "nk-convert: b: no column 'x', which a has: all sets need the same" ]
  run -1 nk-convert --cat a c
  [ "$output" = "nk-convert: c: column 'x' is F64, that of a is I64" ]
  run -1 nk-convert --cat a d
  [ "$output" = "nk-convert: d: 1 dimensions, a has 2" ]
  run -1 nk-convert --cat a e
  [ "$output" = "nk-convert: e has texts and a has none: all sets or none need them" ]
  run -1 nk-convert --cat a none
  [ "$output" = "nk-convert: none: No such file or directory" ]
  for codes in '["x","y"]' '["x","z"]'; do
    header='{"__metadata__":{"noken.kind":"vectors","noken.codes.x":"'"${codes//\"/\\\"}"'"},"x":{"dtype":"I64",'
    header+='"shape":[1],"data_offsets":[0,8]},"vectors":{"dtype":"F32","shape":[1,2],"data_offsets":[8,16]}}'
    { printf '%b' "\\x$(printf %02x $((${#header} % 256)))\\x$(printf %02x $((${#header} / 256)))"
      printf '\0\0\0\0\0\0%s' "$header"
      head -c 16 /dev/zero; } >"${codes//[^a-z]/}"
  done
  nk-convert --cat xy xy >/dev/null
  run -1 nk-convert --cat xy xz
  [ "$output" = "nk-convert: xz: the words of column 'x' are not those of xy" ]
}

@test "--cat takes sets alone, and other conversions one" {
  run -2 nk-convert --cat
  run -2 nk-convert --cat --to npy a b
  run -2 nk-convert --cat --model gguf a
  run -2 nk-convert --to npy a b
  [[ "$output" = *"'b'"* ]]
}
