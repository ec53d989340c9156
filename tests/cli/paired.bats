# nk-run --contexts and --paired: states of a model, and what vectors change there, against PyTorch
# (tests/fixtures/perturbation/make.py).
bats_require_minimum_version 1.5.0

setup() {
  root=$PWD
  fixtures=$PWD/tests/fixtures/perturbation
  gpt2=$PWD/data/gpt2-tiny
  llama=$PWD/data/llama-tiny
  cd "$BATS_TEST_TMPDIR"
}

# Column $2 of table $1, without its head.
column() {
  awk -F '\t' -v name="$2" 'NR == 1 { for (i = 1; i <= NF; i++) if ($i == name) c = i
    if (!c) exit 1 } NR > 1 { print $c }' "$1"
}

# agrees TABLE RUN EXPECTED: numbers to 1e-4 relative and roundings (divergences 1e-8, distances of
# streams 1e-5), ids exactly; all 32 rows.
agrees() {
  awk -F '\t' -v run="$2" '
    FNR == 1 { for (i = 1; i <= NF; i++) if (NR == FNR) own[$i] = i; else name[i] = $i; next }
    NR == FNR { for (c in own) value[FNR - 2, c] = $own[c]; next }
    $1 == run { rows++
      for (i = 3; i in name; i++) {
        got = value[$2, name[i]]; if ($i == "nan") { if (got != "") bad = 1; continue }
        d = got - $i; d = d < 0 ? -d : d
        rounding = name[i] ~ /id$/ ? 0 : name[i] ~ /kl|js/ ? 1e-8 : 1e-5
        if (got == "" || d > (rounding > 0) * 1e-4 * ($i < 0 ? -$i : $i) + rounding) {
          print "row " $2 ", " name[i] ": " got ", expected " $i; bad = 1 } } }
    END { exit bad || rows != 32 }' "$1" "$3"
}

states() { # states MODEL: at position 4 and layer 2
  nk-run "$1" --contexts "$fixtures/contexts.txt" --position 4 --capture 2
}

# rays MODEL: two states, each with a row of radius 0 and two at a distance, as a table.
rays() {
  states "$1" | nk-convert --to tsv | awk -F '\t' 'NR == 1 { print $0 "\torigin_row\tradius"; next }
    { for (r = 0; r < 3; r++) { line = $1
        for (i = 2; i <= NF; i++) line = line "\t" (i == 20 ? $i + r / 2 : $i)
        print line "\t" NR - 2 "\t" r / 2 } }'
}

@test "what vectors change is PyTorch's, in both models, at four layers and in both modes" {
  for model in gpt2-tiny llama-tiny; do
    for run in replace add place; do
      how=(--mode replace)
      [ $run != add ] || how=(--mode add)
      [ $run != place ] || how=(--read place)
      nk-run "$root/data/$model" "$fixtures/$model.safetensors" --paired --norms 1,3,4 \
        --contexts "$fixtures/contexts.txt" "${how[@]}" >out
      agrees out $run "$fixtures/$model.tsv"
    done
  done
}

@test "the columns, and those of the set that are not among them" {
  rays "$gpt2" >rays.tsv
  nk-run "$gpt2" rays.tsv --paired --contexts "$fixtures/contexts.txt" --norms 3,4 >out
  head=$(head -n 1 out | tr '\t' ' ')
  [ "${head%% final_l2*}" = "id text context position layer kl_base kl_reverse js top_same top_id \
top_text base_top_id base_top_text" ]
  [ "${head#* final_cosine }" = "relative_3 relative_4 token origin_row radius" ]
  [ "$(column out context | tr '\n' ' ')" = "0 0 0 1 1 1 " ]
  nk-run "$gpt2" rays.tsv --paired --contexts "$fixtures/contexts.txt" --at 1,3 --position -1 >out
  [ "$(column out layer | uniq -c | awk '{ print $1, $2 }' | paste -sd ' ')" = "6 1 6 3" ]
  [ "$(column out set_layer | sort -u)" = 2 ]
  [ "$(column out position | sort -u)" = 16 ] # both lines have 17 tokens
  [ "$(column out set_position | sort -u)" = 4 ]
}

