# --precision bf16: what it refuses, what it changes in what nk-run and nk-verify print, and what it
# must not. tests/unit/test_bf16.c compares its products with PyTorch's.
bats_require_minimum_version 1.5.0

setup_file() {
  export DATA=$PWD/data
  cd "$BATS_FILE_TMPDIR"
  nk-extract "$DATA/llama-tiny" --ids 300-301 -o two.safetensors
  run nk-run "$DATA/llama-tiny" --precision bf16 -p 'The {}' --capture 1 two.safetensors -o set
  export PRECISION_STATUS=$status PRECISION_LINE=$output
}

setup() {
  cd "$BATS_FILE_TMPDIR"
}

can_run() {
  [ "$PRECISION_STATUS" -eq 0 ] || [[ $PRECISION_LINE = *"bfloat16 products: "* ]]
  [ "$PRECISION_STATUS" -eq 0 ] || skip "$PRECISION_LINE"
}

# differences A B COLUMN: the largest difference of a column, its root mean square, the number of rows
differences() {
  awk -F'\t' -v column="$3" '
    FNR == 1 { for (i = 1; i <= NF; i++) if ($i == column) at = i; next }
    NR == FNR { value[FNR] = $at; next }
    { d = value[FNR] - $at; d = d < 0 ? -d : d; if (d > most) most = d; sum += d * d; n++ }
    END { print most, sqrt(sum / n), n }' "$1" "$2"
}

at_most() { # at_most VALUE LIMIT
  awk -v a="$1" -v b="$2" 'BEGIN { exit !(a <= b) }' || { echo "$1, limit $2"; return 1; }
}

