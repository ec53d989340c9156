#!/bin/bash
# demo.sh: the study of a model in data/ in one command: its glitch tokens, nokens at distances from
# what it knows, and what both do. Sets up, prints each pipeline and runs it, and ends with the name
# of the report. A second run goes on where the first ended.
set -euo pipefail
cd "$(dirname "$0")"
./setup.sh
export PATH=$PWD/build/bin:$PATH
nk-survey --quick --truth data/gpt2-tiny/counts.tsv -o out/gpt2-tiny data/gpt2-tiny
folder=$PWD/out/gpt2-tiny
printf '\n# %s\n' "In $folder: tables, pictures, nokens, and steps/, their pipelines." \
  "The report: file://$folder/report.html"
