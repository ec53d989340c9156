# nk-stats as a user calls it. The expected numbers are worked out by hand.
bats_require_minimum_version 1.5.0
load npy.bash

setup() {
  cd "$BATS_TEST_TMPDIR"
  # Four points around (3, 0): centroid (3, 0), covariance diag(4.5, 2).
  npy 2 0 0  6 0  3 2  3 -2 >cross.npy
}

@test "columns are id, norm, distances from the centroid, Mahalanobis, the p-value of the length" {
  run -0 nk-stats cross.npy
  [ "${lines[0]}" = "id	norm	centroid_l2	centroid_cosine	mahalanobis	p_length" ]
  [ "${#lines[@]}" -eq 5 ]
  # Row 0 is the origin: it has no direction.
  [[ "${lines[1]}" == "0	0	3		"* ]]
  [[ "${lines[2]}" == "1	6	3	0	"* ]]
  # Row 2: norm sqrt(13), 2 from the centroid, cosine distance 1 - 3 / sqrt(13).
  [[ "${lines[3]}" == "2	3.60555128	2	0.167949706	"* ]]
}

@test "Mahalanobis distances follow the shrunk covariance" {
  # Ledoit and Wolf by hand: mu 3.25, d2 1.5625; mean |x|^4 = 48.5, |S|^2 = 24.25, so b2 is
  # (48.5 - 24.25) / (4 * 2) = 3.03125, more than d2: shrinkage 1, covariance 3.25 I.
  run -0 bash -c "nk-stats cross.npy | cut -f 5"
  perl -e 'for ([shift, 3], [shift, 2]) {
    exit 1 if abs($_->[0] / ($_->[1] / sqrt(3.25)) - 1) > 1e-6 }' "${lines[1]}" "${lines[3]}"
}

@test "--reference measures from another set, --no-mahalanobis leaves its column out" {
  npy 2 3 4  0 0 >points.npy
  run -0 nk-stats --reference cross.npy --no-mahalanobis points.npy
  [ "${lines[0]}" = "id	norm	centroid_l2	centroid_cosine	p_length" ]
  # Lengths 0, sqrt(13) twice and 6: 5 has one at least as long, itself another; 0 one, itself another.
  [ "${lines[1]}" = "0	5	4	0.4	0.8" ]
  [ "${lines[2]}" = "1	0	3		0.8" ]
}

@test "p_length is the share of rows as short or as long, twice" {
  run -0 bash -c "nk-stats cross.npy | cut -f 6"
  # Lengths 0, 6, sqrt(13), sqrt(13).
  [ "${lines[*]}" = "p_length 0.5 0.5 1 1" ]
  # A row by itself; a row beyond 99 others.
  npy 2 1 2 >one.npy
  run -0 bash -c "nk-stats --no-mahalanobis one.npy | cut -f 5"
  [ "${lines[1]}" = 1 ]
  normal_npy 99 3 1 >others.npy
  npy 3 90 0 0 0.001 0 0 >ends.npy
  run -0 bash -c "nk-stats --no-mahalanobis --reference others.npy ends.npy | cut -f 5"
  [ "${lines[*]}" = "p_length 0.02 0.02" ]
}

@test "a pipe and a file give the same, and so does any number of threads" {
  normal_npy 500 20 7 >set.npy
  nk-stats --threads 1 set.npy >one
  nk-stats --threads 2 <set.npy >two
  cat set.npy | nk-stats --threads 2 - >pipe
  cut -f 1-4 one | cmp - <(cut -f 1-4 two)
  cmp two pipe
}

@test "--summary prints quantiles of each column" {
  run -0 nk-stats --summary cross.npy
  [ "${lines[0]}" = "measure	rows	mean	min	q01	q05	q25	median	q75	q95	q99	max" ]
  [[ "${lines[2]}" == "centroid_l2	4	2.5	2	2	2	2	2.5	3	3	3	3" ]]
  # One of four rows has no cosine.
  [[ "${lines[3]}" == "centroid_cosine	3	"* ]]
  # p-values of the set within itself are its ranks, which need no summary.
  [ "${#lines[@]}" -eq 5 ]
  npy 2 3 4  0 0 >points.npy
  run -0 nk-stats --summary --reference cross.npy points.npy
  [[ "${lines[5]}" == "p_length	2	0.8	0.8	"* ]]
}

