# nk-tune as a user calls it. The loss, its gradient and the steps are checked in
# tests/unit/test_tune.c.

bats_require_minimum_version 1.5.0

setup_file() {
  export T=$BATS_FILE_TMPDIR ROOT=$PWD
  nk-extract data/gpt2-tiny | nk-region fit -q -o "$T/region"
  nk-sample "$T/region" -n 6 -d isotropic,covariance --times 1.5,3 -o "$T/nokens"
}

tune() { # tune FOLDER [OPTION]...: a short run
  local folder=$1
  shift
  nk-tune -q --nokens "$T/nokens" -p 'The {} of' -p 'Tell me about {}.' -p '{} is a' \
    --text data/prompts/contexts.txt --steps 6 --batch 8 --evaluate 3 -o "$folder" "$@" data/gpt2-tiny
}

@test "the help names the folder of -o" {
  run -0 nk-tune --help
  [[ "$output" == *"-o, --output FOLDER     write the model into this new or empty folder"* ]]
  [[ "$output" != *"instead of standard output"* ]]
}

@test "the folder has the types and files of the model, and the table a row for each evaluation" {
  tune "$T/short" --log "$T/short.tsv"
  [ "$(cut -f 1 "$T/short.tsv" | paste -sd ' ')" = "step 0 3 6" ]
  cmp data/gpt2-tiny/config.json "$T/short/config.json"
  cmp data/gpt2-tiny/tokenizer.json "$T/short/tokenizer.json"
  [ "$(stat -c %s "$T/short/model.safetensors")" = "$(stat -c %s data/gpt2-tiny/model.safetensors)" ]
  [ ! -e "$T/short.checkpoint" ]
  # Only the first half of the blocks: tensors of other blocks are as they were.
  local tensor=h.3.mlp.c_fc.weight
  nk-extract data/gpt2-tiny -m $tensor | nk-convert --to f32 -o "$T/a"
  nk-extract "$T/short" -m $tensor | nk-convert --to f32 -o "$T/b"
  cmp "$T/a" "$T/b"
  tensor=h.0.mlp.c_fc.weight
  nk-extract data/gpt2-tiny -m $tensor | nk-convert --to f32 -o "$T/a"
  nk-extract "$T/short" -m $tensor | nk-convert --to f32 -o "$T/b"
  run ! cmp -s "$T/a" "$T/b"
}

@test "a killed run goes on from its checkpoint and writes the same bytes" {
  [ -e "$T/short.tsv" ] || tune "$T/short" --log "$T/short.tsv"
  tune "$T/killed" --log "$T/killed.tsv" --checkpoint 1 &
  local pid=$!
  while [ ! -e "$T/killed.checkpoint" ] && kill -0 $pid; do sleep 0.05; done
  pkill -KILL -P $pid || true
  wait $pid || true
  [ -e "$T/killed.checkpoint" ]
  [ ! -e "$T/killed" ]
  run -2 --separate-stderr tune "$T/killed" --rate 0.002
  [[ "$stderr" == "nk-tune: $T/killed.checkpoint: a checkpoint of another run: rate is 0.001 there, here 0.002"* ]]
  tune "$T/killed" --log "$T/killed.tsv" --checkpoint 1
  cmp "$T/short.tsv" "$T/killed.tsv"
  cmp "$T/short/model.safetensors" "$T/killed/model.safetensors"
}

# A short form of what the tool is for: with 40 steps the held-out nokens' divergence falls to less
# than half, and ordinary tokens stay within a tenth of a nat of what they were.
@test "held-out nokens in held-out prompts come closer to what ordinary tokens do" {
  tune "$T/more" --steps 40 --batch 32 --evaluate 20 --log "$T/more.tsv"
  awk -F '\t' 'NR == 1 { for (i = 1; i <= NF; i++) at[$i] = i; next }
    NR == 2 { before = $at["heldout_noken_loss"]; next }
    END { print before, $at["heldout_noken_loss"], $at["heldout_ordinary_loss"]
          exit !($at["heldout_noken_loss"] < before / 2 && $at["heldout_ordinary_loss"] < 0.1) }' "$T/more.tsv"
}

