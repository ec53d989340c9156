# nk-boundary as a user calls it. The onsets themselves are checked in
# tests/unit/test_boundary_model.c and here by a scan with nk-run --paired.
bats_require_minimum_version 1.5.0
load rays.bash

setup() {
  cd "$BATS_TEST_DIRNAME/../.."
  t=$BATS_TEST_TMPDIR
  printf '%s\n' 'The cat sat on the mat' 'A dog of the house' 'In the year of our Lord' \
    >"$t/contexts.txt"
}

# make MODEL LAYER LENGTH...: rays.tsv from the states of the last but one token of each context
make() {
  local model=$1 layer=$2
  shift 2
  nk-run -q "data/$model" --contexts "$t/contexts.txt" --position -2 --capture "$layer" |
    nk-convert --to tsv | rays "$@" >"$t/rays.tsv"
}

boundary() {
  nk-boundary -q data/gpt2-tiny "$t/rays.tsv" --contexts "$t/contexts.txt" "$@"
}

@test "a row for each ray: what was found, then the columns that are the ray's" {
  make gpt2-tiny 2 5 10
  boundary --level 0.001 >"$t/out"
  [ "$(head -n 1 "$t/out")" = "$(printf '%s\t' id onset reached slope_max slope_at width far \
    fisher ray origin_row direction context position)layer" ]
  [ "$(wc -l <"$t/out")" -eq 7 ]
  [ "$(column ray <"$t/out" | paste -sd ' ')" = "0 1 2 3 4 5" ]
  [ "$(column id <"$t/out" | paste -sd ' ')" = "2 5 8 11 14 17" ]
  [ "$(column context <"$t/out" | paste -sd ' ')" = "0 0 1 1 2 2" ]
  [ "$(column layer <"$t/out" | sort -u)" = 2 ]
}

# A grid of radii 1% apart around each onset, as rays of their own: the first with kl_base >= level.
@test "onsets agree to 1% with a dense scan by nk-run --paired, in both models" {
  for model in gpt2-tiny llama-tiny; do
    make $model 2 25
    nk-boundary -q data/$model "$t/rays.tsv" --contexts "$t/contexts.txt" --level 0.005 >"$t/out"
    [ "$(column reached <"$t/out" | paste -sd ' ')" = "1 1 1" ]
    perl -e '
      chomp(my $head = <STDIN>);
      my @names = split /\t/, $head;
      my ($at) = grep { $names[$_] eq "v1" } 0 .. $#names;
      print "$head\n";
      my ($id, %origin) = (0);
      while (<STDIN>) {
        chomp;
        my @cell = split /\t/;
        $origin{$cell[1]} = [@cell] if $cell[2] == 0;
        next if $cell[2] != 25;
        my @from = @{$origin{$cell[1]}};
        for (my $r = 0; $r <= 25; $r = $r == 0 ? 0.25 : $r * 1.002) {
          print join("\t", $id++, $cell[1], $r, @cell[3 .. $at - 1], map {
            sprintf "%.9g", $from[$_] + $r / 25 * ($cell[$_] - $from[$_]) } $at .. $#cell), "\n";
        }
      }' <"$t/rays.tsv" >"$t/scan.tsv"
    nk-run -q data/$model "$t/scan.tsv" --paired --contexts "$t/contexts.txt" >"$t/scan"
    for ray in 0 1 2; do
      found=$(column onset <"$t/out" | sed -n "$((ray + 1))p")
      awk -F'\t' -v ray=$ray -v found="$found" '
        NR == 1 { for (i = 1; i <= NF; i++) at[$i] = i; next }
        $at["ray"] == ray && $at["kl_base"] >= 0.005 && !r { r = $at["radius"] }
        END { print found, r; exit !(found / r < 1.01 && found / r > 0.99) }' "$t/scan"
    done
  done
}

@test "a ray that never reaches the level has no onset" {
  make gpt2-tiny 2 0.1 25
  boundary --level 0.005 >"$t/out"
  [ "$(column reached <"$t/out" | paste -sd ' ')" = "0 1 0 1 0 1" ]
  [ "$(column onset <"$t/out" | sed -n '1p;3p;5p' | paste -sd '|')" = "||" ]
}

@test "js is a quarter of kl near 0, and l2 grows with the radius" {
  make gpt2-tiny 4 60
  boundary --level 0.0004 --read place >"$t/kl"
  boundary --level 0.0001 --read place --measure js >"$t/js"
  boundary --level 0.5 --read place --measure l2 --tolerance 0.001 >"$t/l2"
  paste <(column onset <"$t/kl") <(column onset <"$t/js") <(column onset <"$t/l2") |
    awk '{ print } !($1 / $2 < 1.02 && $1 / $2 > 0.98 && $3 > 0.4999 && $3 < 0.5001) { bad = 1 }
      END { exit bad || NR != 3 }'
  [ "$(column fisher <"$t/l2" | paste -sd '|')" = "||" ]
}

@test "a level of l2 within the rounding of the streams is refused, and one above it is exact" {
  make gpt2-tiny 2 60
  run -2 boundary --level 1e-6 --measure l2
  [[ "$output" =~ ^"nk-boundary: --level: 1e-06 is within the rounding of the streams of row 2, whose norm is "([0-9.]+)": "([0-9.e-]+)" or more is needed"$ ]]
  # The norm is that of the stream at the context's end, with the origin in its own place.
  nk-run -q data/gpt2-tiny --contexts "$t/contexts.txt" --position -1 --capture 4 | nk-stats |
    column norm >"$t/norms"
  awk -v norm="${BASH_REMATCH[1]}" -v least="${BASH_REMATCH[2]}" 'NR == 1 { d = $1 / norm - 1
      r = least / norm / 1e-5 - 1; exit !(d * d < 1e-8 && r * r < 1e-8) }' "$t/norms"
  least=$(sort -g "$t/norms" | awk 'END { print 1.01e-5 * $1 }')
  boundary --level "$least" --measure l2 >"$t/out"
  boundary --level "$(awk -v x="$least" 'BEGIN { print 100 * x }')" --measure l2 >"$t/far"
  paste <(column onset <"$t/out") <(column onset <"$t/far") |
    awk '!($2 / $1 > 97 && $2 / $1 < 103) { bad = 1 } { print } END { exit bad || NR != 3 }'
}

