# nk-compare as a user calls it. Rows of BEFORE are compared with pipes of the other tools, losses with
# those of Transformers (tests/fixtures/compare.py). AFTER is a copy of gpt2-tiny whose glitch tokens
# have the mean row, a copy with shuffled weights, or the model itself.
bats_require_minimum_version 1.5.0

setup_file() {
  export root=$BATS_TEST_DIRNAME/../.. search="--searched 4 --restarts 1 --steps 10"
  export few="-n 8 --reference 32 --ordinary 16 --controls 40 $search"
  export before=$root/data/gpt2-tiny prompts=$BATS_FILE_TMPDIR/prompts.tsv
  cd "$BATS_FILE_TMPDIR"
  printf 'prompt\ttext\nthe\tThe {} of\nsaid\tHe said: {}\n' >prompts.tsv
  nk-glitch -q --fdr 0.05 "$before" | nk-verify -q "$before" >glitch.tsv
  nk-convert -q --model hf "$before" --patch-rows glitch.tsv --with mean -o patched
  nk-convert -q --model hf "$before" --shuffle-weights 1 -o shuffled
  nk-compare -q $few --prompts prompts.tsv -d covariance,isotropic --quantile 0.5 --times 2 --at 2 \
    --text "$root/data/prompts/contexts.txt" "$before" patched >patched.tsv
}

setup() { cd "$BATS_FILE_TMPDIR"; }

# cells TABLE COND COLUMN...: the columns of the rows that meet a condition of awk, in which a
# column's cell is $c["NAME"].
cells() {
  local table=$1 condition=$2
  shift 2
  awk -F '\t' -v names="$*" 'BEGIN { n = split(names, name, " ") }
    NR == 1 { for (i = 1; i <= NF; i++) c[$i] = i; next }
    '"$condition"' { for (i = 1; i <= n; i++) printf "%s%s", $c[name[i]], i < n ? "\t" : "\n" }' "$table"
}

# near BOUND A B: tables of numbers whose cells differ by at most BOUND.
near() {
  paste "$2" "$3" | awk -F '\t' -v bound="$1" 'NF % 2 == 1 { exit 1 }
    { for (i = 1; i <= NF / 2; i++) { d = $i - $(i + NF / 2); if (d > bound || -d > bound) bad = 1 } }
    END { exit bad || NR == 0 }' || { paste "$2" "$3"; return 1; }
}

@test "a model that is compared with itself has not changed" {
  nk-compare -q $few -p 'The {} of' --quantile 0.9 --times 2 --text "$root/data/prompts/contexts.txt" \
    "$before" "$before" >self.tsv
  run -0 cells self.tsv '$c["model"] == "change"' value low high interval
  [ "${#lines[@]}" -gt 40 ]
  [ "$(printf '%s\n' "${lines[@]}" | sort -u)" = "$(printf '0\t\t\t\n0\t0\t\tbinomial\n0\t0\t0\tbootstrap\n0\t0\t0\tidentical')" ]
}

@test "the share of nokens out of distribution, their KL and entropy are those of a pipe" {
  nk-extract "$before" | nk-region fit -q -o in.safetensors
  nk-sample in.safetensors -n 8 -d covariance,isotropic --quantile 0.5 --times 2 -o nokens.safetensors
  nk-run -q "$before" --prompts prompts.tsv --reference 32 --exclude glitch.tsv nokens.safetensors |
    nk-summary --by distance --share 'p_value<=0.05' --median kl --median entropy -c ray >pipe.tsv
  cells patched.tsv '$c["model"] == "before" && $1 ~ /^noken_(ood|kl|entropy)$/' value distance n >got
  cells pipe.tsv 1 value distance n >expected
  near 1e-6 got expected
  cells patched.tsv '$c["model"] == "before" && $1 ~ /^noken_(ood|kl|entropy)$/' low high >got
  cells pipe.tsv 1 low high >expected
  near 0.15 got expected # the resamples are others, of 16 rays
}

