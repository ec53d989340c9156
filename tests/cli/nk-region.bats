# nk-region as a user calls it, and on the models that ship.
bats_require_minimum_version 1.5.0
load npy.bash

setup_file() {
  cd "$BATS_FILE_TMPDIR"
  normal_npy 400 8 1 >set.npy
  normal_npy 6 8 2 >ordinary.npy
  npy 8 9 9 9 9 9 9 9 9  0 0 0 0 0 0 0 40 >strange.npy
}

setup() {
  cd "$BATS_FILE_TMPDIR"
  data=$BATS_TEST_DIRNAME/../../data
}

@test "vectors like the tokens are inside and strange ones outside, by every kind" {
  for kind in combined mahalanobis knn subspace; do
    nk-region fit --kind $kind set.npy -o $kind.safetensors
    run -0 nk-region score $kind.safetensors ordinary.npy
    [ "${lines[0]}" = "id	score	p_value	inside	p_min" ]
    [ "$(cut -f 4 <<<"$output" | grep -c 1)" -ge 4 ]
    run -0 bash -c "nk-region score $kind.safetensors <strange.npy | cut -f 3,4"
    # 1 / (200 + 1)
    [ "${lines[1]}" = "0.00497512438	0" ]
    [ "${lines[2]}" = "0.00497512438	0" ]
  done
}

@test "a region needs nothing but its file, and the same command makes the same bytes" {
  nk-region fit set.npy -o a.safetensors
  nk-region fit --kind combined --threads 1 set.npy -o b.safetensors
  nk-region score a.safetensors strange.npy >a.tsv
  nk-region score b.safetensors strange.npy >b.tsv
  cut -f 1,3 a.tsv | cmp - <(cut -f 1,3 b.tsv)
  nk-region fit --kind combined set.npy >c.safetensors
  nk-region fit --kind combined set.npy | cmp - c.safetensors
  nk-region fit --kind combined --seed 1 set.npy >d.safetensors
  run ! cmp -s c.safetensors d.safetensors
}

@test "the resolution of p-values is in both tables: 1 / (calibrated + 1)" {
  nk-region fit set.npy -o r.safetensors
  run -0 nk-region info r.safetensors
  # 1 / (200 + 1)
  grep -qxF "p_min	0.00497512438" <<<"$output"
  nk-region score r.safetensors strange.npy |
    awk -F '\t' '{ print $5 }' | cmp - <(printf 'p_min\n0.00497512438\n0.00497512438\n')
}

@test "info lists the properties of a region" {
  nk-region fit --kind knn -k 3 --metric cosine set.npy -o knn.safetensors
  run -0 nk-region info knn.safetensors
  [ "${lines[0]}" = "property	value" ]
  for line in "kind	knn" "dims	8" "rows	400" "fitted	200" "calibrated	200" "k	3" \
    "metric	cosine" "tokens	F32"; do
    grep -qxF "$line" <<<"$output"
  done
  threshold=$(awk '$1 == "threshold" { print $2 }' <<<"$output")
  nk-region score knn.safetensors set.npy |
    awk -v t="$threshold" 'NR > 1 && ($2 > t * (1 + 1e-8)) == $4 { exit 1 }'
}

@test "--exclude leaves out a table's ids, those verified where it has a verdict" {
  printf 'id\tverdict\n3\tstrongly verified\n4\tweakly rejected\n5\tweakly verified\n' >v.tsv
  run -0 --separate-stderr nk-region fit --exclude v.tsv set.npy -o v.safetensors
  [ "$stderr" = "nk-region: warning: 2 of 400 rows are omitted by --exclude" ]
  run -0 nk-region info v.safetensors
  grep -qxF "rows	398" <<<"$output"
  printf 'id\n3\n4\n' >ids.tsv
  nk-region fit -q --exclude ids.tsv --exclude v.tsv set.npy -o ids.safetensors
  run -0 nk-region info ids.safetensors
  grep -qxF "rows	397" <<<"$output"
}

@test "padding is left out unless --include-all asks for it" {
  npy 2 1 2  0 0  3 1  1 2  5 2  0 0  2 2  8 4  9 7 >padded.npy
  run -0 --separate-stderr nk-region fit --kind mahalanobis padded.npy -o p.safetensors
  [[ "$stderr" == *"3 rows of zeros, or that copy an earlier row, are omitted as padding"* ]]
  nk-region fit --kind mahalanobis --include-all padded.npy -o all.safetensors
  run -0 nk-region info all.safetensors
  grep -qxF "rows	9" <<<"$output"
}