@test "a row of radius 0 has no effect at all, and the rows at a distance have one" {
  for model in "$gpt2" "$llama"; do
    rays "$model" >rays.tsv
    nk-run "$model" rays.tsv --paired --contexts "$fixtures/contexts.txt" --norms 4 >out
    nk-run "$model" rays.tsv --paired --contexts "$fixtures/contexts.txt" --mode add --norms 4 >>out
    nk-run "$model" rays.tsv --paired -p 'The {} of the' --at 2 --norms 4 >>out
    awk -F '\t' '$1 == "id" { for (i = 1; i <= NF; i++) c[$i] = i; next }
      { n++; zero = $c["radius"] == 0
        one = ($c["kl_base"] == 0) + ($c["kl_reverse"] == 0) + ($c["js"] == 0) + \
          ($c["final_l2"] == 0) + ($c["relative_4"] == "")
        if (one != 5 * zero || (zero && !($c["final_cosine"] == 1 && $c["top_same"] == 1))) bad++ }
      END { exit bad || n != 18 }' out
  done
}

@test "without an origin in the set the baseline is the context as it is" {
  for model in "$gpt2" "$llama"; do
    states "$model" >states
    nk-run "$model" states --paired --contexts "$fixtures/contexts.txt" --norms 4 >out
    awk -F '\t' 'NR > 1 && !($6 < 1e-11 && $9 == 1) { bad++ } END { exit bad || NR != 3 }' out
    [ "$(column out relative_4 | paste -sd '|')" = "|" ]
  done
}

@test "a vector that differs from its origin by roundings has no relative distance" {
  for model in "$gpt2" "$llama"; do
    for part in 5e-7 5e-5; do
      states "$model" | nk-convert --to tsv | awk -F '\t' -v OFS='\t' -v part=$part '
        NR > 1 { for (i = 7; i <= NF; i++) $i = sprintf("%.9g", $i * (1 + (i % 2 ? part : -part))) }
        1' >moved.tsv
      nk-run "$model" moved.tsv --paired --contexts "$fixtures/contexts.txt" --norms 2,4 >$part
      [ "$(column $part final_l2 | awk '$1 > 0' | wc -l)" -eq 2 ]
    done
    [ "$(cat <(column 5e-7 relative_2) <(column 5e-7 relative_4) | paste -sd '|')" = "|||" ]
    [ "$(cat <(column 5e-5 relative_2) <(column 5e-5 relative_4) | grep -c .)" -eq 4 ]
  done
}

@test "in a prompt the slots have the origin" {
  rays "$gpt2" >rays.tsv
  nk-run "$gpt2" rays.tsv --paired -p 'The {} of' -p 'a {} and {} the' --at 0,2 >out
  [ "$(column out prompt | uniq -c | awk '{ print $1, $2 }' | paste -sd ' ')" = "12 1 12 2" ]
  awk -F '\t' 'NR > 1 { if ($NF == 0) last = 0; else { if (!($6 > last)) bad++; last = $6 } }
    END { exit bad || NR != 25 }' out
  grep -v $'\t0$' rays.tsv >no-origins.tsv
  run -1 nk-run "$gpt2" no-origins.tsv --paired -p 'The {} of'
  [[ "$output" == *"no-origins.tsv: row 0: no row of radius 0 with its origin_row"* ]]
}

@test "--position in a slot puts the vector there alone, and the fill in the other slots" {
  rays "$gpt2" >rays.tsv
  for place in '--at 0' '--at 2' '--at 2 --mode add'; do
    how=(rays.tsv --paired --fill ' the')
    # shellcheck disable=SC2206
    how+=($place)
    nk-run "$gpt2" "${how[@]}" -p 'a {} is{} of' --position 2 >out
    nk-run "$gpt2" "${how[@]}" -p 'a {} is the of' >one
    [ "$(wc -l <out)" -eq 7 ]
    cmp out one
    nk-run "$gpt2" "${how[@]}" -p 'a {} is{} of' >both
    run cmp -s both one
    [ "$status" -eq 1 ]
  done
}

