# llama.cpp as the engine of the forward pass, beside the native one. Skipped, with the reason,
# where its libraries cannot be had. One thread: those of ggml wait for each other in loops, which
# takes minutes on a machine that has other work.
bats_require_minimum_version 1.5.0

setup_file() {
  run "$PWD/tests/runners/engines.sh" "$NOKEN_BUILD"
  export ENGINES_STATUS=$status
  export ENGINES_LINE=${lines[-1]}
  export DATA=$PWD/data RUNNERS=$PWD/tests/runners FIXTURES=$PWD/tests/fixtures/forward
  cd "$BATS_FILE_TMPDIR"
  [ "$status" -eq 0 ] || return 0
  for model in llama-tiny gpt2-tiny; do
    nk-convert --model gguf "$DATA/$model" -o $model.gguf
  done
}

setup() {
  cd "$BATS_FILE_TMPDIR"
  [ "$ENGINES_STATUS" -ne 77 ] || skip "$ENGINES_LINE"
  [ "$ENGINES_STATUS" -eq 0 ]
  cache=$ENGINES_LINE
  export NOKEN_ENGINES=$cache/build/lib/noken
  export OMP_NUM_THREADS=1
  servers=()
}

teardown() {
  for server in "${servers[@]}"; do kill "$server"; done
}

engines() {
  "$cache/engines" "$DATA/$1" "$1.gguf"
}

# start_server FILE: an RPC server on a port of its own, $port; FILE: what it prints
start_server() {
  local i
  for i in 1 2 3 4 5; do
    port=$((20000 + RANDOM % 10000))
    stdbuf -oL "$cache/rpc-server" "$(readlink -f "$cache/prefix/lib")" "$cache/libggml-rpc.so" \
      $port >"$1" 2>&1 3>&- &
    servers+=($!)
    for _ in $(seq 100); do
      if (: <>/dev/tcp/127.0.0.1/$port) 2>/dev/null && kill -0 ${servers[-1]}; then return 0; fi
      kill -0 ${servers[-1]} 2>/dev/null || break
      sleep 0.1
    done
    unset 'servers[-1]'
  done
  return 1
}

# The columns are: part, layer, logits, sums, residuals, largest, other_ids. 5 layers in 4 parts.
agree_to_a_thousandth() {
  awk -F'\t' 'NR > 1 { n++; if (!($3 < 1e-3 && $4 < 1e-3 && $5 < 1e-3 && $7 == 0)) bad++ }
    END { exit !(n == 21 && !bad) }'
}

# Of two tables side by side: the same words, and numbers to 1e-3 (of those above 1, relative).
same_tables() {
  awk -F'\t' '{
      for (i = 1; i <= NF / 2; i++) {
        a = $i; b = $(i + NF / 2); d = a - b
        if (a != b && (NR == 1 || a + 0 != a || d * d > 1e-6 * (1 + a * a))) bad++
      }
    } END { exit bad > 0 }'
}

@test "llama-tiny: logits, streams at every layer, and generated tokens are the same to 1e-3" {
  engines llama-tiny | agree_to_a_thousandth
}

# llama.cpp looks GELU up in a table of half floats: see llama.bats.
@test "gpt2-tiny: the same to 1e-3 of the largest stream, and the tokens taken greedily" {
  engines gpt2-tiny | awk -F'\t' 'NR > 1 {
      n++
      if (!($3 < 1e-3 * $6 && $4 < 1e-3 && $5 < 1e-3 * $6)) bad++
      if ($1 !~ /sample/ && $7 != 0) bad++
    } END { exit !(n == 21 && !bad) }'
}

# Divergences to 1e-2: the logits of the two engines differ by 1e-5. At a context's end the effects
# of llama-tiny.tsv, made by PyTorch, are the native engine's to 1e-4.
@test "what vectors change against the unperturbed context is the same" {
  paired=$FIXTURES/../perturbation
  for engine in native llama; do
    nk-run llama-tiny.gguf "$paired/llama-tiny.safetensors" --paired --engine $engine --norms 3,4 \
      --contexts "$paired/contexts.txt" | cut -f 5-7,9,11,13-16 >$engine
    nk-run llama-tiny.gguf --contexts "$paired/contexts.txt" --every 5 --capture 1,4 \
      --engine $engine | nk-convert --to tsv >$engine.states
  done
  paste native llama | awk -F '\t' 'NR > 1 {
      for (i = 1; i <= 9; i++) {
        a = $i; d = a - $(i + 9); size = a < 0 ? -a : a
        if (d > 1e-2 * size + 1e-4 || -d > 1e-2 * size + 1e-4) bad++
        sum += size } } END { exit !(NR == 33 && sum > 100 && !bad) }'
  paste native.states llama.states | same_tables
}

