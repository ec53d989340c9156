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
  [ "${lines[0]}" = "id	count	encoded	max_prob	verdict" ]
  [ "${#lines[@]}" -eq 11 ]
  for i in 1 2 3 4 5; do [[ "${lines[$i]}" == *" rejected" ]]; done
  for i in 6 7 8 9 10; do [[ "${lines[$i]}" == *"strongly verified" ]]; done
}

@test "the table's own columns stay, old verdicts are replaced, a pipe and a file give the same" {
  printf 'id\ttext\tmax_prob\tnote\n300\ta\\tb\t7\tx\n' >table.tsv
  run -0 nk-verify "$gpt2" table.tsv
  [ "${lines[0]}" = "id	text	note	encoded	max_prob	verdict" ]
  [[ "${lines[1]}" == "300	a\\tb	x	3	0."* ]]
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
    perl -F'\t' -lane 'exit 1 if abs($F[2] / $F[6] - 1) > 1e-4'
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

@test "--controls: ordinary tokens of the listed lengths, the same by seed, whatever their verdict" {
  awk -F '\t' 'NR == 1 || ($1 > 300 && $2 == 0)' "$gpt2/counts.tsv" | cut -f 1,2 >never.tsv
  nk-extract --ids-from never.tsv "$gpt2" | nk-stats --no-mahalanobis | cut -f 1,2 >listed.tsv
  nk-verify --controls 300 "$gpt2" listed.tsv >a
  [ "$(head -n 1 a)" = "id	text	control	encoded	max_prob	verdict" ]
  awk -F '\t' '$3 == 0' a | cut -f 1,2 | cmp - <(sed 1d listed.tsv)
  awk -F '\t' '$3 == 1' a >controls
  [ "$(cut -f 1 controls | sort -u | wc -l)" -eq 300 ]
  [ -z "$(cut -f 1 listed.tsv controls | sort | uniq -d)" ]
  # text gives all of them, and their lengths have the distribution of the listed ones
  nk-tokens "$gpt2" | awk -F '\t' 'NR == FNR { category[$1] = $3; next }
    category[$1] !~ /^(ok|byte|partial_utf8)$/ { bad++ } END { exit bad || NR == FNR }' - controls
  nk-verify --controls $(($(wc -l <listed.tsv) - 1)) "$gpt2" listed.tsv |
    perl -F'\t' -lane 'next if $. == 1; ($t = $F[1]) =~ s/\\(x..|.)/x/g; $n[$F[2]]{length $t}++;
      $all++; END { $apart += abs($n[0]{$_} - $n[1]{$_}) for 1 .. 99; exit($apart > 0.05 * $all) }'
  nk-verify --controls 300 "$gpt2" listed.tsv | cmp a -
  nk-verify --controls 300 --seed 1 "$gpt2" listed.tsv | cut -f 1 >other
  run ! cmp -s other <(cut -f 1 a)
  run -2 nk-verify --all --controls 10 "$gpt2"
  run -2 nk-verify --summary --truth "$gpt2/counts.tsv" "$gpt2" never.tsv
}

@test "--summary: listed tokens beside controls, with the difference" {
  awk -F '\t' 'NR == 1 || ($1 > 300 && $2 == 0)' "$gpt2/counts.tsv" | cut -f 1 | head -n 301 >never.tsv
  nk-verify --controls 200 "$gpt2" never.tsv >rows
  nk-verify --summary "$gpt2" never.tsv >summary
  cmp <(nk-verify --summary "$gpt2" rows | cut -f 1-9) <(cut -f 1-9 summary) # a table's own controls
  [ "$(cut -f 1 summary | paste -sd ,)" = \
    "group,listed,control,difference,listed, not encoded,control, not encoded" ]
  awk -F '\t' 'NR == FNR { if (FNR > 1) { g = ($2 ? "control" : "listed") ($3 ? "" : ", not encoded")
      n[g]++; bad[g] += $4 < 0.1 }; next }
    $1 in n { if ($2 != n[$1] || $3 + $4 != bad[$1] || ($7 - bad[$1] / n[$1]) ^ 2 > 1e-12 ||
      !($8 <= $7 && $7 <= $9)) exit 1; found++ }
    $1 == "listed" { a = $7 } $1 == "control" { b = $7 }
    $1 == "difference" && ($7 - (a - b)) ^ 2 < 1e-12 && $8 > 0.5 { found++ }
    END { exit !(found >= 4) }' rows summary
}

