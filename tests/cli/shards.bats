# --shard I/N: parts of a scan in processes that know nothing of each other. Sets have more items than
# a block, and in most tests more than one prompt or layer: rows that did not go through the model in
# the same blocks would differ in their last digits.
bats_require_minimum_version 1.5.0
load rays.bash

setup() {
  root=$PWD
  cd "$BATS_TEST_TMPDIR"
  ln -s "$root/data" .
  gpt2=data/gpt2-tiny
}

# joins_to WHOLE COMMAND...: the outputs of N parts, one after the other, for N from 1 to 7.
joins_to() {
  local whole=$1 n i
  shift
  for n in 1 2 3 4 5 6 7; do
    for ((i = 1; i <= n; i++)); do "$@" --shard $i/$n || return; done | cmp - "$whole" ||
      { echo "$n parts of: $*"; return 1; }
  done
}

# nokens N SEED: a set with columns.
nokens() {
  [ -e region.safetensors ] || nk-extract -q $gpt2 | nk-region fit -o region.safetensors
  nk-sample region.safetensors -n $(($1 / 2)) -d isotropic,difference --quantile 0.9 --seed "$2"
}

@test "nk-run: tables of tokens and vectors" {
  nokens 1200 1 >set
  ask=(nk-run $gpt2 set --ids 3000-6999 -p 'The {} of' -p 'Once {}' --unverified --reference 16)
  "${ask[@]}" >whole
  [ "$(wc -l <whole)" -eq $((2 * 5200 + 1)) ]
  joins_to whole "${ask[@]}"
}

@test "nk-run: layers, offsets, norms, echoes, generations and flags, and JSON Lines" {
  printf 'prompt\ttext\trepetition\nrow\t{} {} \t1\n' >prompts.tsv
  ask=(nk-run $gpt2 --ids 100-4299 --prompts prompts.tsv --at 0,2 --offsets 2 --norms 1,4 --generate 2
    --flag data/prompts/flags.tsv --unverified --reference 16 --json)
  "${ask[@]}" >whole
  for i in 1 2 3; do "${ask[@]}" --shard $i/3 -o "part-$i"; done
  cat part-1 part-2 part-3 | cmp - whole
}

@test "nk-run --lens" {
  nokens 200 2 >set
  ask=(nk-run $gpt2 set --ids 0-4099 -p 'The {} of' --lens 1,4 --top 2 --offsets 1)
  "${ask[@]}" >whole
  joins_to whole "${ask[@]}"
}

@test "nk-run --capture: nk-convert --cat gives the whole's set" {
  nokens 200 3 >set
  ask=(nk-run $gpt2 set --ids 0-4099 -p 'The {} of' -p '{}' --capture 2,3:0,end)
  "${ask[@]}" -o whole
  for n in 2 5 7; do
    for ((i = 1; i <= n; i++)); do "${ask[@]}" --shard $i/$n -o "part-$i"; done
    run -0 --separate-stderr nk-convert --cat $(seq -f part-%g $n) -o joined
    [ -z "$stderr" ]
    cmp joined whole
  done
  run -0 --separate-stderr nk-convert --cat part-1 part-3 -o joined
  [[ $stderr = "nk-convert: warning: part-1: part 1/2 of one run is expected here, this is 1/7: "* ]]
  run -0 --separate-stderr nk-convert --cat part-2 part-1 -o joined
  [[ $stderr = "nk-convert: warning: "* ]]
  ! grep -q noken.shard joined
  grep -aq -- 'nk-convert --cat part-2 part-1' joined
  # Parts of two runs.
  "${ask[@]}" --shard 1/2 -o part-1
  "${ask[@]}" -p '{}{}' --shard 2/2 -o part-2
  run -0 --separate-stderr nk-convert --cat part-1 part-2 -o joined
  [[ $stderr = "nk-convert: warning: part-2: part 2/2 of one run is expected here, this is a part of "* ]]
}

@test "a part without a row refuses what the others refuse" {
  printf 'id\n300\n301\n' >few
  for part in 1/3 3/3; do
    run -2 nk-verify $gpt2 few -p 'no slot' --shard $part
    run -2 nk-run $gpt2 --ids 300-301 -p '{}' --reference 3 --shard $part
    run -1 nk-run $gpt2 --ids 300-301 -p '{}' --exclude none --shard $part
  done
}