@test "a row with a NaN is refused by its number, or left out" {
  npy 2 0 0  6 nan  6 0  3 2  3 -2 >nan.npy
  run -1 nk-stats nan.npy
  [ "$output" = "nk-stats: nan.npy: row 1 holds a NaN (use --skip-bad to leave such rows out)" ]
  run -0 --separate-stderr nk-stats --skip-bad nan.npy
  [ "${#lines[@]}" -eq 5 ]
  [[ "${lines[2]}" == "2	6	3	0	"* ]]
  [[ "$stderr" == *"1 of 5 rows"* ]]
  npy 2 nan 0  0 nan >all.npy
  run -0 --separate-stderr nk-stats --skip-bad all.npy
  [ "$output" = "id	norm	centroid_l2	centroid_cosine	mahalanobis	p_length" ]
  run -1 --separate-stderr nk-stats --skip-bad --no-mahalanobis --reference all.npy cross.npy
  [[ "$stderr" == *"nk-stats: all.npy: no rows to measure from" ]]
  run -1 nk-stats --reference cross.npy nan.npy
}

@test "rows that do not differ have distances but no Mahalanobis distance" {
  npy 2 1 1 >one.npy
  run -0 --separate-stderr nk-stats one.npy
  [ "${lines[1]}" = "0	1.41421356	0	0		1" ]
  [[ "$stderr" == *"the rows do not differ"* ]]
}

@test "an empty set gives a header alone" {
  npy 3 >empty.npy
  run -0 nk-stats empty.npy
  [ "$output" = "id	norm	centroid_l2	centroid_cosine	mahalanobis	p_length" ]
}

@test "bad input is refused in one line" {
  run -1 nk-stats nothing.npy
  [ "${#lines[@]}" -eq 1 ]
  npy 3 1 2 3 >three.npy
  run -1 nk-stats --reference cross.npy three.npy
  [ "$output" = "nk-stats: cross.npy: vectors have 2 values, those measured have 3" ]
  head -c 100 cross.npy >short.npy
  run -1 nk-stats short.npy
  run -2 nk-stats --no-such cross.npy
  run -1 bash -c 'nk-stats cross.npy >/dev/full'
}

# Two pairs at two layers, mixed. Layer 0 is straight; at layer 1 the middle rows are off the line.
paths() {
  printf 'id\tpair\tlayer\tt\tv1\tv2\n' >paths.tsv
  printf '%s\n' '9 7 1 1 4 0' '1 7 0 0 0 0' '2 7 0 0.25 1 0' '3 7 0 0.75 3 0' '4 7 0 1 4 0' \
    '5 7 1 0 0 0' '6 7 1 0.5 0 3' '7 7 1 0.25 0 0' '8 7 1 0.75 3.8 0' \
    '10 8 0 1 0 0' '11 8 0 0 0 0' | tr ' ' '\t' >>paths.tsv
}

@test "--path measures each row from the ends of its own path" {
  paths
  run -0 nk-stats --path paths.tsv
  [ "${lines[0]}" = "id	to_a	to_b	relative	pair	layer	t" ]
  [ "${#lines[@]}" -eq 12 ]
  [ "${lines[1]}" = "9	4	0	1	7	1	1" ]
  [ "${lines[3]}" = "2	1	3	0.25	7	0	0.25" ]
  [ "${lines[7]}" = "6	3	5	0.375	7	1	0.5" ]
  # The ends of pair 8 are the same.
  [ "${lines[10]}" = "10	0	0		8	0	1" ]
  nk-stats --path --threads 1 <paths.tsv | cmp - <(printf '%s\n' "$output")
}

@test "--path --summary gives the width from 0.1 to 0.9" {
  paths
  run -0 nk-stats --path --summary paths.tsv
  [ "${lines[0]}" = "pair	layer	rows	length	t10	t50	t90	width" ]
  [ "${lines[1]}" = "7	0	4	4	0.1	0.5	0.9	0.8" ]
  # Relative distances 0, 0, 0.375, 0.95, 1: 0.1 is reached at 0.25 + 0.25 * 0.1 / 0.375.
  perl -e '@v = split /\t/, shift; @e = (7, 1, 5, 4, 0.25 + 0.025 / 0.375, 0.5 + 0.25 * 0.125 / 0.575,
    0.5 + 0.25 * 0.525 / 0.575); push @e, $e[6] - $e[4];
    for (0..7) { exit 1 if abs($v[$_] - $e[$_]) > 1e-6 }' "${lines[2]}"
  [ "${lines[3]}" = "8	0	2	0				" ]
  run -0 bash -c "head -n 1 paths.tsv | nk-stats --path --summary"
  [ "$output" = "pair	layer	rows	length	t10	t50	t90	width" ]
}

