#!/bin/bash
# published.sh MODEL: the published report of GPT-2's under-trained tokens beside what noken finds.
# Prints a table: what, published, ours.
#
# MODEL is GPT-2 (124M), a folder with its safetensors, config.json and tokenizer.json; of another
# model the table is printed too, with a warning. The tools are those in PATH.
#
# The report is that of S. Land and M. Bartolo, "Fishing for Magikarp" (2024):
# cohere-ai/magikarp, results/reports/openai_community_gpt2.md. Its settings are repeated here: the
# indicator is the cosine distance in the output matrix from the mean of tokens 177 to 187, the
# bytes F5 to FF; the 2% of tokens that text gives with the smallest distance are verified, by three
# prompts in which the token has 41, 1 and 101 places, at 3 positions. The prompts are in other
# words.
set -euo pipefail
export LC_ALL=C # numbers have a point, and are sorted so

[ $# -eq 1 ] || { echo "usage: published.sh MODEL" >&2; exit 2; }
model=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

repeated() { # repeated N TEXT
  local i
  for ((i = 0; i < $1; i++)); do printf %s "$2"; done
}
{
  printf 'prompt\ttext\n'
  printf 'echo\tEach line repeats what is in quotes.\\n%s"{}" -> "\n' \
    "$(repeated 20 '"{}" -> "{}"\n')"
  printf 'meaning\tQ: What does "{}" mean? A: The word "\n'
  printf 'repeats\tOne word, again and again:\\n%s\n' "$(repeated 101 '{}')"
} >"$work/prompts.tsv"

nk-tokens -q "$model" >"$work/tokens.tsv"
n=$(($(wc -l <"$work/tokens.tsv") - 1))
[ "$n" -eq 50257 ] || echo "published.sh: warning: not GPT-2: $n tokens, not 50257" >&2
nk-extract -q -m output "$model" -o "$work/output"
nk-glitch -q --output-set "$work/output" --unused 177-187 >"$work/glitch.tsv"

# id, distance, kind: a category, or ascii for a byte that is a character.
awk -F '\t' -v OFS='\t' '
  FNR == 1 { for (i = 1; i <= NF; i++) at[$i] = i; next }
  NR == FNR { kind[$1] = $3 == "unused_byte" ? "byte" : $3
    if ($3 == "byte" && $2 !~ /^\\x[89A-F]/) kind[$1] = "ascii"
    next }
  { print $at["id"], $at["output_cosine"], kind[$at["id"]] }' \
  "$work/tokens.tsv" "$work/glitch.tsv" | sort -g -k 2,2 >"$work/distances.tsv"

# The 2nd percentile over tokens that text gives, between two of them as numpy has it.
threshold=$(awk -F '\t' '$3 == "ok" || $3 == "ascii" { x[++n] = $2 }
  END { at = 1 + 0.02 * (n - 1); i = int(at)
    printf "%.9g", x[i] + (at - i) * (x[i + 1] - x[i]) }' \
  "$work/distances.tsv")
{
  echo id
  awk -F '\t' -v t="$threshold" '($3 == "ok" || $3 == "ascii") && $2 <= t { print $1 }' \
    "$work/distances.tsv"
} >"$work/candidates.tsv"
nk-verify -q --steps 3 --prompts "$work/prompts.tsv" "$model" "$work/candidates.tsv" \
  >"$work/verified.tsv"

# The tokens that the report lists below its threshold, in its order.
listed='40241 30905 39752 40240 30898 45544 36173 30212 42089 30897 30208 23090 37574 31573 14827
  42066 9364 39749 39142 39714 40219 30899 13150 5815 17629 39655'

awk -F '\t' -v OFS='\t' -v threshold="$threshold" -v listed="$listed" '
  BEGIN { n_listed = split(listed, ids, /[ \n]+/) }
  FNR == 1 { file++ }
  file == 1 { distance[$1] = $2; kind[$1] = $3; n++; sum += $2; squares += $2 * $2
    bytes += $3 == "byte" || $3 == "ascii"; fragments += $3 == "partial_utf8"
    low_bytes += ($3 == "byte" || $3 == "ascii") && $2 < 0.140
    low_fragments += $3 == "partial_utf8" && $2 < 0.206
    next }
  FNR == 1 { for (i = 1; i <= NF; i++) at[$i] = i; next }
  { candidates++; if (kind[$1] != "ok") next
    tested++; max_prob[$1] = $at["max_prob"]
    below += distance[$1] < 0.206; verified += $at["max_prob"] < 0.01
    both += distance[$1] < 0.206 && $at["max_prob"] < 0.01 }
  END {
    for (i = 1; i <= n_listed; i++) {
      found += ids[i] in distance && distance[ids[i]] < 0.206 && kind[ids[i]] == "ok"
      repeated += ids[i] in max_prob && max_prob[ids[i]] >= 0.01
    }
    mean = sum / n
    print "what", "published", "ours"
    print "tokens", 50257, n
    print "mean distance", 0.536, sprintf("%.3f", mean)
    print "standard deviation of it", 0.070, sprintf("%.3f", sqrt(squares / n - mean * mean))
    print "2nd percentile of it", 0.424, sprintf("%.3f", threshold)
    print "tokens verified", 999, candidates + 0
    print "of these, not bytes", 967, tested + 0
    print "of these, below 0.206", 26, below + 0
    print "of these, with a probability below 0.01", 25, both + 0
    print "with a probability below 0.01 at any distance", 33, verified + 0
    print "of the 26 published, below 0.206", 26, found + 0
    print "of the 26 published, repeated with 0.01 or more", 1, repeated + 0
    print "bytes", 256, bytes + 0
    print "of these, below 0.140", 46, low_bytes + 0
    print "parts of characters", 216, fragments + 0
    print "of these, below 0.206", 2, low_fragments + 0
  }' "$work/distances.tsv" "$work/verified.tsv"
