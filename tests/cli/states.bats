# nk-convert --from: hidden states that other programs saved, as vector sets. The files and the
# tables to expect are those of tests/fixtures/states.py.
bats_require_minimum_version 1.5.0

PYTHON=${NOKEN_PYTHON:-python3}
S=tests/fixtures/states

setup() {
  cd "$BATS_TEST_DIRNAME/../.."
  tmp=$BATS_TEST_TMPDIR
}

# becomes TABLE OPTION...: the set of these options has the rows of the table
becomes() {
  local table=$S/$1.tsv
  shift
  nk-convert -q --from "$@" | nk-convert --to tsv | diff "$table" -
}

# file NAME HEADER BYTES: a safetensors file of zeros
file() {
  perl -e 'print pack("Q<", length $ARGV[0]), $ARGV[0], "\0" x $ARGV[1]' -- "$2" "$3" >"$tmp/$1"
}

# refused TEXT OPTION...: status 1 or 2, one line that ends in TEXT, and no output
refused() {
  local text=$1
  shift
  run nk-convert -q -o "$tmp/out" --from "$@"
  [ "$status" -eq 1 ] || [ "$status" -eq 2 ]
  [ ${#lines[@]} -eq 1 ]
  [[ $output == "nk-convert: "*"$text" ]] || { echo "$output"; false; }
  [ ! -e "$tmp/out" ]
}

@test "a stack of layers becomes rows by context, position and layer" {
  becomes both pt-safetensors $S/stack.safetensors
  becomes both pt-safetensors --axes layers,batch,positions,d $S/stack.safetensors
  becomes first pt-safetensors $S/one.safetensors
  becomes both npz $S/stack.npz
  becomes both pt-safetensors <$S/stack.safetensors
}

@test "a tensor of each layer gives the same, numbered by its name" {
  becomes both pt-safetensors $S/each.safetensors
  becomes no-tokens npz $S/each.npz
}

@test "axes may have any order" {
  becomes both pt-safetensors --axes d,batch,layers,positions $S/turned.safetensors
  nk-convert --from npz --axes layers,positions,d $S/one.npy | nk-convert --to tsv | cut -f 4- |
    diff <(cut -f 5- $S/first.tsv) -
}

@test "vLLM's files, one for each request, are contexts" {
  becomes both vllm $S/vllm0.safetensors $S/vllm1.safetensors
  becomes first vllm --layer-ids 0-2 $S/vllm0.safetensors
  run -0 --separate-stderr nk-convert --from vllm -o "$tmp/set" $S/vllm0.safetensors
  [ "$stderr" = "nk-convert: warning: vLLM's files do not number their layers: counted from 0; \
number them by --layer-ids" ]
  nk-convert --from vllm --layer-ids 2,16,29 $S/vllm0.safetensors | nk-convert --to tsv |
    cut -f 5 | paste -sd, | grep -q '^layer,2,16,29,2,16,29,'
}

@test "layers are selected by number" {
  becomes layer1 pt-safetensors --layer 1 $S/stack.safetensors
  becomes layer1 pt-safetensors --layer 1 $S/each.safetensors
  becomes layer1 vllm --layer-ids 7,1,9 --layer 1 $S/vllm0.safetensors $S/vllm1.safetensors
  nk-convert --from npz --layer 1 $S/stack.npz -o "$tmp/set"
  head -c 400 "$tmp/set" | grep -aq '"noken.space":"residual:1"'
  refused 'no layer 3: it holds 3, from 0 to 2' pt-safetensors --layer 3 $S/stack.safetensors
  refused 'it holds 3 layers, 2 are named' vllm --layer-ids 1,2 $S/vllm0.safetensors
}

@test "padding is left out, and positions count from the first token" {
  becomes padded pt-safetensors $S/padded.safetensors
}

@test "states of Transformers are those of nk-run --capture, and go where these go" {
  nk-convert --from vllm --layer-ids 0-3 $S/llama0.safetensors $S/llama1.safetensors -o "$tmp/set"
  nk-run data/llama-tiny --contexts $S/contexts.txt --every 1 --capture 1-3 -o "$tmp/ours"
  nk-convert --to tsv "$tmp/set" | awk -F '\t' '$2 == "context" || $5 > 0' >"$tmp/theirs.tsv"
  nk-convert --to tsv "$tmp/ours" | cut -f 1,3- >"$tmp/ours.tsv" # without the tokens' texts
  [ "$(wc -l <"$tmp/ours.tsv")" -gt 40 ]
  diff <(cut -f 1-5 "$tmp/ours.tsv") <(cut -f 1-5 "$tmp/theirs.tsv")
  paste "$tmp/ours.tsv" "$tmp/theirs.tsv" | awk -F '\t' 'NR > 1 {
    for (i = 6; i <= NF / 2; i++) {
      d = $i - $(NF / 2 + i)
      if (d < 0) d = -d
      if (d > most) most = d
    }
  } END { print most; exit !(NR > 1 && most < 1e-4) }'
  nk-convert --from vllm --layer-ids 0-3 --layer 2 $S/llama[01].safetensors -o "$tmp/layer2"
  nk-run data/llama-tiny "$tmp/layer2" --paired --contexts $S/contexts.txt >"$tmp/paired.tsv"
  awk -F '\t' 'NR == 1 { for (i = 1; i <= NF; i++) if ($i == "kl_base") c = i; next }
    { n++; if ($c < 0 || $c > 1e-6) exit 1 } END { exit n < 16 }' "$tmp/paired.tsv"
  nk-region fit "$tmp/layer2" -o "$tmp/region"
  nk-sample "$tmp/region" -n 3 --times 1 |
    nk-run data/llama-tiny --at 2 -p 'The {} of' --unverified >"$tmp/t"
  [ "$(wc -l <"$tmp/t")" -eq 4 ]
}

@test "what a file cannot be is one clear line" {
  refused 'is compressed: save it with numpy.savez, not savez_compressed' npz $S/compressed.npz
  archive="a zip archive, as NumPy's .npz and PyTorch's .pt files are, \
expected safetensors (Python: safetensors.torch.save_file)"
  refused "$archive" pt-safetensors $S/stack.npz
  printf 'PK\3\4 a pickle of PyTorch' >"$tmp/t.pt"
  refused "$archive" pt-safetensors "$tmp/t.pt"
  refused 'neither .npz nor .npy' npz $S/stack.safetensors
  refused "no array of F32, F16, BF16 or F64 with 3 axes (layers,positions,d)" pt-safetensors \
    --axes layers,positions,d $S/turned.safetensors
  refused "has 4 axes, expected 3 (layers,positions,d)" pt-safetensors \
    --axes layers,positions,d $S/stack.safetensors
  refused "unknown axis 'depth': expected layers, positions, batch, d" pt-safetensors \
    --axes depth,positions,d $S/stack.safetensors
  refused "axis 'd' is given twice" pt-safetensors --axes d,positions,d $S/stack.safetensors
  refused "axes 'layers,batch': positions and d are needed" pt-safetensors --axes layers,batch \
    $S/stack.safetensors
  refused "unknown axis '': expected layers, positions, batch, d" pt-safetensors \
    --axes d,positions, $S/stack.safetensors
  refused "layer 2 is named twice" pt-safetensors --layer-ids 0,2,4,2,1 \
    $S/turned.safetensors
  refused "array 'hidden_states' has 4 axes: name them" vllm $S/stack.safetensors
  refused '--from writes a set: pipe it into a second nk-convert' vllm --to npy $S/vllm0.safetensors
  run -2 nk-convert --axes layers,positions,d --to npy $S/one.npy
  [ "$output" = "nk-convert: --axes is of other programs' hidden states: give --from FORMAT" ]
  run -2 nk-convert --to npy $S/one.npy $S/one.npy
  [[ $output == *"--from and --cat alone take several" ]]
}

@test "hostile files are refused" {
  file none '{"a":{"dtype":"I64","shape":[2,2,2],"data_offsets":[0,64]}}' 64
  refused 'no array of F32, F16, BF16 or F64 with 2 axes or more' pt-safetensors "$tmp/none"
  file empty '{"a":{"dtype":"F32","shape":[1048576,0,4096],"data_offsets":[0,0]}}' 0
  refused "array 'a' is empty" pt-safetensors "$tmp/empty"
  file types '{"a":{"dtype":"F8_E4M3","shape":[2,2,2],"data_offsets":[0,8]}}' 8
  refused 'no array of F32, F16, BF16 or F64 with 2 axes or more' pt-safetensors "$tmp/types"
  file tokens '{"a":{"dtype":"F16","shape":[2,2,2],"data_offsets":[0,16]},
    "token_ids":{"dtype":"I64","shape":[3],"data_offsets":[16,40]}}' 40
  refused "3 elements of type I64, expected integers, one for each position (2) of each context (1)" \
    pt-safetensors \
    "$tmp/tokens"
  file two '{"a":{"dtype":"F16","shape":[2,2,2],"data_offsets":[0,16]},
    "b":{"dtype":"F16","shape":[2,2,2],"data_offsets":[16,32]}}' 32
  refused 'with names that differ in its number; save them alone' pt-safetensors "$tmp/two"
  file shapes '{"a1":{"dtype":"F16","shape":[2,2,2],"data_offsets":[0,16]},
    "a2":{"dtype":"F16","shape":[2,1,4],"data_offsets":[16,32]}}' 32
  refused "arrays 'a1' and 'a2' have different shapes" pt-safetensors "$tmp/shapes"
  file same '{"a1":{"dtype":"F16","shape":[2,2,2],"data_offsets":[0,16]},
    "a01":{"dtype":"F16","shape":[2,2,2],"data_offsets":[16,32]}}' 32
  refused ' are of one layer' pt-safetensors "$tmp/same"
  file layers '{"a1":{"dtype":"F16","shape":[2,2,2],"data_offsets":[0,16]},
    "a2":{"dtype":"F16","shape":[2,2,2],"data_offsets":[16,32]}}' 32
  refused "2 arrays with an axis of layers ('a1' and others): expected one" pt-safetensors \
    --axes layers,positions,d "$tmp/layers"
  file escape '{"\u001b[2J":{"dtype":"F16","shape":[2,2,2,2,2],"data_offsets":[0,64]}}' 64
  refused '[2J'\'' has 5 axes: name them' pt-safetensors "$tmp/escape"
  [[ $output != *$'\e'* ]]
  file wide '{"hidden_states":{"dtype":"F16","shape":[1,1,4],"data_offsets":[0,8]}}' 8
  refused 'states of 4 values, expected 5 as in '$S/vllm0.safetensors vllm $S/vllm0.safetensors \
    "$tmp/wide"
  head -c 200 $S/stack.safetensors >"$tmp/cut"
  refused '' pt-safetensors "$tmp/cut"
}