@test "the last layer acts where it is put in only" {
  make gpt2-tiny 4 60
  boundary --level 0.001 >"$t/out"
  [ "$(column reached <"$t/out" | paste -sd ' ')" = "0 0 0" ]
  [ "$(column far <"$t/out" | paste -sd ' ')" = "0 0 0" ]
  [ "$(column width <"$t/out" | paste -sd '|')" = "||" ]
}

@test "rays in the slots of prompts, at a layer" {
  make gpt2-tiny 2 10
  nk-boundary -q data/gpt2-tiny "$t/rays.tsv" -p 'The {} of' -p '{} is {}' --at 2 --level 0.002 \
    >"$t/out"
  [ "$(wc -l <"$t/out")" -eq 7 ]
  [ "$(column prompt <"$t/out" | paste -sd ' ')" = "1 1 1 2 2 2" ]
  [ "$(column position <"$t/out" | paste -sd ' ')" = "2 2 2 3 3 3" ]
}

@test "--summary prints medians of groups, rays that never reach being the largest" {
  make gpt2-tiny 2 25 25 25 0.1 25
  boundary --level 0.005 >"$t/out"
  boundary --level 0.005 --summary >"$t/summary"
  [ "$(head -n 1 "$t/summary")" = "$(printf '%s\t' direction rays reached onset low)high" ]
  [ "$(column rays <"$t/summary" | paste -sd ' ')" = "8 7" ]
  for direction in 0 1; do
    median=$(paste <(column direction <"$t/out") <(column onset <"$t/out") |
      awk -v d=$direction '$1 == d { print $2 == "" ? 1e9 : $2 }' | sort -g |
      awk '{ v[NR] = $1 } END { print (v[int((NR + 1) / 2)] + v[int(NR / 2) + 1]) / 2 }')
    awk -F'\t' -v d=$direction -v m="$median" '
      $1 == d { print m, $4; exit !($4 / m < 1.0001 && $4 / m > 0.9999) }' "$t/summary"
  done
  boundary --level 0.005 --summary --by layer,context >"$t/summary"
  [ "$(column rays <"$t/summary" | paste -sd ' ')" = "5 5 5" ]
  boundary --level 100 --summary >"$t/summary"
  [ "$(column reached <"$t/summary" | paste -sd ' ')" = "0 0" ]
  [ "$(column onset <"$t/summary" | paste -sd '|')" = "|" ]
  run -1 boundary --level 0.1 --summary --by colour
  [[ "$output" == "nk-boundary: --by: the rays have no column 'colour', but: ray "* ]]
}

