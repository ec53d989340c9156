# nk-run --lens: streams of all layers read out, against PyTorch (tests/fixtures/lens/make.py).
bats_require_minimum_version 1.5.0

setup() {
  cd "$BATS_TEST_DIRNAME/../.."
  tmp=$BATS_TEST_TMPDIR
  fixtures=tests/fixtures/lens
}

# agrees TABLE EXPECTED: each number to 1e-4 relative (1e-6 near 0), ids exactly, and ranks but for
# one place among hundreds, where logits are closer to each other than their rounding
agrees() {
  awk -F'\t' '
    FNR == 1 { for (i = 1; i <= NF; i++) if (NR == FNR) own[$i] = i; else name[i] = $i; next }
    NR == FNR { for (c in own) value[FNR, c] = $own[c]; n = FNR; next }
    { for (i = 1; i in name; i++) {
        got = value[FNR, name[i]]; d = got - $i; size = $i < 0 ? -$i : $i
        exact = name[i] ~ /id|rank|layer|offset/
        if (name[i] ~ /rank/ && $i > 100 && (d == 1 || d == -1)) continue
        if (got == "" || (exact && d != 0) || d > 1e-4 * size + 1e-6 || -d > 1e-4 * size + 1e-6) {
          print "row " FNR ", " name[i] ": " got ", expected " $i; bad = 1 } } rows = FNR }
    END { if (rows != n) print n " rows, expected " rows; exit bad || rows != n || n < 40 }' "$1" "$2"
}

# weights DIM: W, and b as the column bias, as make.py has them
weights() {
  awk -v d="$1" 'BEGIN {
    for (j = 0; j < d; j++) printf "v%d\t", j + 1
    print "bias"
    for (i = 0; i < d; i++) {
      for (j = 0; j < d; j++) printf "%.9g\t", (i == j) + ((i * 7 + j * 13) % 11 - 5) / 64
      printf "%.9g\n", ((i * 5) % 17 - 8) / 64 } }'
}

@test "every layer's reading is PyTorch's, in both models" {
  for model in gpt2-tiny llama-tiny; do
    nk-run data/$model -p 'The{} of the' --ids 300,1000,7000,8100 --lens 0-4 > "$tmp/$model.tsv"
    agrees "$tmp/$model.tsv" $fixtures/$model.tsv
  done
}

@test "a linear map before the reading is PyTorch's, with its bias" {
  weights 128 > "$tmp/w.tsv"
  nk-convert --to safetensors "$tmp/w.tsv" -o "$tmp/w.safetensors"
  for model in gpt2-tiny llama-tiny; do
    for file in w.tsv w.safetensors; do
      with=()
      for layer in 0 1 2 3 4; do with+=(--lens-with "$tmp/$file"); done
      nk-run data/$model -p 'The{} of the' --ids 300,1000,7000,8100 --lens 0-4 "${with[@]}" \
        > "$tmp/$model.tsv"
      agrees "$tmp/$model.tsv" $fixtures/$model-mapped.tsv
    done
  done
}

# lens_of NAME DTYPE N: weights 128 as safetensors: weight, F32, and N values of b under a name
lens_of() {
  weights 128 | perl -e '
    my ($name, $dtype, $n) = @ARGV; my (@w, @b); <STDIN>;
    while (<STDIN>) { my @v = split; push @b, pop @v; push @w, @v }
    my $w = pack "f<*", @w;
    my $b = join "", map {
      my $bits = unpack "L", pack "f", $_; # the values are multiples of 1/64: exact in all types
      my $half = $_ == 0 ? 0 : $bits >> 16 & 0x8000 | ($bits >> 13 & 0x3FFFF) - (112 << 10);
      $dtype eq "F64" ? pack "d<", $_ : $dtype eq "F16" ? pack "v", $half :
      $dtype eq "BF16" ? pack "v", $bits >> 16 : $dtype eq "I64" ? pack "q<", $_ : pack "f<", $_
    } @b[0 .. $n - 1];
    my $head = sprintf q({"weight":{"dtype":"F32","shape":[128,128],"data_offsets":[0,%d]},) .
      q("%s":{"dtype":"%s","shape":[%d],"data_offsets":[%d,%d]}}), length $w, $name, $dtype, $n,
      length $w, length($w) + length $b;
    print pack("Q<", length $head), $head, $w, $b' "$@"
}

@test "a bias is read of all floats, and a lens with another tensor is refused" {
  lens() {
    nk-run data/gpt2-tiny -p 'The{} of the' --ids 300,8100 --lens 3 --lens-with "$tmp/$1"
  }
  weights 128 > "$tmp/w.tsv"
  lens w.tsv > "$tmp/expected"
  for dtype in F32 F64 F16 BF16; do
    lens_of bias $dtype 128 > "$tmp/$dtype"
    lens $dtype | cmp "$tmp/expected" -
  done
  while read -r name dtype n; do
    lens_of $name $dtype $n > "$tmp/bad"
    run -1 --separate-stderr lens bad
    [[ $stderr == *"/bad: '$name' ($dtype, $n values): a lens has a matrix and 'bias', "* ]]
  done <<< $'0.bias F32 128\nbias F32 64\nbias I64 128\nb BF16 64\n0.bias I64 3'
}

