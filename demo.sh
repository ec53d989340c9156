#!/bin/bash
# demo.sh: the main job on a model that ships in data/. Sets up, then runs each pipeline after
# printing it, and ends by naming the files it made, in out/.
set -euo pipefail
cd "$(dirname "$0")"
./setup.sh
export PATH=$PWD/build/bin:$PATH
mkdir -p out

say() { printf '\n# %s\n' "$*"; }
run() { # prints a pipeline, given on standard input, and runs it
  local pipeline
  pipeline=$(cat)
  printf '$ %s\n' "$pipeline"
  bash -o pipefail -c "$pipeline"
}

say 'The embedding matrix of a small GPT-2, and the statistics of its 8,192 rows.'
run <<'END'
nk-extract data/gpt2-tiny -o out/wte.safetensors
nk-stats out/wte.safetensors --summary | column -t -s $'\t'
nk-stats out/wte.safetensors -o out/stats.tsv
END

say 'What training really showed the model, beside each row: how often, in how many steps.'
run <<'END'
awk -F'\t' -v OFS='\t' '
  NR == FNR { seen[$1] = $2 OFS $3; training[$1] = $3 == 0 ? "never seen" : "seen"; next }
  { print $0, seen[$1], FNR == 1 ? "training" : training[$1] }
' data/gpt2-tiny/counts.tsv out/stats.tsv > out/table.tsv
END

say 'The twenty tokens nearest to the centroid, and the twenty farthest from it.'
run <<'END'
for order in g gr; do
  { IFS= read -r header; echo "$header"; sort -t $'\t' -k 4,4$order | sed -n 1,20p; } \
    < out/table.tsv | column -t -s $'\t'
done
END

say 'Norms of tokens that were seen and of those that never were; norm against distance.'
run <<'END'
nk-plot histogram -x norm --by training --title 'Length of the token embeddings' \
  -o out/norms.png out/table.tsv
nk-plot scatter -x norm -y centroid_l2 --mark 'steps=0' --label 15 \
  --title 'Never-seen tokens among the others' -o out/distances.png out/table.tsv
END

say 'The twenty tokens that look least trained, from the weights alone; can the model repeat them?'
run <<'END'
nk-glitch data/gpt2-tiny --top 20 | nk-verify data/gpt2-tiny -o out/glitch.tsv
awk -F'\t' -v OFS='\t' '{ print $1, $2, $4, $5, $(NF - 1), $NF }' out/glitch.tsv |
  column -t -s $'\t'
END

say 'Can the model repeat its tokens? Verdicts by how often training showed them.'
run <<'END'
nk-verify data/gpt2-tiny --all --truth data/gpt2-tiny/counts.tsv | column -t -s $'\t'
END

say 'Asked to repeat them, what do tokens do that were never seen, and those seen 1,000 times?'
run <<'END'
awk -F'\t' -v OFS='\t' '
  NR == 1 { print "id", "training" }
  NR > 1 && $1 > 255 && $2 == 0 { print $1, "never seen" }
  NR > 1 && $1 > 255 && $2 > 1000 { print $1, "seen" }
' data/gpt2-tiny/counts.tsv > out/chosen.tsv
nk-run data/gpt2-tiny --ids-from out/chosen.tsv -p '{}{}{}{}{}{}{}{}' -o out/behaviour.tsv
awk -F'\t' -v OFS='\t' 'NR == FNR { training[$1] = $2; next } { print $0, training[$1] }
' out/chosen.tsv out/behaviour.tsv |
  nk-plot histogram -x entropy --by training \
    --title 'Entropy after a token said eight times' -o out/entropy.png
END

say 'Made in out/: the tables table.tsv and glitch.tsv; the pictures norms.png, distances.png and entropy.png.'
