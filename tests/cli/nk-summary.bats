# nk-summary as a user calls it. Statistics of tests/fixtures/summary/rows.tsv are compared with those of
# scipy, scikit-learn, statsmodels and numpy (tests/fixtures/summary.py).
bats_require_minimum_version 1.5.0

setup() {
  fixture=$BATS_TEST_DIRNAME/../fixtures/summary
  rows=$fixture/rows.tsv
  cd "$BATS_TEST_TMPDIR"
  printf 'id\tprompt\tkind\tkl\tflags\n%s' \
    $'0\ta\tnear\t0.5\t\n1\ta\tnear\t1.5\techo\n0\tb\tfar\t2.5\t\n1\tb\tfar\tNaN\techo\n2\tb\tfar\tinf\t\n' >small.tsv
}

# matches NAME OPTION...: the last row of the table has the expected value, low and high.
matches() {
  nk-summary "${@:2}" "$rows" >table
  perl -e '
    my ($name, $expected) = @ARGV;
    my (@at, %row);
    open my $file, "<", $expected or die;
    while (<$file>) { chomp; my @cells = split /\t/; @at = @cells if $cells[0] eq $name }
    my @head = split /\t/, <STDIN>;
    while (<STDIN>) { @row{@head} = split /\t/ }
    my $bad = abs($row{value} - $at[1]) > 1e-8 * abs $at[1];
    $bad ||= abs($row{low} - $at[2]) > $at[4] * ($at[3] - $at[2]);
    $bad ||= abs($row{high} - $at[3]) > $at[4] * ($at[3] - $at[2]);
    print "$name: $row{value} $row{low} $row{high}, expected @at[1 .. 3]\n" if $bad;
    exit $bad' "$1" "$fixture/expected.tsv" <table
}

@test "intervals of independent rows are those of other programs" {
  matches share --share 'kl<=1'
  matches mean --mean kl
  matches median --median kl
  matches auc --auc kl --between training=never,seen
  matches share_difference --share 'kl<=1' --between training=never,seen
}

@test "the interval of a quantile is between two pairs of order statistics" {
  run -0 nk-summary --quantile kl:0.9 "$rows"
  perl -e '
    my ($value, $low, $high) = (split /\t/, shift)[1 .. 3];
    my %at = map { my @cells = split /\t/; $cells[0] => [@cells[2, 3]] } <STDIN>;
    my ($outer, $inner) = ($at{quantile_outer}, $at{quantile_inner});
    exit !($outer->[0] <= $low && $low <= $inner->[0] && $inner->[1] <= $high &&
           $high <= $outer->[1] && $value == 10.8852)' "${lines[1]}" <"$fixture/expected.tsv"
}

@test "intervals of clustered rows are those of the bootstrap by numpy" {
  matches share_clustered --share 'kl<=1' --cluster id,prompt --resamples 10000
  matches auc_clustered --auc kl --between training=never,seen --cluster id,prompt
  matches mean_clustered --mean kl --cluster id,prompt --resamples 10000
  matches median_clustered --median kl --cluster id,prompt --resamples 10000
  matches mean_difference_clustered --mean kl --between training=never,seen --cluster id,prompt \
    --resamples 10000
}