@test "the behaviour of the changed model is that of a pipe" {
  nk-run -q patched --prompts prompts.tsv --reference 32 nokens.safetensors |
    nk-summary --by direction,distance --median entropy >pipe.tsv
  cells patched.tsv '$c["model"] == "after" && $1 ~ /^noken_entropy (cov|iso)/' value >got
  cells pipe.tsv 1 value >expected
  near 1e-6 got expected
}

@test "with its own reference, the changed model is compared as by nk-run" {
  nk-compare -q -n 8 --reference 32 --controls 40 --prompts prompts.tsv --only nokens,glitch --own-reference --glitch glitch.tsv \
    --nokens nokens.safetensors -d isotropic --quantile 0.5 "$before" patched >own.tsv
  nk-run -q patched --prompts prompts.tsv --reference 32 --exclude glitch.tsv nokens.safetensors |
    nk-summary --by distance --share 'p_value<=0.05' --median kl >pipe.tsv
  cells own.tsv '$c["model"] == "after" && $1 ~ /^given_(ood|kl)$/' value >got
  cells pipe.tsv 1 value >expected
  near 1e-6 got expected
}

# The ids are those of the reference: ordinary tokens by seed 0, without the glitch tokens.
@test "nokens in the residual stream are those of a pipe" {
  ids=2079,7219,5117,1820,6053,1749,3973,4566,5253,7800,4930,3760,555,2563,3598,6761,5925,\
4979,1579,7838,4688,3286,1434,8129,8163,4483,5316,725,923,5026,1438,5829,5519,4873,\
6356,2792,4114,6619,420,1406,1548,7235,5668,2288,1580,5642,5510,1783,6486,1840,5698,\
2569,2338,1975,761,3144,733,7203,5857,5689,4348,3234,8103,6465
  nk-run -q "$before" --prompts prompts.tsv --ids "$ids" --capture 2 | nk-region fit -q -o states.safetensors
  nk-sample states.safetensors -n 8 -d covariance,isotropic --quantile 0.5 --times 2 -o states.nokens
  nk-run -q "$before" --prompts prompts.tsv --reference 32 --exclude glitch.tsv --at 2 states.nokens |
    nk-summary --by distance --share 'p_value<=0.05' --median kl --median entropy >pipe.tsv
  cells patched.tsv '$c["model"] == "before" && $1 ~ /^stream_(ood|kl|entropy)$/' distance at value n >got
  cells pipe.tsv 1 distance value n | sed 's/\t/\t2\t/' >expected
  near 1e-5 got expected
}

@test "the glitch tokens and their verdicts are those of nk-glitch and nk-verify" {
  nk-verify -q patched glitch.tsv >after.tsv
  for side in before after; do
    table=$([ $side = before ] && echo glitch.tsv || echo after.tsv)
    cells glitch.tsv '$c["verdict"] ~ /verified/' id | sort >listed
    cells "$table" '$c["verdict"] ~ /verified/' id | sort | comm -12 listed - | wc -l >expected
    cells patched.tsv "\$c[\"model\"] == \"$side\" && \$1 == \"glitch_verified\"" value n |
      awk '{ print $1 * $2 }' >got
    near 1e-4 got expected
  done
  nk-run -q "$before" --prompts prompts.tsv --reference 32 --exclude glitch.tsv \
    --ids "$(paste -sd, listed)" | nk-summary --share 'p_value<=0.05' --median kl >pipe.tsv
  cells patched.tsv '$c["model"] == "before" && $1 ~ /^glitch_(ood|kl)$/' value n >got
  cells pipe.tsv 1 value n >expected
  near 1e-6 got expected
}

