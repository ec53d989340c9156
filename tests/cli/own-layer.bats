# Where vectors are put in: at the layer that the metadata of their set, or of their region, states, and
# at another one with a warning.
bats_require_minimum_version 1.5.0

setup_file() {
  export root=$BATS_TEST_DIRNAME/../.. T=$BATS_FILE_TMPDIR
  cd "$root"
  nk-run -q data/gpt2-tiny -p 'The {} of' --ids 300-339 --capture 2 -o "$T/states"
  nk-run -q data/gpt2-tiny -p 'The {} of' --ids 300-303 --capture 2,3 -o "$T/several"
  nk-extract data/gpt2-tiny --ids 300-339 -o "$T/rows"
  nk-region fit -q "$T/states" --kind mahalanobis -o "$T/states.region"
  nk-region fit -q "$T/rows" --kind mahalanobis -o "$T/rows.region"
  nk-sample "$T/states.region" -n 2 -m radius --distance 5 --with-origin -o "$T/rays"
  space "$T/states" residual:9 "$T/beyond"
}

setup() { cd "$root"; }

# space SET SPACE OUT: a copy of the set of residual:2 with another noken.space
space() {
  python3 - "$@" <<'END'
import json
import sys
data = open(sys.argv[1], "rb").read()
n = int.from_bytes(data[:8], "little")
old = b'"noken.space":"residual:2"'
assert data[8:8 + n].count(old) == 1
new = b'"noken.space":' + json.dumps(sys.argv[2]).encode()
head = data[8:8 + n].replace(old, new)
head += b" " * (-len(head) % 8)
open(sys.argv[3], "wb").write(len(head).to_bytes(8, "little") + head + data[8 + n:])
END
}

# column NAME: its cells, from a table on standard input
column() {
  awk -F '\t' -v name="$1" 'NR == 1 { for (i = 1; i <= NF; i++) if ($i == name) c = i
    if (!c) exit 1; next } { print $c }'
}

# quiet COMMAND...: it succeeds without a message
quiet() {
  run -0 --separate-stderr "$@"
  [ "$stderr" = "" ] || { echo "$stderr"; return 1; }
}

# warned MESSAGE COMMAND...: it succeeds, and its only message is this warning
warned() {
  run -0 --separate-stderr "${@:2}"
  [ "$stderr" = "$2: warning: $1" ] || { echo "$stderr"; return 1; }
}

of() { echo "$T/$1: vectors of the space '$2' are put in at layer $3"; }

# The tokens themselves say what is right: a state at the prompt's end that replaces itself changes
# nothing.
@test "captured states are put back at their own layer, and do what their tokens do" {
  nk-run data/gpt2-tiny -p 'The {}' --ids 300-339 | column entropy >"$T/tokens"
  quiet nk-run data/gpt2-tiny -p 'The {}' "$T/states"
  [ "$(column at <<<"$output" | sort -u)" = 2 ]
  paste "$T/tokens" <(column entropy <<<"$output") |
    awk '{ if (!(($1 - $2) ^ 2 < 1e-10)) bad = 1 } END { exit bad || NR != 40 }'
  nk-run data/gpt2-tiny -p 'The {}' --at 2 "$T/states" | cmp - <(cat <<<"$output")
  for how in '--lens 4' '--generate 2 --flag data/prompts/flags.tsv --flag-summary'; do
    # shellcheck disable=SC2086
    cmp <(nk-run data/gpt2-tiny -p 'The {}' $how "$T/states") \
      <(nk-run data/gpt2-tiny -p 'The {}' $how --at 2 "$T/states")
  done
  cmp <(nk-run data/gpt2-tiny -p 'The {}' --capture 4 "$T/states" | nk-convert --to f32) \
    <(nk-run data/gpt2-tiny -p 'The {}' --ids 300-339 --capture 4 | nk-convert --to f32)
}

@test "another layer is a warning that names both" {
  warned "$(of states residual:2 0); use --at 2 for their own" \
    nk-run data/gpt2-tiny -p 'The {} of' --at 0 "$T/states"
  warned "$(of states residual:2 1) and others; use --at 2 for their own" \
    nk-run data/gpt2-tiny -p 'The {} of' --at 1,3 "$T/states"
  warned "$(of rows input 2); use --at 0 for their own" \
    nk-run data/gpt2-tiny -p 'The {} of' --at 2 "$T/rows"
  warned "$(of several residual 0); use a set of one layer" \
    nk-run data/gpt2-tiny -p 'The {} of' "$T/several"
  warned "$(of beyond residual:9 4)" nk-run data/gpt2-tiny -p 'The {} of' --at 4 "$T/beyond"
  quiet nk-run data/gpt2-tiny -p 'The {} of' --at 0,2 "$T/states"
  quiet nk-run data/gpt2-tiny -p 'The {} of' "$T/rows"
  [[ "${lines[0]}" != *"	at	"* ]]
}

@test "a layer that the model lacks is an error, and what states no layer is put in at 0" {
  run -1 nk-run data/gpt2-tiny -p 'The {} of' "$T/beyond"
  [ "$output" = "nk-run: $T/beyond: vectors of the space 'residual:9': the model has layers 0 to 4; \
use --at L for another layer" ]
  nk-run -q data/gpt2-tiny -p 'The {} of' --at 0 "$T/states" | column entropy >"$T/at-0"
  for name in residual: residual:-2 'residual: 2' residual:2x residual:18446744073709551618 own \
    $'\e[2J'; do
    space "$T/states" "$name" "$T/odd"
    quiet nk-run data/gpt2-tiny -p 'The {} of' "$T/odd"
    cmp "$T/at-0" <(column entropy <<<"$output")
  done
}