@test "the last layer's reading is the model's distribution to the last digit" {
  for model in gpt2-tiny llama-tiny; do
    for ids in 300 300-302 300-316 300-420; do
      nk-run data/$model -p 'The {} of the' --ids $ids --offsets 2 --lens 4 |
        cut -f 1,4,6-9 > "$tmp/lens.tsv"
      nk-run -q data/$model -p 'The {} of the' --ids $ids --offsets 2 --reference 8 |
        cut -f 1,4-8 > "$tmp/own.tsv"
      cmp "$tmp/lens.tsv" "$tmp/own.tsv"
    done
  done
}

@test "vectors are items too, and a layer is read after they go in" {
  nk-extract data/gpt2-tiny --ids 300-303 -o "$tmp/v.safetensors"
  nk-run data/gpt2-tiny -p 'The {} of' --ids 300-303 --lens 1,4 | cut -f 1,5- > "$tmp/ids.tsv"
  nk-run data/gpt2-tiny -p 'The {} of' "$tmp/v.safetensors" --lens 1,4 |
    cut -f 1,5- > "$tmp/vectors.tsv"
  cmp "$tmp/ids.tsv" "$tmp/vectors.tsv"
  # put in at layer 2 and read there, the stream is the embedding: the reading of layer 0
  nk-run data/gpt2-tiny -p 'The {} of' "$tmp/v.safetensors" --at 2 --lens 2 --offsets 0 |
    cut -f 7-9 > "$tmp/put.tsv"
  nk-run data/gpt2-tiny -p 'The {} of' --ids 300-303 --lens 0 --offsets 0 |
    cut -f 6-8 > "$tmp/read.tsv"
  cmp "$tmp/put.tsv" "$tmp/read.tsv"
}

@test "--top prints so many tokens, the most probable first" {
  nk-run data/gpt2-tiny -p 'The {} of' --ids 300,301 --lens 3 --top 3 > "$tmp/top.tsv"
  [[ $(head -n 1 "$tmp/top.tsv") == *top_prob$'\t'top_id_2$'\t'*top_prob_3$'\t'final_id* ]]
  awk -F'\t' 'NR > 1 && !($9 >= $12 && $12 >= $15 && $15 > 0) { exit 1 }' "$tmp/top.tsv"
  diff <(cut -f 1-9 "$tmp/top.tsv") <(nk-run data/gpt2-tiny -p 'The {} of' --ids 300,301 --lens 3 |
    cut -f 1-9)
}

@test "rows do not depend on the other items or on the number of threads" {
  nk-run data/gpt2-tiny -p 'The {} of' --ids 300-340 --lens 2 > "$tmp/all.tsv"
  nk-run --threads 1 data/gpt2-tiny -p 'The {} of' --ids 340 --lens 2 > "$tmp/one.tsv"
  paste <(tail -n 2 "$tmp/all.tsv") <(tail -n 2 "$tmp/one.tsv") | awk -F'\t' '
    { for (i = 6; i <= 15; i++) if (i != 8 && i != 11) {
        d = $i - $(i + 15); if (d > 1e-4 * $i || -d > 1e-4 * $i) exit 1 } }'
}

@test "bad lenses are errors that name the option" {
  run -2 --separate-stderr nk-run data/gpt2-tiny -p 'The {}' --ids 300 --lens 5
  [[ $stderr == *"--lens: layer 5: the model has layers 0 to 4"* ]]
  run -2 --separate-stderr nk-run data/gpt2-tiny -p 'The {}' --ids 300 --lens 1 --top 0
  [[ $stderr == *"--top 0"* ]]
  run -2 --separate-stderr nk-run data/gpt2-tiny -p 'The {}' --ids 300 --lens-with x
  [[ $stderr == *"--lens-with needs"* ]]
  weights 3 > "$tmp/3.tsv"
  run -2 --separate-stderr nk-run data/gpt2-tiny -p 'The {}' --ids 300 --lens 1,2 \
    --lens-with "$tmp/3.tsv"
  [[ $stderr == *"1 files for the 2 layers"* ]]
  run -1 --separate-stderr nk-run data/gpt2-tiny -p 'The {}' --ids 300 --lens 1 \
    --lens-with "$tmp/3.tsv"
  [[ $stderr == *"3 rows of 3 values: a lens has 128 by 128"* ]]
  weights 128 | sed '5s/^[^\t]*/nan/' > "$tmp/nan.tsv"
  run -1 --separate-stderr nk-run data/gpt2-tiny -p 'The {}' --ids 300 --lens 1 \
    --lens-with "$tmp/nan.tsv"
  [[ $stderr == *nan.tsv*"row 3"* ]]
  weights 128 | sed '5s/[^\t]*$/inf/' > "$tmp/inf.tsv"
  run -1 --separate-stderr nk-run data/gpt2-tiny -p 'The {}' --ids 300 --lens 1 \
    --lens-with "$tmp/inf.tsv"
  [[ $stderr == *inf.tsv*"row 3: the bias is not finite"* ]]
  run -2 --separate-stderr nk-run data/gpt2-tiny -p 'The {}' --ids 300 --lens 1 --generate 2
  [[ $stderr == *"--generate has no use with --lens"* ]]
}

@test "more vectors than are read at a time are read once each" {
  nk-extract -q data/gpt2-tiny --ids 0-5999 |
    nk-run data/gpt2-tiny -p 'The {} of' --lens 2 --offsets 0 >"$tmp/vectors"
  nk-run data/gpt2-tiny -p 'The {} of' --ids 0-5999 --lens 2 --offsets 0 | cmp - "$tmp/vectors"
}