@test "controls are like the listed tokens alone, and none of a table's own" {
  awk -F '\t' 'NR > 1 && $3 == "ok" && length($2) == 3 && $2 !~ /\\/ { print $1 }' <(nk-tokens "$gpt2") |
    head -n 4 >short
  { printf 'id\tcontrol\n' && awk '{ print $1 "\t0" }' short; } >listed.tsv
  nk-verify --controls 100 "$gpt2" listed.tsv | awk -F '\t' 'NR > 5 { print $1 }' | sort >alone
  # as controls, tokens of another length
  { cat listed.tsv && awk -F '\t' 'NR > 1 && $3 == "ok" && length($2) > 8 { print $1 "\t1" }' \
    <(nk-tokens "$gpt2") | head -n 40; } >more.tsv
  nk-verify --controls 100 "$gpt2" more.tsv | awk -F '\t' 'NR > 45 { print $1 }' | sort | cmp - alone
  # controls that stand in the table already
  { cat listed.tsv && sed 's/$/\t1/' alone; } >again.tsv
  nk-verify --controls 100 "$gpt2" again.tsv | awk -F '\t' 'NR > 105 { print $1 }' | sort >others
  [ "$(wc -l <others)" -eq 100 ]
  [ -z "$(comm -12 alone others)" ]
}

@test "an empty list has no controls and gives no warning" {
  nk-verify --summary "$gpt2" <<<id >out 2>err
  [ ! -s err ]
  [ "$(awk -F '\t' '$1 == "listed" { print $2 }' out)" = 0 ]
}

@test "a text that the tokenizer refuses is its error, not one of memory" {
  cp -r "$gpt2" m
  token=$(nk-tokens "$gpt2" | awk -F '\t' '$3 == "ok" && $2 ~ /^[a-z]+qu[a-z]*$/ { print $1; exit }')
  perl -pi -e '$t = "z" x 9000;
    s/"normalizer":null/"normalizer":{"type":"Replace","pattern":{"String":"qu"},"content":"$t"}/' \
    m/tokenizer.json
  run -1 nk-verify m -p 'a {}' <<<"$(printf 'id\n%s' "$token")"
  [[ "$output" == *": prompt 'a {}': id $token: the normalizer makes more than"* ]]
}

@test "encoded: the prompts in which the token's text gives the token in its place" {
  nk-verify --all -p 'He said {}.' -p '"{}{}"' "$gpt2" >rows
  for id in 300 336 1000 4000; do
    text=$(awk -F '\t' -v id=$id '$1 == id { print $2 }' rows)
    text=$(printf %b "$text.") && text=${text%.}
    n=0
    ids() { nk-tokens --encode "$1" "$gpt2" | sed 1d | cut -f 1 | paste -sd ' '; }
    [[ "$(ids "He said $text.")" == "$(ids "He said ") $id "* ]] && n=$((n + 1))
    [[ "$(ids "\"$text$text\"")" == "$(ids '"') $id $id "* ]] && n=$((n + 1))
    [ "$(awk -F '\t' -v id=$id '$1 == id { print $4 }' rows)" = $n ]
  done
  awk -F '\t' '$3 == "partial_utf8" || $3 == "unused_byte" { n++; if ($4) exit 1 }
    END { exit !n }' rows
}

@test "--text: texts of one token as their ids, texts of several, and no verdict on none" {
  nk-verify --all "$gpt2" | awk -F '\t' 'NR == 1 || ($1 > 300 && $4 == 3)' | head -n 400 >ids
  nk-verify --text "$gpt2" ids >texts
  [ "$(head -n 1 texts)" = "id	text	category	pieces	encoded	max_prob	verdict" ]
  paste ids texts | awk -F '\t' 'NR > 1 && ($1 != $7 || $2 != $8 || $10 != 1 || $11 != 3 ||
    ($12 / $5 - 1) ^ 2 > 1e-8 || $13 != $6) { exit 1 } END { exit NR != 400 }'
  printf 'text\n apple tree\n\\xFF\n\n' | nk-verify --text "$gpt2" >few
  [ "$(sed -n 2p few | cut -f 2,3)" = "$(nk-tokens --encode ' apple tree' "$gpt2" | sed 1d | wc -l)	3" ]
  [ "$(sed -n 3p few)" = '\xFF	0	0		' ]
  [ "$(sed -n 4p few)" = '	0	0		' ]
}