@test "losses on a text are those of Transformers" {
  cells patched.tsv '$1 == "text_loss" && $c["model"] == "before"' value n >got
  nk-compare -q --only text --text "$root/data/prompts/contexts.txt" \
    "$root/data/llama-tiny" "$root/data/llama-tiny" >llama.tsv
  cells llama.tsv '$1 == "text_loss" && $c["model"] == "after"' value n >>got
  cells "$BATS_TEST_DIRNAME/../fixtures/compare.tsv" 1 loss tokens >expected
  near 1e-6 got expected
}

@test "by the reference of the original, shuffled weights give behaviour out of distribution" {
  nk-compare -q --reference 32 --ordinary 16 -p 'The {} of' --only ordinary,streams,divergence --at 1,3 -n 4 -d isotropic \
    --times 1 "$before" shuffled >shuffled.tsv
  run -0 cells shuffled.tsv '$c["model"] == "after" && $1 ~ /_ood/' statistic at value
  [ "$(printf '%s\n' "${lines[@]}" | sort -u)" = "ordinary_ood		1
stream_ood	1	1
stream_ood	3	1
stream_ood all	1	1
stream_ood all	3	1" ]
  run -0 cells shuffled.tsv '$1 == "ordinary_ood change"' value low high
  awk '{ exit !($2 > 0.5 && $1 <= $3 && $3 <= 1) }' <<<"${lines[0]}"
  nk-compare -q --reference 32 --ordinary 16 -p 'The {} of' --only ordinary --own-reference "$before" shuffled >own.tsv
  run -0 cells own.tsv '$1 == "ordinary_ood" && $c["model"] == "after"' value
  awk '{ exit !($1 < 0.5) }' <<<"${lines[0]}"
}

@test "searched nokens do more than random ones, and are searched in each model anew" {
  nk-compare -q $search --reference 32 --prompts prompts.tsv --only nokens,searched -n 40 -d isotropic --quantile 0.5 \
    --times 2 --glitch glitch.tsv "$before" shuffled >searched.tsv
  value() { cells searched.tsv "\$1 == \"$1\" && \$c[\"model\"] == \"$2\"" value | paste -sd '\t'; }
  { value noken_kl before; value searched_kl before; value transfer_kl before
    value transfer_kl after; value searched_kl after; } >values
  cat values
  # two distances; both find what their own model does
  awk -F '\t' '{ for (i = 1; i <= 2; i++) v[NR, i] = $i } END { for (i = 1; i <= 2; i++) {
    if (!(v[2, i] > 1.5 * v[1, i] && v[2, i] == v[3, i] && v[5, i] >= v[4, i])) exit 1 } }' values
  run -0 cells searched.tsv '$1 ~ /^(searched|transfer)_ood all$/ && $c["model"] == "after"' n clusters
  [ "${lines[0]}" = "16	4" ]
}

@test "searched nokens are those of nk-search" {
  nk-compare -q --prompts prompts.tsv --only searched --searched 4 --restarts 1 --steps 10 --times 2 \
    "$before" shuffled >searched.tsv
  nk-extract "$before" | nk-region fit -q -o in.safetensors
  nk-search -q "$before" in.safetensors --prompts prompts.tsv --times 2 -n 4 --restarts 1 --steps 10 |
    nk-run -q "$before" --prompts prompts.tsv |
    nk-summary --share 'p_value<=0.05' --median kl --median entropy >pipe.tsv
  cells searched.tsv '$c["model"] == "before" && $1 ~ /^searched_(ood|kl|entropy)$/' value n >got
  cells pipe.tsv 1 value n >expected
  near 1e-4 got expected
}

@test "nk-plot draws both models' shares by distance" {
  run -0 --separate-stderr nk-plot curve -x distance -y noken_ood --by model --format text patched.tsv
  [[ "$output" = *before*after* ]]
  [[ "$output" != *change* ]]
}

