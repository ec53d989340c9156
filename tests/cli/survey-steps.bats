# What nk-survey's pipelines compute themselves, on small tables made by hand: the texts between a
# token and what it acts on, the distance up to which an effect shows, the choice of the closest
# nokens, onsets in units of the spread, and ordinary tokens beside searched nokens.
bats_require_minimum_version 1.5.0

setup() {
  root=$BATS_TEST_DIRNAME/../..
  cd "$BATS_TEST_TMPDIR"
  nk-survey "$root/data/gpt2-tiny" --quick --dry-run -o . >script
}

# pipeline TITLE: the pipeline of a step, by the first words of its title.
pipeline() { awk -v RS= -v title="# $1" 'index($0, title) == 1' script; }

# count TEXT: its tokens.
count() {
  nk-tokens --plain --no-special --encode "$1" "$root/data/gpt2-tiny" | sed 1d | wc -l
}

perform() { bash -e -o pipefail -c "$(cat)"; }

@test "a text has as many tokens after its slot as are read, and begins where others do not" {
  cp "$root/data/prompts/contexts.txt" .
  pipeline 'Texts with a slot' | perform
  [ "$(awk -F '\t' 'NR > 1 { print $2 }' fillers.tsv | sort -u | wc -l)" -eq 16 ]
  while IFS=$'\t' read -r _ text; do
    [[ $text == *' {} '* ]]
    n=$(count "${text#*{\}}")
    [ "$n" -ge 64 ]
    [ "$n" -le 120 ]
  done < <(sed 1d fillers.tsv)
}

@test "texts are as long where lines are few and have braces, or words are long" {
  printf 'one {two} three\n' >contexts.txt
  pipeline 'Texts with a slot' | perform
  [ "$(sed 1d fillers.tsv | grep -o '{}' | wc -l)" -eq 16 ]
  text=$(sed -n '2s/.*{}//p' fillers.tsv)
  [ "$(count "$text")" -ge 64 ]
  awk 'BEGIN { for (i = 0; i < 40; i++) { printf "%s", i % 9 ? " " : "\n"
    for (k = 0; k < 200; k++) printf "x%d", k } }' >contexts.txt
  pipeline 'Texts with a slot' | perform
  text=$(sed -n '2s/.*{}//p' fillers.tsv)
  [ "$(wc -w <<<"$text")" -lt 5 ]
}

# Glitch tokens are out of distribution up to 4 tokens after the slot, and at 32 as often as not;
# nokens nowhere. Ordinary tokens never are.
@test "an effect shows up to the largest distance at which the difference is above 0" {
  awk 'BEGIN { OFS = "\t"; print "kind", "id", "prompt", "after", "kl", "p_value"
    n = split("0 1 2 4 8 16 32 64", after, " ")
    split("ordinary tokens,glitch tokens,nokens at the median", name, ",")
    for (kind = 1; kind <= 3; kind++) for (id = 0; id < 12; id++) for (text = 0; text < 16; text++)
      for (i = 1; i <= n; i++) {
        odd = kind == 2 && (after[i] <= 4 && (id + text) % 5 || after[i] == 32 && text == 3)
        print name[kind], kind id, "text " text, after[i], 0.1 + id / 100, odd ? 0.02 : 0.5 } }' \
    >reach-runs.tsv
  pipeline 'At which distances' | perform
  [ "$(awk -F '\t' '$2 == "glitch tokens" { print $1, $3 }' reach-last.tsv)" = 'yes 4' ]
  [ "$(awk -F '\t' '$2 ~ /nokens/ { print $1, $3 }' reach-last.tsv)" = 'no 0' ]
  [ "$(wc -l <reach-more.tsv)" -eq 17 ]
  # 8 distances hold together at 95%: each at 1 - 0.05 / 8.
  levels=$(awk -F '\t' 'NR == 1 { for (i = 1; i <= NF; i++) at[$i] = i; next }
    { print $at["level"] }' reach-more.tsv | sort -u)
  [ "$levels" = 0.99375 ]
  share=$(awk -F '\t' '$1 == "glitch tokens" && $2 == 0.5 && /share/ {
    printf "%.4f", $4 }' reach.tsv)
  expected=$(awk 'BEGIN { for (i = 0; i < 12; i++) for (t = 0; t < 16; t++) n += (i + t) % 5 != 0
    printf "%.4f", n / 192 }')
  [ "$share" = "$expected" ]
}

@test "the closest nokens are drawn anew, of groups with enough of them" {
  printf '%s\n' 'nk-sample() { echo "sample $*" >>calls; }' 'nk-run() { cat >/dev/null; }' \
    'nk-summary() { :; }' >tools
  awk 'BEGIN { OFS = "\t"
    print "metric", "direction", "times", "distance", "statistic", "value", "n_second", "n_id",
      "n_prompt"
    print "l2", "token", 1, 3.5, "energy", 0.4, 60, 26, 6
    print "cosine", "isotropic", 1, 0.9, "energy", 0.01, 60, 12, 6
    print "knn", "covariance", 2, 7.25, "energy", 9e-2, 60, 26, 6
    print "l2", "pair", 1, 3.5, "energy", -0.001, 60, 13, 6 }' >likeness.tsv
  { cat tools; pipeline 'Draw the nokens that are closest'; } | perform
  [ "$(sed 1d chosen.tsv | cut -f 1-4)" = $'knn\tcovariance\t2\t7.25' ]
  grep -q -- '-m knn -d covariance --distance 7.25 -n 48 .*--seed 1' calls
  [ "$(cut -f 1,2 closest-first.tsv | sed -n 2p)" = $'l2\tpair' ]
}

