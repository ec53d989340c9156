# tests/runners/published.sh: on a shipped model its numbers are checked against the output matrix;
# on GPT-2, whose folder NOKEN_GPT2 names, against the published ones.
bats_require_minimum_version 1.5.0

setup() {
  runner=$PWD/tests/runners/published.sh
  gpt2=$PWD/data/gpt2-tiny
  cd "$BATS_TEST_TMPDIR"
}

ours() { # ours TABLE WHAT
  awk -F '\t' -v what="$2" '$1 == what { print $3 }' "$1"
}

@test "the script runs through on another model, with a warning" {
  run -0 --separate-stderr "$runner" "$gpt2"
  [ "$stderr" = "published.sh: warning: not GPT-2: 8192 tokens, not 50257" ]
  [ "${lines[0]}" = $'what\tpublished\tours' ] && [ "${#lines[@]}" -eq 16 ]
  echo "$output" >table
  [ "$(ours table tokens)" -eq 8192 ] && [ "$(ours table bytes)" -eq 256 ]
  # The mean of the distance, from the output matrix itself.
  nk-extract -m output "$gpt2" | nk-convert --to npy - -o output.npy
  python3 - "$(ours table 'mean distance')" <<'PYTHON'
import array, math, sys
data = open("output.npy", "rb").read()
start = 10 + int.from_bytes(data[8:10], "little")
values = array.array("f", data[start:])
dim = len(values) // 8192
rows = [values[i * dim:(i + 1) * dim] for i in range(8192)]
mean = [sum(row[j] for row in rows[177:188]) / 11 for j in range(dim)]
length = math.hypot(*mean)
distance = [1 - sum(map(float.__mul__, row, mean)) / math.hypot(*row) / length for row in rows]
assert abs(sum(distance) / 8192 - float(sys.argv[1])) < 0.0006, sum(distance) / 8192
PYTHON
  run -1 "$runner" no-such-model
}

@test "GPT-2's table is the published one" {
  [ -n "${NOKEN_GPT2:-}" ] || skip "no GPT-2: NOKEN_GPT2 names its folder"
  run -0 --separate-stderr "$runner" "$NOKEN_GPT2"
  [ -z "$stderr" ]
  echo "$output" | tee table >&3
  for what in tokens 'mean distance' 'standard deviation of it' '2nd percentile of it' \
    'tokens verified' 'of these, not bytes' bytes 'of these, below 0.140' 'parts of characters' 'of the 26 published, below 0.206'; do
    awk -F '\t' -v what="$what" '$1 == what && $2 + 0 != $3 + 0 { exit 1 }' table
  done
}
