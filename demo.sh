#!/bin/bash
# demo.sh: the main job on a model that ships in data/. Sets up, then runs each pipeline after
# printing it, and ends by naming the files it made, in out/.
set -euo pipefail
cd "$(dirname "$0")"
./setup.sh
export PATH=$PWD/build/bin:$PATH
mkdir -p out

say() { printf '\n# %s\n' "$*"; }
run() { # prints a pipeline, then runs it
  printf '$ %s\n' "$1"
  bash -o pipefail -c "$1"
}

say 'The embedding matrix of a small GPT-2, and the statistics of its 8,192 rows.'
run 'nk-extract data/gpt2-tiny -o out/wte.safetensors'
run 'nk-stats out/wte.safetensors --summary | column -t'
run 'nk-stats out/wte.safetensors -o out/stats.tsv'

say 'What training really showed the model, beside each row: how often, in how many steps.'
run "awk -F'\\t' -v OFS='\\t' 'NR == FNR { seen[\$1] = \$2 OFS \$3; next } { print \$0, seen[\$1] }' \\
    data/gpt2-tiny/counts.tsv out/stats.tsv > out/table.tsv"

say 'The twenty tokens nearest to the centroid, and the twenty farthest from it.'
for order in g gr; do
  run "(head -n 1 out/table.tsv; tail -n +2 out/table.tsv | sort -t \$'\\t' -k4,4$order | head -n 20) |
    cut -f 1,2,3,4,6,7,8 | column -t -s \$'\\t'"
done

say 'Norms of tokens that were seen and of those that never were; norm against distance.'
run "awk -F'\\t' -v OFS='\\t' '{ print \$0, NR == 1 ? \"training\" : \$8 == 0 ? \"never seen\" : \"seen\" }' \\
    out/table.tsv > out/groups.tsv"
run "nk-plot histogram -x norm --by training --title 'Length of the token embeddings' \\
    -o out/norms.png out/groups.tsv"
run "nk-plot scatter -x norm -y centroid_l2 --mark 'steps=0' --label 15 \\
    --title 'Never-seen tokens among the others' -o out/distances.png out/groups.tsv"

say 'Made in out/: the table table.tsv; the pictures norms.png and distances.png.'
