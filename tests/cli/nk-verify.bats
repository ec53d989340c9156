# nk-verify as a user calls it, on the models that ship.
bats_require_minimum_version 1.5.0

setup() {
  data=$PWD/data
  gpt2=$data/gpt2-tiny
  cd "$BATS_TEST_TMPDIR"
}

# The five tokens that training showed most often, without the newline, and five that it never
# showed.
candidates() {
  printf 'id\tcount\n'
  tail -n +2 "$1/counts.tsv" | sort -t "$(printf '\t')" -k2,2nr | sed -n 2,6p | cut -f 1,2
  awk '$1 > 300 && $2 == 0 { print $1 "\t" $2 }' "$1/counts.tsv" | tail -n 5
}

@test "never-seen tokens are verified, common ones rejected" {
  candidates "$gpt2" >candidates.tsv
  run -0 nk-verify "$gpt2" candidates.tsv
  [ "${lines[0]}" = "id	count	max_prob	verdict" ]
  [ "${#lines[@]}" -eq 11 ]
  for i in 1 2 3 4 5; do [[ "${lines[$i]}" == *" rejected" ]]; done
  for i in 6 7 8 9 10; do [[ "${lines[$i]}" == *"strongly verified" ]]; done
}

@test "the table's own columns stay, old verdicts are replaced, a pipe and a file give the same" {
  printf 'id\ttext\tmax_prob\tnote\n300\ta\\tb\t7\tx\n' >table.tsv
  run -0 nk-verify "$gpt2" table.tsv
  [ "${lines[0]}" = "id	text	note	max_prob	verdict" ]
  [[ "${lines[1]}" == "300	a\\tb	x	0."* ]]
  cat table.tsv | nk-verify "$gpt2" >piped
  nk-verify "$gpt2" table.tsv | cmp - piped
}

@test "--all verifies the vocabulary: 90% of the never-seen, at most 10% of the common tokens" {
  for model in gpt2-tiny llama-tiny; do
    nk-verify --all --truth "$data/$model/counts.tsv" "$data/$model" >by_count
    awk -F '\t' 'NR > 1 && $1 == 0 { found++; if ($3 < 100 || $8 < 0.9) exit 1 }
      NR > 1 && $1 > 1000 { found++; if ($8 > 0.1) exit 1 }
      END { if (found != 3) exit 1 }' by_count
  done
}

@test "a token's probability does not depend on the other candidates or the threads" {
  printf 'id\n400\n500\n600\n' | nk-verify --steps 1 "$gpt2" >three
  printf 'id\n500\n' | nk-verify --steps 1 --threads 1 "$gpt2" >one
  paste <(sed -n 3p three) <(sed -n 2p one) |
    perl -F'\t' -lane 'exit 1 if abs($F[1] / $F[4] - 1) > 1e-4'
}

@test "--prompt and --prompts replace the default prompts" {
  printf 'prompt\ttext\nq\tQ: What is "{}"? A: "\n' >prompts.tsv
  printf 'id\n500\n' >ids.tsv
  nk-verify --prompts prompts.tsv "$gpt2" ids.tsv >file
  nk-verify -p 'Q: What is "{}"? A: "' "$gpt2" ids.tsv >text
  cmp file text
  run -2 nk-verify -p 'no slot' "$gpt2" ids.tsv
  [[ "$output" == "nk-verify: "*"has no slot {}"* ]]
}

# Copies model $1 to m with a NaN at byte $3 of tensor $2.
poison() {
  rm -rf m && cp -r "$1" m
  perl -e 'open F, "+<", "m/model.safetensors"; binmode F; read F, $n, 8; $n = unpack "Q<", $n;
    read F, $head, $n; $head =~ /"\Q$ARGV[0]\E":\{[^}]*"data_offsets":\[(\d+)/ or die "no tensor";
    seek F, 8 + $n + $1 + $ARGV[1], 0; print F "\xff\xff\xff\xff"' "$2" "$3"
}

@test "a weight that is not finite is an error that names block and tensor, never a verdict" {
  poison "$data/llama-tiny" model.layers.2.self_attn.o_proj.weight 400
  run -1 nk-verify --all m
  [ "${#lines[@]}" -eq 1 ]
  [[ "$output" == *"the output of block 2 is not finite"*"'model.layers.2.self_attn.o_proj.weight'"* ]]
  run -1 nk-run m --ids 300 -p 'The {} of'
  [ "${#lines[@]}" -eq 1 ]
  [[ "$output" == *"the output of block 2 is not finite"* ]]
  poison "$data/llama-tiny" lm_head.weight 0
  run -1 nk-verify m <<<"$(printf 'id\n300')"
  [[ "$output" == *"row 0 of the unembedding, tensor 'lm_head.weight'"* ]]
}

@test "bad input is one line of message" {
  run -1 nk-verify "$gpt2" <<<"$(printf 'id\n9000')"
  [[ "$output" == *"id 9000: the model has tokens 0 to 8191"* ]]
  run -1 nk-verify "$gpt2" <<<"$(printf 'token\n3')"
  [[ "$output" == *"id"* ]]
  run -2 nk-verify --all "$gpt2" table.tsv
  run -2 nk-verify
  run -1 nk-verify "$data"
}