@test "nk-run --contexts --capture: batches of contexts" {
  for i in $(seq 90); do cat data/prompts/contexts.txt; done >contexts
  ask=(nk-run $gpt2 --contexts contexts --every 3 --capture 1)
  "${ask[@]}" -o whole
  for n in 2 3; do
    for ((i = 1; i <= n; i++)); do "${ask[@]}" --shard $i/$n -o "part-$i"; done
    nk-convert --cat $(seq -f part-%g $n) -o joined
    cmp joined whole
  done
  [ "$(nk-stats part-1 | wc -l)" -lt "$(nk-stats whole | wc -l)" ]
}

@test "nk-run --paired: prompts and layers" {
  [ -e region.safetensors ] || nk-extract -q $gpt2 | nk-region fit -o region.safetensors
  nk-sample region.safetensors -n 20 --metric radius --distance 1,2 --with-origin -o rays
  ask=(nk-run $gpt2 rays --paired -p 'The {} of' -p 'Once {}' --at 0,2 --norms 3)
  "${ask[@]}" >whole
  joins_to whole "${ask[@]}"
}

@test "nk-verify: tokens and their controls, sampled attempts" {
  { printf 'id\tnote\n'; seq 3000 7120 | sed 's/$/\tx/'; } >table
  ask=(nk-verify $gpt2 table -p 'The {} the {} the ' --controls 60 --steps 2)
  "${ask[@]}" >whole
  [ "$(wc -l <whole)" -eq 4182 ]
  joins_to whole "${ask[@]}"
  ask=(nk-verify $gpt2 table -p '{}' --repeats 1 --temperature 1 --steps 1)
  "${ask[@]}" >whole
  for i in 1 2; do "${ask[@]}" --shard $i/2; done | cmp - whole
}

@test "nk-verify: texts, and the whole vocabulary" {
  nk-tokens $gpt2 | awk -F '\t' 'NR == 1 { print "text"; next } NR > 300 { print $2 $2 }' |
    head -n 4300 >texts
  ask=(nk-verify $gpt2 texts --text -p 'Say {}: ')
  "${ask[@]}" >whole
  joins_to whole "${ask[@]}"
  nk-verify $gpt2 --all -p '{}{}' >whole
  joins_to whole nk-verify $gpt2 --all -p '{}{}'
}

@test "nk-knn --query: exact and by an index, neighbours and their summary" {
  nk-extract -q $gpt2 -o base
  nk-extract -q $gpt2 --ids 0-4499,0-199 -o query
  for options in '-k 3' '-k 5 --metric cosine --summary' '-k 2 --index IVF16,Flat --search nprobe=2'; do
    # shellcheck disable=SC2086
    nk-knn base --query query $options >whole
    # shellcheck disable=SC2086
    joins_to whole nk-knn base --query query $options
  done
}

@test "nk-knn --query: a graph, and an index that rounds where one row is far from the others" {
  nk-extract -q $gpt2 --ids 0-999 -o base
  nk-extract -q $gpt2 --ids 0-4499 -o near
  nk-convert --to npy near -o near.npy
  { head -c -512 near.npy && for i in $(seq 128); do printf '\0\0\200\112'; done; } >far.npy # 2^22
  for options in '--index HNSW4' '--index SQfp16'; do
    # shellcheck disable=SC2086
    nk-knn base --query far.npy -k 3 $options --threads 2 >whole
    for i in 1 2; do
      # shellcheck disable=SC2086
      nk-knn base --query far.npy -k 3 $options --threads 2 --shard $i/2
    done | cmp - whole
  done
}

@test "nk-boundary: rays in prompts and in contexts" {
  [ -e region.safetensors ] || nk-extract -q $gpt2 | nk-region fit -o region.safetensors
  nk-sample region.safetensors -n 1040 --metric radius --distance 4 --with-origin -o far
  ask=(nk-boundary $gpt2 far -p '{}' -p 'A {}' --level 0.01 --grid 2 --tolerance 0.9)
  "${ask[@]}" >whole
  [ "$(wc -l <whole)" -eq 2081 ]
  joins_to whole "${ask[@]}"
  for i in $(seq 11); do cat data/prompts/contexts.txt; done >contexts
  nk-run $gpt2 --contexts contexts --position -1 --capture 3 | nk-convert --to tsv | rays 3 6 |
    nk-convert --to safetensors - -o far
  ask=(nk-boundary $gpt2 far --contexts contexts --level 0.01 --grid 2 --tolerance 0.9)
  "${ask[@]}" >whole
  [ "$(wc -l <whole)" -eq 1057 ]
  for i in 1 2; do "${ask[@]}" --shard $i/2; done | cmp - whole
}

