# nk-convert --model hf: models written as folders, and their shuffled controls.
bats_require_minimum_version 1.5.0

PYTHON=${NOKEN_PYTHON:-python3}

setup() {
  cd "$BATS_TEST_DIRNAME/../.."
  tmp=$BATS_TEST_TMPDIR
}

# values HOW MODEL COPY: see same_values.py
values() {
  command -v "$PYTHON" >/dev/null || skip "python3 is not installed"
  "$PYTHON" tests/cli/same_values.py "$@"
}

# make_model FOLDER: two shards that hold tied matrices twice, buffers, and several types
make_model() {
  command -v "$PYTHON" >/dev/null || skip "python3 is not installed"
  cp -r data/gpt2-tiny "$1"
  rm "$1/model.safetensors" "$1/counts.tsv"
  "$PYTHON" - data/gpt2-tiny/model.safetensors "$1" <<'END'
import json, os, sys
with open(sys.argv[1], "rb") as file:
    data = file.read()
start = 8 + int.from_bytes(data[:8], "little")
head = json.loads(data[8:start])
head.pop("__metadata__", None)
all = {n: (e["dtype"], e["shape"], data[start + e["data_offsets"][0]:start + e["data_offsets"][1]])
       for n, e in head.items()}
wte = next(n for n in all if n.endswith("wte.weight"))
all["lm_head.weight"] = all[wte]
mask = b"".join(bytes([int(j <= i)]) for i in range(16) for j in range(16))
all["transformer.h.0.attn.bias"] = ("U8", [1, 1, 16, 16], mask)
all["transformer.h.1.attn.bias"] = ("F16", [1, 1, 16, 16], b"".join(bytes([0, 60 * b]) for b in mask))
names, index = sorted(all), {}
for i, shard in enumerate((names[::2], names[1::2])):
    at, entries, body = 0, {}, b""
    for n in shard:
        dtype, shape, raw = all[n]
        entries[n] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(raw)]}
        at += len(raw)
        body += raw
    text = json.dumps(entries).encode()
    path = "model-%05d-of-00002.safetensors" % (i + 1)
    index.update({n: path for n in shard})
    with open(os.path.join(sys.argv[2], path), "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text + body)
with open(os.path.join(sys.argv[2], "model.safetensors.index.json"), "w") as file:
    json.dump({"metadata": {}, "weight_map": index}, file)
END
}

@test "a folder has the model's tensors, configuration and tokenizer, byte for byte" {
  for model in gpt2-tiny llama-tiny; do
    nk-convert --model hf data/$model -o "$tmp/$model"
    cmp data/$model/config.json "$tmp/$model/config.json"
    cmp data/$model/tokenizer.json "$tmp/$model/tokenizer.json"
    [ "$(ls "$tmp/$model" | tr '\n' ' ')" = "config.json model.safetensors tokenizer.json " ]
    values same data/$model "$tmp/$model"
    diff <(nk-glitch -n 20 data/$model) <(nk-glitch -n 20 "$tmp/$model")
  done
  [ -z "$(ls -A "$tmp" | grep part)" ]
}

@test "a sharded model becomes one file" {
  make_model "$tmp/sharded"
  nk-convert --model hf "$tmp/sharded" -o "$tmp/whole"
  values same "$tmp/sharded" "$tmp/whole"
  [ ! -e "$tmp/whole/model.safetensors.index.json" ]
  nk-convert --model hf "$tmp/whole" -o "$tmp/again"
  cmp "$tmp/whole/model.safetensors" "$tmp/again/model.safetensors"
}

@test "shuffled weights have the same entries; tied matrices stay tied, buffers keep theirs" {
  make_model "$tmp/sharded"
  for model in "$tmp/sharded" data/llama-tiny; do
    name=shuffled-$(basename "$model")
    nk-convert --model hf --shuffle-weights 3 "$model" -o "$tmp/$name"
    values shuffled "$model" "$tmp/$name"
  done
}

@test "the order is the seed's, whatever the threads and the shards" {
  make_model "$tmp/sharded"
  nk-convert --model hf "$tmp/sharded" -o "$tmp/whole"
  for threads in 1 4; do
    nk-convert --model hf --shuffle-weights 7 --threads $threads "$tmp/whole" -o "$tmp/t$threads"
  done
  cmp "$tmp/t1/model.safetensors" "$tmp/t4/model.safetensors"
  nk-convert --model hf --shuffle-weights 7 "$tmp/sharded" -o "$tmp/s"
  values same "$tmp/s" "$tmp/t1"
  nk-convert --model hf --shuffle-weights 8 "$tmp/whole" -o "$tmp/other"
  run ! cmp -s "$tmp/t1/model.safetensors" "$tmp/other/model.safetensors"
}