@test "--text: controls are texts of as many ordinary tokens" {
  printf 'id\ttext\n9999\t apple tree\n\t the\n' >listed.tsv
  nk-verify --text --controls 40 "$gpt2" listed.tsv >rows
  awk -F '\t' 'NR > 3 && ($1 != "" || $2 == " the" || $3 != 1) { exit 1 }
    NR > 3 { n[$4]++ } NR == 2 { k = $4 } END { exit !(NR == 43 && n[k] >= 18 && n[1] >= 18) }' rows
  nk-verify --text --controls 40 "$gpt2" listed.tsv | cmp rows -
  nk-verify --text --summary "$gpt2" rows >summary
  awk -F '\t' '$1 == "listed" { a = $2 } $1 == "control" { b = $2 }
    END { exit !(a == 2 && b == 40) }' summary
  run -2 nk-verify --text --all "$gpt2"
  run -2 nk-verify --text --truth "$gpt2/counts.tsv" "$gpt2" listed.tsv
  run -1 nk-verify --text "$gpt2" <<<"$(printf 'id\n3')"
  [[ "$output" == *"text"* ]]
}

@test "--summary prints the command that makes it again" {
  printf 'id\n300\n8000\n' >'a b.tsv'
  nk-verify --summary --controls 5 -p "it's {}, \"" "$gpt2" 'a b.tsv' >summary
  [ "$(head -n 1 summary | cut -f 10)" = command ]
  command=$(printf %b "$(sed -n 2p summary | cut -f 10)")
  eval "$command" | cmp summary -
}

@test "--repeats: failures, trials and rate, the same whatever the other rows and the threads" {
  printf 'id\n2492\n7686\n5249\n6402\n' >ids
  nk-verify --repeats 40 --temperature 1 "$gpt2" ids >rows
  [ "$(head -n 1 rows)" = \
    "id	encoded	max_prob	verdict	failures	trials	rate	rate_low	rate_high" ]
  awk -F '\t' 'NR > 1 && ($6 != 120 || ($7 - $5 / $6) ^ 2 > 1e-16 || !($8 <= $7 && $7 <= $9)) { exit 1 }
    NR == 2 && $7 > 0.4 || NR == 5 && $7 < 0.95 { exit 1 }' rows
  { echo id && tac ids | head -n 3; } | nk-verify --repeats 40 --temperature 1 --threads 1 "$gpt2" |
    cut -f 1,5- | sort | cmp - <(cut -f 1,5- rows | sed 2d | sort)
  nk-verify --repeats 40 --temperature 1 --seed 1 "$gpt2" ids | cut -f 5 >other
  run ! cmp -s other <(cut -f 5 rows)
  run -2 nk-verify --repeats 5 "$gpt2" ids
  [[ "$output" == *"greedy decoding gives the same answer each time"* ]]
  run -2 nk-verify --repeats 5 --temperature 0 "$gpt2" ids
  run -2 nk-verify --temperature 1 "$gpt2" ids
  run -2 nk-verify --repeats 5 --temperature 1 --all --truth "$gpt2/counts.tsv" "$gpt2"
}

@test "--repeats --summary: mean rates, with intervals by tokens, not by attempts" {
  awk -F '\t' 'NR == 1 || ($1 > 300 && $2 == 0)' "$gpt2/counts.tsv" | cut -f 1 | head -n 41 >never.tsv
  nk-verify --controls 40 --repeats 20 --temperature 1 "$gpt2" never.tsv >rows
  nk-verify --summary --repeats 20 --temperature 1 "$gpt2" rows >summary
  [ "$(head -n 1 summary | cut -f 10-)" = "rate	rate_low	rate_high	command" ]
  awk -F '\t' 'NR == FNR { if (FNR > 1 && $2 && $3) { n++; sum += $8; square += $8 ^ 2; control[n] = $8 } next }
    $1 == "control" { mean = sum / n; sd = sqrt((square - n * mean ^ 2) / (n - 1) / n)
      if (($10 - mean) ^ 2 > 1e-12 || $12 - $11 < 3 * sd || $12 - $11 > 5 * sd) exit 1; found++; rate = $10 }
    $1 == "listed" { if ($10 < 0.99) exit 1; listed = $10; found++ }
    $1 == "difference" { if (($10 - listed + rate) ^ 2 > 1e-12 || !($11 > 0.3)) exit 1; found++ }
    END { exit found != 3 }' rows summary
}