@test "each interval has the name of its method" {
  names() { nk-summary -q "${@:2}" "$rows" | tail -n +2 | cut -f "1,$1"; }
  [ "$(names 6 --count --share 'kl<=1' --mean kl --median kl)" = "count	
share kl<=1	Wilson
mean kl	Student's t
median kl	order statistics" ]
  two=(--between training=never,seen)
  [ "$(names 7 "${two[@]}" --share 'kl<=1' --mean kl --auc kl | sed -n '3p;6,7p')" = "share kl<=1	Newcombe
mean kl	Zou-Donner
auc kl	DeLong" ]
  [ "$(names 6 -c id --share 'kl<=1' --mean kl --median kl)" = "share kl<=1	Wilson
mean kl	bootstrap
median kl	bootstrap" ]
  [ "$(names 7 "${two[@]}" -c id --share 'kl<=1' --share 'kl<=0' --auc kl | sed -n '3p;6,7p')" = "share kl<=1	bootstrap
share kl<=0	Newcombe
auc kl	Wilson" ]
}

@test "groups are in order: numbers ascending, texts as they appear" {
  printf 'q\tkind\tx\n%s' $'0.9\tz\t1\n0.9\ta\t1\n10\tz\t1\n0.5\tz\t1\n' >order.tsv
  run -0 nk-summary --by kind,q order.tsv
  [ "${lines[0]}" = "kind	q	statistic	value	low	high	level	interval	n	missing" ]
  [ "$(printf '%s\n' "${lines[@]:1}" | cut -f 1,2,4)" = "z	0.5	1
z	0.9	1
z	10	1
a	0.9	1" ]
}

@test "rows without a value are counted and left out; an infinity is a value" {
  run -0 nk-summary --by kind --median kl --share 'kl<=1' small.tsv
  [ "$(printf '%s\n' "${lines[@]:1}" | cut -f 1-3,8-)" = "near	share kl<=1	0.5	2	0
near	median kl	1	2	0
far	share kl<=1	0	2	1
far	median kl	inf	2	1" ]
}

@test "texts are compared as texts, an empty one too" {
  run -0 nk-summary --share 'flags==echo' --share 'flags!=' --share flags --share 'kind!=near' small.tsv
  [ "$(printf '%s\n' "${lines[@]:1}" | cut -f 1,2,7)" = "share flags==echo	0.4	5
share flags!=	0.4	5
share flags	0.4	5
share kind!=near	0.6	5" ]
}

@test "conditions are groups, and --where keeps the rows that meet them" {
  run -0 nk-summary --by 'id==0' --where 'prompt==b' --where 'kl<9' small.tsv
  [ "${lines[0]}" = "id==0	statistic	value	low	high	level	interval	n	missing" ]
  [ "${#lines[@]}" -eq 2 ]
  [[ "${lines[1]}" == "1	count	1	"* ]]
}

@test "a column alone is a condition: neither 0 nor no nor missing" {
  printf 'flag\n1\n0\nno\n\nNA\n2\n3\n' >flags.tsv
  run -0 nk-summary --where flag flags.tsv
  [[ "${lines[1]}" == "count	3	"* ]]
  run -0 nk-summary --between 'flag,flag==0' flags.tsv
  [ "$(printf '%s\n' "${lines[@]:1}" | cut -f 2,3)" = "flag	3
flag==0	1" ]
}

@test "a column with the name of one of the summary's own is carried with set_" {
  printf 'n\tvalue\tfirst\n4\t1\t1\n4\t3\t2\n' >own.tsv
  run -0 nk-summary -q --by n,value -c first --between 'value==1,value==3' own.tsv
  [ "${lines[0]}" = "set_n	set_value	statistic	between	value	low	high	level	interval	n	missing	n_first	n_second	set_n_first" ]
  [[ "${lines[1]}" == "4	1	count	value==1	1	"* ]]
  nk-summary --by n own.tsv >once
  run -0 nk-summary --by statistic --mean value once
  [[ "${lines[1]}" == "count	mean value	2	"* ]]
}

@test "the quantile of one row is bounded by that row" {
  printf 'g\tx\na\t5\nb\t7\n' >one.tsv
  run -0 nk-summary --by g --quantile x:0.99 one.tsv
  [ "$(printf '%s\n' "${lines[@]:1}" | cut -f 1,3-5)" = "a	5	5	
b	7	7	" ]
}

@test "--bins divides a column into bins of equal counts, named by their medians" {
  { echo x; seq 1 9; } >x.tsv
  run -0 nk-summary --bins x:3 --mean x x.tsv
  [ "$(printf '%s\n' "${lines[@]:1}" | cut -f 1,3)" = "2	2
5	5
8	8" ]
  { echo x; for i in 1 2 3 4 5; do echo 7; done; } >tied.tsv
  run -0 nk-summary --bins x:3 tied.tsv
  [ "${#lines[@]}" -eq 2 ]
  [[ "${lines[1]}" == "7	count	5	"* ]]
}

@test "--with joins columns by id, to every row of an id" {
  printf 'id\tsteps\n1\t0\n0\t7\n' >counts.tsv
  run -0 nk-summary --with counts.tsv --by steps small.tsv
  [ "$(printf '%s\n' "${lines[@]:1}" | cut -f 1,3)" = "	1
0	2
7	2" ]
  printf 'id\tsteps\n1\t0\n1\t7\n' >twice.tsv
  run -1 nk-summary --with twice.tsv small.tsv
  [ "$output" = "nk-summary: twice.tsv: two rows have the id 1" ]
}

@test "--between prints both groups and how they compare; --two-sided exchanges them" {
  run -0 nk-summary --between kind=near,far --auc kl --median kl small.tsv
  [ "$(printf '%s\n' "${lines[@]:1}" | cut -f 1-3,8-)" = "median kl	near	1	2	0	2	0
median kl	far	inf	2	1	0	2
median kl	near - far	-inf	4	1	2	2
auc kl	near > far	0	4	1	2	2" ]
  run -0 nk-summary --between 'kl<1,kl>2' --auc kl --two-sided small.tsv
  [[ "${lines[1]}" == "auc kl	kl>2 > kl<1	1	"* ]]
  run -1 nk-summary --between 'kl<2,kl<9' --auc kl small.tsv
  [ "$output" = "nk-summary: small.tsv: row 1 is in both groups, 'kl<2' and 'kl<9'" ]
}

@test "clusters can be combinations of columns" {
  run -0 nk-summary -q --cluster id+prompt --mean kl small.tsv
  [ "${lines[0]}" = "statistic	value	low	high	level	interval	n	missing	n_id+prompt" ]
  [[ "${lines[1]}" == *"	4	1	4" ]]
}

@test "the seed decides the resamples, the number of threads does not" {
  nk-summary -c id,prompt --mean kl --threads 1 "$rows" >one
  nk-summary -c id,prompt --mean kl --threads 2 "$rows" >two
  nk-summary -c id,prompt --mean kl --seed 1 "$rows" >other
  cmp one two
  run -1 cmp -s one other
}

@test "--level widens intervals: Wilson's of 2 in 5 at 99%" {
  # statsmodels.stats.proportion.proportion_confint(2, 5, 0.01, "wilson")
  run -0 nk-summary --share flags --level 0.99 small.tsv
  [ "${lines[1]}" = "share flags	0.4	0.0827078622	0.831343802	0.99	Wilson	5	0" ]
}

@test "few clusters give a warning, one gives no interval" {
  run -0 --separate-stderr nk-summary -c prompt --mean kl small.tsv
  [ "$stderr" = "nk-summary: warning: a group has rows of 2 different 'prompt': intervals from fewer than 5 clusters can be too short" ]
  run -0 --separate-stderr nk-summary -c prompt --mean kl --where 'prompt==a' small.tsv
  [ "${lines[1]}" = "mean kl	1			0.95		2	0	1" ]
  [ "$stderr" = "nk-summary: warning: a group has rows of 1 different 'prompt': it has no interval" ]
}

@test "tables without rows, of one row and of ties are ordinary" {
  echo kl >none.tsv
  run -0 nk-summary --mean kl --median kl --share 'kl<1' none.tsv
  [ "${lines[1]}" = "share kl<1				0.95		0	0" ]
  run -0 nk-summary --by kl --mean kl none.tsv
  [ "${#lines[@]}" -eq 1 ]
  printf 'kl\n3\n' >one.tsv
  run -0 nk-summary --mean kl --median kl one.tsv
  [ "${lines[1]}" = "mean kl	3			0.95		1	0" ]
  run -0 nk-summary --between 'kl<1,kl>9' --auc kl --mean kl one.tsv
  [ "${lines[1]}" = "mean kl	kl<1				0.95		0	0	0	0" ]
}

energy=(--energy entropy,kl --strata prompt -c id --resamples 5000)

@test "energy distances and their p-values are those of dcor and numpy" {
  nk-summary --by times "${energy[@]}" --against "$fixture/glitch.tsv" "$fixture/nokens.tsv" >got
  perl -e '
    my ($got, $expected, $bad, $n) = (@ARGV, 0, 0);
    open my $g, "<", $got or die;
    open my $e, "<", $expected or die;
    chomp(my @names = split /\t/, <$g>);
    <$e>;
    while (my $line = <$e>) {
      my ($times, $value, $p, $median, $q95) = split /\t/, $line;
      my %row;
      chomp(@row{@names} = split /\t/, <$g>);
      my $error = 4 * sqrt($p * (1 - $p) * (1 / 5000 + 1 / 20000)) + 1 / 5000;
      $bad ||= $row{times} != $times || abs($row{value} - $value) > 1e-9;
      $bad ||= abs($row{p_value} - $p) > $error || abs($row{null_median} - $median) > 0.003;
      $bad ||= abs($row{null_q95} - $q95) > 0.005 || !($row{low} < $value && $value < $row{high});
      $bad ||= $row{interval} ne "bootstrap" || $row{n_prompt} != 4;
      $n++;
    }
    exit($bad || $n != 3)' got "$fixture/energy.tsv"
  [ "$(cut -f 1,8-11,15 got)" = "times	n	missing	n_first	n_second	n_id
0.5	136	0	56	80	34
1	128	0	48	80	32
2	130	2	50	80	33" ]
}

@test "the energy distance of two groups of a table is that of two tables" {
  awk -F '\t' 'NR == 1 || $2 == 2' "$fixture/nokens.tsv" >two.tsv
  nk-summary -w times=0.5 "${energy[@]}" --against two.tsv "$fixture/nokens.tsv" >tables
  nk-summary --between times=0.5,2 "${energy[@]}" "$fixture/nokens.tsv" >groups
  [ "$(head -n 1 groups | cut -f 1-3)" = "statistic	between	value" ]
  [ "$(sed -n 2p groups | cut -f 2)" = "0.5 ~ 2" ]
  cut -f 1,3- groups | cmp - tables
  nk-summary --threads 1 --between times=0.5,2 "${energy[@]}" "$fixture/nokens.tsv" | cmp - groups
  nk-summary --seed 1 --between times=0.5,2 "${energy[@]}" "$fixture/nokens.tsv" >other
  [ "$(cut -f 3 other)" = "$(cut -f 3 groups)" ]
  run -1 cmp -s other groups
}

@test "groups without rows, of one item and of equal rows have an energy distance or none" {
  printf 'id\tx\n0\t1\n1\t1\n2\t1\n' >equal.tsv
  run -0 nk-summary -q --energy x --against equal.tsv equal.tsv
  [ "$(printf '%s\n' "${lines[1]}" | cut -f 1-2,11)" = "energy x	0	1" ]
  run -0 --separate-stderr nk-summary --energy x -c id -w id=0 --against equal.tsv equal.tsv
  [ "${lines[1]}" = "energy x				0.95		4	0	1	3				4" ]
  [ "$stderr" = "nk-summary: warning: a group has rows of 1 different 'id': it has no interval" ]
  run -0 nk-summary --energy x -w x=7 --against equal.tsv equal.tsv
  [ "${lines[1]}" = "energy x				0.95		3	0	0	3			" ]
}

@test "faults of --energy are named" {
  run -2 nk-summary --energy kl small.tsv
  [ "$output" = "nk-summary: option --energy: two samples are needed; use one of --against and --between" ]
  run -2 nk-summary --energy kl --against small.tsv --between kind=near,far small.tsv
  run -2 nk-summary --energy kl --against small.tsv --mean kl small.tsv
  [ "$output" = "nk-summary: option --energy: other statistics are not printed beside it" ]
  run -2 nk-summary --energy kl --against small.tsv -c id,prompt small.tsv
  [ "$output" = "nk-summary: option --cluster: 'id,prompt': --energy takes one kind; use --strata for prompts" ]
  run -2 nk-summary --energy kl,kl --against small.tsv small.tsv
  [ "$output" = "nk-summary: option --energy: 'kl' is given twice" ]
  run -2 nk-summary --energy 'kl<1' --against small.tsv small.tsv
  [ "$output" = "nk-summary: option --energy: 'kl<1': a condition is not a feature" ]
  run -1 nk-summary --energy kl --between kind=near,far -c id small.tsv
  [ "$output" = "nk-summary: small.tsv: row 3: its 'id' is in both groups; --energy compares groups of different ones" ]
  run -2 nk-summary --mean kl --strata prompt small.tsv
  [ "$output" = "nk-summary: options --against and --strata are those of --energy" ]
  run -1 nk-summary --energy kl --against "$rows" --strata kind small.tsv
  [ "$output" = "nk-summary: $rows: no column 'kind'; the columns are: id prompt training kl" ]
}

@test "kappas are those of statsmodels, with missing ratings those of irrCAC" {
  nk-summary --by set --kappa judgement --items item --raters rater "$fixture/ratings.tsv" >got
  perl -e '
    my ($got, $expected, $n) = (@ARGV, 0);
    open my $g, "<", $got or die;
    open my $e, "<", $expected or die;
    <$g>; <$e>;
    while (my $line = <$e>) {
      my ($set, $kind, $agreement, $kappa, $tolerance) = split /\t/, $line;
      my ($share, $of) = ([split /\t/, <$g>], [split /\t/, <$g>]);
      exit 1 if $share->[0] ne $set || $of->[1] ne "$kind kappa judgement";
      exit 1 if abs($share->[2] - $agreement) > $tolerance || abs($of->[2] - $kappa) > $tolerance;
      exit 1 if !($of->[3] < $kappa && $kappa < $of->[4] && $of->[6] eq "bootstrap");
      $n++;
    }
    exit($n != 4)' got "$fixture/kappa.tsv"
  [ "$(cut -f 1,8- got | sed -n '1p;4p;9p')" = "set	n	missing	n_item	n_rater
two, missing	82	18	41	2
three, missing	108	12	40	3" ]
}

@test "raters who never meet have no kappa; a condition is a column of two classes" {
  printf 'item\trater\tx\n%s' $'0\ta\t1\n0\tb\t2\n1\ta\t3\n1\tb\t3\n2\tb\t3\n' >x.tsv
  run -0 nk-summary -q --kappa x --items item --raters rater -w rater=a x.tsv
  [ "${lines[1]}" = "agreement x				0.95		0	2	0	1" ]
  [ "${lines[2]}" = "cohen kappa x				0.95		0	2	0	1" ]
  run -0 nk-summary -q --kappa 'x>=2' --items item --raters rater x.tsv
  [ "$(printf '%s\n' "${lines[@]:1}" | cut -f 1,2,7-)" = "agreement x>=2	0.5	4	1	2	2
cohen kappa x>=2	0	4	1	2	2" ]
}

@test "faults of --kappa are named" {
  run -2 nk-summary --kappa kl --items id small.tsv
  [ "$output" = "nk-summary: option --kappa: --items and --raters are needed" ]
  run -2 nk-summary --items id small.tsv
  [ "$output" = "nk-summary: options --items and --raters are those of --kappa" ]
  run -2 nk-summary --kappa kl --items id --raters prompt -c id small.tsv
  [ "$output" = "nk-summary: option --kappa: the clusters are those of --items" ]
  run -2 nk-summary --kappa kl --items id --raters prompt --mean kl small.tsv
  [ "$output" = "nk-summary: option --kappa: other statistics are not printed beside it" ]
  run -1 nk-summary --kappa kind --items kind --raters prompt small.tsv
  [ "$output" = "nk-summary: small.tsv: row 2: a second rating of the same 'kind' by the same 'prompt'" ]
}

@test "JSON Lines in and out" {
  run -0 bash -c "nk-summary --by kind --json small.tsv | nk-summary --mean value"
  [[ "${lines[1]}" == "mean value	2.5	"* ]]
}

@test "faults are named" {
  run -2 nk-summary --auc kl small.tsv
  [ "$output" = "nk-summary: option --auc: the two groups are missing; use --between" ]
  run -2 nk-summary --quantile kl small.tsv
  [ "$output" = "nk-summary: option --quantile: 'kl' is not of the form COLUMN:P" ]
  run -2 nk-summary --quantile kl:5 small.tsv
  run -2 nk-summary --between kind small.tsv
  run -2 nk-summary --bins kl small.tsv
  run -2 nk-summary --level 95 small.tsv
  [ "$output" = "nk-summary: level 95: not between 0 and 1" ]
  run -2 nk-summary --level 0 small.tsv
  run -2 nk-summary --resamples 0 small.tsv
  run -2 nk-summary --resamples 99 small.tsv
  [ "$output" = "nk-summary: 99 resamples: at least 100 are needed" ]
  run -2 nk-summary --share 'kind<near' small.tsv
  run -2 nk-summary --median 'kl<1' small.tsv
  [ "$output" = "nk-summary: 'kl<1': a condition has a share, not a median" ]
  run -1 nk-summary --median KL small.tsv
  [ "$output" = "nk-summary: small.tsv: no column 'KL'; the columns are: id prompt kind kl flags" ]
  run -1 nk-summary --median kind small.tsv
  [ "$output" = "nk-summary: small.tsv: row 1, column 'kind': 'near' is not a number" ]
  run -2 nk-summary --bins kl:1000 --bins kl:2 small.tsv
  [ "$output" = "nk-summary: option --bins: 'kl' is given twice" ]
  run -2 nk-summary --by id,id small.tsv
  [ "$output" = "nk-summary: option --by: 'id' is given twice" ]
  run -2 nk-summary -c id,id --mean kl small.tsv
  [ "$output" = "nk-summary: option --cluster: 'id' is given twice" ]
}

@test "a pipe that closes ends the tool without a message" {
  run -0 --separate-stderr bash -c "nk-summary --by id '$rows' | head -1"
  [ -z "$stderr" ]
}
