# nk-run as a user calls it, on the models that ship.
bats_require_minimum_version 1.5.0
load npy.bash

setup() {
  root=$PWD
  gpt2=$PWD/data/gpt2-tiny
  cd "$BATS_TEST_TMPDIR"
}

# Column $2 of table $1, without its head.
column() {
  awk -F '\t' -v name="$2" 'NR == 1 { for (i = 1; i <= NF; i++) if ($i == name) c = i
    if (!c) exit 1 } NR > 1 { print $c }' "$1"
}

@test "a row for every token and prompt, with the requested columns" {
  nk-run "$gpt2" --ids 300,400 -p 'The {}' -p 'He said: {}' >out
  head=$(head -n 1 out | tr '\t' ' ')
  [[ $head == "id text prompt offset entropy top_id top_text top_prob kl p_value p_min residual_norm"* ]]
  [[ $head == *" residual_norm self_prob" ]]
  [ "$(column out id | tr '\n' ' ')" = "300 400 300 400 " ]
  [ "$(column out prompt | tr '\n' ' ')" = "1 1 2 2 " ]
  nk-extract "$gpt2" --ids 300 | nk-run "$gpt2" -p 'The {}' --norms 1,4 >out
  [[ "$(head -n 1 out)" == *"p_value	p_min	residual_norm_1	residual_norm_4" ]]
}

@test "a token's embedding has the effect of the token" {
  nk-run "$gpt2" --ids 300,8100 --prompts "$root/data/prompts/repeat.tsv" --offsets 2 >tokens
  nk-extract "$gpt2" --ids 300,8100 | nk-run "$gpt2" --prompts "$root/data/prompts/repeat.tsv" \
    --offsets 2 >vectors
  for name in id prompt offset entropy top_id kl p_value residual_norm echo echo_rank; do
    cmp <(column tokens $name) <(column vectors $name)
  done
}

@test "common tokens are echoed with rank 1" {
  nk-run "$gpt2" --ids 300,320,350 -p x{} --prompts "$root/data/prompts/repeat.tsv" >out
  awk -F '\t' '$3 == "row" && $1 == $14 && $17 == 1 { found++ } END { exit found != 3 }' out
  awk -F '\t' '$3 == "1" && $14 != "" { exit 1 }' out
}

@test "never-seen tokens leave a higher entropy than common ones" {
  awk 'NR > 1 && $1 > 300 && $2 == 0 { print $1 }' "$gpt2/counts.tsv" | head -n 40 >never
  awk 'NR > 1 && $1 > 300 && $2 > 1000 { print $1 }' "$gpt2/counts.tsv" | head -n 40 >common
  { echo id; cat never common; } >ids.tsv
  nk-run "$gpt2" --ids-from ids.tsv --prompts "$root/data/prompts/repeat.tsv" >out
  awk -F '\t' '$3 == "row" { if (++n <= 40) { if (min == "" || $5 < min) min = $5 }
    else { sum += $5 } } END { exit !(n == 80 && min > sum / 40) }' out
}

@test "p-values of never-seen tokens are small, those of common tokens are not" {
  llama=$root/data/llama-tiny
  awk 'NR > 1 && $1 > 300 && $2 == 0 { print $1 }' "$llama/counts.tsv" | head -n 40 >never
  awk 'NR > 1 && $1 > 300 && $2 > 300 && $1 % 40 == 0 { print $1 }' "$llama/counts.tsv" >common
  { echo id; cat never common; } >ids.tsv
  nk-run "$llama" --ids-from ids.tsv -p 'Repeat after me: "{}" "{}" "{}" "' >out
  column out p_value | awk '{ if (NR <= 40) never += $1 < 0.05; else { n++; common += $1 < 0.05 } }
    END { exit !(never >= 38 && n > 50 && common < 0.25 * n) }'
}

@test "p_min is one over the reference's tokens plus one, and no p-value is below it" {
  nk-extract "$gpt2" --ids 300-699 | nk-run "$gpt2" -p 'The {}' --reference 64 >out
  column out p_min | sort -u | cmp - <(echo 0.0153846154)
  [ "$(column out p_value | sort -g | head -n 1)" = 0.0153846154 ]
}

@test "columns of the set are carried; a token has no value in them" {
  nk-extract "$gpt2" --ids 300-303 -o set.safetensors
  nk-run "$gpt2" -p 'The {} of' -p 'A {}' --ids 9 --capture 2 set.safetensors -o captured
  nk-stats captured >stats
  [[ "$(head -n 1 stats)" == *"	prompt	layer	offset" ]]
  [ "$(column stats id | tr '\n' ' ')" = "9 300 301 302 303 9 300 301 302 303 " ]
  [ "$(column stats prompt | tr '\n' ' ')" = "0 0 0 0 0 1 1 1 1 1 " ]
}

