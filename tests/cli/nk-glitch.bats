# nk-glitch as a user calls it: on the models that ship and on vector sets.
bats_require_minimum_version 1.5.0
load npy.bash

setup() {
  data=$PWD/data
  cd "$BATS_TEST_TMPDIR"
}

# column NAME: that column of the table on standard input.
column() {
  awk -F '\t' -v name="$1" 'NR == 1 { for (i = 1; i <= NF; i++) if ($i == name) at = i; next }
    { print $at }'
}

# sets: 400 rows of 6 in out.npy and in.npy; ids 0-4 are known to be unused, 5-24 are like them.
sets() {
  npy 6 $(perl -e 'srand(4); for my $i (0 .. 399) { for my $j (1 .. 6) {
    my $s = -6; $s += rand for 1 .. 12;
    print +($i < 25 ? 0.01 * $s + 3 * ($j == 1) : $s), "\n" } }') >out.npy
  npy 6 $(perl -e 'srand(5); for my $i (0 .. 399) { for my $j (1 .. 6) {
    my $s = -6; $s += rand for 1 .. 12; print +($i < 25 ? 0.01 : 1) * $s, "\n" } }') >in.npy
}

@test "lists hold the never-seen tokens, and their rate of false discoveries" {
  for model in gpt2-tiny llama-tiny; do
    nk-glitch --knn 0 --with "$data/$model/counts.tsv" "$data/$model" >all.tsv
    for level in 0.05 0.1 0.2; do
      nk-glitch --knn 0 --fdr $level --with "$data/$model/counts.tsv" "$data/$model" >list.tsv
      [ "$(head -1 list.tsv | cut -f 1-7)" = \
        "id	text	category	rank	score	p_value	q_value" ]
      awk -F '\t' -v level=$level 'FNR == 1 { for (i = 1; i <= NF; i++) if ($i == "steps") at = i
          next }
        NR == FNR { never += $3 ~ /^(ok|byte|partial_utf8)$/ && $at == 0; next }
        { reported++; wrong += $at > 10; found += $at == 0 }
        END { if (wrong > level * reported || found < 0.99 * never || never < 100) exit 1 }' \
        all.tsv list.tsv
    done
  done
}

@test "tokens that were invented for the tokenizer are on it" {
  nk-glitch --knn 0 --fdr 0.05 "$data/gpt2-tiny" | column text >texts
  for token in ' SolidGoldNokenkarp' ' petertoddler' ' StreamerBotanist'; do
    grep -qxF "$token" texts
  done
}

@test "--truth measures the score and every indicator" {
  nk-glitch --knn 0 --truth "$data/llama-tiny/counts.tsv" "$data/llama-tiny" >truth.tsv
  [ "$(head -1 truth.tsv | tr '\t' ' ')" = "indicator steps tokens positives auc\
 average_precision precision spearman reported fdr recall" ]
  [ "$(grep -c '^score	' truth.tsv)" -eq 2 ]
  awk -F '\t' '$1 == "score" { if (!($5 > 0.99 && $6 > 0.98 && $8 < -0.5)) exit 1 }
    $1 == "output_l2" && !($8 > 0.5) { exit 1 }' truth.tsv
}

@test "--truth and --fdr count the same tokens" {
  nk-glitch --knn 0 --fdr 0.1 "$data/gpt2-tiny" | tail -n +2 | wc -l >listed
  nk-glitch --knn 0 --fdr 0.1 --truth "$data/gpt2-tiny/counts.tsv" "$data/gpt2-tiny" |
    column reported | sed -n 1p >reported
  [ "$(tr -d ' ' <listed)" = "$(cat reported)" ]
}

@test "--ablate measures the score without each of its parts" {
  nk-glitch --knn 0 --ablate --truth "$data/llama-tiny/counts.tsv" "$data/llama-tiny" >truth.tsv
  [ "$(grep '^score_without' truth.tsv | column indicator | sort -u | wc -l)" -ge 4 ]
  for part in distance way lead core input; do
    [ "$(grep -c "^score_without_$part	" truth.tsv)" -eq 2 ]
  done
  # Without the distance never-seen tokens are not told from those seen once.
  awk -F '\t' '$2 == 0 && $1 == "score" { score = $6 }
    $2 == 0 && $1 == "score_without_distance" { without = $6 }
    END { exit !(score > without + 0.001) }' truth.tsv
  run -2 nk-glitch --ablate "$data/llama-tiny"
  [[ "$output" == *"--ablate needs --truth"* ]]
}