@test "models of other shapes or tokenizers are refused by what differs" {
  run -1 nk-compare -q -p 'The {}' "$before" "$root/data/llama-tiny"
  [[ "$output" = "nk-compare: gpt2-tiny has 4 heads of keys, llama-tiny has 2"* ]]
  mkdir -p other
  cp "$before"/config.json "$before"/model.safetensors other
  sed 's/"LINE":8189/"LINE":8190/; s/"Otherwise":8190/"Otherwise":8189/' "$before/tokenizer.json" \
    >other/tokenizer.json
  run -1 nk-compare -q -p 'The {}' "$before" other
  [ "$output" = "nk-compare: the tokenizers differ: token 8189 is 'LINE' in gpt2-tiny and 'Otherwise' in other" ]
}

@test "what cannot be compared is an error before anything runs" {
  run -2 nk-compare "$before" "$before"
  [ "$output" = "nk-compare: no prompt: use -p TEXT or --prompts FILE" ]
  run -2 nk-compare -p '{}' --only ordinary,all "$before" "$before"
  [[ "$output" = *"--only: unknown part 'all': ordinary,"* ]]
  run -2 nk-compare -p '{}' --only ordinary --times 2 "$before" "$before"
  [ "$output" = "nk-compare: --times has no use with --only ordinary" ]
  run -2 nk-compare --only text "$before" "$before"
  [ "$output" = "nk-compare: --only text needs a text: use --text FILE" ]
  run -2 nk-compare -p '{}' --only searched -d isotropic "$before" "$before"
  [ "$output" = "nk-compare: --direction has no use with --only searched" ]
  while read -r part option; do # a number, a flag and a prompt as well as a file
    run -2 nk-compare -p '{}' --only $part $option "$before" "$before"
    [[ "$output" = "nk-compare: ${option%% *} has no use with --only $part" ]]
  done <<<'ordinary --searched 4
ordinary --controls 3
ordinary --number 4
divergence --reference 20
divergence --level 0.1
divergence --own-reference
searched --ordinary 16'
  run -2 nk-compare -p '{}' --only text --text "$root/data/prompts/contexts.txt" "$before" "$before"
  [ "$output" = "nk-compare: --prompt has no use with --only text" ]
  run -2 nk-compare -p '{}' --quantile 2 none none
  [ "$output" = "nk-compare: --quantile 2: a number from 0 to 1 is needed" ]
  run -2 nk-compare -p '{}' --times 1,0 none none
  [ "$output" = "nk-compare: --times 0: a number above 0 is needed" ]
  run -2 nk-compare -p '{}' --at 1,2,1 "$before" "$before"
  [ "$output" = "nk-compare: --at: layer 1 is given twice" ]
  run -1 nk-compare -p '{}' --region none "$before" "$before"
  [ "$output" = "nk-compare: none: No such file or directory" ]
  run -1 nk-compare -p '{}' --text none "$before" "$before"
  [ "$output" = "nk-compare: none: No such file or directory" ]
  run -2 nk-compare -p '{}' --searched 0 "$before" "$before"
  run -2 nk-compare -p '{}' --level 1 "$before" "$before"
  run -2 nk-compare -p '{}' --at 0 "$before" "$before"
  run -2 nk-compare -p '{}' --reference 18 "$before" "$before"
  [ "$output" = "nk-compare: --reference 18: no p-value is below 0.0526, and none is at most --level 0.05; use 19 tokens or more" ]
  run -2 nk-compare -p '{}' --reference 7 "$before" "$before"
  printf 'id\n9999\n' >far.tsv
  run -1 nk-compare -p '{}' --glitch far.tsv "$before" "$before"
  [ "$output" = "nk-compare: far.tsv: id 9999: the models have tokens 0 to 8191" ]
  printf '\n\n' >empty.txt
  run -1 nk-compare -q --only text --text empty.txt "$before" "$before"
  [ "$output" = "nk-compare: empty.txt: no text" ]
  nk-extract "$root/tests/fixtures/forward/gpt2" -o narrow.safetensors
  run -1 nk-compare -p '{}' --only nokens --nokens narrow.safetensors "$before" "$before"
  [[ "$output" = *"narrow.safetensors: vectors have "*" values, the models' have 128" ]]
}

