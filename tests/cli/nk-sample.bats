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
  [[ "$output" == *"no point of ray"* ]]
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