@test "a shuffled model runs, and nk-glitch reports nothing in it" {
  for model in gpt2-tiny llama-tiny; do
    nk-convert --model hf --shuffle-weights 1 data/$model -o "$tmp/$model"
    nk-run -q "$tmp/$model" -p 'The {} of' --ids 300,8100 --unverified --reference 8 > "$tmp/run.tsv"
    [ "$(wc -l < "$tmp/run.tsv")" -eq 3 ]
    nk-glitch -q --summary "$tmp/$model" > "$tmp/summary.tsv"
    grep -q $'^reported\t0$' "$tmp/summary.tsv"
    nk-glitch -q --summary data/$model | grep -q $'^reported\t[1-9]'
  done
}

@test "Transformers opens the folders and gives the most probable token that nk-run gives" {
  "$PYTHON" -c 'import torch, transformers' 2>/dev/null || skip "no PyTorch and Transformers"
  nk-convert --model hf data/llama-tiny -o "$tmp/plain"
  nk-convert --model hf --shuffle-weights 2 data/gpt2-tiny -o "$tmp/shuffled"
  for folder in plain shuffled; do
    "$PYTHON" - "$tmp/$folder" > "$tmp/top" 2> "$tmp/errors" <<'END'
import sys, torch
from transformers import AutoModelForCausalLM, AutoTokenizer
model = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.float32)
ids = AutoTokenizer.from_pretrained(sys.argv[1])("The").input_ids + [300]
print(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
END
    nk-run "$tmp/$folder" -p 'The{}' --ids 300 --lens 4 --offsets 0 | cut -f 7 | tail -n 1 |
      cmp - "$tmp/top"
  done
}

@test "a folder that holds something is not touched, an empty one is taken" {
  mkdir "$tmp/full" "$tmp/empty"
  echo kept > "$tmp/full/config.json"
  run -2 --separate-stderr nk-convert --model hf data/gpt2-tiny -o "$tmp/full"
  [[ $stderr == *"full: the folder is not empty: name a new one" ]]
  [ "$(cat "$tmp/full/config.json")" = kept ]
  nk-convert --model hf data/gpt2-tiny -o "$tmp/empty/"
  [ -e "$tmp/empty/model.safetensors" ]
  run -1 --separate-stderr nk-convert --model hf data/gpt2-tiny -o "$tmp/full/config.json"
  run -1 --separate-stderr nk-convert --model hf data/gpt2-tiny -o "$tmp/none/folder"
  [ ! -e "$tmp/none" ]
}

@test "a write that fails leaves no folder behind" {
  run -1 --separate-stderr bash -c "ulimit -f 1000; exec nk-convert --model hf data/gpt2-tiny -o '$tmp/big'"
  [[ $stderr == *"model.safetensors"* ]]
  [ -z "$(ls -A "$tmp" | grep big)" ]
  run -1 nk-convert --model hf data/gpt2-tiny -o "$tmp/none/model"
  [ "$output" = "nk-convert: $tmp/none/model: No such file or directory" ]
}

@test "what a killed process left is removed, but no file that it cannot have written" {
  nk-convert --model hf data/gpt2-tiny -o "$tmp/model"
  mkdir "$tmp/again.noken-part"
  for file in config.json other.json model.safetensors model.safetensors.12.part; do
    echo left > "$tmp/again.noken-part/$file"
  done
  nk-convert --model hf data/gpt2-tiny -o "$tmp/again"
  diff -r "$tmp/model" "$tmp/again"
  [ ! -e "$tmp/again.noken-part" ]
  mkdir "$tmp/notes.noken-part"
  echo kept > "$tmp/notes.noken-part/notes.md"
  run -2 --separate-stderr nk-convert --model hf data/gpt2-tiny -o "$tmp/notes"
  [[ $stderr == *"notes.noken-part: holds 'notes.md', not a file of a folder in the making"* ]]
  [ "$(cat "$tmp/notes.noken-part/notes.md")" = kept ]
  cp -r data/gpt2-tiny "$tmp/left.noken-part"
  run -2 --separate-stderr nk-convert --model hf "$tmp/left.noken-part" -o "$tmp/left"
  [[ $stderr == *"what is left of a folder that was not completed"* ]]
  cmp data/gpt2-tiny/model.safetensors "$tmp/left.noken-part/model.safetensors"
}