@test "without items there is a header in part 1, and more parts than blocks are empty" {
  printf 'id\n' >none
  nk-run $gpt2 --ids-from none -p '{}' >whole
  [ "$(wc -l <whole)" -eq 1 ]
  nk-run $gpt2 --ids-from none -p '{}' --shard 1/3 | cmp - whole
  run -0 nk-run $gpt2 --ids-from none -p '{}' --shard 3/3
  [ -z "$output" ]
  run -0 nk-run $gpt2 --ids 300-303 -p '{}' --shard 1/3
  [ "${#lines[@]}" -eq 1 ]
  run -0 nk-run $gpt2 --ids 300-303 -p '{}' --shard 2/3
  [ -z "$output" ]
  run -0 nk-run $gpt2 --ids 300-303 -p '{}' --shard 3/3
  [ "${#lines[@]}" -eq 4 ]
}

@test "a part is I/N, and what is of all rows has none" {
  for shard in 0/3 4/3 1/0 -1/3 1 1/ /3 1/3/4 a/b 1/99999999; do
    run -2 nk-run $gpt2 --ids 300 -p '{}' --shard $shard
    [[ $output = "nk-run: --shard: '$shard' is not I/N, "* ]]
  done
  run -2 nk-run $gpt2 --ids 300 -p '{}' --generate 1 --flag data/prompts/flags.tsv --flag-summary --shard 1/2
  [ "$output" = "nk-run: --shard: a row of --flag-summary is of all items together" ]
  for option in --summary --agree "--truth table"; do
    # shellcheck disable=SC2086
    run -2 nk-verify $gpt2 table $option --shard 1/2
    [[ $output = "nk-verify: --shard: ${option%% *} is of all rows together"* ]]
  done
  run -2 nk-boundary $gpt2 rays -p '{}' --level 1 --dose --shard 1/2
  [ "$output" = "nk-boundary: --shard: --dose numbers the vectors of all rays" ]
  run -2 nk-boundary $gpt2 rays -p '{}' --level 1 --summary --shard 1/2
  [ "$output" = "nk-boundary: --shard: a row of --summary is of all rays together" ]
  run -2 nk-knn base --shard 1/2
  [ "$output" = "nk-knn: --shard needs --query, whose rows it divides" ]
}

# ---- GNU parallel ----

need_parallel() {
  parallel --version 2>/dev/null | grep -q '^GNU parallel' || skip "GNU parallel is not installed"
  export PARALLEL_HOME=$BATS_TEST_TMPDIR
}

# Runs its arguments; kills them the first time, for part 2 and 5, while they run.
make_killer() {
  cat >killer <<'END'
#!/bin/bash
part=$1
shift
"$@" &
process=$!
case $part in
  2 | 5) [ -e "killed-$part" ] || { touch "killed-$part"; sleep 0.2; kill -9 $process; } ;;
esac
wait $process
END
  chmod +x killer
}

@test "parts that are killed half-way are computed again, and the bytes are the whole's" {
  need_parallel
  make_killer
  printf 'prompt\ttext\na\t{} of the\nb\tOnce {}\nc\tHe {}\n' >prompts.tsv
  ask=(nk-run $gpt2 --ids 0-8191 --prompts prompts.tsv --generate 8 --threads 1)
  "${ask[@]}" >whole
  run -2 parallel -j 2 --joblog log ./killer {} "${ask[@]}" --shard {}/6 -o part-{} ::: 1 2 3 4 5 6
  [ ! -e part-2 ] && [ ! -e part-5 ]
  [ "$(awk -F '\t' 'NR > 1 && ($7 != 0 || $8 != 0)' log | wc -l)" -eq 2 ]
  [ "$(find . -name '*.part' | wc -l)" -eq 0 ]
  touch before
  parallel -j 2 --joblog log --resume-failed ./killer {} "${ask[@]}" --shard {}/6 -o part-{} ::: 1 2 3 4 5 6
  [ "$(find . -name 'part-?' -newer before | sort | tr '\n' ' ')" = "./part-2 ./part-5 " ]
  cat part-{1..6} | cmp - whole
}

