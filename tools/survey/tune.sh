# What does training remove of what nokens do, and what does it cost? A part of worst.sh.
nokens=16 steps=400 batch=64 every=20 judged=1000 tests=16
sample='-n 16 --quantile 0.99 --times 1.5,2,4'
searches='--searched 8 --restarts 4 --steps 100'
if [ $quick = 1 ]; then
  nokens=8 steps=60 batch=24 every=20 judged=50 tests=6
  sample='-n 4 --quantile 0.99 --times 2'
  searches='--searched 4 --restarts 2 --steps 20'
fi

if can weight_gradients 'Copies of the model cannot be trained' &&
  has contexts.txt 11 'Lines of text to train on'; then
  text 'Two copies of the model are trained so that nokens do in prompts what ordinary tokens do there, and' \
    'nothing else changes: one on random nokens, one on nokens that are searched again and again. Of the' \
    'lines of `contexts.txt`, with a slot in place of one word, each third is kept for the comparison.' \
    'The copies are in `tuned-random` and `tuned-searched`, each as large as the model: remove them when' \
    'the report is done, if they are not wanted.'

  # What a killed training left is gone on from, unless it is of other options: then this is run anew.
  step tune-input 'Nokens, prompts and texts to train on, and others to compare on' <<END
rm -rf tuned-random tuned-random.checkpoint tuned-searched tuned-searched.checkpoint
echo '--steps $steps --batch $batch --evaluate $((steps / 4)) --seed $seed' > tune-options.txt
awk 'NR % 3' contexts.txt > train.txt
awk 'NR % 3 == 0' contexts.txt > test.txt
for part in train test; do
  awk 'BEGIN { print "prompt\ttext" }
    { n = split(\$0, word, " "); slot = n > 8 ? n - 4 : 2; line = ""
      for (i = 1; i <= n; i++) line = line (i > 1 ? " " : "") (i == slot ? "{}" : word[i])
      if (n > 3) print "context" NR "\t" line }' \$part.txt > \$part.tsv
done
nk-sample region.safetensors -n $nokens -d covariance,isotropic,token --quantile 0.99 --times 1.5,2,4 \\
  --seed $seed -o tune-nokens.safetensors
head -n $((judged + 1)) glitch.tsv > tune-glitch.tsv
END

  step tune-random 'Train a copy on random nokens (a folder as large as the model)' $((3 * steps * batch)) <<END
[ -d tuned-random ] ||
  nk-tune $model --nokens tune-nokens.safetensors --prompts train.tsv$chat_option --text train.txt \\
    \$(cat tune-options.txt) --log tuned-random.tsv -o tuned-random
rm -f tuned-random.checkpoint
END
  step tune-searched 'Train another on nokens that are searched again and again (as large as the model)' \
    $((3 * steps * batch + steps / every * 30 * nokens * 12)) <<END
[ -d tuned-searched ] ||
  nk-tune $model --nokens tune-nokens.safetensors --prompts train.tsv$chat_option --text train.txt \\
    --search-every $every --region region.safetensors \$(cat tune-options.txt) --log tuned-searched.tsv -o tuned-searched
rm -f tuned-searched.checkpoint
END

  step tuned 'What do the copies do with other nokens, tokens and texts?' $((2 * tests * 8000)) <<END
for copy in random searched; do
  nk-compare $model tuned-\$copy --prompts <(head -n $((tests + 1)) test.tsv)$chat_option --text test.txt \\
    --only ordinary,nokens,searched,glitch,divergence,text --glitch tune-glitch.tsv --region region.safetensors \\
    $sample $searches --own-reference --seed $((seed + 1)) -o tuned-\$copy-changes.tsv
done
awk -F '\t' -v OFS='\t' 'FNR == 1 { for (i = 1; i <= NF; i++) at[\$i] = i; copy = FILENAME
    sub(/^tuned-/, "", copy); sub(/-changes.tsv$/, "", copy); if (NR > 1) next }
  FNR == 1 || \$at["model"] == "after" || \$at["model"] == "change" && \$at["statistic"] ~ /^divergence/ ||
    \$at["model"] == "before" && copy == "random" {
    print FNR == 1 ? "copy" : \$at["model"] == "before" ? "before" : copy, \$0 }' \\
  tuned-random-changes.tsv tuned-searched-changes.tsv > tuned.tsv
awk -F '\t' -v OFS='\t' 'NR == 1 { for (i = 1; i <= NF; i++) at[\$i] = i; print; next }
  \$at["statistic"] ~ /^(noken|searched|transfer)_kl all$/ {
    sub(/noken.*/, "random nokens", \$at["statistic"]); sub(/searched_.*/, "searched anew", \$at["statistic"])
    sub(/transfer.*/, "the worst before", \$at["statistic"]); name = \$at["statistic"]; \$at["statistic"] = "kl"
    print \$0, name }' tuned.tsv | sed '1s/$/\tnokens/' |
  nk-plot curve -x nokens -y kl --by copy --log y --xlabel '' --ylabel 'median KL divergence (nats)' \\
    --title 'What nokens do before and after the trainings' -o tuned.svg
END

  # tuned_claim KEY COPY UNIT SENTENCE STATISTIC
  tuned_claim() { claim "$1_$2" tuned "$3" "$4" tuned.tsv "copy=$2" "statistic=$5"; }
  name() { case $1 in before) echo 'Before the training' ;; *) echo "In the copy trained on $1 nokens" ;; esac; }
  for copy in before random searched; do
    tuned_claim tuned_ood $copy share "$(name $copy), random nokens are out of distribution in {} of cases." 'noken_ood all'
    tuned_claim tuned_kl $copy nats "$(name $copy), the worst nokens that a search finds have a median KL divergence of {}." 'searched_kl all'
    [ $copy = before ] ||
      tuned_claim tuned_transfer $copy nats "$(name $copy), the nokens that were the worst before have a median KL divergence of {}." 'transfer_kl all'
  done
  for copy in random searched; do
    tuned_claim tuned_divergence $copy nats \
      "The price: after ordinary tokens the answers of the copy trained on $copy nokens diverge by {} in the mean." divergence_mean
  done
  for copy in before random searched; do
    tuned_claim tuned_text $copy nats "$(name $copy), the loss of a token of held-out text is {}." text_loss
  done
  ! has tune-glitch.tsv 1 'Glitch tokens, to see whether the copies repeat them' ||
    for copy in random searched; do
      tuned_claim tuned_verified $copy share "The copy trained on $copy nokens fails to repeat {} of the glitch tokens." glitch_verified
    done
  picture tuned.svg tuned 'Median KL divergence of random nokens, of nokens searched anew and of those that were the worst before, in the model and in both copies.' \
    'What nokens do in the model and in the two copies of it. A search finds a lower bound: a weak one says too much of a training.'
  table tuned.tsv tuned 'All that was compared; of a statistic by direction and distance, each.' \
    'copy,statistic,direction,distance,value,low,high,n,clusters' 200
fi