@test "a region without its tokens is small and still scores" {
  nk-region fit --kind mahalanobis --tokens none set.npy -o none.safetensors
  nk-region fit --kind mahalanobis set.npy -o tokens.safetensors
  [ "$(stat -c %s none.safetensors)" -lt "$(($(stat -c %s tokens.safetensors) - 400 * 8 * 4 + 1))" ]
  nk-region score none.safetensors strange.npy | cmp - <(nk-region score tokens.safetensors strange.npy)
  run -2 nk-region fit --kind knn --tokens none set.npy -o x.safetensors
  run -2 nk-region fit --tokens none set.npy -o x.safetensors
  [[ "$output" == *"kind combined has to keep its tokens"* ]]
  [ ! -e x.safetensors ]
}

@test "the ellipse is in the region's components, and in those of a basis" {
  nk-region fit --kind subspace set.npy -o s.safetensors
  run -0 nk-region ellipse s.safetensors
  [ "${lines[0]}" = "pc1	pc2" ]
  [ "${#lines[@]}" -eq 182 ]
  [ "${lines[1]}" = "${lines[181]}" ]
  run -0 nk-pca --with s.safetensors -k 2 set.npy
  [ "${lines[0]}" = "id	pc1	pc2" ]
  # About 95% of the rows lie inside: |score| / half axis, which are the first and the 46th point.
  nk-region ellipse s.safetensors >e.tsv
  inside=$(nk-pca --with s.safetensors -k 2 set.npy |
    awk 'FILENAME == "e.tsv" { if (FNR == 2) a = $1; if (FNR == 47) b = $2; next }
      FNR > 1 { n += ($2 / a) ^ 2 + ($3 / b) ^ 2 <= 1 } END { print n }' e.tsv -)
  [ "$inside" -ge 360 ] && [ "$inside" -le 396 ]
  nk-pca -k 3 --basis basis.safetensors set.npy >/dev/null
  run -0 nk-region ellipse --with basis.safetensors --components 3,1 s.safetensors
  [ "${lines[0]}" = "pc3	pc1" ]
  run -2 nk-region ellipse --components 1,99 s.safetensors
  run -2 nk-region ellipse --components 1 s.safetensors
}

@test "--by makes a region for each value, and judges each row by its own" {
  nk-run "$data/gpt2-tiny" -p 'The {} of' --ids 300-399 --capture 1-3 -o states.safetensors
  nk-region fit --by layer -o 'by.{}.safetensors' states.safetensors
  nk-region score --by layer 'by.{}.safetensors' states.safetensors >by.tsv
  for layer in 1 2 3; do
    nk-run "$data/gpt2-tiny" -p 'The {} of' --ids 300-399 --capture $layer -o one.safetensors
    nk-region fit one.safetensors -o one.region
    nk-region score one.region one.safetensors | sed 1d | cut -f 1-6 >one.tsv
    awk -F '\t' -v layer=$layer 'NR == 1 { for (i = 1; i <= NF; i++) if ($i == "layer") at = i }
      $at == layer' by.tsv | cut -f 1-6 | cmp - one.tsv
    nk-region info by.$layer.safetensors | grep -qxF "space	residual:$layer"
  done
  run -2 nk-region fit --by layer states.safetensors
  [[ "$output" == *"--output: groups need a file each"* ]]
  run -1 nk-region fit --by heads -o 'x.{}' states.safetensors
  [ "$output" = "nk-region: the set has no column 'heads'" ]
  run -2 nk-region info --by layer by.1.safetensors
  rm by.2.safetensors
  run -1 nk-region score --by layer 'by.{}.safetensors' states.safetensors
  [[ "$output" == *"by.2.safetensors: No such file"* ]]
  # Two rows of a layer are too few, and then no region is written.
  nk-run "$data/gpt2-tiny" -p 'The {} of' --ids 300-301 --capture 1-2 -o two.safetensors
  run -1 nk-region fit --by layer -o 'two.{}.region' two.safetensors
  [[ "$output" == *"layer 1: 2 rows are too few"* ]]
  [ ! -e two.1.region ]
  # Without rows there is no region to write.
  nk-run "$data/gpt2-tiny" -p 'The {}' --ids-from <(echo id) --capture 1 -o none.safetensors
  run -1 nk-region fit --by layer -o 'none.{}.region' none.safetensors
  [[ "$output" == *"0 rows are too few: --by layer finds no group to fit" ]]
}

# States of a model at five layers: those of some tokens in states.safetensors, of others in held.safetensors.
capture() {
  local prompts=(-p 'The {} of' -p 'A {} is' -p 'I saw the {} and' -p 'She said {} to' -p 'In {} there was')
  nk-run "$data/$1" "${prompts[@]}" --ids 300-1099 --capture 0-4 -o states.safetensors
  nk-run "$data/$1" "${prompts[@]}" --ids 1100-1299 --capture 0-4 -o held.safetensors
  nk-region fit -q --by layer -o 'layer.{}.safetensors' states.safetensors
}

# own_layers MODEL TABLE LEAST: the share of each layer's states that get its region is LEAST or more.
own_layers() {
  cut -f 3,9 "$2" | awk -F '\t' -v model="$1" -v least="$3" '
    NR == 1 { if ($0 != "region\tlayer") exit 1; next }
    { n[$2]++; own[$2] += $1 == "layer." $2 }
    END { for (l = 0; l < 5; l++) { share = own[l] / n[l]; bad += share < least
        printf "# %s: %.3f of states of layer %d\n", model, share, l }
      exit bad > 0 }' >&3
}

@test "held-out states fit the region of their own layer best" {
  for model in gpt2-tiny llama-tiny; do
    capture $model
    nk-region score layer.?.safetensors held.safetensors >best.tsv
    own_layers $model best.tsv 0.99
  done
}

@test "states in prompts that no region was fitted on fit the region of their own layer best" {
  local others=(-p 'They went with {} for' -p 'It was {} that' -p 'My {} has')
  for model in gpt2-tiny llama-tiny; do
    capture $model
    nk-run "$data/$model" "${others[@]}" --ids 1100-1299 --capture 0-4 -o held.safetensors
    nk-region score layer.?.safetensors held.safetensors >best.tsv
    own_layers $model best.tsv 0.9
  done
}

# log_det REGION: the logarithm of the determinant of a region's 3 x 3 covariance, from its file.
log_det() {
  perl -0777 -ne 'my $n = unpack "Q<", $_; my $head = substr $_, 8, $n;
    $head =~ /"covariance":\{[^}]*"data_offsets":\[(\d+),/ or die "no covariance";
    my ($a, $b, $c, $d, $e, $f) = unpack "d<6", substr $_, 8 + $n + $1, 48;
    printf "%.15g\n", log($a * ($c * $f - $e * $e) - $b * ($b * $f - $e * $d) + $d * ($b * $e - $c * $d))' "$1"
}

@test "the best region is that of whose normal distribution the density is the largest" {
  # of sizes and places such that neither the distance nor the determinant decides alone
  for r in 0 1 2; do
    npy 3 $(perl -e 'my $r = shift; srand $r; for (1 .. 200) { for my $j (0 .. 2) { my $s = -6;
      $s += rand for 1 .. 12; printf "%g ", $r + $s * (1 + $r * $j) } }' $r) >set.$r.npy
    nk-region fit -q --kind mahalanobis set.$r.npy -o r$r.safetensors
  done
  npy 3 $(perl -e 'srand 9; printf "%g ", 8 * rand() - 4 for 1 .. 900') >some.npy
  for r in 0 1 2; do nk-region score r$r.safetensors some.npy | sed 1d | cut -f 2-5 >one.$r; done
  nk-region score --all r?.safetensors some.npy >all.tsv
  paste one.? | awk -F '\t' -v OFS='\t' -v dets="$(for r in 0 1 2; do log_det r$r.safetensors; done)" '
    BEGIN { split(dets, det, "\n") }
    { best = 0
      for (r = 0; r < 3; r++) {
        density[r] = -$(4 * r + 1) * $(4 * r + 1) - det[r + 1]
        if (density[r] > density[best]) best = r
      }
      b = 4 * best
      print "r" best, $(b + 1), $(b + 2), $3 || $7 || $11, $(b + 4), $2, $6, $10
    }' >expected.tsv
  sed 1d all.tsv | cut -f 2-9 | cmp expected.tsv
  [ "$(cut -f 1 expected.tsv | sort -u | wc -l)" -eq 3 ]
  # Some rows are inside of another region than the best one.
  [ "$(awk -F '\t' '$3 <= 0.05 && $4 == 1' expected.tsv | wc -l)" -gt 0 ]
  [ "$(head -n 1 all.tsv | cut -f 7-9)" = "p_value_r0	p_value_r1	p_value_r2" ]
  nk-region score r?.safetensors some.npy | cmp - <(cut -f 1-6 all.tsv)
  nk-region score r?.safetensors - <some.npy | cmp - <(cut -f 1-6 all.tsv)
}

@test "several regions that do not fit together or have one name are refused or told apart" {
  nk-region fit set.npy -o one.safetensors
  mkdir -p folder
  nk-region fit --seed 1 set.npy -o folder/one.safetensors
  run -0 nk-region score one.safetensors folder/one.safetensors strange.npy
  [ "${lines[0]}" = "id	region	score	p_value	inside	p_min" ]
  cut -f 2 <<<"$output" | grep -qE '^(folder/)?one.safetensors$'
  run -0 nk-region score --all one.safetensors strange.npy
  [ "${lines[0]}" = "id	region	score	p_value	inside	p_min	p_value_one" ]
  npy 3 1 2 3 >three.npy
  run -1 nk-region score one.safetensors folder/one.safetensors three.npy
  [ "$output" = "nk-region: one.safetensors: vectors have 3 values, the region is for 8" ]
  nk-region score one.safetensors folder/one.safetensors strange.npy >last.tsv
  nk-region score strange.npy one.safetensors folder/one.safetensors | cmp - last.tsv
  run -1 nk-region score one.safetensors strange.npy folder/one.safetensors <strange.npy
  [[ "$output" == "nk-region: strange.npy: "* ]]
  run -1 nk-region score one.safetensors nothing.safetensors
  run -2 nk-region score --by layer one.safetensors folder/one.safetensors strange.npy
  run -2 nk-region score --all --by layer 'by.{}.safetensors' strange.npy
  run -2 nk-region info --all one.safetensors
}

@test "--conditional, --fdr and --fdp add columns, and decide what is outside" {
  nk-region fit set.npy -o g.safetensors
  nk-region score g.safetensors strange.npy >plain.tsv
  run -0 nk-region score --conditional 0.1 g.safetensors strange.npy
  [ "${lines[0]}" = "id	score	p_value	p_conditional	inside	p_min" ]
  # 1 / 201 becomes 0.022473 with 200 calibrating rows (tests/fixtures/guarantees.py; level to 1e-3).
  awk -F '\t' 'NR > 1 { n += $4 >= 0.022473 && $4 < 0.02249 && $5 == 0 } END { exit n != 2 }' <<<"$output"
  run -0 nk-region score --conditional 0.1 --level 0.01 g.safetensors strange.npy
  [ "$(cut -f 5 <<<"$output" | grep -c 1)" -eq 2 ]
  run -0 nk-region score --fdr 0.01 g.safetensors strange.npy
  [ "${lines[0]}" = "id	score	p_value	q_value	inside	p_min" ]
  [ "$(cut -f 3-5 <<<"${lines[1]}")" = "0.00497512438	0.00497512438	0" ]
  run -0 nk-region score --fdr 0.004 g.safetensors strange.npy
  [ "$(cut -f 5 <<<"$output" | grep -c 1)" -eq 2 ]
  # q by p_conditional: both have the same, so that it is their q.
  run -0 nk-region score --fdr 0.1 --conditional 0.1 --fdp 0.2 g.safetensors strange.npy
  [ "${lines[0]}" = "id	score	p_value	p_conditional	q_value	fdp_bound	inside	p_min" ]
  awk -F '\t' 'NR > 1 { n += $4 == $5 && $6 == 0 && $7 == 0 } END { exit n != 2 }' <<<"$output"
  nk-region score --conditional 0.1 --fdr 0.1 --fdp 0.2 g.safetensors strange.npy |
    cut -f 1-3,8 | cmp - <(cut -f 1-3,5 plain.tsv)
}

@test "info says what a p-value means, and the least there is" {
  nk-region fit set.npy -o g.safetensors
  run -0 nk-region info g.safetensors
  grep -qx "p_value	a vector like the calibrating rows .* averaged over halves" <<<"$output"
  run ! grep -q conditional <<<"$output"
  nk-region info --conditional 0.1 g.safetensors >info.tsv
  grep -qxF "probability	0.9" info.tsv
  value() { awk -F '\t' -v name="$1" '$1 == name { print $2 }' info.tsv; }
  nk-region score --conditional 0.1 g.safetensors strange.npy | sed -n 2p | cut -f 4 |
    grep -qxF "$(value p_conditional_min)"
  # The table of rows agrees with both thresholds, and no p_conditional of a row outside is more.
  normal_npy 400 8 3 >new.npy
  nk-region score --conditional 0.1 g.safetensors new.npy |
    awk -F '\t' -v plain="$(value threshold)" -v given="$(value threshold_conditional)" \
      -v rate="$(value rate_at_threshold)" 'NR > 1 {
        bad += ($2 > given * (1 + 1e-8)) == $5 || ($2 > plain * (1 + 1e-8)) != ($3 <= 0.05)
        if ($3 <= 0.05 && $4 > most) most = $4 }
      END { exit bad > 0 || most > rate || rate < 0.05 || rate > 0.12 }'
  nk-region info --conditional 0.1 --level 0.01 g.safetensors >info.tsv
  [ "$(value threshold_conditional)" = inf ]
}