@test "--agree: rows on which q_value and verdict disagree; with --summary the table and kappa" {
  nk-glitch "$gpt2" | cut -f 1-3,7 >glitch.tsv
  nk-verify "$gpt2" glitch.tsv >rows
  nk-verify --agree "$gpt2" - <glitch.tsv >apart
  [ "$(head -n 1 apart)" = "id	text	category	q_value	encoded	max_prob	verdict	cell" ]
  awk -F '\t' 'NR == 1 || $4 == "" || $5 == 0 { next }
    { w = $4 <= 0.05; b = $6 < 0.1 } w != b { print $1 "\t" (w ? "weights only" : "behaviour only") }' rows |
    cmp - <(sed 1d apart | cut -f 1,8)
  # a table with verdicts is compared as it is: nothing is computed
  nk-verify --agree "$gpt2" rows | cmp - apart
  sed 's/strongly verified//; s/^\(300\t.*\t\)[0-9.e-]*\t/\10.00001\t/' rows | nk-verify --agree "$gpt2" - >changed
  [ "$(awk -F '\t' '$1 == 300 { print $8 }' changed)" = "behaviour only" ]
  nk-verify --agree --summary "$gpt2" rows >summary
  awk -F '\t' '{ n[$1] = $2; v[$1] = $3; low[$1] = $4; high[$1] = $5 } END {
      a = n["both"]; b = n["weights only"]; c = n["behaviour only"]; d = n["neither"]; all = a + b + c + d
      e = ((a + b) * (a + c) + (c + d) * (b + d)) / all ^ 2; o = (a + d) / all
      exit !(all + n["not compared"] == 8192 && all == n["kappa"] && (v["agreement"] - o) ^ 2 < 1e-12 &&
        (v["kappa"] - (o - e) / (1 - e)) ^ 2 < 1e-12 && low["kappa"] < v["kappa"] && v["kappa"] < high["kappa"]) }' \
    summary
  nk-verify --agree --summary --level 0.5 "$gpt2" rows |
    awk -F '\t' -v apart="$(sed 1d apart | wc -l)" '$1 ~ /only/ { n += $2 } END { exit n == apart }'
  run -1 nk-verify --agree "$gpt2" <<<"$(printf 'id\n300')"
  [[ "$output" == *"q_value"* ]]
  run -2 nk-verify --agree --all "$gpt2"
  run -2 nk-verify --agree --text "$gpt2" rows
  run -2 nk-verify --agree --controls 3 "$gpt2" rows
  for option in '--prompt {}' "--prompts $data/prompts/echo20.tsv" '--chat none' '--steps 3'; do
    run -2 nk-verify --agree $option "$gpt2" rows
  done
  [ "$output" = "nk-verify: rows: it has the columns encoded and max_prob, and the model is not run:\
 --steps has no effect; leave it out, or leave out these columns" ]
  nk-verify --agree --steps 3 "$gpt2" glitch.tsv | cmp - apart
  for level in -3 -0.1 1.5; do
    run -2 nk-verify --agree --level $level "$gpt2" rows
    [[ "$output" == *"--level $level: a q_value from 0 to 1 is needed" ]]
  done
  run -2 nk-verify --level 0.05 "$gpt2" glitch.tsv
  nk-verify --agree --summary --level 0 "$gpt2" <(printf 'id\tq_value\tencoded\tmax_prob\n1\t.5\t1\t0\n2\t.5\t1\t1\n') |
    awk -F '\t' '$1 == "kappa" { exit !($3 == "" && $4 == "" && $5 == "") }'
}