@test "two processes do not write one folder" {
  command -v flock >/dev/null || skip "flock is not installed"
  mkdir "$tmp/busy.noken-part"
  run -2 --separate-stderr flock "$tmp/busy.noken-part" nk-convert --model hf data/gpt2-tiny -o "$tmp/busy"
  [ "$stderr" = "nk-convert: $tmp/busy: another process writes this folder" ]
}

@test "models that are no folders, and bad uses, are errors that say so" {
  run -2 --separate-stderr nk-convert --model hf data/gpt2-tiny
  [[ $stderr == *"name it with -o FOLDER"* ]]
  run -2 --separate-stderr nk-convert --model hf --type f16 data/gpt2-tiny -o "$tmp/x"
  [[ $stderr == *"--type is of a GGUF"* ]]
  run -2 --separate-stderr nk-convert --model gguf --shuffle-weights 1 data/gpt2-tiny -o "$tmp/x"
  [[ $stderr == *"use --model hf"* ]]
  run -2 --separate-stderr nk-convert --model hf --shuffle-weights -1 data/gpt2-tiny -o "$tmp/x"
  [[ $stderr == *"'-1' is not a seed"* ]]
  run -2 --separate-stderr nk-convert --shuffle-weights 1 data/gpt2-tiny
  [[ $stderr == *"--shuffle-weights is of a model"* ]]
  run -1 --separate-stderr nk-convert --model hf data/gpt2-tiny/model.safetensors -o "$tmp/x"
  [[ $stderr == *"a single file"* ]]
  nk-convert --model gguf data/llama-tiny -o "$tmp/m.gguf"
  run -1 --separate-stderr nk-convert --model hf "$tmp/m.gguf" -o "$tmp/x"
  [[ $stderr == *"m.gguf: a single file"* ]]
  cp -r data/llama-tiny "$tmp/quantized"
  sed -i 's/^{/{"quantization_config": {"quant_method": "gptq"},/' "$tmp/quantized/config.json"
  run -1 --separate-stderr nk-convert --model hf --shuffle-weights 1 "$tmp/quantized" -o "$tmp/x"
  [[ $stderr == *"a quantized checkpoint is not shuffled"* ]]
  make_model "$tmp/sharded"
  rm "$tmp/sharded/model-00002-of-00002.safetensors"
  run -1 --separate-stderr nk-convert -q --model hf "$tmp/sharded" -o "$tmp/x"
  [[ $stderr == *"1 of 2 shards are missing"* ]]
  [ ! -e "$tmp/x" ]
}

# patched SOURCE MODEL COPY IDS [K]: see patched_rows.py
patched() {
  command -v "$PYTHON" >/dev/null || skip "python3 is not installed"
  tr ',' '\n' <<<"$4" > "$tmp/listed"
  "$PYTHON" tests/cli/patched_rows.py check "$1" "$2" "$3" "$tmp/listed" "${5:-10}"
}

# table_of IDS: a table of them, as --patch-rows reads one
table_of() {
  tr ',' '\n' <<<"id,$1"
}

# 300 and 301 are whole words; of 8000 to 8009 some hold others; 5 and 200 are single bytes.
LISTED=5,200,300,301,700,2500,8000,8001,8002,8003,8004,8005,8006,8007,8008,8009

@test "patched rows are the mean of ordinary rows, of neighbours and of the text's pieces" {
  for model in gpt2-tiny llama-tiny; do
    table_of $LISTED > "$tmp/table.tsv"
    nk-convert --model hf --patch-rows "$tmp/table.tsv" --with mean --patch-output data/$model -o "$tmp/$model-mean"
    patched mean data/$model "$tmp/$model-mean" $LISTED
    table_of 300,8000,8001 | nk-convert --model hf --patch-rows - --with neighbours -k 3 \
      --patch-output data/$model -o "$tmp/$model-near"
    patched neighbours data/$model "$tmp/$model-near" 300,8000,8001 3
    run -0 --separate-stderr nk-convert --model hf --patch-rows "$tmp/table.tsv" --with text \
      --patch-output data/$model -o "$tmp/$model-text"
    [ "$stderr" = "nk-convert: warning: 2 of 16 listed tokens keep their rows: the other tokens do not spell them" ]
    [ "$(patched text data/$model "$tmp/$model-text" $LISTED)" = "2 of 16 without pieces" ]
    for other in config.json tokenizer.json; do cmp data/$model/$other "$tmp/$model-text/$other"; done
  done
}