@test "a run of parallel that ended early goes on where it was" {
  need_parallel
  make_killer
  printf 'prompt\ttext\na\t{} of the\nb\tOnce {}\nc\tHe {}\n' >prompts.tsv
  ask=(nk-run $gpt2 --ids 0-8191 --prompts prompts.tsv --generate 8 --threads 1)
  "${ask[@]}" >whole
  run ! parallel -j 1 --halt now,fail=1 --joblog log ./killer {} "${ask[@]}" --shard {}/6 -o part-{} ::: 1 2 3 4 5 6
  [ -e part-1 ] && [ ! -e part-2 ] && [ ! -e part-3 ]
  rm -f killed-5
  touch killed-5
  parallel -j 2 --joblog log --resume-failed ./killer {} "${ask[@]}" --shard {}/6 -o part-{} ::: 1 2 3 4 5 6
  cat part-{1..6} | cmp - whole
}

# ---- noken-cluster(7) ----

page() {
  mandoc -T ascii -O width=1000 "$root/tools/noken-cluster.7" | sed 's/.\x08//g'
}

# section NAME: its displays' commands that begin with $1, one line each.
commands_of() { # commands_of SECTION MARK
  page | awk -v section="$1" -v mark="$2 " '
    /^[^ ]/ { inside = ($0 == section) }
    !inside { next }
    { sub(/^ +/, "") }
    more { command = command " " $0 }
    !more && index($0, mark) == 1 { command = substr($0, 3); more = 1 }
    more && sub(/\\$/, "", command) { next }
    more { print command; more = 0 }'
}

make_input() {
  ln -s $gpt2 MODEL
  printf 'prompt\ttext\na\tThe {} of\nb\tOnce {}\n' >prompts.tsv
  nokens 5000 5 >nokens.safetensors
  nk-run MODEL nokens.safetensors --prompts prompts.tsv --threads 1 >whole.tsv
}

@test "the page's recipes of GNU parallel work as they are written" {
  need_parallel
  make_input
  commands_of "GNU PARALLEL" '$' >commands
  [ "$(wc -l <commands)" -eq 6 ]
  sed -n 1,2p commands >first
  bash -e first
  cmp all.tsv whole.tsv
  rm part-03.tsv part-12.tsv all.tsv
  sed -i -E 's/^((3|12)\t[^\t]*\t[^\t]*\t[^\t]*\t[^\t]*\t[^\t]*\t)0/\11/' log
  sed -n 3,4p commands >again
  bash -e again
  cmp all.tsv whole.tsv
  sed -n 5,6p commands >sets
  bash -e sets
  nk-run MODEL nokens.safetensors --prompts prompts.tsv --capture 2 --threads 1 | cmp - all.safetensors
  # On this machine in place of several hosts, in fewer parts.
  commands_of "GNU PARALLEL" '%' | sed 's/1.alpha,1.beta,1.gamma/1\/:/; s/64/3/g; s/nk-run/& --threads 1/' >hosts
  [ "$(wc -l <hosts)" -eq 1 ]
  rm -f part-*.tsv log
  bash -e hosts
  cat part-?.tsv | cmp - whole.tsv
}

@test "the page's script for Slurm works, with srun and the task's number as Slurm gives them" {
  page | awk '/^[^ ]/ { inside = ($0 == "SLURM") } !inside { next } { sub(/^ +/, "") }
    /^#!/ { script = 1 } script && $0 == "" { exit } script' >job
  grep -q '^#SBATCH --array=1-64$' job
  bash -n job
  make_input
  mkdir bin
  printf '#!/bin/bash\nexec "$@"\n' >bin/srun
  chmod +x bin/srun
  sed -i 's/64"/05"/' job # of 64 parts, 62 were empty here
  for task in 1 2 3 4 5; do
    PATH=$PWD/bin:$PATH SLURM_CPUS_PER_TASK=1 SLURM_ARRAY_TASK_ID=$task bash -e job
  done
  cat part-*.tsv | cmp - whole.tsv
  touch before
  PATH=$PWD/bin:$PATH SLURM_CPUS_PER_TASK=1 SLURM_ARRAY_TASK_ID=3 bash -e job
  [ -z "$(find . -name 'part-*.tsv' -newer before)" ]
}

@test "the page's figures are those of its arithmetic" {
  commands_of EXAMPLES '$' | tail -n 1 >arithmetic
  bash arithmetic >figures
  [ "$(wc -l <figures)" -eq 31 ]
  page | awk '/^[^ ]/ { inside = ($0 == "A SIMULATION ON PAPER") } inside' | tr -d , |
    grep -oE '[0-9]+([.][0-9]+)?(e[+][0-9]+)?' | sort -u >stated
  cut -f 2 figures | while read -r figure; do
    grep -qxF -- "$figure" stated || { echo "$figure is not in the text"; exit 1; }
  done
}
