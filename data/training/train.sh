#!/bin/sh
# Make data/gpt2-tiny and data/llama-tiny again, from the texts on.
#
#   data/training/train.sh [WORK]      WORK (default: build/training) takes the texts and logs
#
# Needs Debian 12. Installs the packages of text if they are missing (as root), then fits the
# tokenizers, trains (two processes of one thread each, about an hour) and evaluates. None of
# it is needed to build, run or test noken.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
work=${1:-$here/../../build/training}
mkdir -p "$work"

packages="python3-torch python3-numpy python3-regex bible-kjv bible-kjv-text dict-gcide jargon-text
debian-policy developers-reference debian-reference-en manpages manpages-dev manpages-de
manpages-fr manpages-ru libpython3.11-stdlib perl-modules-5.36 libc6-dev linux-libc-dev"

missing=
for package in $packages; do
    dpkg -s "$package" >/dev/null 2>&1 || missing="$missing $package"
done
if [ -n "$missing" ]; then
    # shellcheck disable=SC2086
    apt-get install -y --no-install-recommends $missing
fi
# shellcheck disable=SC2086
dpkg-query -W $packages > "$work/packages.txt"

# One thread per training; and no giving memory back to the system after every step, whose page
# faults would otherwise take a fifth of the time.
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
export MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=4000000000

/usr/bin/python3 "$here/corpus.py" "$work" > "$work/corpus.log"
for model in gpt2-tiny llama-tiny; do
    (
        /usr/bin/python3 "$here/bpe.py" "$work" $model "$here/../$model"
        /usr/bin/python3 "$here/train.py" "$work" $model "$here/../$model"
        /usr/bin/python3 "$here/evaluate.py" "$work" $model "$here/../$model"
    ) > "$work/$model.log" 2>&1 &
done
wait
tail -n 2 "$work/gpt2-tiny.log" "$work/llama-tiny.log"