@test "patched rows are rounded to F32 and BF16 as they are to F16; an output matrix keeps its rows by default" {
  command -v "$PYTHON" >/dev/null || skip "python3 is not installed"
  table_of $LISTED > "$tmp/table.tsv"
  for dtype in F32 BF16; do
    "$PYTHON" tests/cli/patched_rows.py retype data/llama-tiny "$tmp/$dtype" $dtype
    nk-convert -q --model hf --patch-rows "$tmp/table.tsv" --with text --patch-output \
      "$tmp/$dtype" -o "$tmp/$dtype-text"
    patched text "$tmp/$dtype" "$tmp/$dtype-text" $LISTED
  done
  nk-convert -q --model hf --patch-rows "$tmp/table.tsv" --with text data/llama-tiny \
    -o "$tmp/input"
  patched text-input data/llama-tiny "$tmp/input" $LISTED
}

@test "the rows of a sharded model are patched in both copies of a tied matrix" {
  make_model "$tmp/sharded"
  table_of $LISTED | nk-convert -q --model hf --patch-rows - --with mean "$tmp/sharded" -o "$tmp/copy"
  patched mean "$tmp/sharded" "$tmp/copy" $LISTED
}

# change FOLDER CODE: llama-tiny with tensors that CODE changes; t: their types, shapes and bytes
change() {
  command -v "$PYTHON" >/dev/null || skip "python3 is not installed"
  cp -r data/llama-tiny "$1"
  PYTHONPATH=tests/cli "$PYTHON" - "$1" "$2" <<'END'
import json, sys
from same_values import tensors
t = {name: list(value) for name, value in tensors(sys.argv[1]).items()}
embed, head = "model.embed_tokens.weight", "lm_head.weight"
size = len(t[embed][2]) // t[embed][1][0]
def put(name, row, data): t[name][2] = t[name][2][:row * size] + data + t[name][2][(row + 1) * size:]
exec(sys.argv[2])
at, header, body = 0, {}, b""
for name, (dtype, shape, raw) in t.items():
    header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(raw)]}
    at, body = at + len(raw), body + raw
text = json.dumps(header).encode()
with open(sys.argv[1] + "/model.safetensors", "wb") as file:
    file.write(len(text).to_bytes(8, "little") + text + body)
END
}

@test "an untied output matrix with the bytes of the input matrix keeps its rows" {
  change "$tmp/equal" 't[head][2] = t[embed][2]'
  table_of $LISTED | nk-convert -q --model hf --patch-rows - --with text "$tmp/equal" -o "$tmp/copy"
  patched text-input "$tmp/equal" "$tmp/copy" $LISTED
}

@test "rows without a direction keep theirs with neighbours, and rows that are not finite are named" {
  change "$tmp/zero" 'put(embed, 300, bytes(size)); put(embed, 400, bytes(size))'
  table_of 300,8000 > "$tmp/table.tsv"
  run -0 --separate-stderr nk-convert --model hf --patch-rows "$tmp/table.tsv" --with neighbours "$tmp/zero" -o "$tmp/copy"
  [ "$stderr" = "nk-convert: warning: 1 of 2 listed tokens keep their rows: these are zero, which has no neighbours by cosine" ]
  nk-extract --ids 300,400 "$tmp/zero" | nk-convert --to f32 > "$tmp/before"
  nk-extract --ids 300,400 "$tmp/copy" | nk-convert --to f32 | cmp - "$tmp/before"
  run -0 --separate-stderr nk-convert --model hf --patch-rows "$tmp/table.tsv" --with neighbours -k 9000 "$tmp/zero" -o "$tmp/all"
  [[ $stderr == *" neighbours, all ordinary rows, where 9000 are wanted"* ]]
  change "$tmp/nan" 'put(embed, 300, b"\xff" * size)'
  run -1 --separate-stderr nk-convert --model hf --patch-rows "$tmp/table.tsv" --with neighbours "$tmp/nan" -o "$tmp/x"
  [[ $stderr == *"row 300 is not finite and has no neighbours"* ]]
  nk-convert --model hf --patch-rows "$tmp/table.tsv" --with mean "$tmp/nan" -o "$tmp/mean"
}

@test "of a table with verdicts the verified tokens are patched, each once" {
  printf 'id\tverdict\n300\tstrongly_verified\n301\tstrongly_rejected\n300\tweakly_verified\n' |
    nk-convert --model hf --patch-rows - --with mean --patch-output data/llama-tiny -o "$tmp/copy"
  patched mean data/llama-tiny "$tmp/copy" 300
  run -0 nk-convert --model hf --patch-rows <(echo id) --with text data/llama-tiny -o "$tmp/none"
  [[ $output == *": no tokens are listed: no row is replaced" ]]
  values same data/llama-tiny "$tmp/none"
}