# A model whose tokenizer begins each text with token 8191.
beginning() {
  mkdir -p begins
  cp "$llama"/* begins
  perl -0pi -e 's/"post_processor":\{[^}]*\}/"post_processor": {"type": "TemplateProcessing",
    "single": [{"SpecialToken": {"id": "B", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
    "pair": [], "special_tokens": {"B": {"id": "B", "ids": [8191], "tokens": ["B"]}}}/ or die' \
    begins/tokenizer.json
}

@test "states of contexts: the tokens where they are, each N-th one without those of the beginning" {
  beginning
  for model in "$llama" begins; do
    first=0
    [ $model != begins ] || first=1
    nk-run $model --contexts "$fixtures/contexts.txt" --every 4 --capture 3,1 >states
    nk-stats states >out
    [ "$(head -n 1 out | cut -f 8-)" = "context	position	token	layer" ]
    cmp <(column out id) <(column out token)
    for line in 0 1; do
      for n in 3 7 11 15; do printf '%s %s 1\n%s %s 3\n' $line $((n + first)) $line $((n + first)); done
    done >wanted
    cmp wanted <(paste -d ' ' <(column out context) <(column out position) <(column out layer))
    nk-tokens "$llama" -e - <"$fixtures/contexts.txt" | awk -F '\t' '
      NR > 1 { n = $3 == line ? n + 1 : 1; line = $3; if (n % 4 == 0) print $1 "\n" $1 }' >tokens
    cmp tokens <(column out token)
  done
  nk-run begins --contexts "$fixtures/contexts.txt" --position 0 --capture 0 | nk-stats >out
  [ "$(column out token | sort -u)" = 8191 ]
}

@test "states of contexts are those of prompts, and their metadata say where they are from" {
  sed -n 2p "$fixtures/contexts.txt" >line.txt
  for model in "$gpt2" "$llama"; do
    nk-run "$model" --contexts "$fixtures/contexts.txt" --position -1 --capture 0-4 >states
    # the prompt's own last token in its slot
    nk-run "$model" -p "$(sed 's/ it$/{}/' line.txt)" --ids "$(nk-tokens "$model" -e ' it' |
      awk 'NR == 2 { print $1 }')" --capture 0-4 >prompt
    paste <(nk-convert --to tsv states | sed -n '7,$p' | cut -f 7-) \
      <(nk-convert --to tsv prompt | sed -n '2,$p' | cut -f 6-) |
      awk '{ for (i = 1; i <= 128; i++) { d = $i - $(i + 128); if (d * d > 1e-7) bad++ } n += NF }
        END { exit bad || n != 5 * 256 }'
  done
  head -c 3000 states | tr -d '\0' | grep -aq '"noken.contexts":"contexts.txt"'
  head -c 3000 states | grep -aq '"noken.space":"residual"'
  nk-run "$gpt2" --contexts line.txt --position 3 --capture 2 >states
  head -c 3000 states | grep -aq '"noken.space":"residual:2"'
}

@test "empty lines keep their numbers; other faults of the file of contexts name their line" {
  printf 'One day\r\n\n\nthe end\n' >gaps.txt
  nk-run "$gpt2" --contexts gaps.txt --position 0 --capture 1 2>err | nk-stats >out
  [ "$(column out context | paste -sd ' ')" = "0 3" ]
  [ "$(cat err)" = "nk-run: warning: gaps.txt: 2 of 4 lines skipped: they are empty, line 2 first" ]
  [ "$(nk-run "$gpt2" --contexts gaps.txt --position 0 --capture 1 -q 2>&1 >/dev/null)" = "" ]
  printf '\n\n' >empty.txt
  : >nothing.txt
  for file in empty.txt nothing.txt; do
    run -1 nk-run "$gpt2" --contexts $file --position 0 --capture 1
    [ "$output" = "nk-run: $file: no text" ]
  done
  { echo fine; yes 'the end of' | head -n 200 | paste -sd ' '; } >long.txt
  run -1 nk-run "$gpt2" --contexts long.txt --position 0 --capture 1
  [[ "$output" == "nk-run: long.txt: line 2: "*" tokens: the model's context is 256"* ]]
  printf 'fine\n\xff\n' >bytes.txt
  run -1 nk-run "$gpt2" --contexts bytes.txt --position 0 --capture 1
  [[ "$output" == "nk-run: bytes.txt: line 2: the text is not valid UTF-8"* ]]
  run -1 nk-run "$gpt2" --contexts "$fixtures/contexts.txt" --position 17 --capture 1
  [[ "$output" == *": line 1 has 17 tokens, none at position 17" ]]
  run -1 nk-run "$gpt2" --contexts "$fixtures/contexts.txt" --position -18 --capture 1
  run -1 nk-run "$gpt2" --contexts "$fixtures/contexts.txt" --every 18 --capture 1
  [[ "$output" == *": no line has 18 tokens" ]]
  run -1 nk-run "$gpt2" --contexts absent.txt --every 1 --capture 1
}

@test "a set that does not belong to the contexts is refused, with its row" {
  rays "$gpt2" >rays.tsv
  tac "$fixtures/contexts.txt" >other.txt
  run -1 nk-run "$gpt2" rays.tsv --paired --contexts other.txt
  [[ "$output" == "nk-run: rays.tsv: row 0: token 3503: other.txt has "* ]]
  head -n 1 "$fixtures/contexts.txt" >short.txt
  run -1 nk-run "$gpt2" rays.tsv --paired --contexts short.txt
  [[ "$output" == "nk-run: rays.tsv: row 3: context 1: expected 0 to 0, the file's lines" ]]
  awk -F '\t' -v OFS='\t' 'NR > 1 { $4 = 99 } 1' rays.tsv >far.tsv
  run -1 nk-run "$gpt2" far.tsv --paired --contexts "$fixtures/contexts.txt"
  [[ "$output" == *": row 0: position 99: expected 0 to 16, the line's tokens" ]]
  awk -F '\t' -v OFS='\t' 'NR > 1 { $6 = 5 } 1' rays.tsv >deep.tsv
  run -1 nk-run "$gpt2" deep.tsv --paired --contexts "$fixtures/contexts.txt"
  [[ "$output" == *": row 0: layer 5: expected 0 to 4, the model's layers" ]]
  awk -F '\t' -v OFS='\t' 'NR == 3 { $NF = 0 } 1' rays.tsv >two.tsv
  run -1 nk-run "$gpt2" two.tsv --paired --contexts "$fixtures/contexts.txt"
  [[ "$output" == *": rows 0 and 1: two vectors of radius 0 with origin_row 0" ]]
  cut -f 3 --complement rays.tsv >no-context.tsv
  run -2 nk-run "$gpt2" no-context.tsv --paired --contexts "$fixtures/contexts.txt"
  [[ "$output" == *"no-context.tsv: no column 'context'"* ]]
  cut -f 6 --complement rays.tsv >no-layer.tsv
  run -2 nk-run "$gpt2" no-layer.tsv --paired --contexts "$fixtures/contexts.txt"
  [[ "$output" == *"no column 'layer': use --at L" ]]
  nk-run "$gpt2" no-layer.tsv --paired --contexts "$fixtures/contexts.txt" --at 2 | cut -f 1-10 >a
  nk-run "$gpt2" rays.tsv --paired --contexts "$fixtures/contexts.txt" | cut -f 1-10 | cmp - a
  run -1 nk-run "$llama" "$fixtures/contexts.txt" --paired --contexts "$fixtures/contexts.txt"
  sed '$d' rays.tsv | awk -F '\t' -v OFS='\t' 'NR == 3 { $9 = "nan" } 1' >bad.tsv
  run -1 nk-run "$gpt2" bad.tsv --paired --contexts "$fixtures/contexts.txt"
  [[ "$output" == *"row 1 "*"--skip-bad"* ]]
  nk-run "$gpt2" bad.tsv --paired --contexts "$fixtures/contexts.txt" --skip-bad 2>/dev/null >out
  nk-run "$gpt2" rays.tsv --paired --contexts "$fixtures/contexts.txt" | sed '3d;7d' >whole
  paste <(column whole origin_row) <(column out origin_row) <(column whole radius) \
    <(column out radius) <(column whole kl_base) <(column out kl_base) |
    awk '{ d = $5 - $6; if ($1 != $2 || $3 != $4 || d * d > 1e-10 * $5 * $5) bad++ }
      END { exit bad || NR != 4 }'
}

@test "a row without an origin in a set that has some, or with that of another place, is refused" {
  refused() { # refused MESSAGE OPTION...
    local message=$1
    shift
    run -1 nk-run -q "$gpt2" bad.tsv --paired "$@"
    [ "$output" = "nk-run: bad.tsv: $message" ]
  }
  contexts=(--contexts "$fixtures/contexts.txt")
  none="no row of radius 0 with its origin_row"
  more="as other rows have; leave out this row, or give it -1 there"
  rays "$gpt2" >rays.tsv
  awk -F '\t' -v OFS='\t' 'NR == 2 { $9 = "nan" } 1' rays.tsv >bad.tsv
  refused "row 0: $none, $more" "${contexts[@]}" --skip-bad
  awk -F '\t' -v OFS='\t' 'NR == 4 { $(NF - 1) = "" } 1' rays.tsv >bad.tsv
  refused "row 2: $none, $more" "${contexts[@]}"
  refused "row 2: $none, and a slot has no state of its own; use nk-sample --with-origin" -p 'The {}'
  for place in context:3:1:0 position:4:5:4 layer:5:3:2; do
    IFS=: read -r name at mine other <<<"$place"
    cut -f 5 --complement rays.tsv | # the token
      awk -F '\t' -v OFS='\t' -v at="$at" -v mine="$mine" 'NR == 3 { $at = mine } 1' >bad.tsv
    refused "row 1: $name $mine: row 0, of radius 0 with its origin_row, has $other; number the \
origins of a set apart" "${contexts[@]}"
  done
}

@test "options that have no use in a mode are refused by name" {
  rays "$gpt2" >rays.tsv
  contexts=(--contexts "$fixtures/contexts.txt")
  for option in '--generate 3' '--reference 9' '--offsets 1' '--ids 3' '--capture 1' '--unverified' \
    '--every 2' '--flag x' '--region x' '--exclude x' '--ids-from x'; do
    run -2 nk-run "$gpt2" rays.tsv --paired "${contexts[@]}" $option
    [ "$output" = "nk-run: ${option%% *} has no use with --paired --contexts" ]
    run -2 nk-run "$gpt2" rays.tsv --paired -p 'The {}' $option
    [ "$output" = "nk-run: ${option%% *} has no use with --paired in a prompt" ]
  done
  for option in '--skip-bad' '--top 7' '--flag-summary' '--lens 2'; do
    run -2 nk-run "$gpt2" "${contexts[@]}" --position 1 --capture 1 $option
    [ "$output" = "nk-run: ${option%% *} has no use with --contexts without --paired" ]
  done
  run -2 nk-run "$gpt2" rays.tsv --paired "${contexts[@]}" -p 'The {}'
  run -2 nk-run "$gpt2" rays.tsv --paired "${contexts[@]}" --fill x
  run -2 nk-run "$gpt2" "${contexts[@]}" --position 1 --capture 1 --norms 2
  [[ "$output" == *"--norms has no use with --contexts without --paired" ]]
  run -2 nk-run "$gpt2" rays.tsv "${contexts[@]}" --position 1 --capture 1
  [[ "$output" == *": SET has no use with --contexts without --paired" ]]
  run -2 nk-run "$gpt2" --ids 300 -p 'The {}' --read place
  run -2 nk-run "$gpt2" --ids 300 -p 'The {}' --every 2
  run -2 nk-run "$gpt2" "${contexts[@]}" --position 1
  [[ "$output" == *"--contexts needs --capture L, or --paired and a SET" ]]
  run -2 nk-run "$gpt2" "${contexts[@]}" --capture 1
  run -2 nk-run "$gpt2" "${contexts[@]}" --capture 1 --position 1 --every 1
  [[ "$output" == *"needs --position P or --every N" ]]
  run -2 nk-run "$gpt2" "${contexts[@]}" --capture 1:0 --position 1
  run -2 nk-run "$gpt2" rays.tsv --paired
  [ "$output" = "nk-run: no prompt: use -p TEXT or --prompts FILE, or --contexts FILE" ]
  run -2 nk-run "$gpt2" rays.tsv --paired -p 'The {}' --norms 4,4,3
  [ "$output" = "nk-run: --norms: layer 4 is given twice" ]
  run -2 nk-run "$gpt2" rays.tsv --paired -p 'The {}' --position -99
  [[ "$output" == "nk-run: prompt '1' has "[0-9]*" tokens, none at position -99" ]]
  run -2 nk-run "$gpt2" - --paired --contexts - <rays.tsv
  [ "$output" = "nk-run: SET and --contexts are both standard input: name a file for one" ]
}
