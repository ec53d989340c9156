# nk-knn as a user calls it. The expected numbers are worked out by hand.
bats_require_minimum_version 1.5.0
load npy.bash

setup() {
  cd "$BATS_TEST_TMPDIR"
  npy 2 0 0  3 4  0 0  6 8  10 0 >points.npy
}

@test "each row has its nearest others, copies at 0, ties by their order" {
  run -0 nk-knn -k 2 points.npy
  [ "${lines[0]}" = "id	rank	neighbour	distance" ]
  [ "${lines[1]}" = "0	1	2	0" ]
  [ "${lines[2]}" = "0	2	1	5" ]
  # (3, 4) is 5 from rows 0, 2 and 3.
  [ "${lines[3]}" = "1	1	0	5" ]
  [ "${lines[4]}" = "1	2	2	5" ]
  [ "${#lines[@]}" -eq 11 ]
}

@test "the cosine looks at directions only" {
  run -0 nk-knn -k 1 --metric cosine points.npy
  [[ "${lines[2]}" == "1	1	3	"* ]]
  # (10, 0) to (3, 4): 1 - 0.6; a row of zeros stands at 0.5 and is no nearer.
  [ "${lines[5]}" = "4	1	1	0.4" ]
}

@test "--query searches for another set's rows and leaves none out" {
  npy 2 3 4  9 0 >query.npy
  run -0 nk-knn -k 1 --query query.npy points.npy
  [ "${lines[1]}" = "0	1	1	0" ]
  [ "${lines[2]}" = "1	1	4	1" ]
}

@test "--summary has kth, mean, hubness and lof" {
  run -0 nk-knn -k 2 --summary points.npy
  [ "${lines[0]}" = "id	kth	mean	hubness	lof" ]
  [[ "${lines[1]}" == "0	5	2.5	2	"* ]]
  npy 2 3 4 >query.npy
  run -0 nk-knn -k 2 --summary --query query.npy points.npy
  [ "${lines[0]}" = "id	kth	mean" ]
  [ "${lines[1]}" = "0	5	2.5" ]
}

@test "indexes of FAISS are made from their description" {
  normal_npy 600 6 5 >set.npy
  nk-knn -k 3 set.npy >exact.tsv
  nk-knn -k 3 --index IVF8,Flat --search nprobe=8 set.npy 2>/dev/null | cmp - exact.tsv
  nk-knn -k 3 --index Flat set.npy | cmp - exact.tsv
  run -2 nk-knn --index Nothing set.npy
  [[ "$output" == *"not a FAISS index for 6 values: 'Nothing'"* ]]
  run -2 nk-knn --search nprobe=8 set.npy
}

@test "--recall prints the share of exact neighbours that an index finds" {
  # Two groups of four rows, each a list of the index: of 5 neighbours 3 are in a row's own group.
  npy 1 0 1 2 4  1000 1001 1002 1004 >groups.npy
  run -0 --separate-stderr nk-knn -k 5 --index IVF2,Flat --recall 8 groups.npy
  [ "${lines[0]}" = "rows	k	recall	low	high" ]
  [ "${lines[1]}" = "8	5	0.6		" ]
  run -0 --separate-stderr nk-knn -k 5 --index IVF2,Flat --search nprobe=2 --recall 100 groups.npy
  [ "${lines[1]}" = "8	5	1		" ]
  # Rows of another set find all four of one group: 4 of 5.
  npy 1 3 1003 3 >query.npy
  run -0 --separate-stderr nk-knn -k 5 --index IVF2,Flat --recall 8 --query query.npy groups.npy
  [ "${lines[1]}" = "3	5	0.8		" ]
  # Of some of the rows: with the interval of all of them.
  run -0 --separate-stderr nk-knn -k 5 --index IVF2,Flat --recall 4 groups.npy
  awk 'NR == 2 { exit !($1 == 4 && $3 == 0.6 && $4 > 0 && $4 < 0.6 && $5 > 0.6 && $5 < 1) }' \
    <<<"$output"
  # Copies: one as near as an exact neighbour counts, whichever it is.
  npy 1 5 5 5 5 5 5 5 5 >copies.npy
  run -0 --separate-stderr nk-knn -k 2 --index HNSW4 --recall 8 copies.npy
  [ "${lines[1]}" = "8	2	1		" ]
  for words in "" "--index Flat --summary"; do
    run -2 nk-knn $words --recall 4 groups.npy
  done
  run -2 nk-knn --index Flat --recall 0 groups.npy
}

@test "threads do not change the neighbours" {
  normal_npy 400 12 6 >set.npy
  nk-knn --threads 1 set.npy >one.tsv
  nk-knn --threads 2 <set.npy | cmp - one.tsv
}

@test "one row has no neighbours, and an empty set is refused" {
  npy 2 1 2 >one.npy
  run -0 nk-knn one.npy
  [ "$output" = "id	rank	neighbour	distance" ]
  run -0 nk-knn --summary one.npy
  [ "${lines[1]}" = "0			0	" ]
  npy 2 >empty.npy
  run -1 nk-knn empty.npy
}

@test "bad input and usage are refused" {
  npy 2 1 2 nan 4 >nan.npy
  run -1 nk-knn nan.npy
  [[ "$output" == *"row 1 holds a NaN"* ]]
  run -0 nk-knn -q --skip-bad --query points.npy nan.npy
  [ "${#lines[@]}" -eq 6 ]
  npy 3 1 2 3 >three.npy
  run -1 nk-knn --query three.npy points.npy
  [ "$output" = "nk-knn: three.npy: vectors have 3 values, those of the set have 2" ]
  mkdir -p folder
  for command in "nk-knn" "nk-region fit" "nk-stats"; do
    run -1 $command folder
    [ "$output" = "${command% fit}: folder: is a directory, expected a vector set; nk-extract makes \
one of a model" ]
  done
  run -2 nk-knn -k 0 points.npy
  run -2 nk-knn --metric hamming points.npy
}