@test "an onset is in units of the spread, and infinite where it is never reached" {
  head -n 12 "$root/data/prompts/contexts.txt" >lines.txt
  pipeline 'How far real states' | perform
  head -n 1 onsets.tsv | grep -q '^onset_spreads	plateau	step	id'
  [ "$(sed 1d onsets.tsv | wc -l)" -eq $((5 * 12 * 4)) ]
  # The spread of layer 3, by the states themselves.
  spread=$(nk-run "$root/data/gpt2-tiny" --contexts lines.txt --position -1 --capture 3 |
    nk-stats --no-mahalanobis | cut -f 4 | sed 1d | sort -g |
    awk '{ x[NR] = $1 } END { print (x[6] + x[7]) / 2 }')
  awk -F '\t' -v spread="$spread" 'NR == 1 { for (i = 1; i <= NF; i++) at[$i] = i; next }
    $at["layer"] != 3 { next }
    $at["reached"] == 0 { bad += $1 != "inf"; next }
    { n++; r = $at["onset"] / spread / $1; bad += r < 0.9999 || r > 1.0001
      r = $at["onset"] / $at["fisher"] / $2; bad += r < 0.9999 || r > 1.0001 }
    END { exit bad > 0 || n < 40 }' onsets.tsv
}

@test "a ray without an onset is longer than all others, and on a plateau where one is predicted" {
  printf '%s\n' 'nk-run() { :; }; nk-region() { :; }; nk-sample() { :; }; rm() { :; }' \
    'nk-stats() { printf "column\tmedian\ncentroid_l2\t2\n"; }' \
    'nk-boundary() { printf "id\tonset\tfisher\twidth\n1\t\t15\t\n2\t\t17\t\n3\t\t\t\n4\t3\t2\t6\n"; }' \
    >tools
  { cat tools; pipeline 'How far real states'; } | perform
  # Spreads of 2: rays end at 16.
  [ "$(sed -n '2,5p' onsets.tsv | cut -f 1-4 | tr '\t' '|')" = 'inf|inf||1
inf|||2
inf|||3
1.5|1.5|2|4' ]
}

@test "a ratio has the numbers of both samples, and no interval where one is open" {
  printf 'kind\tplace\tstatistic\tvalue\tlow\thigh\tlevel\tinterval\tn\n' >kl.tsv
  printf '%s\n' 'searched	a	median	4	2	8	0.95	order statistics	8' \
    'random	a	top	2	1	4	0.95	order statistics	400' \
    'searched	b	median	4	2	8	0.95	order statistics	8' \
    'random	b	top	2	1		0.95	order statistics	90' >>kl.tsv
  awk -v by=place -v above=searched,median -v below=random,top \
    -f "$root/tools/survey/ratio.awk" kl.tsv >ratio.tsv
  # exp(sqrt(log(2)^2 + log(2)^2)) = 2^sqrt(2) = 2.66514
  [ "$(sed 1d ratio.tsv | cut -f 1-5,7 | tr '\t' '|')" = 'a|2|0.750428|5.33029|0.95|8 and 400
b|2||5.33029|0.95|8 and 90' ]
}

# Ordinary tokens: 8 + i / 100 in one prompt and i / 100 in the other, i from 1 to 21.
@test "ordinary tokens stand beside searched and random nokens, in the mean and by prompt" {
  awk 'BEGIN { OFS = "\t"; print "id", "text", "prompt", "entropy", "kl", "p_value"
    for (i = 1; i <= 21; i++) for (p = 0; p < 2; p++)
      print i, "x", (p ? "of" : "repeat"), 1, (p ? 0 : 8) + i / 100, (i == 1 ? 0.02 : 0.5) }' \
    >ordinary-runs.tsv
  for place in quantile-0.5:9 quantile-0.99:12 times-4:70 p-value-0.1:; do
    awk -v place="${place%:*}" -v at="${place#*:}" 'BEGIN { OFS = "\t"
      for (i = 1; i <= 28; i++) for (p = 0; p < 2; p++)
        print (i > 8 ? "random" : "searched"), place, at, i, (p ? "of" : "repeat"), \
          (i > 8 ? 1 : 6) + i / 1000, 0.5 }' >"worst-${place%:*}.tsv"
  done
  pipeline 'What do searched nokens do' | perform 2>errors
  run ! grep 'left out' errors
  [ "$(awk -F '\t' '$1 == "ordinary" && $4 == "median kl" { print $2, $5, $10 }' \
    worst-kl.tsv)" = 'tokens 4.11 21' ]
  [ "$(awk -F '\t' '$1 == "ordinary" { print $2, $4 }' worst-prompts.tsv)" = 'repeat 8.11
of 0.11' ]
  [ "$(awk -F '\t' '$1 == "random" { print $2, $4 }' worst-prompts.tsv)" = 'repeat 1.0185
of 1.0185' ]
  [ "$(awk -F '\t' '$1 == "ordinary" { printf "%.4f", $5 }' worst-ood.tsv)" = 0.0476 ]
  grep -q '>ordinary<' worst.svg
}