# Compares standard input with table $1: equal cells, or numbers within 1e-4 (the order of a sum).
same() {
  paste - "$1" | perl -F'\t' -lane '$n = @F / 2; for (0 .. $n - 1) { ($a, $b) = @F[$_, $_ + $n];
    exit 1 if $a ne $b && ($_ < 5 || abs($a - $b) > 1e-4) } END { exit !$. }'
}

@test "--capture of many layers and positions is the captures of each, in one set" {
  prompts=(-p 'The {} of the' -p 'He {}')
  nk-run "$gpt2" "${prompts[@]}" --ids 300-304 --capture 3,0-2:end,0 | nk-convert --to tsv >all
  [ "$(head -n 1 all | cut -f 1-5)" = "id	text	prompt	layer	offset" ]
  # 5 tokens, 4 layers; 2 positions of the first prompt, the second ends at its slot
  [ "$(wc -l <all)" -eq $((1 + 5 * 4 * 3)) ]
  sed 1d all | cut -f 1,3-5 | sort -c -t "$(printf '\t')" -k2,2n -k1,1n -k4,4n -k3,3n
  for layer in 0 1 2 3; do
    nk-run "$gpt2" "${prompts[@]}" --ids 300-304 --capture $layer:end | nk-convert --to tsv |
      sed 1d >one
    awk -F '\t' -v l=$layer '$4 == l && $5 == ($3 == 0 ? 2 : 0)' all | same one
    nk-run "$gpt2" "${prompts[@]}" --ids 300-304 --capture $layer | nk-convert --to tsv |
      sed 1d >one
    awk -F '\t' -v l=$layer '$4 == l && $5 == 0' all | same one
  done
  nk-run "$gpt2" -p 'x {}' --ids 300 --capture 2 >one
  grep -aq '"noken.space":"residual:2"' one
  nk-run "$gpt2" -p 'x {}' --ids 300 --capture 1,2 >two
  grep -aq '"noken.space":"residual"' two
}

@test "a list of no ids is a capture without rows" {
  nk-run "$gpt2" -p 'a {} b' --ids-from <(echo id) --capture 1 -o none
  run -0 nk-convert --to tsv none
  [ "${#lines[@]}" -eq 1 ]
  [[ $output == "id	"*"	v1	"* ]]
}

@test "a captured set keeps the words of its vectors' columns, and columns like its own" {
  nk-extract "$gpt2" | nk-region fit -q -o in.region
  nk-sample in.region -n 2 --direction covariance --times 2 -o far
  nk-run "$gpt2" -p 'x {}' --capture 1 far -o captured
  for ids in 300 ''; do # beside a token, numbers hold the words
    nk-run "$gpt2" -p 'x {}' ${ids:+--ids $ids} --capture 2 captured | nk-convert --to tsv >again
    [[ "$(head -n 1 again)" == *"	prompt	layer	offset	set_prompt	set_layer	set_offset	"* ]]
    [ "$(column again direction | tail -n 1)" = covariance ]
    [ "$(column again set_layer | tail -n 1)" = 1 ]
    [ "$(column again layer | tail -n 1)" = 2 ]
  done
}

@test "--at: a row for each layer in turn" {
  nk-extract "$gpt2" --ids 300,301 | nk-run "$gpt2" -p 'The {} of' --at 0,3 >out
  [ "$(column out at | tr '\n' ' ')" = "0 0 3 3 " ]
  [ "$(column out entropy | sort -u | wc -l)" -eq 4 ]
}

@test "a stream captured at a layer and put back there changes nothing" {
  nk-run "$gpt2" -p 'The {} of' --ids 300 --offsets 1 >token
  nk-run "$gpt2" -p 'The {} of' --ids 300 --capture 2 |
    nk-run "$gpt2" -p 'The {} of' --at 2 --fill "$(column token text | head -n 1)" --offsets 1 >put
  paste <(column token entropy) <(column put entropy) |
    awk '{ d = $1 - $2; if (d * d > 1e-10) exit 1 } END { exit NR != 2 }'
  nk-run "$gpt2" -p 'The {} of' --ids 300 --capture 2 |
    nk-run "$gpt2" -p 'The {} of' --at 2 --offsets 1 >other
  run ! cmp -s <(column token entropy) <(column other entropy)
}