@test "cuts: the best, those over a score, those of a list; all have to be met" {
  sets
  nk-glitch --output-set out.npy --unused 0-4 >all.tsv
  [ "$(wc -l <all.tsv)" -eq 401 ]
  [ "$(column id <all.tsv | head -20 | sort -n | tr '\n' ' ')" = "$(seq -s ' ' 5 24) " ]
  [ "$(column category <all.tsv | tail -5 | sort -u)" = unused ]
  run -0 nk-glitch --output-set out.npy --unused 0-4 -n 3
  [ "${#lines[@]}" -eq 4 ]
  [ "${lines[3]}" = "$(sed -n 4p all.tsv)" ]
  nk-glitch --output-set out.npy --unused 0-4 --fdr 0.05 | column id | sort -n >listed
  for id in $(seq 5 24); do grep -qx "$id" listed; done
  nk-glitch --output-set out.npy --unused 0-4 --threshold 0.5 -n 100 | column score >scores
  awk '$1 < 0.5 { exit 1 }' scores
  run -0 nk-glitch --output-set out.npy --unused 0-4 --threshold 100
  [ "${#lines[@]}" -eq 1 ]
}

@test "an input matrix adds its evidence, and --output names the file of the table" {
  sets
  nk-glitch --input-set in.npy --output-set out.npy --unused 0-4 >both.tsv
  nk-glitch --output-set out.npy --unused 0-4 | column score >alone
  column score <both.tsv | cmp -s - alone && return 1
  for option in -o --output; do
    nk-glitch --input-set in.npy --output-set out.npy --unused 0-4 $option table.tsv
    cmp both.tsv table.tsv
    rm table.tsv
  done
  [ "$(column id <both.tsv | head -20 | sort -n | tr '\n' ' ')" = "$(seq -s ' ' 5 24) " ]
  cp out.npy before.npy
  run -2 nk-glitch --input-set in.npy --output out.npy --unused 0-4
  cmp out.npy before.npy
}

@test "threads and runs give the same table" {
  sets
  nk-glitch --threads 1 --output-set out.npy --unused 0-4 >one.tsv
  for threads in 1 2 3; do
    nk-glitch --threads $threads --input-set in.npy --output-set out.npy --unused 0-4 >$threads.tsv
    cmp 1.tsv $threads.tsv
    nk-glitch --threads $threads --output-set out.npy --unused 0-4 | cmp - one.tsv
  done
  nk-glitch --json -n 1 --output-set out.npy --unused 0-4 | grep -q '^{"id":.*"rank":1,'
}

@test "unused tokens that lie among the others report nothing, with a warning" {
  sets
  run -0 --separate-stderr nk-glitch --output-set out.npy --unused 100-120 --fdr 0.2
  [ "${#lines[@]}" -eq 1 ]
  [[ "$stderr" == *"every p-value is 1"* ]]
}

@test "without known unused tokens the rule is stated" {
  sets
  run -0 --separate-stderr nk-glitch --output-set out.npy --unused 4000 -n 5
  [[ "$stderr" == *"1 of the 1 unused ids are not in the set"* ]]
  [[ "$stderr" == *"fewer than 3 unused tokens are known"* ]]
}

@test "--summary prints what the ranking rests on" {
  nk-glitch --knn 0 --summary --fdr 0.1 "$data/gpt2-tiny" >summary.tsv
  value() { awk -F '\t' -v name="$1" '$1 == name { print $2 }' summary.tsv; }
  [ "$(value reported)" = "$(nk-glitch --knn 0 --fdr 0.1 "$data/gpt2-tiny" | sed 1d | wc -l)" ]
  # 13 bytes that UTF-8 does not contain, and one special token
  [ "$(value rows) $(value ranked) $(value known_unused)" = "8192 8178 13" ]
  [[ "$(value conclusion)" == "$(value reported) tokens are reported: "* ]]
  sets
  nk-glitch --output-set out.npy --unused 0-4 --summary >summary.tsv
  # Normal rows of standard deviation 0.01 and 1 in six dimensions: about 0.01 and 1 times sqrt(6)
  perl -e 'exit !($ARGV[0] > 0.012 && $ARGV[0] < 0.04 && $ARGV[1] > 2.3 && $ARGV[1] < 2.6 &&
    abs($ARGV[2] / $ARGV[1] - $ARGV[3]) < 1e-6)' \
    "$(value radius)" "$(value spread)" "$(value edge)" "$(value overlap)"
  [ "$(value ball_source)" = "known to be unused" ]
  nk-glitch -q --output-set out.npy --unused 100-120 --summary >summary.tsv
  [ "$(value reported)" = 0 ]
  [[ "$(value null_source)" == "none: the ball overlaps the rest"* ]]
  [[ "$(value conclusion)" == "nothing is reported: the known rows lie among the others"* ]]
  nk-glitch -q --output-set out.npy --unused 4000 --summary >summary.tsv
  [[ "$(value ball_source)" == "closest together among the extreme rows"* ]]
  run -2 nk-glitch --summary -n 3 "$data/gpt2-tiny"
}

