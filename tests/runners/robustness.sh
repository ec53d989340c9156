#!/bin/bash
# robustness.sh MODEL FOLDER: the experiment of noken-robustness(7). Random and searched nokens; the
# model fine-tuned on either kind; what both copies do with nokens, prompts and texts that neither
# was trained on, and which outputs carry a noken's effect before and after.
# Leaves all tables in FOLDER and prints the rows that the page quotes. Needs the tools in PATH.
set -euo pipefail
model=$1 folder=$2 data=$(cd "$(dirname "$0")/../../data" && pwd)
[[ $model == /* ]] || model=$PWD/$model
mkdir -p "$folder"
cd "$folder"

# Contexts with a slot in place of one word, and prompts: one context of three is kept for tests.
slots() { # slots: a table of prompts of the lines on standard input
  awk 'BEGIN { print "prompt\ttext" }
    { n = split($0, word, " "); slot = n > 8 ? n - 4 : 2; line = ""
      for (i = 1; i <= n; i++) line = line (i > 1 ? " " : "") (i == slot ? "{}" : word[i])
      print "context" NR "\t" line }'
}
awk 'NR % 3' "$data/prompts/contexts.txt" >train.txt
awk 'NR % 3 == 0' "$data/prompts/contexts.txt" >test.txt
slots <test.txt >test.tsv
slots <train.txt >train.tsv
printf '%s\n' 'was	There was once a {} and' 'means	The word "{}" means' 'what	Q: What is "{}"? A:' \
  'noun	{}: a noun meaning' 'about	Tell me about {}.' 'of	The {} of' >>train.tsv

nk-extract -q "$model" -o wte
nk-glitch -q "$model" -n 2000 | nk-verify -q "$model" - >glitch.tsv
nk-region fit -q wte --exclude glitch.tsv -o in
nk-sample in -n 16 -d covariance,isotropic,token --quantile 0.99 --times 1.5,2,4 -o nokens

tune() { # tune COPY [OPTION]...
  [ -d "$1" ] || nk-tune -q "$model" --nokens nokens --prompts train.tsv --text train.txt \
    -o "$1" --log "$1.log" "${@:2}"
}
tune given
tune searched --search-every 20 --region in

for copy in given searched; do
  nk-compare -q --prompts <(head -n 9 test.tsv) --text test.txt --glitch glitch.tsv --region in \
    --seed 1 -n 16 --quantile 0.99 --times 1.5,2,4 --own-reference "$model" $copy >"$copy.tsv"
  echo "== $copy"
  names='ordinary_ood|noken_(ood|kl) all|searched_(ood|kl) all|transfer_kl all|glitch_(ood|kl)'
  grep -hE "^($names|stream_ood all|text_loss|divergence)" "$copy.tsv" | cut -f 1-2,7-10
done

echo "== glitch tokens in the model, by prompt, and over other prompts"
awk -F '\t' 'NR == 1 || /verified/' glitch.tsv >verified.tsv
for part in test train; do
  rows=99
  [ $part = train ] || rows=9
  nk-run -q "$model" --prompts <(head -n $rows $part.tsv) --region in --seed 1 \
    --ids-from verified.tsv -o glitch-$part.tsv
  nk-summary -b prompt --share 'p_value<=0.05' -c id glitch-$part.tsv | cut -f 1,3-5
  nk-summary --share 'p_value<=0.05' -c id,prompt glitch-$part.tsv | cut -f 1-4
done

echo "== the worst nokens of a longer search: model, KL of four"
for what in "$model" given searched; do
  nk-search -q "$what" in --prompts <(head -n 9 test.tsv) --times 2 -n 4 --restarts 8 --steps 150 \
    --seed 5 -o worst
  nk-convert -q --to tsv worst | awk -F '\t' -v what="${what##*/}" '
    NR == 1 { for (i = 1; i <= NF; i++) column[$i] = i; next }
    { printf "%s\t%.2f\n", what, $column["objective"] }'
done

nk-sample in -n 32 -d covariance --times 2 --seed 1 -o held
for what in "$model" given searched; do
  nk-trace -q "$what" held -p 'The {} of the' >"trace-${what##*/}.tsv"
done
