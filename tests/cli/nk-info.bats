# nk-info as a user calls it.
bats_require_minimum_version 1.5.0

setup_file() {
  export DATA=$PWD/data FIXTURES=$PWD/tests/fixtures SCRIPTS=$PWD/tests/cli
  cd "$BATS_FILE_TMPDIR"
  nk-convert --model gguf "$DATA/llama-tiny" -o llama-tiny.gguf
}

setup() {
  cd "$BATS_TEST_TMPDIR"
  unset HF_HUB_CACHE HF_HOME XDG_CACHE_HOME
}

# The value of a property.
value() { # value PROPERTY MODEL
  nk-info "$2" | awk -F '\t' -v property="$1" '$1 == property { print $2 }'
}

@test "a folder: all properties, in their order" {
  run -0 nk-info "$DATA/llama-tiny"
  [ "$output" = "property	value
model	llama-tiny
path	$DATA/llama-tiny
format	folder
model_type	llama
blocks	4
dimension	128
heads	4
key_value_heads	2
positions	256
tokens	8192
output_matrix	untied
parameters	2688128
bytes	5376256
types	F16
missing_shards	0
tokenizer	yes
vocabulary	8192
begin_tokens	
chat_format	
runs	native
gradients	yes
weight_gradients	yes
file	$DATA/llama-tiny/config.json
file	$DATA/llama-tiny/model.safetensors
file	$DATA/llama-tiny/tokenizer.json" ]
}

@test "a GGUF has the same model, and no gradients of weights" {
  diff <(nk-info "$DATA/llama-tiny") <(nk-info "$BATS_FILE_TMPDIR/llama-tiny.gguf") >differs || true
  run -0 grep -oE '^> [a-z_]+' differs
  [ "$output" = "> model
> path
> format
> bytes
> types
> weight_gradients
> file" ]
  grep -qxF $'> weight_gradients\tgradients of weights need a safetensors file' differs
  grep -qxF "> file	$BATS_FILE_TMPDIR/llama-tiny.gguf" differs
}

@test "parameters, bytes and types are those of the files' headers" {
  command -v python3 >/dev/null || skip "python3 is not installed"
  models=("$FIXTURES"/forward/*/ "$DATA"/*-tiny/)
  python3 "$SCRIPTS/weights.py" "${models[@]}" >expected
  for model in "${models[@]}"; do
    nk-info "$model" | awk -F '\t' '
      { value[$1] = $2 }
      END {
        print value["model"] "\t" value["parameters"] "\t" value["bytes"] "\t" value["types"]
      }'
  done >printed
  [ "$(wc -l <printed)" -ge 50 ]
  diff expected printed
}

@test "numbers are numbers in JSON, and what is not known is left out" {
  nk-info --json "$DATA/gpt2-tiny" >a.json
  grep -qxF '{"property":"blocks","value":4}' a.json
  grep -qxF '{"property":"output_matrix","value":"tied"}' a.json
  grep -qxF '{"property":"begin_tokens"}' a.json
}

@test "what cannot run is opened, and the reasons are those of the other tools" {
  mkdir rwkv
  cp "$DATA/gpt2-tiny/"* rwkv
  sed -i 's/"model_type": "gpt2"/"model_type": "rwkv"/' rwkv/config.json
  run -1 --separate-stderr nk-run rwkv --ids 3 -p '{}'
  [ "$(value runs rwkv)" = "${stderr#nk-run: }" ]
  [ "$(value gradients rwkv)" = "${stderr#nk-run: }" ]
  [ "$(value model_type rwkv)" = rwkv ]
  rm rwkv/tokenizer.json
  run -1 --separate-stderr nk-tokens rwkv
  [ "$(value tokenizer rwkv)" = "${stderr#nk-tokens: }" ]
  [ -z "$(value vocabulary rwkv)" ]
}

@test "a tokenizer that cannot encode still has its number of tokens" {
  cp -r "$DATA/gpt2-tiny" m
  sed -i 's/"type": *"ByteLevel"/"type": "Unknown"/' m/tokenizer.json
  [[ $(value tokenizer m) = *Unknown* ]]
  [ "$(value vocabulary m)" -eq 8192 ]
  [ "$(value runs m)" = native ]
}

@test "begin tokens are those of the tokenizer's template" {
  cp -r "$DATA/gpt2-tiny" m
  cp "$FIXTURES/tokenizers/llama3.json" m/tokenizer.json
  [ "$(value begin_tokens m)" = "<s>" ]
}

@test "a chat format is the one of --chat auto" {
  cp -r "$DATA/gpt2-tiny" m
  echo "{{ '<|im_start|>' + text + '<|im_end|>' }}" >m/chat_template.jinja
  [ "$(value chat_format m)" = chatml ]
  echo "{{ text }}" >m/chat_template.jinja
  [ -z "$(value chat_format m)" ]
  value file m | grep -q '/m/chat_template.jinja$'
}

@test "weights of MXFP4 run without gradients of weights" {
  model=$FIXTURES/forward/gpt_oss-mxfp4
  [ "$(value gradients "$model")" = yes ]
  [[ $(value weight_gradients "$model") = \
    "tensor 'model.layers.0.mlp.experts.gate_up_proj_blocks': the gradient of this weight is not "* ]]
}

@test "a single file of weights, without anything beside it" {
  cp "$DATA/gpt2-tiny/model.safetensors" w.safetensors
  run -0 nk-info w.safetensors
  [[ $output = *$'\nformat\tsafetensors\nmodel_type\t\n'* ]]
  [[ $output = *$'\ntokens\t8192\n'* ]]
  [[ $output = *$'\nfile\t'"$PWD/w.safetensors" ]]
  [[ $(value tokenizer w.safetensors) = *"holds no tokenizer"* ]]
}

@test "links are resolved, but a file keeps its own name" {
  mkdir -p hub/models--a--b/snapshots/0/ hub/models--a--b/refs hub/models--a--b/blobs
  echo 0 >hub/models--a--b/refs/main
  for file in config.json model.safetensors tokenizer.json; do
    cp "$DATA/gpt2-tiny/$file" "hub/models--a--b/blobs/of-$file"
    ln -s "../../blobs/of-$file" "hub/models--a--b/snapshots/0/$file"
  done
  export HF_HUB_CACHE=$PWD/hub
  [ "$(value path a/b)" = "$PWD/hub/models--a--b/snapshots/0" ]
  [ "$(value model a/b)" = a/b ]
  [ "$(value file a/b | head -n 1)" = "$PWD/hub/models--a--b/snapshots/0/config.json" ]
  ln -s "$DATA/gpt2-tiny" linked
  [ "$(value path linked/)" = "$DATA/gpt2-tiny" ]
}

@test "shards that are missing are counted, with the others' files" {
  mkdir m
  cp "$DATA/gpt2-tiny/config.json" m
  cp "$DATA/gpt2-tiny/model.safetensors" m/model-00001-of-00002.safetensors
  echo '{"weight_map": {"wte.weight": "model-00001-of-00002.safetensors",
    "lost": "model-00002-of-00002.safetensors"}}' >m/model.safetensors.index.json
  run -0 --separate-stderr nk-info m
  [[ $stderr = *"1 of 2 shards are missing"* ]]
  [[ $output = *$'\nmissing_shards\t1\n'* ]]
  [ "$(value file m 2>/dev/null)" = "$PWD/m/config.json
$PWD/m/model-00001-of-00002.safetensors
$PWD/m/model.safetensors.index.json" ]
}

@test "what cannot be opened ends with 1, usage with 2" {
  run -1 nk-info nothing-here
  [[ $output = "nk-info: nothing-here: no such file or folder"* ]]
  [[ $output = *"'hf download nothing-here'"* ]]
  for name in nothing.gguf nothing.safetensors folder/nothing.gguf; do
    run -1 nk-info $name
    [ "$output" = "nk-info: $name: no such file or folder" ]
  done
  printf '# A text\n\nand no model.\n' >README.md
  run -1 nk-info README.md
  [ "$output" = "nk-info: README.md: not a safetensors file, but text" ]
  mkdir empty
  run -1 nk-info empty
  run -2 nk-info
  run -2 nk-info "$DATA/gpt2-tiny" "$DATA/llama-tiny"
}