@test "a double beyond a float becomes an infinity, with a warning" {
  perl -e 'my $h = q({"a":{"dtype":"F64","shape":[1,1,2],"data_offsets":[0,16]}});
    print pack("Q<", length $h), $h, pack("d<2", 1e300, 1)' >"$tmp/far"
  run -0 --separate-stderr nk-convert --from pt-safetensors "$tmp/far" -o "$tmp/set"
  [[ $stderr == *"array 'a': 1e+300 is beyond the range of a float: it is written as an infinity" ]]
  nk-convert --to tsv "$tmp/set" | tail -1 | grep -qP '\tinf\t1$'
}

@test "a set is written in a stream: memory does not grow with the file" {
  command -v "$PYTHON" >/dev/null || skip "python3 is not installed"
  for n in 2000 40000; do # 8 and 160 MB
    file big '{"a":{"dtype":"BF16","shape":[2,'$n',1000],"data_offsets":[0,'$((4000 * n))']}}' 0
    truncate -s +$((4000 * n)) "$tmp/big"
    "$PYTHON" -c 'import resource, subprocess, sys
subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)' \
      nk-convert --from pt-safetensors "$tmp/big" >"$tmp/$n"
  done
  # 76,000 rows more are 304 MB of floats, and 2.4 MB of ids and columns.
  echo "$(<"$tmp/2000") and $(<"$tmp/40000") KB"
  [ $(($(<"$tmp/40000") - $(<"$tmp/2000"))) -lt 10000 ]
}