@test "the output matrix is the input embedding where the two are tied" {
  nk-extract data/gpt2-tiny -m output --ids 3-5 -o "$T/tied"
  quiet nk-run data/gpt2-tiny -p 'The {} of' "$T/tied"
  nk-extract data/llama-tiny -m output --ids 3-5 -o "$T/untied"
  warned "$(of untied output 0); rows of the input embedding or streams of a layer are expected" \
    nk-run data/llama-tiny -p 'The {} of' "$T/untied"
}

@test "contexts have the layer of the column, without a warning" {
  nk-run -q data/gpt2-tiny --contexts data/prompts/contexts.txt --position -1 --capture 1,3 -o "$T/two"
  quiet nk-run data/gpt2-tiny --paired --contexts data/prompts/contexts.txt "$T/two"
  [ "$(column layer <<<"$output" | sort -u | paste -sd ,)" = "1,3" ]
}

@test "rays are traced, paired and measured at their own layer" {
  for ask in 'nk-trace --ordinary 1' 'nk-run --paired' 'nk-boundary --level 0.001'; do
    # shellcheck disable=SC2086
    quiet $ask data/gpt2-tiny "$T/rays" -p 'The {} of'
    # shellcheck disable=SC2086
    cmp <(cat <<<"$output") <($ask data/gpt2-tiny "$T/rays" -p 'The {} of' --at 2)
    # shellcheck disable=SC2086
    warned "$(of rays residual:2 3); use --at 2 for their own" \
      $ask data/gpt2-tiny "$T/rays" -p 'The {} of' --at 3
  done
  run -2 nk-trace data/gpt2-tiny "$T/rays" --ids 300 -p 'The {} of'
  [ "$output" = "nk-trace: $T/rays: its vectors are of layer 2, and tokens are traced from layer 0: \
trace them apart" ]
}

@test "a search is at the layer of the region, and origins of another one are a warning" {
  search=(nk-search data/gpt2-tiny -p 'The {} of' --steps 2 --restarts 1)
  quiet "${search[@]}" "$T/states.region" --times 1 -o "$T/found"
  "${search[@]}" "$T/states.region" --times 1 --at 2 -o "$T/same"
  cmp <(nk-convert --to tsv <"$T/found") <(nk-convert --to tsv <"$T/same")
  warned "$(of rows.region input 2); use --at 0 for their own" \
    "${search[@]}" "$T/rows.region" --times 1 --at 2 -o "$T/found"
  warned "$(of states residual:2 0); use --at 2 for their own" \
    "${search[@]}" "$T/rows.region" --times 1 --from-set "$T/states" -o "$T/found"
  quiet "${search[@]}" --radius 1 --from-set "$T/states" -o "$T/found"
  directions=(nk-search data/gpt2-tiny -p 'The {} of' --top-directions 1)
  quiet "${directions[@]}" --from-set "$T/rays" -o "$T/found"
  nk-run data/gpt2-tiny -p 'The {} of' --ids 300-301 --capture 2 |
    warned "standard input: vectors of the space 'residual:2' are put in at layer 1; use --at 2 for \
their own" "${directions[@]}" --at 1 -o "$T/found"
}

@test "gradients are of the layer of the region" {
  sample=(nk-sample -d gradient --model data/gpt2-tiny -p 'The {} of' --times 1)
  quiet "${sample[@]}" "$T/states.region" -o "$T/found"
  "${sample[@]}" "$T/states.region" --at 2 -o "$T/same"
  cmp <(nk-convert --to tsv <"$T/found") <(nk-convert --to tsv <"$T/same")
  warned "$(of rows.region input 2); use --at 0 for their own" \
    "${sample[@]}" "$T/rows.region" --at 2 -o "$T/found"
}

@test "nokens are tuned at their own layer, and compared at layer 0 with a warning" {
  tune=(nk-tune --nokens "$T/rays" -p 'The {} of' -p '{} is' --text data/prompts/contexts.txt --steps 2
    --evaluate 2 data/gpt2-tiny)
  for how in own 'given --at 2' 'other --at 0'; do
    # shellcheck disable=SC2086
    "${tune[@]}" --log "$T/${how%% *}.tsv" -o "$T/"$how 2>"$T/${how%% *}.messages"
  done
  cmp "$T/own.tsv" "$T/given.tsv"
  run ! cmp -s "$T/own.tsv" "$T/other.tsv"
  run ! grep 'put in' "$T/own.messages" "$T/given.messages"
  grep -qFx "nk-tune: warning: $(of rays residual:2 0); use --at 2 for their own" "$T/other.messages"
  warned "$(of rays residual:2 0)" nk-compare -p 'The {} of' --only nokens -n 2 --reference 32 \
    --unverified --quantile 0.5 --times 2 --nokens "$T/rays" --region "$T/rows.region" data/gpt2-tiny \
    data/gpt2-tiny
}

@test "a copy of the model is the model, whatever its name" {
  cp -r data/gpt2-tiny "$T/copy"
  quiet nk-run "$T/copy" -p 'The {} of' "$T/states"
}