@test "with --by, guarantees are for the rows of one region" {
  nk-run "$data/gpt2-tiny" -p 'The {} of' --ids 300-399 --capture 1-2 -o states.safetensors
  nk-run "$data/gpt2-tiny" -p 'The {} of' --ids 400-430 --capture 1-2 -o new.safetensors
  nk-region fit --by layer -o 'by.{}.safetensors' states.safetensors
  options=(--conditional 0.2 --fdr 0.2 --fdp 0.2)
  nk-region score "${options[@]}" --by layer 'by.{}.safetensors' new.safetensors >by.tsv
  for layer in 1 2; do
    nk-run "$data/gpt2-tiny" -p 'The {} of' --ids 400-430 --capture $layer -o one.safetensors
    nk-region score "${options[@]}" by.$layer.safetensors one.safetensors | sed 1d | cut -f 1-9 >one.tsv
    awk -F '\t' -v layer=$layer 'NR == 1 { for (i = 1; i <= NF; i++) if ($i == "layer") at = i }
      $at == layer' by.tsv | cut -f 1-9 | cmp - one.tsv
  done
}

@test "there is a warning for rows of which no guarantee speaks" {
  nk-region fit set.npy -o g.safetensors
  warning="rows are tokens that the region was made of: no guarantee holds with them, nor that of p_value"
  run -0 --separate-stderr nk-region score --fdr 0.1 g.safetensors set.npy
  [ "$stderr" = "nk-region: warning: 400 of 400 $warning" ]
  run -0 --separate-stderr nk-region score g.safetensors set.npy
  [ "$stderr" = "nk-region: warning: 400 of 400 $warning" ]
  run -0 --separate-stderr nk-region score g.safetensors ordinary.npy
  [ -z "$stderr" ]
  # The same ids with other values, and the values without the tokens, are not known to be tokens.
  run -0 --separate-stderr nk-region score --fdp 0.1 g.safetensors ordinary.npy
  [ -z "$stderr" ]
  # Tokens that the region has rounded are still known.
  for type in f16 bf16; do
    nk-region fit --tokens $type set.npy -o rounded.safetensors
    run -0 --separate-stderr nk-region score --fdr 0.1 rounded.safetensors set.npy
    [ "$stderr" = "nk-region: warning: 400 of 400 $warning" ]
    run -0 --separate-stderr nk-region score --fdp 0.1 rounded.safetensors ordinary.npy
    [ -z "$stderr" ]
  done
  nk-region fit --kind mahalanobis --tokens none set.npy -o none.safetensors
  run -0 --separate-stderr nk-region score none.safetensors set.npy
  [ -z "$stderr" ]
  run -0 --separate-stderr nk-region score --fdp 0.1 none.safetensors set.npy
  [[ "$stderr" == "nk-region: warning: the region holds no tokens (--tokens none): "*" is not known" ]]
}

