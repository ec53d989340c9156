# nk-sample: nokens at controlled distances, as a user makes them.
bats_require_minimum_version 1.5.0

setup() {
  cd "$BATS_TEST_DIRNAME/../.."
  region=$BATS_FILE_TMPDIR/in.safetensors
  set=$BATS_FILE_TMPDIR/wte.safetensors
  [ -f "$region" ] && return
  nk-extract data/gpt2-tiny -o "$set"
  # rows that training never showed are not what the model knows
  awk -F'\t' 'NR == 1 || $3 == 0' data/gpt2-tiny/counts.tsv > "$BATS_FILE_TMPDIR/never.tsv"
  nk-region fit "$set" --exclude "$BATS_FILE_TMPDIR/never.tsv" -o "$region"
}

@test "nokens at quantiles and multiples go down a pipe as a vector set" {
  run -0 bash -c "nk-sample '$region' -n 3 -d isotropic,covariance --quantile 0.5,0.99 --times 2 |
    nk-convert --to tsv"
  [ "${#lines[@]}" -eq 19 ] # 2 directions x 3 distances x 3, and the header
  for column in distance achieved quantile times l2 cosine mahalanobis knn nearest p_value \
    origin toward direction; do
    grep -qw "$column" <<<"${lines[0]}"
  done
  # in a table the directions have their names
  run -0 bash -c "nk-sample '$region' -n 3 -d isotropic,pc:2-5 --times 2 |
    nk-stats --no-mahalanobis --json | grep -c 'direction\":\"pc:2-5'"
  [ "$output" -eq 3 ]
}

@test "the achieved distance is the asked one, for each metric" {
  for metric in l2 mahalanobis knn; do
    nk-sample "$region" -n 5 -m $metric -d isotropic,token,difference --times 1.5,4 |
      nk-convert --to tsv | awk -F'\t' -v metric=$metric '
        NR == 1 { for (i = 1; i <= NF; i++) at[$i] = i; next }
        { e = $at[metric] / $at["distance"] - 1; if (e > 1e-5 || e < -1e-5) bad++; n++ }
        END { exit !(n == 30 && !bad) }'
  done
}

@test "the same seed gives the same bytes, another seed others, whatever the threads" {
  run=(nk-sample "$region" -n 100 -d isotropic,pair --quantile 0.9)
  one=$("${run[@]}" --threads 1 | sha256sum)
  two=$("${run[@]}" --threads 2 | sha256sum)
  other=$("${run[@]}" --seed 1 | nk-convert --to f32 | sha256sum)
  [ "$one" = "$two" ]
  [ "$other" != "$("${run[@]}" | nk-convert --to f32 | sha256sum)" ]
}

@test "--match makes nokens with the distances of given tokens" {
  head -n 4 "$BATS_FILE_TMPDIR/never.tsv" > "$BATS_TEST_TMPDIR/three.tsv"
  nk-sample "$region" --match "$BATS_TEST_TMPDIR/three.tsv" --vectors "$set" -n 8 \
    -o "$BATS_TEST_TMPDIR/matched.safetensors"
  run -0 bash -c "nk-stats --no-mahalanobis '$BATS_TEST_TMPDIR/matched.safetensors' | wc -l"
  [ "$output" -eq 25 ]
}

@test "--resample draws controls that the region holds" {
  nk-sample "$region" --resample -n 50 -o "$BATS_TEST_TMPDIR/controls.safetensors"
  nk-region score "$region" "$BATS_TEST_TMPDIR/controls.safetensors" | awk -F'\t' '
    NR == 1 { for (i = 1; i <= NF; i++) at[$i] = i; next }
    $at["p_value"] <= 0.05 { bad++ } END { exit !(NR == 51 && !bad) }'
}

@test "what makes no sense is refused as usage" {
  run -2 nk-sample "$region"
  [ "$output" = "nk-sample: no distances: use --distance, --quantile or --times" ]
  run -2 nk-sample "$region" --times 2 -d sideways
  [[ $output == *"unknown direction 'sideways'"* ]]
  run -2 nk-sample "$region" --times 2 --from home
  [[ $output == *"--from home: unknown origin: centroid, token:ID or tokens"* ]]
  run -2 nk-sample "$region" --distance=-3
  [[ $output == *"distance -3 is not a number above 0"* ]]
  run -2 nk-sample "$region" --times 2 --resample
  [[ $output == *"exclude one another"* ]]
  run -2 nk-sample "$region" --match x.tsv
  [[ $output == *"--vectors"* ]]
  run -2 nk-sample "$region" --times 2 -d pc:1-9999
  [[ $output == *"there are"*"components"* ]]
}