@test "what earlier layers would say is the same, and at the last layer the engine's own answer" {
  for engine in native llama; do
    nk-run --engine $engine llama-tiny.gguf -p 'The {} of' --ids 300-305 --lens 0-4 --offsets 1 \
      > lens-$engine.tsv
  done
  paste lens-native.tsv lens-llama.tsv | same_tables
  [ "$(wc -l < lens-native.tsv)" -eq 61 ]
  nk-run -q --engine llama llama-tiny.gguf -p 'The {} of' --ids 300-305 --offsets 1 \
    --reference 8 | cut -f 1,4-8 > own.tsv
  awk -F'\t' 'NR == 1 || $5 == 4' lens-llama.tsv | cut -f 1,4,6-9 | cmp - own.tsv
}

# One line, of which the condition holds.
one_line() {
  awk "{ ok = $1 } END { exit !(NR == 1 && ok) }"
}

# Every layer of a family's fixture, a line of the table as in llama.bats: the largest differences of
# logits and of streams, the largest stream, and the number of other tokens that were taken greedily.
family() {
  rm -rf fixture
  cp -r "$FIXTURES/$1" fixture
  [ "$2" = - ] || sed -i "$2" fixture/config.json
  nk-convert -q --model gguf fixture -o fixture.gguf
  "$cache/engines" fixture fixture.gguf | awk -F'\t' 'NR > 1 {
      n++
      if (!($3 <= logits)) logits = $3
      if (!($5 <= streams)) streams = $5
      if ($6 > largest) largest = $6
      if ($1 !~ /sample/) other += $7
    } END { if (n >= 13) print logits, streams, largest, other + 0 }'
}

# families KIND CONDITION: of the lines of a kind, at least 13.
families() {
  local n=0 failed="" name change kind
  while IFS=$'\t' read -r name change kind _; do
    [ "$kind" = "$1" ] || continue
    family "$name" "$change" >line
    one_line "NF == 4 && $2" <line || failed+="$name $change: $(cat line)"$'\n'
    n=$((n + 1))
  done < <(grep -v '^#' "$FIXTURES/../gguf-families.tsv")
  echo "$failed"
  [ -z "$failed" ] && [ $n -ge 13 ]
}

# The streams of Granite and of 64 blocks reach 17.
@test "families without GELU: the same at every layer to 1e-5, or to 3e-6 of the largest stream" {
  families exact '$1 < 1e-5 && ($2 < 1e-5 || $2 < 3e-6 * $3) && $4 == 0'
}

@test "families with GELU, and Gemma's scaled embedding: to 1e-3 of the largest stream" {
  families gelu '$1 < 1e-3 * $3 && $2 < 1e-3 * $3 && $4 == 0'
}

@test "two RPC servers share the blocks and change nothing" {
  start_server first.log
  ENGINES_RPC=127.0.0.1:$port
  start_server second.log
  export ENGINES_RPC=$ENGINES_RPC,127.0.0.1:$port GGML_BACKEND_PATH=$cache/libggml-rpc.so
  engines llama-tiny | agree_to_a_thousandth
  for log in first.log second.log; do grep -qi 'accept' $log; done
}

@test "what is missing is named: a server, the RPC backend, a GPU, the module, a GGUF file" {
  run -1 nk-run llama-tiny.gguf -p 'The {}' --ids 300 --rpc 127.0.0.1:1
  [[ $output == *"built without its RPC backend" ]]
  export GGML_BACKEND_PATH=$cache/libggml-rpc.so
  run -1 nk-run llama-tiny.gguf -p 'The {}' --ids 300 --rpc 127.0.0.1:1
  [[ $output == "nk-run: llama-tiny.gguf: server '127.0.0.1:1': Connection refused" ]]
  run -2 nk-run llama-tiny.gguf -p 'The {}' --ids 300 --rpc nowhere
  [[ $output == *"HOST:PORT is expected" ]]
  run -1 nk-run llama-tiny.gguf -p 'The {}' --ids 300 --gpu-layers 2
  [[ $output == *"finds no GPU"* ]]
  NOKEN_ENGINES=$PWD run -1 nk-run llama-tiny.gguf -p 'The {}' --ids 300 --engine llama
  [[ $output == *"is not installed: $PWD/llama.so"* ]]
  run -1 nk-run "$DATA/llama-tiny" -p 'The {}' --ids 300 --engine llama
  [ "$output" = "nk-run: llama-tiny: llama.cpp runs GGUF files; nk-convert writes the model as one" ]
  run -2 nk-run llama-tiny.gguf -p 'The {}' --ids 300 --engine native --rpc 127.0.0.1:1
}

@test "nk-run and nk-verify print the same tables with either engine" {
  nk-run "$DATA/llama-tiny" -p 'The {} of' --ids 300-340 --at 0,2 --norms 4 --reference 64 \
    --generate 4 >native.tsv
  nk-run --engine llama llama-tiny.gguf -p 'The {} of' --ids 300-340 --at 0,2 --norms 4 \
    --reference 64 --generate 4 >llama.tsv
  [ "$(wc -l <llama.tsv)" -eq 83 ]
  paste native.tsv llama.tsv | same_tables
  head -n 40 "$DATA/llama-tiny/counts.tsv" >tokens.tsv
  nk-verify "$DATA/llama-tiny" tokens.tsv >native.tsv
  nk-verify --engine llama llama-tiny.gguf tokens.tsv >llama.tsv
  [ "$(wc -l <llama.tsv)" -eq 40 ]
  paste native.tsv llama.tsv | same_tables
}