@test "without its module the error says what to install" {
  NOKEN_ENGINES=$PWD run -1 nk-run "$DATA/llama-tiny" --precision bf16 -p 'The {}' --ids 300
  [[ $output = "nk-run: bfloat16 products: the module of oneDNN is not installed \
(a build of noken with libdnnl-dev has it, and it needs libdnnl): $PWD/dnnl.so: "* ]]
  [ ${#lines[@]} -eq 1 ]
}

@test "a processor without the instructions is refused, and what it lacks is named" {
  can_run
  DNNL_MAX_CPU_ISA=AVX512_CORE_VNNI run -1 nk-verify "$DATA/llama-tiny" --precision bf16 --all
  [ "$output" = "nk-verify: bfloat16 products: this processor has neither AVX512_BF16 nor AMX; \
use F32" ]
}

@test "llama.cpp has no such choice" {
  for option in '--engine llama' '--gpu-layers 1' '--rpc localhost:1'; do
    run -2 nk-run "$DATA/llama-tiny" --precision bf16 $option -p 'The {}' --ids 300
    [[ $output = *"--precision bf16 needs --engine native"* ]]
  done
  run -2 nk-run "$DATA/llama-tiny" --precision f16 -p 'The {}' --ids 300
}

@test "a processor that multiplies floats faster is named once, and -q is silent" {
  can_run
  run -0 --separate-stderr nk-run "$DATA/llama-tiny" --precision bf16 -p 'The {}' --capture 1 \
    two.safetensors -o set
  slower=0
  ! grep -q GenuineIntel /proc/cpuinfo || grep -q amx_tile /proc/cpuinfo || slower=1
  [ "$(grep -c 'slower than those of F32' <<<"$stderr")" -eq $slower ]
  run -0 --separate-stderr nk-run -q "$DATA/llama-tiny" --precision bf16 -p 'The {}' --capture 1 \
    two.safetensors -o set
  [ -z "$stderr" ]
}

@test "f32 is the default" {
  nk-run "$DATA/llama-tiny" -p 'The {}' --capture 0-4 two.safetensors -o default
  nk-run "$DATA/llama-tiny" --precision f32 -p 'The {}' --capture 0-4 two.safetensors -o f32
  nk-convert --to tsv default >default.tsv
  nk-convert --to tsv f32 | cmp - default.tsv
}

# Bounds: twice what nk-run(1) says was measured.
@test "entropy, kl and p_value differ from those of F32 by no more than nk-run says" {
  can_run
  for model in gpt2-tiny llama-tiny; do
    for precision in f32 bf16; do
      nk-run -q "$DATA/$model" --precision $precision --prompts "$DATA/prompts/plain.tsv" \
        --ids 300-699 -o $model-$precision.tsv
    done
    for bound in entropy:0.036 kl:0.017 p_value:0.1; do
      run -0 differences $model-f32.tsv $model-bf16.tsv ${bound%:*}
      read -r most root n <<<"$output"
      echo "$model ${bound%:*}: largest $most, root mean square $root"
      [ "$n" -eq 1600 ]
      at_most "$root" "${bound#*:}"
    done
  done
}

# ranks F32 BF16: of nk-summary's tables: the rank correlation of the values (Spearman's, without
# ties), and how many are outside the interval of F32's
ranks() {
  awk -F'\t' '
    FNR == 1 { for (i = 1; i <= NF; i++) at[$i] = i; next }
    NR == FNR { x[FNR] = $at["value"]; low[FNR] = $at["low"]; high[FNR] = $at["high"]; n++; next }
    { y[FNR] = $at["value"]; outside += y[FNR] < low[FNR] || y[FNR] > high[FNR] }
    END {
      for (i in x) {
        d = 0
        for (j in x) d += (x[j] < x[i]) - (y[j] < y[i])
        sum += d * d
      }
      print 1 - 6 * sum / (n * (n * n - 1)), outside + 0, n }' "$1" "$2"
}

@test "medians by distance have the order of F32's and lie in their intervals" {
  can_run
  for model in gpt2-tiny llama-tiny; do
    nk-extract "$DATA/$model" | nk-region fit -o region
    nk-sample region -n 40 -d isotropic,difference --times 0.125,0.25,0.5,1,2,4,8 -o nokens
    for precision in f32 bf16; do
      nk-run -q "$DATA/$model" --precision $precision -p 'The {} of' nokens -o runs-$precision
    done
    for column in entropy kl residual_norm; do
      for precision in f32 bf16; do
        nk-summary runs-$precision --by direction,distance --median $column -o medians-$precision
      done
      run -0 ranks medians-f32 medians-bf16
      read -r correlation outside n <<<"$output"
      echo "$model $column: rank correlation $correlation, $outside of $n outside"
      at_most 0.95 "$correlation"
      [ "$outside" -eq 0 ]
      [ "$n" -eq 14 ]
    done
  done
}

@test "one verdict in 160 at most is another than that of F32" {
  can_run
  for model in gpt2-tiny llama-tiny; do
    for precision in f32 bf16; do
      nk-verify -q "$DATA/$model" --precision $precision --all -o verdicts-$precision.tsv
    done
    differ=$(paste <(cut -f1,6 verdicts-f32.tsv) <(cut -f1,6 verdicts-bf16.tsv) |
      awk -F'\t' 'NR == 1 && $2 != "verdict" { exit 1 } { n += $2 != $4 } END { print n + 0 }')
    echo "$model: $differ of $(wc -l <verdicts-f32.tsv)"
    [ "$(wc -l <verdicts-f32.tsv)" -eq 8193 ]
    at_most "$differ" 51
  done
}

@test "a GGUF file gives what the checkpoint gives, whose rows it reorders" {
  can_run
  nk-convert --model gguf "$DATA/llama-tiny" -o llama.gguf
  for model in "$DATA/llama-tiny" llama.gguf; do
    nk-run -q "$model" --precision bf16 -p 'The {} of' --capture 0-4 two.safetensors |
      nk-convert --to tsv >"${model##*/}.tsv"
  done
  cmp llama-tiny.tsv llama.gguf.tsv
}

@test "a vector that equals its origin changes nothing" {
  can_run
  printf 'The king of the castle said\nOnce upon a time there was\n' >contexts.txt
  nk-run -q "$DATA/llama-tiny" --precision bf16 --contexts contexts.txt --every 1 --capture 2 \
    -o states
  nk-run -q "$DATA/llama-tiny" --precision bf16 states --paired --contexts contexts.txt -o paired.tsv
  awk -F'\t' '
    NR == 1 { for (i = 1; i <= NF; i++) at[$i] = i; next }
    $at["kl_base"] != 0 || $at["js"] != 0 || $at["final_l2"] != 0 { bad = 1 }
    END { exit bad || NR < 12 }' paired.tsv
}

@test "every product is one of those that oneDNN has instructions for" {
  can_run
  DNNL_VERBOSE=1 nk-run -q "$DATA/llama-tiny" --precision bf16 -p 'The {} of' --ids 300-303 \
    --reference 8 --generate 3 >verbose
  run -0 grep -c ',exec,cpu,matmul,' verbose
  [ "$output" -gt 100 ]
  run -1 grep -E ',exec,cpu,matmul,(ref|gemm)' verbose
}