@test "a summary without controls is refused" {
  printf 'id\n300\n' >ids.tsv
  run -2 nk-verify --summary --controls 0 "$gpt2" ids.tsv
  [ "$output" = "nk-verify: ids.tsv: --summary compares with controls: the table has no column\
 'control', and --controls is 0; use 1 or more" ]
  run -2 nk-verify --text --summary --controls 0 "$gpt2" <<<$'text\n a\n'
  printf 'id\tcontrol\n300\t0\n400\t1\n' >own.tsv
  nk-verify --summary --controls 0 "$gpt2" own.tsv >summary
  [ "$(cut -f 1,2 summary | sed -n 2,3p)" = $'listed\t1\ncontrol\t1' ]
}

@test "the cells of the table stay as they are" {
  nk-glitch -q "$gpt2" >glitch.tsv
  nk-verify -q --steps 1 -p '{}' "$gpt2" glitch.tsv >verified.tsv
  cut -f "1-$(head -n 1 glitch.tsv | awk -F '\t' '{ print NF }')" verified.tsv | cmp - glitch.tsv
}

# Of the tokens that training never showed and that text gives, 99% and more are verified; of those
# that it showed in more than a hundred steps, 1% and less.
@test "recall of never-seen tokens is at least 0.99 where controls fail at most 1%" {
  for model in gpt2-tiny llama-tiny; do
    nk-verify --all "$data/$model" >rows
    awk -F '\t' 'NR == FNR { count[$1] = $2; steps[$1] = $3; next } FNR > 1 && $4 > 0 {
        if (count[$1] == 0) { n++; found += $5 < 0.1 }
        if (steps[$1] > 100) { controls++; failed += $5 < 0.1 } }
      END { print found, n, failed, controls
        exit !(n > 300 && controls > 6000 && found >= 0.99 * n && failed <= 0.01 * controls) }' \
      "$data/$model/counts.tsv" rows
  done
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

# Sets N halves of tensor $1 of m/model.safetensors, those from element $2 on that are $3 apart, to
# the half $5 (hexadecimal): set_halves TENSOR FIRST APART N HALF.
set_halves() {
  perl -e '($tensor, $first, $apart, $count, $half) = @ARGV;
    open F, "+<", "m/model.safetensors"; binmode F; read F, $n, 8; $n = unpack "Q<", $n;
    read F, $head, $n; $head =~ /"\Q$tensor\E":\{[^}]*"data_offsets":\[(\d+)/ or die "no tensor";
    for (0 .. $count - 1) { seek F, 8 + $n + $1 + 2 * ($first + $_ * $apart), 0;
      print F pack("S<", hex $half) }' "$@"
}

# Component 5 is 0 for all tokens but 300, in which the mlp of block 1 makes it overflow: all
# weights are finite.
@test "a value that overflows for one token alone is an error that names the block, in every mode" {
  rm -rf m && cp -r "$data/llama-tiny" m
  set_halves model.embed_tokens.weight 5 128 8192 0
  set_halves model.embed_tokens.weight $((300 * 128 + 5)) 1 1 7bff
  for block in 0 1; do
    set_halves model.layers.$block.self_attn.o_proj.weight $((5 * 128)) 1 128 0
  done
  mlp=256 # rows of the mlp's matrices
  set_halves model.layers.0.mlp.down_proj.weight $((5 * mlp)) 1 "$mlp" 0
  set_halves model.layers.1.post_attention_layernorm.weight 5 1 1 7bff
  set_halves model.layers.1.mlp.up_proj.weight 5 128 "$mlp" 7bff
  set_halves model.layers.1.mlp.gate_proj.weight 5 128 "$mlp" 7bff
  set_halves model.layers.1.mlp.down_proj.weight 0 1 $((128 * mlp)) 7bff
  printf 'id\ttext\n400\t%s\n' "$(nk-tokens m | awk -F '\t' '$1 == 400 { print $2 }')" >sound.tsv
  { cat sound.tsv && printf '300\t%s\n' "$(nk-tokens m | awk -F '\t' '$1 == 300 { print $2 }')"; } >both.tsv
  for mode in '' --text '--repeats 2 --temperature 1' '--controls 2'; do
    run -0 nk-verify m $mode sound.tsv
    run -1 nk-verify m $mode both.tsv
    [ "${#lines[@]}" -eq 1 ]
    [[ "$output" == *"the output of block 1 is not finite"* ]]
  done
  run -1 nk-verify --all m
  [[ "$output" == *"the output of block 1 is not finite"* ]]
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