@test "--summary counts the rays of each prompt by themselves" {
  make gpt2-tiny 2 5 10
  prompts=(-p 'The {} of' -p '{} is {}' --at 2 --level 0.002)
  nk-boundary -q data/gpt2-tiny "$t/rays.tsv" "${prompts[@]}" --summary >"$t/summary"
  [ "$(head -n 1 "$t/summary" | cut -f 1-3)" = "$(printf 'prompt\tdirection\trays')" ]
  [ "$(cut -f 1-3 "$t/summary" | sed 1d | tr '\t' ' ' | paste -sd '|')" = "1 0 3|1 1 3|2 0 3|2 1 3" ]
  nk-boundary -q data/gpt2-tiny "$t/rays.tsv" "${prompts[@]}" --summary --by prompt,direction |
    cmp - "$t/summary"
  cut -f 5 --complement "$t/rays.tsv" >"$t/plain.tsv" # the direction
  nk-boundary -q data/gpt2-tiny "$t/plain.tsv" "${prompts[@]}" --summary >"$t/summary"
  [ "$(cut -f 1,2 "$t/summary" | tr '\t' ' ' | paste -sd '|')" = "prompt rays|1 6|2 6" ]
  nk-boundary -q data/gpt2-tiny "$t/rays.tsv" "${prompts[@]:2}" --summary >"$t/summary"
  [ "$(head -n 1 "$t/summary" | cut -f 1,2)" = "$(printf 'direction\trays')" ]
}

@test "--dose outputs nokens whose generated tokens reach the level" {
  make gpt2-tiny 2 25
  boundary --level 0.005 --dose --window 1 --with-origin -o "$t/dosed.safetensors"
  nk-convert --to tsv "$t/dosed.safetensors" >"$t/dosed.tsv"
  [ "$(column distance <"$t/dosed.tsv" | paste -sd ' ')" = "0 0.005 0 0.005 0 0.005" ]
  # A window of one token is the context's end.
  nk-run -q data/gpt2-tiny "$t/dosed.safetensors" --paired --contexts "$t/contexts.txt" >"$t/run"
  paste <(column distance <"$t/run") <(column kl_base <"$t/run") <(column achieved <"$t/run") |
    awk '{ print } $1 == 0 && ($2 != 0 || $3 != 0) { bad = 1 }
      $1 > 0 && !($2 / $1 < 1.01 && $2 / $1 > 0.99) { bad = 1 }
      $1 > 0 && !($2 / $3 < 1.0001 && $2 / $3 > 0.9999) { bad = 1 }
      END { exit bad || NR != 6 }'
  boundary --level 0.005 >"$t/out"
  paste <(column onset <"$t/out") <(column radius <"$t/dosed.tsv" | awk '$1 > 0') |
    awk '!($1 / $2 < 1.01 && $1 / $2 > 0.99) { bad = 1 } END { exit bad || NR != 3 }'
  boundary --level 0.005 --dose --window 8 | nk-run -q data/gpt2-tiny --paired \
    --contexts "$t/contexts.txt" >"$t/run"
  [ "$(wc -l <"$t/run")" -eq 4 ]
  run -0 --separate-stderr nk-boundary data/gpt2-tiny "$t/rays.tsv" --contexts "$t/contexts.txt" \
    --level 100 --dose -o "$t/none.safetensors"
  [ "$stderr" = "nk-boundary: warning: 3 of 3 rays never reach the level and are left out" ]
  [ "$(nk-convert --to tsv "$t/none.safetensors" | wc -l)" -eq 1 ]
}

