#!/bin/bash
# demo.sh: the main analysis, on the models in data/. Sets up, prints each pipeline and runs it, and
# ends with a list of the files that it wrote to out/.
set -euo pipefail
cd "$(dirname "$0")"
./setup.sh
export PATH=$PWD/build/bin:$PATH
mkdir -p out

say() { printf '\n# %s\n' "$*"; }
run() { # prints the pipeline on standard input and runs it
  local pipeline
  pipeline=$(cat)
  printf '$ %s\n' "$pipeline"
  bash -e -o pipefail -c "$pipeline"
}

say 'Extract the embedding matrix of a small GPT-2; statistics of its 8,192 rows.'
run <<'EOF'
nk-extract data/gpt2-tiny -o out/wte.safetensors
nk-stats out/wte.safetensors --summary | column -t -s $'\t'
nk-stats out/wte.safetensors -o out/stats.tsv
EOF

say 'Add to each row its training counts: how often and in how many steps the token was seen.'
run <<'EOF'
awk -F'\t' -v OFS='\t' '
  NR == FNR { seen[$1] = $2 OFS $3; training[$1] = $3 == 0 ? "never seen" : "seen"; next }
  { print $0, seen[$1], FNR == 1 ? "training" : training[$1] }
' data/gpt2-tiny/counts.tsv out/stats.tsv > out/table.tsv
EOF

say 'The 20 tokens nearest to the centroid, and the 20 farthest from it.'
run <<'EOF'
for order in g gr; do
  { IFS= read -r header; echo "$header"; sort -t $'\t' -k 4,4$order | sed -n 1,20p; } \
    < out/table.tsv | column -t -s $'\t'
done
EOF

say 'Norms of tokens that were seen and never seen in training; norm against distance.'
run <<'EOF'
nk-plot histogram -x norm --by training --title 'Norms of the token embeddings' \
  -o out/norms.png out/table.tsv
nk-plot scatter -x norm -y centroid_l2 --mark 'steps=0' --label 10 \
  --title 'Tokens never seen in training, and the others' -o out/distances.png out/table.tsv
EOF