@test "zeros added over a token leave the token, and so does the slot's position by number" {
  npy 128 $(yes 0 | head -n 128) >zero.npy
  nk-run "$gpt2" -p 'The {} of' --ids 300 >token
  fill=$(column token text)
  nk-run "$gpt2" -p 'The {} of' --mode add --fill "$fill" zero.npy >added
  cmp <(column token entropy) <(column added entropy)
  nk-run "$gpt2" -p 'The {} of' --mode add --fill "$fill" --position -2 zero.npy >placed
  cmp <(column token entropy) <(column placed entropy)
  run -2 nk-run "$gpt2" -p 'The of' --ids 300 --position 99
  [[ "$output" == *"position 99: prompt '1' has "* ]]
}

@test "each prompt and layer has its own reference: rows do not depend on other prompts and layers" {
  nk-extract "$gpt2" --ids 300-320 -o set
  nk-run "$gpt2" -p 'The {} of' -p 'He said: {}' --at 0,2 set | tail -n +2 | cut -f 1,2,4- >together
  for prompt in 'The {} of' 'He said: {}'; do
    for layer in 0 2; do
      nk-run "$gpt2" -p "$prompt" --at $layer set | tail -n +2 | cut -f 1,2,4-
    done
  done >alone
  cmp together alone
  [ "$(wc -l <alone)" -eq 84 ]
}

@test "--mode add without --fill adds to the mean of the embedding matrix" {
  npy 128 $(yes 0 | head -n 128) >zero.npy
  nk-run "$gpt2" -p 'The {} of' --mode add --capture 0 zero.npy | nk-convert --to tsv |
    awk -F '\t' 'NR == 2 { for (i = NF - 127; i <= NF; i++) print $i }' >sum
  nk-extract "$gpt2" --no-text | nk-convert --to tsv |
    awk -F '\t' 'NR > 1 { for (i = 1; i <= 128; i++) sum[i] += $(NF - 128 + i); n++ }
      END { for (i = 1; i <= 128; i++) printf "%.9g\n", sum[i] / n }' >mean
  paste sum mean | awk '{ d = $1 - $2; good += NF == 2 && $1 != 0 && d * d < 1e-12 }
    END { exit good != 128 }'
}

@test "generated text, and flags on it" {
  printf 'name\tpattern\nany\t.\nnever\tzzzzqqq\nletter\t[a-z]\n' >flags.tsv
  nk-run "$gpt2" --ids 300 -p 'The {} of' --generate 6 --flag flags.tsv >out
  [ "$(column out flags)" = "any,letter" ]
  [ -n "$(column out continuation)" ]
  nk-run "$gpt2" --ids 300 -p 'The {} of' --generate 6 --flag "$root/data/prompts/flags.tsv" >out
  run -2 nk-run "$gpt2" --ids 300 -p 'The {}' --flag flags.tsv
  printf 'name\tpattern\nbad\t(\n' >flags.tsv
  run -1 nk-run "$gpt2" --ids 300 -p 'The {}' --generate 1 --flag flags.tsv
  [[ "$output" == *"flag 'bad'"* ]]
  printf 'name\tpattern\nany\t.\n\tof\n' >flags.tsv
  for summary in '' --flag-summary; do
    run -1 nk-run "$gpt2" --ids 300 -p 'The {}' --generate 1 --flag flags.tsv $summary
    [ "$output" = "nk-run: flags.tsv: the flag with the pattern 'of' has an empty name" ]
  done
}

@test "same seed, same bytes, whatever the threads; the seed draws the reference" {
  nk-run "$gpt2" --ids 300-320 -p 'The {}' --seed 3 >a
  nk-run "$gpt2" --ids 300-320 -p 'The {}' --seed 3 >b
  cmp a b
  nk-run "$gpt2" --ids 300-320 -p 'The {}' --seed 4 >c
  run ! cmp -s a c
  nk-run "$gpt2" --ids 300-320 -p 'The {}' --seed 3 --threads 1 >d
  cmp <(column a top_id) <(column d top_id)
}

@test "the reference from a region, or without a table's tokens" {
  nk-extract "$gpt2" | nk-region fit -o in.region
  nk-run "$gpt2" --ids 300 -p 'The {}' --region in.region >out
  [ "$(column out id)" = 300 ]
  nk-run "$gpt2" --ids 300 -p 'The {}' --exclude "$gpt2/counts.tsv" 2>err && false
  [[ "$(cat err)" == *"too few"* ]]
}

@test "two prompts of one name are refused, with both places" {
  printf 'prompt\ttext\na\tx {}\nb\ty {}\na\tz {}\n' >twice.tsv
  printf 'prompt\ttext\n1\tx {}\n' >one.tsv
  for tool in 'nk-run --ids 300' nk-verify; do
    run -1 $tool "$gpt2" --prompts twice.tsv
    [[ "$output" == *": twice.tsv: row 3: the name 'a' is that of twice.tsv: row 1 too; "* ]]
    run -1 $tool "$gpt2" -p 'q {}' --prompts one.tsv
    [[ "$output" == *": one.tsv: row 1: the name '1' is that of --prompt (number 1) too; "* ]]
  done
}