@test "what cannot be is refused as data, and leaves nothing" {
  out=$BATS_TEST_TMPDIR/out.safetensors
  run -1 nk-sample "$region" -m cosine --distance 1.99 -o "$out"
  [[ $output == *"has cosine distance 1.99"* ]]
  run -1 nk-sample "$region" --times 2 --from token:99999999 -o "$out"
  [[ $output == *"no token 99999999"* ]]
  run -1 nk-sample "$set" --times 2 -o "$out"
  run -1 nk-sample /nowhere --times 2 -o "$out"
  [ ! -e "$out" ]
  run -1 bash -c "nk-sample '$region' -n 10 --times 2 > /dev/full"
  [[ $output == *"No space left on device"* ]]
}

@test "a set of nokens has its region's resolution of p-values in its metadata" {
  nk-sample "$region" --times 2 -o "$BATS_TEST_TMPDIR/n.safetensors"
  p_min=$(nk-region info "$region" | awk '$1 == "p_min" { print $2 }')
  head -c 4000 "$BATS_TEST_TMPDIR/n.safetensors" | grep -aqF "\"noken.p_min\":\"$p_min\""
}

@test "no nokens is an empty set" {
  run -0 bash -c "nk-sample '$region' -n 0 --times 2 | nk-convert --to tsv | wc -l"
  [ "$output" -eq 1 ]
}