@test "too few prompts or tokens are an error, not a change of 0" {
  printf 'prompt\ttext\n' >none.tsv
  run -1 nk-compare --only divergence --prompts none.tsv "$before" "$before"
  [ "$output" = "nk-compare: none.tsv: no prompts: a row for each is needed" ]
  run -1 nk-compare -q -p '{}' --only ordinary --unverified --reference 4200 "$before" "$before"
  [ "$output" = "nk-compare: $before: no ordinary tokens are left for --ordinary 256: --reference 4200 takes 7900; use fewer" ]
  # the list leaves 24 of 7900 tokens, 12 of them to judge by
  nk-tokens -q "$before" >tokens.tsv
  awk -F '\t' 'NR == 1 { for (i = 1; i <= NF; i++) c[$i] = i; print "id"; next }
    $c["category"] == "ok" && ++n > 24 { print $c["id"] }' tokens.tsv >most.tsv
  run -1 nk-compare -q -p '{}' --only glitch --controls 0 --unverified --glitch most.tsv "$before" "$before"
  [ "$output" = "nk-compare: $before: 12 ordinary tokens to judge by, of --reference 256: no p-value is below 0.0769, and none is at most --level 0.05; use a higher level" ]
}

@test "a glitch token that is listed twice is one" {
  printf 'id\n552\n700\n552\n' >twice.tsv
  nk-compare -q -p '{} of' --only glitch --controls 0 --reference 20 --unverified --glitch twice.tsv \
    "$before" "$before" >twice
  run -0 cells twice '$1 == "glitch_ood"' n clusters
  [ "${lines[0]}" = "2	2" ]
}

@test "a model whose weights are corrupt is named, without advice that does not help" {
  mkdir -p broken
  cp "$before"/*.json broken
  python3 -c '
import json, struct, sys
data = bytearray(open(sys.argv[1], "rb").read())
n = struct.unpack("<Q", data[:8])[0]
header = json.loads(data[8 : 8 + n])
name = next(k for k in header if k.endswith("ln_f.weight"))
at, end = (8 + n + x for x in header[name]["data_offsets"])
data[at:end] = b"\xff" * (end - at)
open("broken/model.safetensors", "wb").write(data)' "$before/model.safetensors"
  run -1 nk-compare -q -p '{}' --only ordinary broken "$before"
  [[ "$output" = "nk-compare: broken: "* && "$output" != *unverified* ]]
}

@test "the 0.99 quantile of divergences has no upper end where tokens are too few" {
  nk-compare -q -p 'The {} of' --only divergence --unverified --ordinary 367 "$before" shuffled >few
  nk-compare -q -p 'The {} of' --only divergence --unverified --ordinary 368 "$before" shuffled >many
  run -0 cells few '$1 == "divergence_q99"' high interval
  [ "${lines[0]}" = "	binomial" ]
  # the largest of 368, as 0.99^368 < 0.025
  [ "$(cells many '$1 == "divergence_q99"' high)" = "$(cells many '$1 == "divergence_max"' value)" ]
}

@test "given nokens that are all at their own distances have one row" {
  nk-extract "$before" | nk-region fit -q | nk-sample -q -n 1 -d isotropic --distance 1,2,3,4,5,6 \
    -o own.safetensors
  run -0 --separate-stderr nk-compare -p 'The {} of' --only nokens -n 2 -d isotropic --times 2 \
    --unverified --reference 20 --nokens own.safetensors "$before" "$before"
  [[ "$stderr" = *"given: no rows by distance: the 6 nokens have more than 3"* ]]
  printf '%s\n' "$output" >own
  [ "$(cells own '$1 ~ /^given_ood/ && $c["model"] == "before"' statistic n)" = "given_ood all	6" ]
  run -0 cells own '$1 ~ /^noken_ood/ && $c["model"] == "before"' statistic n
  [ "${lines[*]}" = "noken_ood	2 noken_ood all	2" ]
}