@test "the reference has tokens alone that the model repeats, with --exclude and when it asks for all" {
  awk 'NR > 1 && $1 > 300 && $2 == 0 { print $1 }' "$gpt2/counts.tsv" | head -n 20 >never
  printf 'id\n300\n301\n' >few.tsv
  nk-run "$gpt2" --ids "$(paste -sd , never)" -p 'Please repeat: "{}" "' --exclude few.tsv >out
  [ "$(column out p_value | awk '$1 < 0.05' | wc -l)" -eq 20 ]
  nk-run "$gpt2" --ids "$(paste -sd , never)" -p 'Please repeat: "{}" "' --reference 4000 >out 2>err
  [[ "$(cat err)" == *": 6"*" of the 8000 ordinary tokens wanted: of 7900 that were tried the model repeats no more"* ]]
  [ "$(column out p_value | awk '$1 < 0.05' | wc -l)" -eq 20 ]
  column out p_min | awk '$1 < 1 / 3500 || $1 > 1 / 3300 { bad++ } END { exit bad || !NR }'
}

@test "a reference that stays small because the search for tokens ended says so" {
  # 80 tokens that training often showed among those that it never showed
  {
    printf 'id\n'
    sed 1d "$gpt2/counts.tsv" | sort -t "$(printf '\t')" -k2,2nr | sed 1,80d |
      awk -F '\t' '$2 > 0 { print $1 }'
  } >others.tsv
  nk-run "$gpt2" --ids 300 -p 'The {}' --exclude others.tsv --reference 20 >out 2>err
  [[ "$(cat err)" == *" of the 40 ordinary tokens wanted: of 160 that were tried the model repeats "* ]]
}

@test "a model that repeats hardly any token is an error, unless --unverified allows them" {
  awk 'NR == 1 || $2 > 0' "$gpt2/counts.tsv" >seen.tsv
  run -1 nk-run "$gpt2" --ids 300 -p 'The {}' --exclude seen.tsv
  [[ "$output" == *"the model repeats 0 of "*"allow unverified tokens"* ]]
  nk-run "$gpt2" --ids 300 -p 'The {}' --exclude seen.tsv --unverified >out
  [ "$(column out id)" = 300 ]
}

@test "options that the output has no use for are refused by name" {
  for mode in '--lens 2' '--flag-summary' '--capture 2'; do
    options=('--reference 9' '--region x' '--exclude x' --unverified '--norms 2' '--every 2')
    [ "$mode" = --flag-summary ] || options+=('--generate 3' '--flag x')
    [ "$mode" = '--lens 2' ] || options+=('--offsets 1' '--top 2' '--lens-with x')
    for option in "${options[@]}"; do
      run -2 nk-run "$gpt2" --ids 300 -p 'The {}' $mode $option
      [ "$output" = "nk-run: ${option%% *} has no use with ${mode%% *}" ]
    done
  done
  run -2 nk-run "$gpt2" --ids 300 -p 'The {}' --top 5
  [ "$output" = 'nk-run: --top needs the layers: use --lens L' ]
}

@test "usage errors are found before any work" {
  run -2 nk-run "$gpt2" --ids 300 -p 'no slot'
  [[ "$output" == *"has no slot {}"* ]]
  run -2 nk-run "$gpt2" --ids 300
  [[ "$output" == *"no prompt"* ]]
  run -2 nk-run "$gpt2" --ids 300 -p 'The {}' --at 9
  [[ "$output" == *"--at: layer 9: the model has layers 0 to 4"* ]]
  run -2 nk-run "$gpt2" --ids 9999 -p 'The {}'
  [[ "$output" == *"id 9999"* ]]
  run -2 nk-run "$gpt2" --ids 300 -p 'The {}' --capture 5
  for positions in '' x 0, ,end -1 0-; do
    run -2 nk-run "$gpt2" --ids 300 -p 'The {}' --capture "2:$positions"
    [[ "$output" == "nk-run: --capture: "* ]]
  done
  run -2 nk-run "$gpt2" --ids 300 -p 'The {}' --capture 0-2:1
  [[ "$output" == *"offset 1: prompt '1' has 0 tokens after the slot"* ]]
  run -2 nk-run "$gpt2" --ids 300 -p 'The {}' --generate 9999
  [[ "$output" == *"the model's context is 256"* ]]
  npy 3 1 2 3 >wide.npy
  run -1 nk-run "$gpt2" -p 'The {}' wide.npy
  [[ "$output" == *"vectors have 3 values, the model's have 128"* ]]
}