@test "options of other commands are refused" {
  nk-region fit set.npy -o m.safetensors
  run -2 nk-region score --exclude ids.tsv m.safetensors set.npy
  [ "$output" = "nk-region: option --exclude is for fit, not for score" ]
  run -2 nk-region info m.safetensors --by layer
  [ "$output" = "nk-region: option --by is for fit, score, not for info" ]
  for words in "score --permutations 3" "score --kind knn" "score --with b" "score -k 3" "test --level 0.1" \
    "test --exclude x" "test --subspace 3" "fit --level 0.1" "info --skip-bad" "ellipse --fdr 0.1" "fit --all"; do
    run -2 nk-region $words m.safetensors
    [[ "$output" == "nk-region: option --"*" is for "*", not for ${words%% *}" ]]
  done
}

@test "a set of another space than the region's is refused" {
  nk-extract "$data/gpt2-tiny" --ids 300-399 -o input.safetensors
  for layer in 1 2; do
    nk-run -q "$data/gpt2-tiny" -p 'The {} of' --ids 300-399 --capture $layer -o s$layer.safetensors
    nk-region fit -q --kind mahalanobis s$layer.safetensors -o l$layer.safetensors
  done
  run -1 nk-region score l2.safetensors input.safetensors
  [ "$output" = "nk-region: l2.safetensors: the set is of the space 'input', the region of 'residual:2'" ]
  run -1 nk-region score l1.safetensors l2.safetensors input.safetensors
  [ "$output" = "nk-region: l1.safetensors: the set is of the space 'input', the region of 'residual:1'" ]
  run -1 nk-region score l2.safetensors s1.safetensors
  nk-region score l1.safetensors l2.safetensors s1.safetensors >both.tsv
  nk-region score l2.safetensors s2.safetensors >one.tsv
  npy 128 $(seq 128) >unnamed.npy
  nk-region score l2.safetensors unnamed.npy >unnamed.tsv
}