@test "nokens of the residual stream and a target token" {
  tune "$T/stream" --at 2 --target ' God' --train layers:2 --steps 3 --evaluate 3 >"$T/stream.tsv"
  [ "$(wc -l <"$T/stream.tsv")" -eq 3 ]
}

@test "transformers loads the folder, and what it computes is what nk-run computes" {
  python3 -c 'import torch, transformers' || skip "no torch and transformers"
  [ -e "$T/short" ] || tune "$T/short" >/dev/null
  nk-run -q "$T/short" --ids 300 -p '{} is a' >"$T/run.tsv"
  python3 - "$T/short" "$T/run.tsv" <<'END'
import csv, sys, torch, transformers
model = transformers.AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.float32)
tokens = transformers.AutoTokenizer.from_pretrained(sys.argv[1])
with torch.no_grad():
    p = model(torch.tensor([[300] + tokens.encode(" is a")])).logits[0, -1].softmax(-1)
row = next(csv.DictReader(open(sys.argv[2]), delimiter="\t"))
assert abs(float(row["entropy"]) + float((p * p.log()).sum())) < 1e-4, row
END
}

@test "what is missing or out of range is refused before anything is trained" {
  run -2 --separate-stderr nk-tune data/gpt2-tiny -p 'The {} of' -o "$T/x"
  [ "$stderr" = "nk-tune: --nokens SET is needed" ]
  run -2 --separate-stderr nk-tune data/gpt2-tiny --nokens "$T/nokens" -o "$T/x"
  [ "$stderr" = "nk-tune: no prompt: use -p TEXT or --prompts FILE" ]
  run -2 --separate-stderr nk-tune data/gpt2-tiny --nokens "$T/nokens" -p 'The {} of'
  [ "$stderr" = "nk-tune: a tuned model is a folder: name it with -o FOLDER" ]
  mkdir -p "$T/full" && touch "$T/full/file"
  run -2 --separate-stderr tune "$T/full"
  [ "$stderr" = "nk-tune: $T/full: the folder is not empty: name a new one" ]
  run -2 --separate-stderr tune "$T/x" --train heads
  [ "$stderr" = "nk-tune: --train: unknown part 'heads' (half, all, embedding, norms, layers:A[-B])" ]
  run -2 --separate-stderr tune "$T/x" --train layers:0,2
  [[ "$stderr" == *"is not one range of blocks"* ]]
  run -2 --separate-stderr tune "$T/x" --rate 0
  [ "$stderr" = "nk-tune: --rate: above 0" ]
  run -2 --separate-stderr tune "$T/x" --hold-out 1
  [ "$stderr" = "nk-tune: share 1 to hold out: between 0 and 1" ]
  run -2 --separate-stderr tune "$T/x" --target ' nosuchtoken'
  [ "$stderr" = "nk-tune: --target: no token ' nosuchtoken'" ]
  run -2 --separate-stderr tune "$T/x" --at 4
  [ "$stderr" = "nk-tune: nokens enter at layer 4, after the last block: choose what to train" ]
  run -1 --separate-stderr tune "$T/no/x"
  [ "$stderr" = "nk-tune: $T/no/x: No such file or directory" ]
  [ -z "$output" ]
  nk-extract tests/fixtures/forward/gpt2 --no-text -o "$T/narrow"
  run -1 --separate-stderr tune "$T/x" --nokens "$T/narrow"
  [ "$stderr" = "nk-tune: $T/narrow: vectors have 16 values, the model's have 128" ]
  [ ! -e "$T/x" ]
}