@test "what is no path is refused" {
  paths
  run -1 nk-stats --path cross.npy
  [ "$output" = "nk-stats: cross.npy: the set has no column 't'" ]
  grep -v '^4' paths.tsv >open.tsv
  run -1 nk-stats --path open.tsv
  [ "$output" = "nk-stats: open.tsv: pair 7, layer 0: 0 rows with t = 1, expected 1" ]
  cut -f 1,2,4- paths.tsv >layers.tsv
  run -1 nk-stats --path layers.tsv
  [ "$output" = "nk-stats: layers.tsv: pair 7: 2 rows with t = 0, expected 1" ]
  sed 's/\t0.25\t/\t0.75\t/' paths.tsv >same.tsv
  run -1 nk-stats --path same.tsv
  [ "$output" = "nk-stats: same.tsv: pair 7, layer 0: 2 rows with t = 0.75, expected 1" ]
  sed 's/0.25/1.25/' paths.tsv >far.tsv
  run -1 nk-stats --path far.tsv
  [ "$output" = "nk-stats: far.tsv: column 't', row 2: 1.25, expected 0 to 1" ]
  sed 's/^2\t7/2\t7.5/' paths.tsv >half.tsv
  run -1 nk-stats --path half.tsv
  [ "$output" = "nk-stats: half.tsv: column 'pair', row 2: 7.5 is not a whole number" ]
  run -2 nk-stats --path --reference cross.npy paths.tsv
  run -2 nk-stats --path --no-mahalanobis paths.tsv
  sed 's/^2\t7\t0\t0.25\t1/2\t7\t0\t0.25\tnan/' paths.tsv >nan.tsv
  run -1 nk-stats --path nan.tsv
  run -0 --separate-stderr nk-stats --path --skip-bad nan.tsv
  [ "${#lines[@]}" -eq 11 ]
  # of a path without an end nothing can be told, of the others all
  sed 's/^4\t7\t0\t1\t4/4\t7\t0\t1\tnan/' paths.tsv >end.tsv
  run -0 --separate-stderr nk-stats --path --skip-bad end.tsv
  [ "$output" = "$(nk-stats --path paths.tsv | awk -F'\t' '$1 == "id" || $1 > 4')" ]
  [[ $stderr == *"pair 7, layer 0: an end is missing, and the path is left out"* ]]
  run -0 --separate-stderr nk-stats --path --summary --skip-bad end.tsv
  [ "${#lines[@]}" -eq 3 ]
}

# The widths of 60 paths between embeddings through a model, as rows of a table with the column model.
widths() { # widths MODEL NAME
  nk-extract "$1" | nk-sample --path lerp --pairs pairs.tsv --steps 50 |
    nk-run "$1" -p 'He said: {}' --capture 0,4 | nk-stats --path --summary |
    awk -F '\t' -v OFS='\t' -v name="$2" '{ print $0, NR == 1 ? "model" : name }'
}

@test "the transitions of llama-tiny are narrower than those of its copy with shuffled weights" {
  model=$BATS_TEST_DIRNAME/../../data/llama-tiny
  awk 'BEGIN { print "a\tb"; for (i = 300; i < 360; i++) print i "\t" i + 60 }' >pairs.tsv
  nk-convert --model hf --shuffle-weights 1 "$model" -o shuffled
  { widths "$model" trained; widths shuffled shuffled | sed 1d; } >widths.tsv
  nk-summary --by layer --between model=trained,shuffled --median width --cluster pair \
    widths.tsv >summary.tsv
  # What goes in is a straight line in both.
  awk -F '\t' '$1 == "0" && $4 != "" { n++; if ($3 !~ / - / && ($4 - 0.8) ^ 2 > 1e-12) exit 1 }
    END { if (n != 3) exit 1 }' summary.tsv
  awk -F '\t' '$1 == "4" && $3 == "trained - shuffled" { print "# difference in width: " $4 " (" $5 " to " $6 ")"
    if (!($6 < -0.1)) exit 1; n = 1 } END { if (!n) exit 1 }' summary.tsv >&3
}