@test "--unreached skips or redraws rays that never reach a distance" {
  run -1 nk-sample "$region" -n 64 -m cosine --distance 0.98 -o "$BATS_TEST_TMPDIR/x.safetensors"
  [[ "$output" == *"no point of ray"*"; choose another one, or skip or redraw such rays" ]]
  run -1 nk-sample "$region" --from tokens -n 4 -m mahalanobis --distance 0.1
  [[ "$output" == *"; choose a larger one, or radii, which count from where rays begin, or skip or \
redraw such rays" ]]
  run -0 --separate-stderr bash -c "nk-sample '$region' -n 64 -m cosine --distance 0.98 \
    --unreached skip | nk-convert --to tsv"
  skipped=$((65 - ${#lines[@]}))
  [ "$skipped" -gt 0 ]
  [[ "$stderr" == *"$skipped of 64 rays never reach cosine distance 0.98"* ]]
  run -0 --separate-stderr bash -c "nk-sample '$region' -n 64 -m cosine --distance 0.98 \
    --unreached redraw | nk-convert --to tsv"
  [ "${#lines[@]}" -eq 65 ]
  [[ "$stderr" == *"were drawn again"* ]]
  run -2 nk-sample "$region" --resample --unreached skip
}

# The columns NAME... of standard input, a vector set, without the header.
columns() {
  nk-convert --to tsv | awk -F'\t' -v names="$*" '
    NR == 1 { for (i = 1; i <= NF; i++) at[$i] = i; n = split(names, name, " "); next }
    { for (i = 1; i <= n; i++) printf "%s%s", $at[name[i]], i < n ? "\t" : "\n" }'
}

@test "--from-set makes rays about each row of a set, which nokens carry" {
  cd "$BATS_TEST_TMPDIR"
  nk-extract "$OLDPWD/data/gpt2-tiny" --ids 300-302 -o three.safetensors
  run -0 bash -c "nk-sample '$region' --from-set three.safetensors -n 2 -m radius -d isotropic,towards \
    --distance 0.1,0.4 --with-origin | nk-convert --to tsv"
  [ "${#lines[@]}" -eq 37 ] # 3 origins x 2 directions x 2 rays x 3, and the header
  nk-sample "$region" --from-set three.safetensors -n 2 -m radius -d isotropic,towards \
    --distance 0.1,0.4 --with-origin -o rays.safetensors
  columns origin_row origin ray distance radius <rays.safetensors >rays.tsv
  awk -F'\t' '{ if ($1 != int((NR - 1) / 12) || $2 != 300 + $1 || $3 != int((NR - 1) / 3)) bad++
    d = NR % 3 == 1 ? 0 : NR % 3 == 2 ? 0.1 : 0.4; e = $5 - d; if (e < 0) e = -e
    if ($4 != d || e > 1e-5 * d) bad++ } END { exit NR != 36 || bad }' rays.tsv
  # a noken has the text of its origin, and nokens of nokens keep what they had
  [ "$(columns text <rays.safetensors | sed -n 13p)" = \
    "$(nk-convert --to tsv three.safetensors | awk -F'\t' 'NR == 3 { print $2 }')" ]
  nk-sample "$region" --from-set rays.safetensors -m angle --distance 3 --unreached skip -d towards:0 \
    -o again.safetensors
  [ "$(columns set_ray set_direction <again.safetensors | tail -n 1)" = "$(printf '11\ttowards')" ]
}

@test "the radius and the angle are those of the values written, from each kind of origin" {
  cd "$BATS_TEST_TMPDIR"
  nk-extract "$OLDPWD/data/gpt2-tiny" --ids 300-302 -o three.safetensors
  measure='
    NR == 1 { for (i = 1; i <= NF; i++) at[$i] = i; next }
    { xx = oo = xo = dd = 0
      for (j = 1; j <= 128; j++) {
        x = $at["v" j]; o = first[$at["ray"], j]
        if ($at["radius"] == 0) { first[$at["ray"], j] = x; continue }
        xx += x * x; oo += o * o; xo += x * o; dd += (x - o) * (x - o)
      }
      if ($at["radius"] == 0) next
      n++
      cosine = xo / sqrt(xx * oo)
      value = angle ? atan2(sqrt(1 - cosine * cosine), cosine) * 180 / 3.14159265358979 : sqrt(dd)
      if (value / asked - 1 > 1e-5 || value / asked - 1 < -1e-5) bad++
      if (!angle && (xx / oo - 1 > 1e-6 || xx / oo - 1 < -1e-6)) bad++ }
    END { exit !(n == rays && !bad) }'
  for origin in '--from-set three.safetensors' '--from tokens' '--from token:301'; do
    [ "$origin" = '--from-set three.safetensors' ] && rays=45 || rays=15
    nk-sample "$region" $origin -n 5 -m radius --distance 0.2 --with-origin --keep-norm \
      -d isotropic,covariance,token | nk-convert --to tsv |
      awk -F'\t' -v asked=0.2 -v rays=$rays "$measure"
    nk-sample "$region" $origin -n 5 -m angle --angle-at zero --distance 20 --with-origin \
      -d isotropic,covariance,token | nk-convert --to tsv |
      awk -F'\t' -v asked=20 -v angle=1 -v rays=$rays "$measure"
  done
}

@test "--path goes from row to row of a set, with or without a region" {
  cd "$BATS_TEST_TMPDIR"
  nk-extract "$OLDPWD/data/gpt2-tiny" --ids 300-302 -o three.safetensors
  printf 'a\tb\n300\t301\n302\t300\n' >pairs.tsv
  printf 'row_a\trow_b\n0\t1\n2\t0\n' >rows.tsv
  nk-sample --path slerp --pairs pairs.tsv --steps 4 --vectors three.safetensors -o one.safetensors
  nk-sample --path slerp --pairs rows.tsv --steps 4 <three.safetensors >two.safetensors
  cmp <(nk-convert --to f32 one.safetensors) <(nk-convert --to f32 two.safetensors)
  [ "$(columns pair t a b <one.safetensors | sed -n '2p;10p')" = \
    "$(printf '0\t0.25\t300\t301\n1\t1\t302\t300')" ]
  # the ends are the rows
  cmp <(nk-convert --to f32 one.safetensors | head -c 512) \
    <(nk-convert --to f32 three.safetensors | head -c 512)
  nk-sample --path lerp --pairs pairs.tsv --vectors three.safetensors "$region" -o three.path
  [ "$(columns t p_value mahalanobis <three.path | wc -l)" -eq 22 ] # 10 steps
  printf 'a\tb\n300\t999\n' >pairs.tsv
  run -1 nk-sample --path lerp --pairs pairs.tsv --vectors three.safetensors -o x.safetensors
  [ "$output" = "nk-sample: three.safetensors: pair 0: the set has no row of id 999" ]
  printf 'row_a\trow_b\n0\t1\n2\t3\n' >rows.tsv
  run -1 nk-sample --path lerp --pairs rows.tsv --vectors three.safetensors -o x.safetensors
  [ "$output" = "nk-sample: three.safetensors: pair 1: row 3: the set has 3 rows, from 0" ]
  # of two rows with one id either could be meant, also where the id is the number of a row
  printf 'id\tv1\n5\t1\n5\t2\n2\t3\n2\t4\n' >twice.tsv
  for id in 5 2; do
    printf 'a\tb\n%s\t%s\n' $id $id >pairs.tsv
    run -1 nk-sample --path lerp --pairs pairs.tsv --vectors twice.tsv -o x.safetensors
    [[ $output == *"id $id: 2 rows of the set; use row_a and row_b" ]]
  done
  run -1 nk-sample --path lerp --pairs three.path --vectors three.safetensors -o x.safetensors
  [ ! -e x.safetensors ]
}

@test "--gaussian draws a cloud from the region's normal distribution" {
  nk-sample "$region" --gaussian 400 -o "$BATS_TEST_TMPDIR/cloud.safetensors"
  # the squared Mahalanobis distance has mean 128 and standard deviation 16 in 128 dimensions
  columns mahalanobis <"$BATS_TEST_TMPDIR/cloud.safetensors" | awk '{ sum += $1 * $1 / 128 }
    END { mean = sum / NR; exit !(NR == 400 && mean > 0.96 && mean < 1.04) }'
  run -0 bash -c "nk-sample '$region' --gaussian 0 | nk-convert --to tsv | wc -l"
  [ "$output" -eq 1 ]
}

# the column of the answers in a prompt to nokens of standard input, by nk-run
answers() { # answers PROMPT COLUMN
  nk-run data/gpt2-tiny -p "$1" - | awk -F'\t' -v column="$2" '
    NR == 1 { for (i = 1; i <= NF; i++) at[$i] = i; next } { print $at[column] }'
}

@test "-d gradient raises what is maximized, -d natural more at a Mahalanobis distance" {
  nk-sample "$region" -d gradient,natural,isotropic,covariance --model data/gpt2-tiny -p "The {} of" \
    --maximize kl --with-origin --quantile 0.5 -o "$BATS_TEST_TMPDIR/steep.safetensors"
  run -0 answers "The {} of" kl <"$BATS_TEST_TMPDIR/steep.safetensors"
  # origin and noken of each direction
  awk -v g="${lines[1]}" -v n="${lines[3]}" -v i="${lines[5]}" -v c="${lines[7]}" -v o="${lines[0]}" \
    'BEGIN { exit !(g > 3 * o && n > 2 * g && g > 3 * i && g > 3 * c) }'
  # a small step down
  nk-sample "$region" -d gradient --model data/gpt2-tiny -p "The {} of" --minimize entropy \
    --with-origin -m radius --distance 0.05 -o "$BATS_TEST_TMPDIR/down.safetensors"
  run -0 answers "The {} of" entropy <"$BATS_TEST_TMPDIR/down.safetensors"
  awk -v o="${lines[0]}" -v d="${lines[1]}" 'BEGIN { exit !(d < o) }'
  for what in 'token: the' ids:300,301 'text: the end' flag:data/prompts/flags.tsv; do
    nk-sample "$region" -d gradient --model data/gpt2-tiny --prompts data/prompts/plain.tsv \
      --maximize "$what" -m radius --distance 1 --from token:300 >/dev/null
  done
}

@test "-d along takes its directions from the rows of a set" {
  cd "$BATS_TEST_TMPDIR"
  nk-extract "$OLDPWD/data/gpt2-tiny" --ids 300-301 -o two.safetensors
  nk-extract "$OLDPWD/data/gpt2-tiny" --ids 400-405 -o six.safetensors
  nk-sample "$region" --from-set two.safetensors -d along,isotropic --along six.safetensors -m radius \
    --distance 0.5 -o rays.safetensors
  [ "$(columns toward direction <rays.safetensors | tr '\t\n' ', ')" = \
    "400,along 401,along 402,along -1,isotropic -1,isotropic -1,isotropic 403,along 404,along 405,along -1,isotropic -1,isotropic -1,isotropic " ]
  run -2 nk-sample "$region" --from-set two.safetensors -d along --along six.safetensors -n 4 -m radius --distance 1
  [[ $output == *"directions along 6 rows: expected 4, one for each ray of an origin, or one for each ray" ]]
  run -2 nk-sample "$region" -d along --times 2
  run -2 nk-sample "$region" -d isotropic --along six.safetensors --times 2
  run -2 nk-sample - -d along --along - --times 2
}

@test "-d gradient is refused where there is nothing to differentiate" {
  for bad in '-d gradient' '--model data/gpt2-tiny' '-p {}' '-d gradient --model data/gpt2-tiny' \
    '-d gradient --model data/gpt2-tiny -p The' \
    '-d gradient --model data/gpt2-tiny -p {} --maximize size' \
    '-d gradient --model data/gpt2-tiny -p {} --maximize token:zzzz' \
    '-d gradient --model data/gpt2-tiny -p {} --maximize ids:9000' \
    '-d gradient --model data/gpt2-tiny -p {} --maximize kl --minimize kl' \
    '-d gradient --model data/gpt2-tiny -p {} --at 9' \
    '-d natural --model data/gpt2-tiny -p {} --from tokens'; do
    run -2 nk-sample "$region" --times 2 $bad -o "$BATS_TEST_TMPDIR/x.safetensors"
    [ "${#lines[@]}" -eq 1 ]
  done
  nk-extract tests/fixtures/forward/gpt2 | nk-region fit --kind mahalanobis -o "$BATS_TEST_TMPDIR/small.safetensors"
  run -1 nk-sample "$BATS_TEST_TMPDIR/small.safetensors" -d gradient --model data/gpt2-tiny -p {} --times 2
  [[ $output == *"small.safetensors: vectors have "*" values, the model's have 128" ]]
  [ ! -e "$BATS_TEST_TMPDIR/x.safetensors" ]
}

@test "a set that cannot be origins is refused by name" {
  cd "$BATS_TEST_TMPDIR"
  printf 'v1\tv2\n1\t2\n3\tnan\n' >two.tsv
  printf 'v1\tv2\n' | cat - <(printf '1\t2\n') >one.tsv
  run -1 nk-sample "$region" --from-set one.tsv -m radius --distance 1 -o x.safetensors
  [ "$output" = "nk-sample: one.tsv: the set has rows of 2 values, the region is for 128" ]
  nk-extract "$OLDPWD/data/gpt2-tiny" --ids 300-301 | nk-convert --to tsv |
    awk -F'\t' -v OFS='\t' 'NR == 3 { $NF = "nan" } 1' >nan.tsv
  run -1 nk-sample "$region" --from-set nan.tsv -m radius --distance 1 -o x.safetensors
  [ "$output" = "nk-sample: nan.tsv: row 1 holds a NaN or an infinity" ]
  run -1 nk-sample "$region" --from-set /nowhere -m radius --distance 1 -o x.safetensors
  nk-extract "$OLDPWD/data/gpt2-tiny" --ids 300 | nk-convert --to npy -o one.npy
  run -1 nk-sample "$region" --from-set one.npy -m radius --distance 1 -d towards -o x.safetensors
  [[ $output == *"all rows are the same vector"* ]]
  [ ! -e x.safetensors ]
  for bad in '--from-set one.npy --from tokens' '--from-set one.npy -m angle --times 2' \
    '--from-set one.npy -m radius' '--from-set one.npy -m radius --distance 1 --angle-at zero' \
    '--from-set one.npy -m knn --distance 1 --keep-norm' '-m angle --distance 180 --from tokens' \
    '-d towards --times 2' '-d towards:3 --times 2 --from-set one.npy' '-d mixture:token --times 2' \
    '--gaussian 3 --resample' '--gaussian 3 -n 2' '--path lerp' '--steps 3 --times 2' \
    '--pairs two.tsv --times 2' '--path lerp --pairs two.tsv --steps 0' \
    '--path lerp --pairs -' '--path lerp --pairs two.tsv -n 3' '--gaussian 3 -m l2' '--resample -m mahalanobis' \
    '--path lerp --pairs two.tsv --vectors one.npy -m l2' \
    '--from-set one.npy -m radius --distance 1 -d towards:0 --unreached redraw' '--with-origin --resample'; do
    run -2 nk-sample "$region" $bad -o x.safetensors
    [ "${#lines[@]}" -eq 1 ]
  done
  run -2 nk-sample --from-set - -m radius --distance 1
  [ "$output" = "nk-sample: --from-set and REGION are both standard input" ]
  [ ! -e x.safetensors ]
}
