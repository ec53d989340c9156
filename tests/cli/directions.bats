# The stiffest directions: nk-search --top-directions, and what its pipes show.
bats_require_minimum_version 1.5.0

setup() {
  cd "$BATS_TEST_DIRNAME/../.."
  words=$BATS_FILE_TMPDIR/words.safetensors
  [ -f "$words" ] && return
  awk -F'\t' 'NR > 1 && $3 > 300 { print $1 }' data/gpt2-tiny/counts.tsv | sed -n '1~60p' | head -8 \
    > "$BATS_FILE_TMPDIR/ids"
  nk-extract data/gpt2-tiny --ids "$(paste -sd , "$BATS_FILE_TMPDIR/ids")" -o "$words"
  nk-extract data/gpt2-tiny | nk-region fit -o "$BATS_FILE_TMPDIR/in.safetensors"
}

@test "directions are unit vectors with falling singular values and small residuals" {
  nk-search data/gpt2-tiny --top-directions 3 -p "The {} of" --from-set "$words" |
    nk-convert --to tsv | awk -F'\t' '
      NR == 1 { for (i = 1; i <= NF; i++) at[$i] = i; next }
      { length2 = 0
        for (i = at["v1"]; i <= NF; i++) length2 += $i * $i
        s = $at["singular_value"]; k = $at["component"]
        if (length2 < 0.99999 || length2 > 1.00001 || $at["residual"] > 1e-3) bad++
        if (k != (NR - 2) % 3 + 1 || (k > 1 && s > last) || $at["origin_row"] != int((NR - 2) / 3)) bad++
        last = s }
      END { exit !(NR == 25 && !bad) }'
}

@test "a place that the end of the prompt does not read is refused" {
  run -1 nk-search -q data/gpt2-tiny --top-directions 2 -p "The {} of" --at 4 --from-set "$words"
  [[ $output == "nk-search: no direction changes the logits at the prompt's end: "* ]]
  [ "${#lines[@]}" -eq 1 ]
}

@test "the answer changes nearer along the stiffest directions than along random ones" {
  for how in "" --fisher; do
    nk-search data/gpt2-tiny --top-directions 4 $how -p "The {} of" <"$words" |
      nk-sample "$BATS_FILE_TMPDIR/in.safetensors" --from-set "$words" -d along,isotropic --along - \
        -m radius --distance 3 --with-origin |
      nk-boundary data/gpt2-tiny -p "The {} of" --level 0.05 --summary | awk -F'\t' '
        NR == 1 { for (i = 1; i <= NF; i++) at[$i] = i; next }
        { onset[$at["direction"]] = $at["onset"]; high[$at["direction"]] = $at["high"]
          low[$at["direction"]] = $at["low"] }
        END { exit !(onset["along"] < onset["isotropic"] / 2 && high["along"] < low["isotropic"]) }'
  done
}

@test "the same seed gives the same values, whatever the threads" {
  run=(nk-search data/gpt2-tiny --top-directions 2 -p "The {} of" --at 2 --from-set "$words")
  "${run[@]}" --threads 1 | nk-convert --to tsv | cut -f 1-6 >"$BATS_TEST_TMPDIR/one.tsv"
  "${run[@]}" --threads 2 | nk-convert --to tsv | cut -f 1-6 >"$BATS_TEST_TMPDIR/two.tsv"
  paste "$BATS_TEST_TMPDIR/one.tsv" "$BATS_TEST_TMPDIR/two.tsv" | awk -F'\t' '
    NR == 1 { for (i = 1; i <= NF / 2; i++) if ($i == "singular_value") at = i; next }
    { e = $at / $(at + NF / 2) - 1; if (e > 1e-5 || e < -1e-5) bad++ }
    END { exit !(NR == 17 && at && !bad) }'
}

@test "what has no directions is refused" {
  for bad in '--top-directions 2' '--top-directions 2 -p The' '--top-directions 129 -p {}' \
    '--top-directions 2 -p {} --maximize kl' '--top-directions 2 -p {} --radius 1' \
    '--top-directions 2 -p {} -n 3' '--fisher -p {} --radius 1' '--top-directions 2 -p {} --at 5'; do
    run -2 nk-search data/gpt2-tiny $bad --from-set "$words" -o "$BATS_TEST_TMPDIR/x"
    [ "${#lines[@]}" -eq 1 ]
  done
  nk-extract tests/fixtures/forward/gpt2 --ids 1-3 -o "$BATS_TEST_TMPDIR/narrow.safetensors"
  run -1 nk-search data/gpt2-tiny --top-directions 2 -p {} --from-set "$BATS_TEST_TMPDIR/narrow.safetensors" \
    -o "$BATS_TEST_TMPDIR/x"
  [[ $output == *"origins have "*" values, the model's vectors have 128" ]]
  [ ! -e "$BATS_TEST_TMPDIR/x" ]
}