@test "--with adds the columns of a table" {
  sets
  printf 'id\tcount\tnote\n7\t0\ta\\tb\n9\t3\t\n' >notes.tsv
  nk-glitch --output-set out.npy --unused 0-4 --with notes.tsv >with.tsv
  [ "$(awk -F '\t' '$1 == 7 { print $(NF - 1), $NF }' with.tsv)" = '0 a\tb' ]
  [ "$(awk -F '\t' '$1 == 8 { print $(NF - 1) "," $NF }' with.tsv)" = ',' ]
  printf 'id\tcode\tsize\n7\t007\t1234567890123\n' >codes.tsv
  nk-glitch --output-set out.npy --unused 0-4 --with codes.tsv >with.tsv
  [ "$(awk -F '\t' '$1 == 7 { print $(NF - 1), $NF }' with.tsv)" = '007 1234567890123' ]
  nk-glitch --json --output-set out.npy --unused 0-4 --with codes.tsv | grep -q '"code":"007","size":1234567890123}'
  printf 'id\tscore\n7\t0\n' >taken.tsv
  run -2 nk-glitch --output-set out.npy --unused 0-4 --with taken.tsv
  [[ "$output" == *"its column 'score' is one of this table's"* ]]
}

@test "the ranking has what becomes of each token's text, as nk-tokens --texts has it" {
  for model in gpt2-tiny llama-tiny; do
    nk-tokens --texts "$data/$model" | cut -f 1,4-6 | tail -n +2 | sort >texts
    nk-glitch "$data/$model" >list.tsv
    [ "$(head -1 list.tsv | tr '\t' '\n' | tail -n 3 | paste -sd ' ')" = \
      "reencoded in_other_tokens other_token" ]
    awk -F '\t' -v OFS='\t' 'NR > 1 { print $1, $(NF - 2), $(NF - 1), $NF }' list.tsv | sort |
      cmp - texts
  done
  printf 'id\treencoded\n7\t0\n' >taken.tsv
  run -2 nk-glitch --with taken.tsv "$data/gpt2-tiny"
  [[ "$output" == *"its column 'reencoded' is one of this table's"* ]]
}

@test "bad input and usage are refused" {
  sets
  run -2 nk-glitch
  run -2 nk-glitch --output-set out.npy
  run -2 nk-glitch --output-set out.npy --unused 0-4 model
  run -2 nk-glitch --unused 3 "$data/gpt2-tiny"
  [[ "$output" == *"--unused needs --output-set"* ]]
  for rate in -1 -0.01 1.01 5; do
    run -2 nk-glitch --output-set out.npy --unused 0-4 --fdr $rate
    [ "$output" = "nk-glitch: --fdr $rate: a rate from 0 to 1 is needed" ]
  done
  [ "$(nk-glitch --output-set out.npy --unused 0-4 --fdr 0 | wc -l)" -eq 1 ]
  [ "$(nk-glitch --output-set out.npy --unused 0-4 --fdr 1 | wc -l)" -gt 390 ]
  run -1 nk-glitch no-such-model
  npy 6 1 2 3 4 5 6 >one.npy
  run -1 nk-glitch --output-set one.npy --unused 0
  [[ "$output" == *"too few to rank"* ]]
  run -1 nk-glitch --input-set one.npy --output-set out.npy --unused 0-4
  [[ "$output" == *"1 rows, the output set 400"* ]]
  printf 'id\n1\n' >bare.tsv
  run -1 nk-glitch --output-set out.npy --unused 0-4 --truth bare.tsv
  [[ "$output" == *"count"* ]]
}