@test "--dose with --position and --at names the place that it has measured" {
  nk-run -q data/gpt2-tiny --contexts "$t/contexts.txt" --position -2 --capture 2 -o "$t/states"
  nk-run -q data/gpt2-tiny --contexts data/prompts/contexts.txt --every 1 --capture 2 |
    nk-region fit -o "$t/region"
  nk-sample -q "$t/region" --from-set "$t/states" -d isotropic -m radius --distance 25 --with-origin \
    -o "$t/rays"
  where=(--contexts "$t/contexts.txt" --position 1 --at 3)
  nk-boundary -q data/gpt2-tiny "$t/rays" "${where[@]}" --level 0.0005 --dose --window 1 \
    --with-origin -o "$t/dosed"
  grep -aq '"noken.space":"residual:3"' "$t/dosed"
  # nk-run checks the tokens.
  nk-run -q data/gpt2-tiny "$t/dosed" --paired --contexts "$t/contexts.txt" >"$t/run"
  [ "$(column position <"$t/run" | sort -u) $(column layer <"$t/run" | sort -u)" = "1 3" ]
  paste <(column distance <"$t/run") <(column kl_base <"$t/run") |
    awk '{ print } $1 == 0 ? $2 != 0 : !($2 / $1 < 1.01 && $2 / $1 > 0.99) { bad = 1 }
      END { exit bad || NR != 6 }'
  nk-boundary -q data/gpt2-tiny "$t/rays" -p 'The {} of' --at 0 --level 0.0005 --dose --window 1 \
    -o "$t/dosed"
  grep -aq '"noken.space":"residual:0"' "$t/dosed"
  run -2 nk-run data/gpt2-tiny "$t/dosed" --paired --contexts "$t/contexts.txt"
  [[ "$output" == *": no column 'context': "* ]]
}

# At layer 0 the slots hold the vector, above it the mean embedding; several slots hold the same one.
@test "--dose in a prompt, at the slot's layer and above it, replaced and added" {
  for place in "--at 0" "--at 2" "--at 2 --mode add" "--at 0 --position 1" \
    "--at 2 --position -1"; do
    make gpt2-tiny "${place:5:1}" 25
    for prompt in 'The {} of' '{} is {}'; do
      # shellcheck disable=SC2086
      nk-boundary -q data/gpt2-tiny "$t/rays.tsv" -p "$prompt" $place --level 0.005 --dose \
        --window 1 --with-origin |
        nk-run -q data/gpt2-tiny --paired -p "$prompt" $place >"$t/run"
      paste <(column distance <"$t/run") <(column kl_base <"$t/run") |
        awk '{ print } $1 == 0 ? $2 != 0 : !($2 / $1 < 1.01 && $2 / $1 > 0.99) { bad = 1 }
          END { exit bad || NR != 6 }'
      # shellcheck disable=SC2086
      nk-boundary -q data/gpt2-tiny "$t/rays.tsv" -p "$prompt" $place --level 0.005 --dose \
        --window 3 | nk-convert --to tsv >"$t/dosed.tsv"
      column achieved <"$t/dosed.tsv" |
        awk '!($1 / 0.005 < 1.01 && $1 / 0.005 > 0.99) { bad = 1 } END { exit bad || NR != 3 }'
    done
  done
}

@test "one ray, and none" {
  make gpt2-tiny 2 25
  head -n 4 "$t/rays.tsv" >"$t/one.tsv"
  head -n 1 "$t/rays.tsv" >"$t/none.tsv"
  run -0 nk-boundary data/gpt2-tiny "$t/one.tsv" --contexts "$t/contexts.txt" --level 0.005
  [ "${#lines[@]}" -eq 2 ]
  run -0 nk-boundary data/gpt2-tiny "$t/none.tsv" --contexts "$t/contexts.txt" --level 0.005
  [ "${#lines[@]}" -eq 1 ]
  run -0 nk-boundary data/gpt2-tiny "$t/none.tsv" --contexts "$t/contexts.txt" --level 0.005 \
    --summary
  [ "${#lines[@]}" -eq 1 ]
}

@test "any number of threads gives the same onsets" {
  make gpt2-tiny 2 5 25
  for n in 1 2; do boundary --level 0.005 --threads $n >"$t/of-$n"; done
  paste <(column reached <"$t/of-1") <(column reached <"$t/of-2") \
    <(column onset <"$t/of-1") <(column onset <"$t/of-2") |
    awk -F'\t' '$1 != $2 || ($1 == 1 && !($3 / $4 < 1.001 && $3 / $4 > 0.999)) { bad = 1 }
      { reached += $1 } END { exit bad || NR != 6 || reached == 0 }'
}