say 'Find glitch tokens from the weights alone; compare with the training counts.'
run <<'EOF'
nk-glitch data/gpt2-tiny --with data/gpt2-tiny/counts.tsv -o out/ranking.tsv
nk-glitch data/gpt2-tiny --fdr 0.05 --with data/gpt2-tiny/counts.tsv -o out/candidates.tsv
nk-summary --share 'steps==0' out/candidates.tsv | column -t -s $'\t'
cut=$(awk -F'\t' 'NR == 1 { for (i = 1; i <= NF; i++) at[$i] = i; next }
  $at["exposure"] > most { most = $at["exposure"] } END { print most }' out/candidates.tsv)
awk -F'\t' '$3 == "category" || $3 == "ok"' out/ranking.tsv |
  nk-plot scatter -x exposure -y input_norm --xrange -1: --mark 'steps=0' \
    --line "x=$cut:FDR 5%" --label-by score --label 12 \
    --title 'Glitch tokens found from the weights' \
    -o out/glitch.png
EOF

say 'Test whether the model repeats the candidates; the 20 with the highest scores.'
run <<'EOF'
nk-verify data/gpt2-tiny < out/candidates.tsv > out/glitch.tsv
awk -F'\t' -v OFS='\t' 'NR == 1 { for (i = 1; i <= NF; i++) at[$i] = i }
  NR <= 21 { print $at["id"], $at["text"], $at["score"], $at["p_value"], $at["max_prob"],
             $at["verdict"], $at["steps"] }
' out/glitch.tsv | column -t -s $'\t'
EOF

say 'The same test for the whole vocabulary: verdicts by training counts.'
run <<'EOF'
nk-verify data/gpt2-tiny --all --truth data/gpt2-tiny/counts.tsv | column -t -s $'\t'
EOF

say 'The entropy of the next token after tokens never seen in training, and after ordinary ones.'
run <<'EOF'
awk -F'\t' 'NR == 1 || ($3 == 0 && ++never <= 400) || ($2 > 300 && ++seen <= 400)' \
  data/gpt2-tiny/counts.tsv > out/some.tsv
nk-run data/gpt2-tiny -p 'Please repeat the string "{}" back to me: "' --ids-from out/some.tsv |
  awk -F'\t' -v OFS='\t' '
    NR == FNR { training[$1] = $3 == 0 ? "never seen" : "seen over 300 times"; next }
    { print $0, FNR == 1 ? "training" : training[$1] }
  ' data/gpt2-tiny/counts.tsv - > out/tokens.tsv
nk-plot histogram -x entropy --by training --bins 40 --xlabel 'entropy of the next token (nats)' \
  --title 'Entropy after the token, in a prompt to repeat it' -o out/entropy.png out/tokens.tsv
nk-summary --between 'training=never seen,seen over 300 times' --median entropy --auc entropy \
  out/tokens.tsv | column -t -s $'\t'
EOF

say 'Fit a region without the glitch tokens, sample nokens at distances from it, run them.'
run <<'EOF'
nk-region fit out/wte.safetensors --exclude out/glitch.tsv -o out/in.safetensors
nk-region ellipse out/in.safetensors -o out/ellipse.tsv
nk-pca --with out/in.safetensors -k 2 out/wte.safetensors |
  nk-plot scatter -x pc1 -y pc2 --ellipse out/ellipse.tsv --label 12 \
    --title 'The region of 95% of the ordinary tokens' -o out/region.png
nk-sample out/in.safetensors -n 48 -d isotropic,covariance,difference \
  --quantile 0.5,0.9,0.99 --times 1,2,4,8 -o out/nokens.safetensors
nk-run data/gpt2-tiny -p 'Please repeat the string "{}" back to me: "' --exclude out/glitch.tsv \
  < out/nokens.safetensors > out/behaviour.tsv
nk-plot curve -x distance -y entropy --by direction --log x \
  --xlabel 'Mahalanobis distance of the noken' \
  --ylabel 'entropy of the next token (nats)' \
  --ordinary 'training=seen over 300 times' --ordinary-from out/tokens.tsv \
  --title 'Nokens by distance, and ordinary tokens' -o out/curve.png out/behaviour.tsv
nk-summary --by direction,times --share 'p_value<=0.05' --cluster id out/behaviour.tsv |
  column -t -s $'\t'
EOF

say 'The same in the residual stream, at each layer of both models: a region of the vectors of' \
  'ordinary tokens, nokens at distances from it, and the change of the next token.'
run <<'EOF'
for model in gpt2-tiny llama-tiny; do
  awk -F'\t' 'NR == 1 || ($2 >= 300 && ++n <= 1000)' data/$model/counts.tsv > out/ordinary.tsv
  for layer in 0 1 2 3 4; do
    nk-run data/$model -p 'He said to the {}' --ids-from out/ordinary.tsv --capture $layer |
      nk-region fit -o out/states.safetensors
    nk-sample out/states.safetensors -n 16 --times 0.25,0.5,1,2,4,8 |
      nk-run data/$model -p 'He said to the {}' --at $layer --reference 64 |
      if [ $layer = 0 ]; then cat; else sed 1d; fi
  done > out/layers-$model.tsv
  nk-plot heatmap -x times -y at -z kl --title "Nokens in the residual stream of $model" \
    --xlabel 'distance, in units of the farthest ordinary state' --ylabel layer \
    -o out/layers-$model.png out/layers-$model.tsv
done
EOF

say 'Files in out/: the tables table.tsv, ranking.tsv, glitch.tsv and behaviour.tsv; the pictures' \
  'norms.png, distances.png, glitch.png, entropy.png, region.png, curve.png,' \
  'layers-gpt2-tiny.png and layers-llama-tiny.png; and the nokens, nokens.safetensors.'