@test "auto takes llama.cpp for an architecture that noken lacks, and names what neither runs" {
  nk-run llama-tiny.gguf -p 'The {}' --ids 300-310 --reference 16 --engine native >native.tsv
  "$RUNNERS/gguf-rename.py" llama xverse <llama-tiny.gguf >xverse.gguf # the same blocks
  nk-run xverse.gguf -p 'The {}' --ids 300-310 --reference 16 >llama.tsv
  [ "$(wc -l <llama.tsv)" -eq 12 ]
  paste native.tsv llama.tsv | same_tables
  run -1 nk-run xverse.gguf -p 'The {}' --ids 300 --engine native
  [ "$output" = "nk-run: xverse.gguf: architecture 'xverse' is not implemented" ]
  "$RUNNERS/gguf-rename.py" llama llada <llama-tiny.gguf >llada.gguf # a diffusion model
  run -1 nk-run llada.gguf -p 'The {}' --ids 300
  [ "$output" = "nk-run: llada.gguf: architecture 'llada' is not implemented; by llama.cpp: \
architecture 'llada' does not predict the next token" ]
  nk-info xverse.gguf | grep -qxF $'runs\tllama' # without the weights
  nk-info llada.gguf | grep -qxF "runs	${output#nk-run: }"
  "$RUNNERS/gguf-rename.py" llama nonesuch <llama-tiny.gguf >nonesuch.gguf
  run -1 nk-run nonesuch.gguf -p 'The {}' --ids 300 --engine llama
  [[ $output == "nk-run: nonesuch.gguf: llama.cpp cannot load the file: "*"'nonesuch'"* ]]
  [ "${#lines[@]}" -eq 1 ]
}

@test "auto takes llama.cpp for a type of tensors that noken refuses" {
  "$RUNNERS/gguf-zero.py" blk.2.ffn_down.weight 0 <llama-tiny.gguf >f32.gguf
  "$RUNNERS/gguf-zero.py" blk.2.ffn_down.weight 16 <llama-tiny.gguf >iq2.gguf
  nk-run f32.gguf -p 'The {}' --ids 300-310 --reference 16 --engine native >native.tsv
  nk-run iq2.gguf -p 'The {}' --ids 300-310 --reference 16 >llama.tsv
  [ "$(wc -l <llama.tsv)" -eq 12 ]
  paste native.tsv llama.tsv | same_tables
  run -1 nk-run iq2.gguf -p 'The {}' --ids 300 --engine native
  [[ $output == "nk-run: iq2.gguf: tensor 'blk.2.ffn_down.weight'"*IQ2_XXS* ]]
  NOKEN_ENGINES=$PWD run -1 nk-run iq2.gguf -p 'The {}' --ids 300
  [[ $output == "nk-run: iq2.gguf: "*"IQ2_XXS"*"; by llama.cpp: the llama engine is not installed: "* ]]
  [ "${#lines[@]}" -eq 1 ]
}

@test "rows of a token embedding of half floats are those of the native engine" {
  nk-convert --model gguf --type f16 "$DATA/llama-tiny" -o half.gguf
  "$cache/engines" half.gguf half.gguf | awk -F'\t' '$1 == "embedding" { seen = $5 == 0 && $6 > 0 }
    END { exit !seen }'
}

# llama.cpp's own client aborts, in a thread of its own: see ENGINES in nk-run(1).
@test "a server that is lost in the middle ends the tool with one line, and no output" {
  start_server lost.log
  export GGML_BACKEND_PATH=$cache/libggml-rpc.so
  nk-run llama-tiny.gguf -p 'The {} of the' --ids 300-8000 --generate 8 --unverified \
    --rpc 127.0.0.1:$port -o lost.tsv 2>lost.err 3>&- &
  tool=$!
  for _ in $(seq 100); do
    grep -qi accept lost.log && break
    sleep 0.1
  done
  sleep 1
  kill -9 "${servers[-1]}"
  unset 'servers[-1]'
  run wait "$tool"
  [ "$status" -ne 0 ]
  cat lost.err
  [ "$(wc -l <lost.err)" -eq 1 ]
  # On a busy machine the server can be lost before the model is on it.
  [[ $(<lost.err) == "nk-run: "*server* ]]
  [ ! -e lost.tsv ]
}

@test "a set's history has no names of hosts" {
  start_server history.log
  export GGML_BACKEND_PATH=$cache/libggml-rpc.so
  nk-run llama-tiny.gguf -p 'The {}' --ids 300 --capture 2 --rpc 127.0.0.1:$port -o set.safetensors
  grep -aq 'capture 2' set.safetensors
  run ! grep -aq '127.0.0.1' set.safetensors
  nk-run llama-tiny.gguf -p 'The {}' --ids 300 --capture 2 --rp 127.0.0.1:$port --gpu-l 0 --thr 1 \
    -o set.safetensors
  grep -aqF 'nk-run llama-tiny.gguf -p '"'The {}'"' --ids 300 --capture 2\"' \
    set.safetensors
}