@test "bad input and usage are refused" {
  run -2 nk-region
  run -2 nk-region guess set.npy
  run -2 nk-region score
  run -2 nk-region fit --subspace 0 set.npy
  run -2 nk-region fit -k 0 set.npy
  run -2 nk-region fit --include-all --exclude v.tsv set.npy
  for option in --conditional --fdr --fdp; do
    for number in 0 1 -1 nan; do run -2 nk-region score $option=$number m.safetensors set.npy; done
    run -2 nk-region fit $option 0.1 set.npy
  done
  run -2 nk-region info --fdr 0.1 m.safetensors
  run -1 nk-region info set.npy
  [[ "$output" == "nk-region: "*set.npy* ]]
  nk-region fit set.npy -o m.safetensors
  npy 3 1 2 3 >three.npy
  run -1 nk-region score m.safetensors three.npy
  [ "$output" = "nk-region: m.safetensors: vectors have 3 values, the region is for 8" ]
  run -1 nk-region fit three.npy -o three.safetensors
  [ ! -e three.safetensors ]
  run -1 nk-region fit --exclude nothing.tsv set.npy -o x.safetensors
  head -c 1000 m.safetensors >cut.safetensors
  run -1 nk-region score cut.safetensors set.npy
}

# AUC, the probability that a never-seen row has the smaller p-value: of (p-value, seen) pairs on standard input, by ranks.
auc() {
  sort -g | awk '{ if ($1 != last) { flush(); last = $1 } if ($2) t++; else f++ }
    function flush() { below += t * nf + t * f / 2; nt += t; nf += f; t = f = 0 }
    END { flush(); printf "%.4f", nt && nf ? 1 - below / (nt * nf) : -1 }'
}