@test "rows that cannot be patched are errors that say why" {
  patch() {
    run --separate-stderr "$1" nk-convert --model hf --patch-rows "$tmp/table.tsv" "${@:2}" -o "$tmp/x"
    [ ! -e "$tmp/x" ]
  }
  table_of 3,8192 > "$tmp/table.tsv"
  patch -1 --with mean data/gpt2-tiny
  [ "$stderr" = "nk-convert: gpt2-tiny: no row for id 8192: 'wte.weight' has 8192" ]
  table_of "$(seq -s, 0 8191)" > "$tmp/table.tsv"
  patch -1 --with mean data/gpt2-tiny
  [[ $stderr == *"wte.weight: every token that text can give is listed" ]]
  table_of 300 > "$tmp/table.tsv"
  patch -2 data/gpt2-tiny
  [[ $stderr == *"say what the rows become: --with mean, neighbours or text" ]]
  patch -2 --with text -k 3 data/gpt2-tiny
  patch -2 --with neighbours -k 0 data/gpt2-tiny
  for option in "-k 3" "--with mean" --patch-output; do
    run -2 nk-convert --to tsv $option "$tmp/table.tsv"
  done
  patch -2 --with text --shuffle-weights 1 data/gpt2-tiny
  run -2 --separate-stderr nk-convert --patch-rows "$tmp/table.tsv" data/gpt2-tiny
  [[ $stderr == *"--patch-rows is of a model: give --model hf too" ]]
  run -2 --separate-stderr nk-convert --model gguf --patch-rows "$tmp/table.tsv" data/gpt2-tiny -o "$tmp/x"
  [[ $stderr == *"--patch-rows is of a folder: use --model hf" ]]
  run -2 nk-convert --model hf --with mean data/gpt2-tiny -o "$tmp/x"
  run -2 nk-convert --model hf --patch-output data/llama-tiny -o "$tmp/x"
  nk-convert --model gguf data/llama-tiny -o "$tmp/m.gguf"
  patch -1 --with mean "$tmp/m.gguf"
  [[ $stderr == *"m.gguf: a single file"* ]]
  cp -r data/llama-tiny "$tmp/quantized"
  sed -i 's/^{/{"quantization_config": {"quant_method": "gptq"},/' "$tmp/quantized/config.json"
  patch -1 --with mean "$tmp/quantized"
  [[ $stderr == *"a quantized checkpoint is not patched"* ]]
  mkdir "$tmp/bare"
  cp data/llama-tiny/{config.json,model.safetensors} "$tmp/bare"
  patch -1 --with mean "$tmp/bare"
  [[ $stderr == *"no tokenizer.json"* ]]
}

@test "Transformers reads the rows of a patched model" {
  "$PYTHON" -c 'import torch, transformers' 2>/dev/null || skip "no PyTorch and Transformers"
  table_of 300,8001 | nk-convert --model hf --patch-rows - --with mean --patch-output data/llama-tiny \
    -o "$tmp/copy"
  "$PYTHON" - "$tmp/copy" 2> "$tmp/errors" <<'END'
import sys, torch
from transformers import AutoModelForCausalLM
model = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.float32)
for rows in (model.get_input_embeddings().weight, model.get_output_embeddings().weight):
    assert torch.equal(rows[300], rows[8001]) and not torch.equal(rows[300], rows[301])
END
}

@test "a folder in the making is neither a link's nor one with other files" {
  cp -r data/gpt2-tiny "$tmp/mine"
  rm "$tmp/mine/counts.tsv"
  ln -s mine "$tmp/out.noken-part"
  run nk-convert --model hf data/gpt2-tiny -o "$tmp/out"
  [ "$status" -eq 2 ]
  [ "$output" = "nk-convert: $tmp/out.noken-part: not a folder: rename it" ]
  cmp data/gpt2-tiny/model.safetensors "$tmp/mine/model.safetensors"

  rm "$tmp/out.noken-part"
  cp -r data/gpt2-tiny "$tmp/out.noken-part"
  run nk-convert --model hf data/gpt2-tiny -o "$tmp/out"
  [ "$status" -eq 2 ]
  [[ "$output" == *"out.noken-part: holds 'counts.tsv', not a file of a folder in the making"* ]]
  diff -r data/gpt2-tiny "$tmp/out.noken-part"
  [ ! -e "$tmp/out" ]
}
