# nk-pca as a user calls it. The expected numbers are worked out by hand.
bats_require_minimum_version 1.5.0
load npy.bash

setup() {
  cd "$BATS_TEST_TMPDIR"
  # Along (0.6, 0.8) with scores 10, 0, -10, 0 and across it with 0, 1, 0, -1, around (5, 5).
  npy 2 11 13  4.2 5.6  -1 -3  5.8 4.4 >tilted.npy
}

# Numbers on both lists are equal to a part in a million.
close() {
  perl -e 'my @a = split " ", shift; my @b = split " ", shift; exit 1 if @a != @b;
    for (0..$#a) { exit 1 if abs($a[$_] - $b[$_]) > 1e-6 * (1 + abs $b[$_]) }' -- "$1" "$2"
}

@test "scores are measured from the mean along components of falling variance" {
  run -0 nk-pca tilted.npy
  [ "${lines[0]}" = "id	pc1	pc2" ]
  close "${lines[1]}" "0 10 0"
  close "${lines[2]}" "1 0 -1"
  close "${lines[3]}" "2 -10 0"
}

@test "--spectrum lists the eigenvalues, divided by n - 1" {
  run -0 nk-pca --spectrum tilted.npy
  [ "${lines[0]}" = "component	eigenvalue	ratio	cumulative	noise_ratio" ]
  # The median of the law for 2 / 3 is 0.772376 (numpy, by quadrature), that of the ratios 1/2.
  edge=$(perl -e 'print 0.5 / 0.7723759764 * (1 + sqrt(2 / 3)) ** 2')
  close "${lines[1]}" "1 66.6666667 0.99009901 0.99009901 $edge"
  close "${lines[2]}" "2 0.666666667 0.00990099 1 $edge"
}

# The cells of a table's first row in these columns; "-" where one is empty.
cells() { # cells TABLE COLUMN...
  awk -F '\t' -v names="${*:2}" 'NR == 1 { for (i = 1; i <= NF; i++) column[$i] = i; next }
    { n = split(names, name, " ")
      for (i = 1; i <= n; i++) {
        value = $column[name[i]]
        printf "%s%s", (i > 1 ? " " : ""), (value == "" ? "-" : value)
      }
      print ""
      exit }' "$1"
}

@test "--summary is one row" {
  nk-pca --summary tilted.npy >summary.tsv
  [ "$(wc -l <summary.tsv)" -eq 2 ]
  # (100 + 1)^2 / (100^2 + 1), exp of the entropy of {100/101, 1/101}, (1.019998 - 1) / (2 - 1)
  close "$(cells summary.tsv rows dims total_variance participation_ratio effective_rank iso_score \
    pc1_ratio)" "4 2 67.3333333 1.019998 1.05711772 0.019998 0.99009901"
  # Ratios of distances to the second and first neighbour, of rows 1 and 3 (-0, 1), (0, -1): to each
  # other 2, to rows 0 and 2 sqrt(101); of rows 0 and 2 both are sqrt(101): 1. Of the four
  # logarithms 0, 0, l, l the first three are used, the last one counts as l: 2 / (2 l).
  close "$(cells summary.tsv twonn twonn_rows copies)" \
    "$(perl -e 'print 1 / log(sqrt(101) / 2), " 4 0"')"
}

@test "--summary gives the edge of noise" {
  normal_npy 300 20 1 >noise.npy
  nk-pca --summary noise.npy >noise.tsv
  nk-pca --spectrum noise.npy >spectrum.tsv
  # The median of the law for 20 / 299 is 0.9776585 (numpy, by quadrature of its density).
  close "$(cells noise.tsv noise_edge above_noise)" \
    "$(awk 'NR == 11 || NR == 12 { sum += $2 }
      END { print sum / 2 / 0.9776584509511301 * (1 + sqrt(20 / 299)) ^ 2, 0 }' spectrum.tsv)"
}

@test "--summary has empty cells where there is nothing to tell" {
  npy 2 1 2 >one.npy
  nk-pca --summary one.npy >one.tsv
  [ "$(cells one.tsv rows iso_score pc1_ratio noise_edge above_noise twonn twonn_low twonn_rows copies)" \
    = "1 - - - - - - 0 0" ]
  npy 2 1 2 1 2 1 2 3 4 >copies.npy
  nk-pca --summary copies.npy >copies.tsv
  [ "$(cells copies.tsv twonn twonn_high copies)" = "- - 2" ]
  normal_npy 50 1 1 >line.npy
  nk-pca --summary line.npy >line.tsv
  [ "$(cells line.tsv iso_score pc1_ratio above_noise)" = "- 1 0" ]
  # Of a saved basis the rows are not known.
  normal_npy 60 3 1 >set.npy
  nk-pca --basis basis.safetensors set.npy >/dev/null
  nk-pca --summary set.npy >own.tsv
  npy 3 1 2 3 >other.npy
  nk-pca --summary --with basis.safetensors other.npy >saved.tsv
  [ "$(cells saved.tsv rows noise_edge above_noise)" = "$(cells own.tsv rows noise_edge above_noise)" ]
  [ "$(cells saved.tsv twonn twonn_rows copies)" = "- - -" ]
}

@test "--remove leaves what the top components do not explain" {
  run -0 bash -c "nk-pca --remove 1 tilted.npy | nk-stats --no-mahalanobis | cut -f 2"
  close "${lines[1]}" 0
  close "${lines[2]}" 1
  close "${lines[4]}" 1
}

@test "--project gives a set of scores, --whiten one with variance 1 in every direction" {
  run -0 bash -c "nk-pca --project 2 tilted.npy | nk-pca --spectrum | cut -f 2"
  close "${lines[1]}" 66.6666667
  run -0 bash -c "nk-pca --project 2 --whiten tilted.npy | nk-pca --spectrum | cut -f 2"
  close "${lines[1]} ${lines[2]}" "1 1"
}

@test "a saved basis gives other sets the same coordinates" {
  normal_npy 100 8 1 >a.npy
  normal_npy 10 8 2 >b.npy
  nk-pca -k 3 --basis basis.safetensors a.npy >scores.tsv
  nk-pca -k 3 --with basis.safetensors a.npy | cmp - scores.tsv
  run -0 nk-pca --with basis.safetensors b.npy
  [ "${lines[0]}" = "id	pc1	pc2	pc3" ]
  [ "${#lines[@]}" -eq 11 ]
  run -2 nk-pca -k 4 --with basis.safetensors b.npy
  run -1 nk-pca --with basis.safetensors tilted.npy
  [[ "$output" == *"basis.safetensors: a basis for vectors of 8 values, these have 2" ]]
  run -1 nk-pca --with a.npy b.npy
}

@test "a region's basis can come through a pipe" {
  normal_npy 100 4 1 | nk-region fit -o region.safetensors
  normal_npy 10 4 2 >b.npy
  nk-pca --with region.safetensors b.npy >scores.tsv
  nk-pca --with <(cat region.safetensors) b.npy | cmp - scores.tsv
}

@test "a table and a basis do not share standard output" {
  run -2 nk-pca --basis - tilted.npy
  [ "$output" = "nk-pca: the basis and the table cannot both go to standard output" ]
  nk-pca --basis - -o scores.tsv tilted.npy >basis.safetensors
  nk-pca --with basis.safetensors tilted.npy | cmp - scores.tsv
}

@test "the history of a set tells how it was made" {
  run -0 bash -c "nk-pca --remove 1 tilted.npy | head -c 2000 | tr -d '\0'"
  [[ "$output" == *"nk-pca --remove 1 tilted.npy"* ]]
}

@test "bad input and options that contradict are refused" {
  npy 2 1 2 nan 4 5 6 7 9 >nan.npy
  run -1 nk-pca nan.npy
  [[ "$output" == *"row 1 holds a NaN"* ]]
  run -0 --separate-stderr nk-pca --skip-bad nan.npy
  [ "${#lines[@]}" -eq 4 ]
  run -2 nk-pca --summary --spectrum tilted.npy
  run -2 nk-pca --remove 1 --whiten tilted.npy
  run -2 nk-pca --project 3 tilted.npy
  [ "$output" = "nk-pca: 3 components asked for, vectors have 2 values" ]
  npy 3 1 2 3  2 4 6 >line.npy
  run -2 nk-pca --project 2 --whiten line.npy
  [ "$output" = "nk-pca: component 2 has no variance: at most 1 can be whitened" ]
}

@test "--whiten scales the components beside a massive dimension" {
  # Around (0, 0): 10^4 along (0.6, 0.8), 1 across; the variances are 10^8 and 1, times 2 / 3.
  npy 2 6000 8000  -0.8 0.6  -6000 -8000  0.8 -0.6 >massive.npy
  run -0 bash -c "nk-pca --project 2 --whiten massive.npy | nk-pca --spectrum | cut -f 2"
  close "${lines[1]} ${lines[2]}" "1 1"
}
