#!/bin/bash
# Makes the seeds of corpus/region by the tools of a build (first argument): one small region of
# each kind, from 24 tokens in three dimensions. combined-three-ranks is of version 0.2.0, whose
# combined regions had no joint distance; test_region.c reads it.
set -euo pipefail
bin=$(cd "$1" && pwd)/bin
cd "$(dirname "$0")/corpus"
mkdir -p region
set=$(mktemp)
trap 'rm -f "$set"' EXIT
"$bin"/nk-extract ../../../data/gpt2-tiny --ids 300-323 | "$bin"/nk-pca --project 3 >"$set"
for kind in combined mahalanobis knn subspace; do
  "$bin"/nk-region fit --kind $kind -k 2 --subspace 1 "$set" -o region/$kind
done
"$bin"/nk-region fit --kind mahalanobis --tokens none "$set" -o region/without-tokens