@test "rays without an origin, with two, without length, or not finite are refused by name" {
  make gpt2-tiny 2 25
  awk -F'\t' 'NR != 5' "$t/rays.tsv" >"$t/bad.tsv"
  refused() { # refused MESSAGE
    run -1 nk-boundary data/gpt2-tiny "$t/bad.tsv" --contexts "$t/contexts.txt" --level 0.005
    [ "$output" = "nk-boundary: $t/bad.tsv: $1" ]
  }
  refused "ray 1: no row has radius 0: the origin is needed (nk-sample --with-origin)"
  awk -F'\t' -v OFS='\t' 'NR == 6 { $3 = 0 } 1' "$t/rays.tsv" >"$t/bad.tsv"
  refused "ray 1: rows 3 and 4 have radius 0, one origin is expected"
  awk -F'\t' 'NR != 6 && NR != 7' "$t/rays.tsv" >"$t/bad.tsv"
  refused "ray 1: no row beside its origin: one at a radius above 0 is needed"
  awk -F'\t' -v OFS='\t' 'NR == 7 { $3 = 26 } 1' "$t/rays.tsv" >"$t/bad.tsv"
  run -1 nk-boundary data/gpt2-tiny "$t/bad.tsv" --contexts "$t/contexts.txt" --level 0.005
  [[ "$output" =~ ": ray 1: row 5 has radius 26, its distance to row 3 is "(25|24.9999|25.0000) ]]
  awk -F'\t' -v OFS='\t' 'NR == 7 { $12 = "nan" } 1' "$t/rays.tsv" >"$t/bad.tsv"
  refused "row 5 holds a NaN"
  cut -f 2- "$t/rays.tsv" | sed '1s/ray/way/' >"$t/bad.tsv"
  refused "the set has no column 'ray'"
  awk -F'\t' -v OFS='\t' 'NR == 7 { $4 = -1 } 1' "$t/rays.tsv" >"$t/bad.tsv"
  refused "rows 3 and 5 are of one ray, but not of one origin_row"
}

@test "options that do not fit are refused" {
  make gpt2-tiny 2 25
  refused() { # refused MESSAGE OPTION...
    local message=$1
    shift
    run -2 nk-boundary data/gpt2-tiny "$t/rays.tsv" "$@"
    [ "$output" = "nk-boundary: $message" ]
  }
  c=(--contexts "$t/contexts.txt")
  refused "no level: use --level X, above 0" "${c[@]}"
  refused "--level: -1 is not above 0" "${c[@]}" --level -1
  refused "--level: 1e-12 is within the rounding of logits: 1e-09 or more is needed" "${c[@]}" \
    --level 1e-12
  refused "--tolerance: 0 is not between 0 and 1" "${c[@]}" --level 1 --tolerance 0
  refused "--grid: 2 radii or more are needed" "${c[@]}" --level 1 --grid 1
  refused "--window: 1 token or more is needed" "${c[@]}" --level 1 --dose --window 0
  refused "--dose measures kl from the context's end on: no --read goes with it" "${c[@]}" \
    --level 1 --dose --read place
  refused "--with-origin is for the vectors of --dose" "${c[@]}" --level 1 --with-origin
  refused "--with-origin is for the vectors of --dose, which --summary leaves out" "${c[@]}" \
    --level 1 --dose --summary --with-origin
  refused "--window is for the measure of --dose" "${c[@]}" --level 1 --window 16
  refused "--by is for the groups of --summary" "${c[@]}" --level 1 --by ray
  refused "no context: use --contexts FILE or -p TEXT" --level 1
  refused "--contexts and prompts: one of them" "${c[@]}" -p 'The {} of' --level 1
  refused "--dose: one prompt is expected, not 2" -p 'The {}' -p 'A {}' --level 1 --dose
  refused "--at: layer 5, the model has 0 to 4" "${c[@]}" --level 1 --at 5
  refused "--at: 'x' is not a whole number" "${c[@]}" --level 1 --at x
  run -2 nk-boundary data/gpt2-tiny "$t/rays.tsv" -p 'The {} of' --level 1 --position -99
  [ "$output" = "nk-boundary: prompt '1' has 4 tokens, none at position -99" ]
}

@test "standard input is read once" {
  make gpt2-tiny 2 25
  printf 'prompt\ttext\na\tThe {} of\n' >"$t/prompts.tsv"
  for option in contexts prompts; do
    run -2 nk-boundary data/gpt2-tiny --level 1 --$option - <"$t/contexts.txt"
    [ "$output" = "nk-boundary: --$option: standard input has been given already; name a file" ]
  done
  run -2 nk-boundary data/gpt2-tiny "$t/rays.tsv" --level 1 --prompts - --prompts - <"$t/prompts.tsv"
  [ "$output" = "nk-boundary: --prompts: standard input has been given already; name a file" ]
  boundary --level 0.005 >"$t/out"
  nk-boundary data/gpt2-tiny "$t/rays.tsv" --level 0.005 --contexts - <"$t/contexts.txt" |
    cmp - "$t/out"
}