@test "what the folder cannot be written of is found before anything is trained" {
  local m=$BATS_TEST_TMPDIR/model
  mkdir "$m"
  cp data/gpt2-tiny/*.json "$m"
  cp data/gpt2-tiny/model.safetensors "$m/model-00001-of-00002.safetensors"
  echo '{"weight_map": {"wte.weight": "model-00001-of-00002.safetensors", "tower.weight":
    "model-00002-of-00002.safetensors"}}' >"$m/model.safetensors.index.json"
  local arguments=(--nokens "$T/nokens" -p 'The {} of' --steps 100000 -o "$T/x")
  run -1 --separate-stderr nk-tune -q "$m" "${arguments[@]}"
  [[ "${stderr##*$'\n'}" == "nk-tune: model: 1 of 2 shards are missing" ]]
  rm "$m/model.safetensors.index.json"
  mv "$m/model-00001-of-00002.safetensors" "$m/model.safetensors"
  echo 'version https://git-lfs.github.com/spec/v1' >"$m/vocab.txt"
  run -1 --separate-stderr nk-tune -q "$m" "${arguments[@]}"
  [[ "$stderr" == "nk-tune: $m/vocab.txt: is a Git LFS pointer"* ]]
  [ -z "$(ls "$T" | grep '^x')" ]
}

@test "a line that is not a text is named by its line in the file" {
  printf 'one\n\n\r\ntwo \xff three\n' >"$T/lines.txt"
  run -1 --separate-stderr tune "$T/x" --text "$T/lines.txt"
  [ "$stderr" = "nk-tune: $T/lines.txt: line 4: the text is not valid UTF-8 at byte 4" ]
}

@test "a damaged checkpoint is refused" {
  head -c 5000 data/gpt2-tiny/model.safetensors >"$T/bad.checkpoint"
  run -1 --separate-stderr tune "$T/bad"
  [[ "$stderr" == "nk-tune: "*"bad.checkpoint: "* ]]
  cp data/gpt2-tiny/model.safetensors "$T/bad.checkpoint"
  run -1 --separate-stderr tune "$T/bad"
  [ "$stderr" = "nk-tune: $T/bad.checkpoint: no checkpoint of tuning" ]
}

@test "nokens are searched anew at their distances, and a run with searches goes on as well" {
  local search=(--search-every 2 --region "$T/region" --checkpoint 1 --steps 4)
  tune "$T/searched" "${search[@]}" --log "$T/searched.tsv"
  tune "$T/given" --steps 4 --log "$T/given.tsv"
  run ! cmp -s "$T/given/model.safetensors" "$T/searched/model.safetensors"
  tune "$T/again" "${search[@]}" --log "$T/again.tsv" &
  local pid=$!
  while [ ! -e "$T/again.checkpoint" ] && kill -0 $pid; do sleep 0.05; done
  pkill -KILL -P $pid || true
  wait $pid || true
  tune "$T/again" "${search[@]}" --log "$T/again.tsv"
  cmp "$T/searched.tsv" "$T/again.tsv"
  cmp "$T/searched/model.safetensors" "$T/again/model.safetensors"
  run -2 --separate-stderr tune "$T/x" --search-every 2
  [ "$stderr" = "nk-tune: --search-every N and --region REGION go together" ]
}

@test "a folder that cannot be made anew in its place, and a metric of nothing, are refused at once" {
  cd "$BATS_TEST_TMPDIR"
  ln -s . link
  for folder in "" . link; do
    run -2 nk-tune -q "$ROOT/data/gpt2-tiny" --nokens "$T/nokens" -p 'a {} b' -o "$folder"
    [[ $output == "nk-tune: '$folder': the folder is made anew in its place: name a folder" ]]
  done
  run -2 nk-tune -q "$ROOT/data/gpt2-tiny" --nokens "$T/nokens" -p 'a {} b' -m l2 -o folder
  [[ $output == "nk-tune: --metric is of the distances of --search-every N" ]]
}

@test "prompts are put into a chat format, which the model has to know" {
  run -2 nk-tune -q data/gpt2-tiny --nokens "$T/nokens" -p 'a {} b' --chat nothing -o "$T/chat"
  [[ $output == *"nothing"* ]]
  run -1 tune "$T/chat" --chat phi
  [[ $output == *"the model's tokenizer has no token '<|user|>'"* ]]
}