# extract MODEL [--matrix output]: fit.safetensors and held.safetensors, ordinary tokens (seen at least 100 times), of
# which every third by id is held out; never.safetensors, and both.safetensors with those held out and these.
extract() {
  awk -F '\t' 'NR > 1 && $2 >= 100 { if (n++ % 3 == 0) print $1 > "held.txt";
    else print $1 > "fit.txt" }' "$data/$1/counts.tsv"
  awk -F '\t' 'NR > 1 && $2 == 0 { print $1 }' "$data/$1/counts.tsv" >never.txt
  cat held.txt never.txt >both.txt
  for set in fit held never both; do
    nk-extract --ids "$(paste -sd, $set.txt)" $2 $3 "$data/$1" -o $set.safetensors
  done
}

@test "held-out ordinary tokens of the shipped models are outside as often as promised" {
  [ -e "$data/gpt2-tiny/counts.tsv" ] || skip "the models are not there"
  for model in gpt2-tiny llama-tiny "llama-tiny --matrix output"; do
    set -- $model
    extract $model
    for kind in combined mahalanobis knn subspace; do
      nk-region fit -q --kind $kind fit.safetensors -o r.safetensors
      nk-region score r.safetensors held.safetensors >held.tsv
      nk-region score r.safetensors never.safetensors >never.tsv
      column() { awk -F '\t' -v c="$1" 'NR == 1 { for (i = 1; i <= NF; i++) if ($i == c) k = i; next }
        { print $k }' "$2"; }
      outside=$(column inside held.tsv | grep -c 0)
      rows=$(wc -l <held.txt)
      found=$(column inside never.tsv | awk '{ n += !$1 } END { printf "%.3f", n / NR }')
      never=$( (column p_value held.tsv | sed 's/$/ 0/'; column p_value never.tsv | sed 's/$/ 1/') |
        auc)
      # A distance finds what lies too far out only, as in gpt2-tiny; the combined score also what
      # lies too far in, as the ball of never-seen tokens among the input rows of llama-tiny.
      [ $kind != combined ] || perl -e 'exit($ARGV[0] < 0.95 || $ARGV[1] < 0.75)' "$never" "$found"
      echo "# $model $kind: $outside of $rows held out are outside at 0.05," \
        "of never seen $found, with an AUC of $never" >&3
      # Given m calibrating tokens the level itself is uncertain, with variance a (1 - a) / (m + 2).
      m=$(($(wc -l <fit.txt) - $(wc -l <fit.txt) / 2))
      perl -e 'my ($x, $n, $m) = @ARGV; my $v = 0.05 * 0.95 * (1 / $n + 1 / $m);
        exit(abs($x / $n - 0.05) > 3.9 * sqrt $v)' "$outside" "$rows" "$m"
    done
  done
}

@test "test tells a set from the tokens, and tokens not" {
  nk-region fit set.npy -o t.safetensors
  run -0 nk-region test t.safetensors ordinary.npy
  [ "${lines[0]}" = "rows	tokens	coordinates	mmd2	auc	p_value	p_min	p_simes" ]
  [ "$(cut -f 1,2,7 <<<"${lines[1]}")" = "6	200	0.001" ]
  [ "$(awk -F '\t' 'NR == 2 { print ($6 > 0.05 && $8 > 0.05) }' <<<"$output")" = 1 ]
  nk-region test t.safetensors <ordinary.npy | cmp - <(nk-region test --threads 1 t.safetensors ordinary.npy)
  # the smallest of 100 p-values, and of Simes' test of two rows beyond all 200
  run -0 nk-region test --permutations 99 t.safetensors strange.npy
  [ "$(cut -f 6,7,8 <<<"${lines[1]}")" = "0.01	0.01	0.00497512438" ]
}

@test "test finds nokens of both models that are no set of tokens, in raw or whitened coordinates" {
  for model in gpt2-tiny llama-tiny; do
    nk-extract -q "$data/$model" | nk-region fit -q --kind mahalanobis -o $model.region
    run -0 bash -c "nk-sample -q $model.region -n 64 -d covariance --quantile 0.99 |
      nk-region test $model.region"
    [ "$(cut -f 1,3,6 <<<"${lines[1]}")" = "64	whitened	0.001" ]
  done
  # as far out as the median token, in directions in which there are none
  run -0 bash -c "nk-sample -q gpt2-tiny.region -n 64 --quantile 0.5 | nk-region test gpt2-tiny.region"
  [ "$(cut -f 1,3,6 <<<"${lines[1]}")" = "64	raw	0.001" ]
}

@test "test refuses what it cannot compare" {
  nk-region fit --kind mahalanobis set.npy -o t.safetensors
  npy 8 1 1 1 1 1 1 1 1 >one.npy
  run -1 nk-region test t.safetensors one.npy
  [ "$output" = "nk-region: one.npy by t.safetensors: 1 rows are too few for a set: at least 2 are needed" ]
  npy 2 1 1 1 1 >narrow.npy
  run -1 nk-region test t.safetensors narrow.npy
  [ "$output" = "nk-region: narrow.npy by t.safetensors: vectors have 2 values, the region is for 8" ]
  npy 8 1 1 1 1 1 1 1 1  2 2 2 2 2 2 2 nan  3 3 3 3 3 3 3 3 >bad.npy
  run -1 nk-region test t.safetensors bad.npy
  [[ "$output" = *"row 1 holds a NaN"* ]]
  run -0 nk-region test -q --skip-bad t.safetensors bad.npy
  [ "$(cut -f 1 <<<"${lines[1]}")" = 2 ]
  nk-region fit --kind mahalanobis --tokens none set.npy -o bare.safetensors
  run -2 nk-region test bare.safetensors ordinary.npy
  [[ "$output" = "nk-region: bare.safetensors: the region does not hold its tokens, "*": fit it with --tokens auto" ]]
  run -2 nk-region test
  run -2 nk-region test --permutations 0 t.safetensors ordinary.npy
  run -2 nk-region test t.safetensors ordinary.npy ordinary.npy
  [ "$output" = "nk-region: test: the operands are REGION [SET]" ]
}

@test "test compares states with the region of their own layer alone" {
  for layer in 1 2; do
    nk-run -q "$data/gpt2-tiny" -p 'The {} of' --ids 300-399 --capture $layer -o s$layer.safetensors
    nk-region fit -q --kind mahalanobis s$layer.safetensors -o l$layer.safetensors
  done
  run -1 nk-region test -q l1.safetensors s2.safetensors
  [ "$output" = "nk-region: s2.safetensors by l1.safetensors: the set is of the space 'residual:2', \
the region of 'residual:1'" ]
  nk-run -q "$data/gpt2-tiny" -p 'The {} of' --ids 400-419 --capture 1 |
    nk-region test l1.safetensors
}

@test "guarantees hold on the shipped models, and what they cost" {
  [ -e "$data/gpt2-tiny/counts.tsv" ] || skip "the models are not there"
  for model in gpt2-tiny llama-tiny "llama-tiny --matrix output"; do
    extract $model
    nk-region fit -q fit.safetensors -o r.safetensors
    nk-region score --conditional 0.1 --fdp 0.1 --fdr 0.1 r.safetensors both.safetensors >given.tsv
    nk-region score --fdr 0.1 r.safetensors both.safetensors >q.tsv
    [ "$(head -n 1 given.tsv | cut -f 3-7)" = "score	p_value	p_conditional	q_value	fdp_bound" ]
    # Rows by p: whether held out, p_value, p_conditional, q_value by p, fdp_bound.
    awk -F '\t' -v OFS='\t' 'FILENAME == "held.txt" { held[$1]; next } FNR == 1 { next }
      FILENAME == "q.tsv" { q[$1] = $5; next } { print $1 in held, $4, $5, q[$1], $7 }' \
      held.txt q.tsv given.tsv | sort -g -k 2,2 |
      awk -F '\t' -v model="$model" '
        { h[NR] = $1; p[NR] = $2; c[NR] = $3; q[NR] = $4; b[NR] = $5; n += $1 }
        END {
          p[NR + 1] = 2
          for (i = 1; i <= NR; i++) {
            held += h[i]
            if (p[i] == p[i + 1]) continue # the cut is after the last of equal ones
            bad += held > b[i] * i * (1 + 1e-8)
            if (c[i] <= 0.05) { given = i - held; rate = held / n }
            if (q[i] <= 0.1) { found = i - held; fdr = held / i; bound = b[i] }
            if (p[i] <= 0.05) { all = i - held; share = held / i; at = b[i] }
          }
          m = NR - n
          printf "# %s: of %d never seen %.3f by p 0.05, %.3f by conditional p 0.05 (%.3f of others), " \
            "%.3f by FDR 0.1; of those outside %.3f are ordinary, bound %.3f; by FDR %.3f, bound %.3f\n",
            model, m, all / m, given / m, rate, found / m, share, at, fdr, bound
          exit bad > 0 || rate > 0.05 || fdr > 0.1 || share > at || found / m < 0.5
        }' >&3
  done
}
