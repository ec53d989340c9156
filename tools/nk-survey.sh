#!/bin/bash
# nk-survey: the whole study of a model as pipelines of the other tools, and its report. This file
# runs steps; the steps themselves are in share/noken/survey/, a file for each question.
set -euo pipefail
export LC_ALL=C
unset CDPATH

parts='glitch unusual likeness reach streams worst blind'

help() {
  cat <<'END'
usage: nk-survey [OPTION]... MODEL -o FOLDER
the whole study of a model in one command, and its report

      --quick             a small sample of everything: two minutes for a
                          model as small as those in data/
      --only LIST         these questions alone: glitch, unusual, likeness,
                          reach, streams, worst, blind
      --tune              train copies on random and on searched nokens too
      --prompts TABLE     other prompts (prompt, text)
      --chat FORMAT       put prompts into this chat format; auto: the model's
      --flag TABLE        other patterns of unwanted text (name, pattern)
      --contexts FILE     other lines of text, for the residual stream
      --truth TABLE       training counts (id, count, steps), to judge the list
      --dry-run           print the pipelines, and run none
      --unblind           add raters' judgements, the filled-in copies of
                          blind.tsv that are named instead of a model
      --compare           put the results in the folders that are named instead
                          of a model on one page
  -o, --output FOLDER     write tables, pictures and report.html here
      --threads N         number of threads (default: one per core)
      --seed N            seed of random numbers (default: 0)
  -q, --quiet             print no pipelines and no progress
  -h, --help              print this help and exit
      --version           print the version and exit

example: nk-survey data/gpt2-tiny --quick -o survey
manual: man nk-survey
END
}

# fail MESSAGE [STATUS]: ends the survey with one line.
fail() {
  printf 'nk-survey: %s\n' "$1" >&2
  exit "${2:-1}"
}

# save FILE TEXT: writes a file.
save() { { printf '%s\n' "$2" >"$1"; } 2>/dev/null || fail "$1 cannot be written"; }

# Prints standard input; a full disk or a closed pipe is an error of one line.
print() { cat 2>/dev/null || fail 'cannot write to standard output'; }

version() { nk --version | sed '1s/^nk /nk-survey /'; }

# Without the processes that take the other options apart.
[ "${1-}" != --help ] || { help | print; exit; }
bin=$(dirname "$(realpath "$0")")
share=$(realpath "$bin/../share/noken")
export PATH=$bin:$PATH
[ "${1-}" != --version ] || { version | print; exit; }

# The options, as the help has them: --NAME, or --NAME VALUE.
list_options() {
  help | sed -nE 's/^ {2,6}(-[a-z], )?(--[a-z-]+) ?([A-Z]+)?( .*)?$/\2 \3/p'
}

# ---- Options ----
mode=study model='' folder='' truth='' quick=0 tune=0 chat=none seed=0 threads=0 dry=0 quiet=0
prompts=$share/prompts/survey.tsv flags=$share/prompts/flags.tsv
contexts=$share/prompts/contexts.txt operands=()

parse_options() {
  local long arguments part asked
  read -ra asked <<<"$parts"
  long=$(list_options | sed 's/^--//; s/ $//; s/ .*/:/' | paste -sd ,)
  arguments=$(getopt -n nk-survey -o o:qh --long "$long,list-options" -- "$@") || exit 2
  eval set -- "$arguments"
  while [ "$1" != -- ]; do
    case $1 in
      --quick) quick=1 ;;
      --tune) tune=1 ;;
      --dry-run) dry=1 ;;
      -q | --quiet) quiet=1 ;;
      --unblind | --compare)
        [ $mode = study ] || fail 'choose one of --unblind and --compare' 2
        mode=${1#--}
        ;;
      -o | --output) folder=$2 && shift ;;
      --only) read -ra asked <<<"${2//,/ }" && shift ;;
      --flag) flags=$2 && shift ;;
      --prompts | --chat | --contexts | --truth | --seed | --threads)
        printf -v "${1#--}" %s "$2" && shift
        ;;
      -h | --help) help | print; exit ;;
      --version) version | print; exit ;;
      --list-options) { list_options && printf '%s\n' '-o FOLDER' '-q ' '-h '; } | print; exit ;;
    esac
    shift
  done
  operands=("${@:2}")
  [ -n "$folder" ] || fail 'name the output with -o; see nk-survey --help' 2
  [ $dry = 0 ] || [ $mode = study ] || fail "--dry-run does not go with --$mode" 2
  [[ $seed =~ ^[0-9]{1,18}$ ]] || fail "--seed $seed: a whole number is needed" 2
  seed=$((10#$seed))
  [[ $threads =~ ^[0-9]{1,4}$ ]] || fail "--threads $threads: a whole number is needed" 2
  [ $((10#$threads)) = 0 ] || export OMP_NUM_THREADS=$((10#$threads))
  for part in "${asked[@]-}"; do
    [[ $part && " $parts " == *" $part "* ]] || fail "--only $part: the parts are ${parts// /, }" 2
  done
  only=${asked[*]}
}

# ---- Steps ----
# A step is done when steps/NAME.sh is there, the pipeline that ran, and steps/NAME.sum is a digest
# of it and of those before it, on whose files it depends. With options that change one of these it
# is run anew.
planning=0 planned=0 chain='' reported=1

say() { [ $quiet = 1 ] || printf '%s\n' "$@"; }

# step NAME TITLE RUNS: the pipeline on standard input. RUNS is about how many sequences it takes
# through the model.
step() {
  local name=$1 text runs=${3:-0}
  text="# $2"$'\n'$(cat)
  chain=$(printf '%s\n' "$chain" "$text" | b2sum | cut -c 1-32)
  if [ $dry = 1 ]; then
    printf '\n%s\n' "$text"
  elif [ -e "steps/$name.sh" ] && grep -qsxF "$chain" "steps/$name.sum"; then
    [ $planning = 1 ] || say "# $2 (done before)"
  else
    planned=$((planned + runs))
    [ $planning = 1 ] || run_step "$name" "$text"
  fi
  write step "$name"
}

run_step() { # run_step NAME TEXT
  local script=steps/$1.sh status=0
  say '' "$2"
  rm -f "$script"
  save "$script.part" "$2"
  bash -e -o pipefail "$script.part" || status=$?
  if [ $status -ne 0 ]; then
    say "# The step '$1' failed. The same command goes on from it."
    exit 1
  fi
  save "steps/$1.sum" "$chain"
  mv "$script.part" "$script"
}

# has TABLE N WHAT: whether a table of an earlier step has N rows or more. If not, the report says
# that there are too few.
has() {
  local n=0
  [ $dry$planning = 00 ] || return 0
  [ ! -e "$1" ] || n=$(awk 'END { print (NR > 0 ? NR - 1 : 0) }' "$1")
  [ "$n" -ge "$2" ] || { write missing "$3: there are $n, and $2 are needed." && return 1; }
}

# can runs WHAT, can gradients WHAT: whether the model can do it, as nk-info says; texts have to be
# made into tokens as well. If not, the report says why.
can() {
  local property value
  for property in tokenizer "$1"; do
    value=$(info "$property")
    case $value in
      yes | native | llama) ;;
      *) write missing "$2: ${value:-unknown}." && return 1 ;;
    esac
  done
}

# The value of a property of the model, as nk-info prints it.
info() { awk -F '\t' -v name="$1" '$1 == name { print $2; exit }' <<<"$facts"; }

# The rows of a table that have these values: what a program of awk begins with whose arguments are
# TABLE COLUMN=VALUE...
rows='function cell(column) { return column in at ? $at[column] : "" }
  BEGIN { for (i = 2; i < ARGC; i++) { name = ARGV[i]; sub(/=.*/, "", name)
      wanted[name] = substr(ARGV[i], length(name) + 2); ARGV[i] = "" } }
  NR == 1 { for (i = 1; i <= NF; i++) at[$i] = i; next }
  { for (name in wanted) if (cell(name) "" != wanted[name] "") next }'

# cell COLUMN TABLE COLUMN=VALUE...: a cell of the first row that has these values; nothing before
# the table is there.
cell() {
  [ $dry$planning = 00 ] || return 0
  column=$1 awk -F '\t' "$rows"' { print cell(ENVIRON["column"]); exit }' "${@:2}"
}

# few N: a program of awk that prints the header and N rows of a table, at equal distances.
few() {
  cat <<END
NR == 1 { print; next } { row[n++] = \$0 } END {
      m = n < $1 ? n : $1; for (i = 0; i < m; i++) print row[int(i * n / m)] }
END
}

# The number of prompts.
prompts() { head -n $((quick ? 7 : 1000000)) "$prompts" | awk 'END { print NR - 1 }'; }

# ---- What the report says: lines of report.txt, and claims with their numbers in claims.tsv ----
write() { # write DIRECTIVE FIELD...
  local IFS=$'\t'
  [ $dry$planning = 00 ] || return 0
  [ $reported = 1 ] || [ "$1" = step ] || return 0
  printf '%s\n' "$*" >>report.txt.part
}

section() { write section "$part" "$1"; }
text() { local IFS=" "; write text "$*"; }
picture() { write picture "$@"; } # FILE STEP ALT CAPTION
table() { write table "$@"; }     # FILE STEP CAPTION COLUMNS ROWS

# claim KEY STEP UNIT SENTENCE TABLE [COLUMN=VALUE]...: the sentence, in which {} stands for the
# value and the interval in the one row of a table of nk-summary's that has these values.
claim() {
  local line
  [ $dry$planning$reported = 001 ] || return 0
  line=$(key=$1 part=$part step=$2 unit=$3 sentence=$4 awk -F '\t' -v OFS='\t' "$rows"'
    { n = cell("n"); clusters = cell("clusters")
      if (n == "") n = "tokens" in at ? cell("tokens") : cell("n_first") + cell("n_second")
      for (i = 1; i <= NF; i++) for (name in at) if (at[name] == i && name ~ /^n_/ &&
          name !~ /^n_(first|second)$/)
        clusters = clusters (clusters ? ", " : "") $i " " \
          (name == "n_id" ? "items" : substr(name, 3) "s")
      line = ENVIRON["key"] OFS ENVIRON["part"] OFS ENVIRON["sentence"] OFS cell("value") OFS \
        cell("low") OFS cell("high") OFS cell("level") OFS n OFS clusters OFS ENVIRON["unit"] OFS \
        cell("interval") OFS ENVIRON["step"]
      found++ }
    END { if (found == 1) print line
      else { printf "%d rows of %s have its number", found, ARGV[1]; exit 1 } }' "${@:5}" 2>&1) ||
    fail "claim '$1': $line"
  printf '%s\n' "$line" >>claims.tsv.part
  write claim "$1"
}

# ---- The folder ----
# A digest of each of the model's files, under its name without folders.
digest() {
  local file path sum
  awk -F '\t' '$1 == "file" { print $2 }' <<<"$facts" | while IFS= read -r file; do
    printf -v path %b "$file" # as cells of tables escape it
    sum=$(b2sum <"$path")
    printf '%s  %s\n' "${sum:0:32}" "${file##*/}"
  done
}

# Enters the folder, alone: what a killed survey left running ends first.
enter() {
  local error
  error=$(mkdir -p -- "$folder/steps" 2>&1) || fail "${error#mkdir: }"
  cd -- "$folder/"
  { : >>.lock; } 2>/dev/null || fail "$folder: nothing can be written to the folder"
  exec 9>>.lock
  if ! flock -n 9; then
    say "# waiting for another survey in $folder to end"
    flock 9
  fi
  rm -f -- *.part steps/*.part
}

# A folder with other files than a survey's is not written to: they could have the names of its own.
refuse_other_folder() {
  [ -d "$folder" ] && [ ! -e "$folder/model.sums" ] || return 0
  [ -z "$(cd -- "$folder/" && find . -mindepth 1 ! -path ./.lock ! -path './steps*' \
    ! -path './model.*' ! -name '*.part')" ] ||
    fail "$folder: the folder has other files than a survey's; name another one"
}

# The folder is this model's: the same files, or none yet.
claim_folder() {
  digest >model.sums.part
  if [ -e model.sums ] && ! cmp -s model.sums model.sums.part; then
    rm model.sums.part
    fail "$folder holds the survey of another model; name another folder"
  fi
  printf '%s\n' "$facts" >model.tsv.part
  mv model.tsv.part model.tsv
  mv model.sums.part model.sums
}

# ---- Modes ----
# Runs the questions. The first two make what each of the others begins from: where they are not
# asked, their steps run, and the report does not have them.
source_parts() {
  local begin
  chain='' planned=0
  step_inputs
  for part in $parts; do
    reported=1
    [[ " $only " == *" $part "* ]] || reported=0
    case $part in
      glitch) ;;
      unusual) [ "$only" != glitch ] || continue ;;
      *)
        [ $reported = 1 ] || continue
        chain=$begin
        ;;
    esac
    . "$share/survey/$part.sh"
    [ "$part" != unusual ] || begin=$chain
  done
}

# The inputs that pipelines name by a name in the folder, and what they were made by.
step_inputs() {
  local lines=1000000
  [ $quick = 0 ] || lines=7
  step inputs "The prompts, patterns and texts that are used, by $(nk --version | head -n 1)" <<END
head -n $lines $(printf %q "$prompts") > prompts.tsv  # $(b2sum <"$prompts" | cut -c 1-16)
cp $(printf %q "$flags") flags.tsv  # $(b2sum <"$flags" | cut -c 1-16)
cp $(printf %q "$contexts") contexts.txt  # $(b2sum <"$contexts" | cut -c 1-16)
END
}

# What would fail after hours fails here: prompts, chat format and patterns. Says how long the steps
# that are left may take, from the time of a few runs.
check_cost() {
  local start few many
  planning=1 source_parts
  planning=0
  [ $planned -gt 0 ] || return 0
  local probe=(nk-run -q --unverified -o /dev/null "$path" --reference)
  "${probe[@]}" 8 --ids 0 --prompts "$prompts" --chat "$chat" --flag "$flags" --generate 1 || exit 1
  [ $quiet = 0 ] || return 0
  start=${EPOCHREALTIME/./}
  "${probe[@]}" 16 -p 'He said to the {}' --ids 0-15 || return 0
  few=$((${EPOCHREALTIME/./} - start))
  "${probe[@]}" 16 -p 'He said to the {}' --ids 0-79 || return 0
  many=$((${EPOCHREALTIME/./} - start - few))
  # A machine that does other things can take less time for 80 than for 16.
  awk -v runs=$planned -v us=$((many - few > many / 8 ? many - few : many / 8)) 'BEGIN {
    minutes = runs * us / 64 / 6e7 * 2
    printf "# About %d sequences are left to run: ", runs
    if (minutes < 1) print "a minute or two."
    else if (minutes < 100) printf "some %d minutes.\n", minutes + 1
    else printf "some %.1f hours.\n", minutes / 60 }'
}

# The files that options name: a survey writes copies of them, which they cannot be themselves.
check_inputs() {
  local file name
  for file in prompts flags contexts truth; do
    [ -n "${!file}" ] || continue
    name="--${file/flags/flag} ${!file}"
    [ -f "${!file}" ] && [ -r "${!file}" ] || fail "$name: cannot be read"
    printf -v "$file" %s "$(realpath -- "${!file}")"
    [ "$(dirname "${!file}")" != "$(realpath -m -- "$folder")" ] ||
      fail "$name: is in the folder $folder; name a copy elsewhere"
  done
}

study() {
  [ ${#operands[@]} -eq 1 ] || fail 'name one model; see nk-survey --help' 2
  model=${operands[0]}
  local facts path chat_option=''
  [ ! -e "$model" ] || model=$(realpath -- "$model")
  facts=$(nk-info -- "$model") || exit 1
  check_inputs
  path=$model
  printf -v model %q "$model"
  [ "$chat" = none ] || printf -v chat_option -- " --chat %q" "$chat"
  if [ $dry = 1 ]; then
    printf '#!/bin/bash\nset -euo pipefail\nmkdir -p -- %q && cd -- %q/\n' "$folder" "$folder"
    source_parts
    return
  fi
  refuse_other_folder
  enter
  claim_folder
  check_cost
  rm -f report.txt.part
  : >claims.tsv.part
  source_parts
  write_report
}

# The claims that the report begins with, where there are such.
findings='listed clearly clearly_control glitch_ood near_ood far_ood far_flags like_ordinary
  like_closest reach_far searched_kl_quantile-0.5 random_kl_quantile-0.5
  ordinary_kl'

# The head of the report, what the parts wrote, and what raters said.
write_report() {
  {
    printf 'key\tsection\tsentence\tvalue\tlow\thigh\tlevel\tn\tclusters\tunit\tinterval\tstep\n'
    cat claims.tsv.part
  } >claims.tsv.new.part
  rm claims.tsv.part
  mv claims.tsv.new.part claims.tsv
  {
    local name main
    name=$(info model)
    printf 'title\t%s\n' "Glitch tokens and nokens: ${name##*/}"
    lead
    printf 'fact\t%s\t%s\n' Model "$name" Architecture "$(info model_type)" \
      Tokens "$(info tokens)" Blocks "$(info blocks)" Dimensions "$(info dimension)" \
      Weights "$(info parameters)" Survey "$([ $quick = 1 ] && echo quick || echo full), seed $seed"
    main=$(awk -F '\t' -v OFS='\t' -v keys="$findings" '
      { there[$1] }
      END { n = split(keys, key, " ")
        for (i = 1; i <= n; i++) if (key[i] in there) print "claim", key[i] }' claims.tsv)
    [ -z "$main" ] || { in_short && printf '%s\n' "$main"; }
    cat report.txt.part
    words
  } >report.txt.new.part
  rm report.txt.part
  mv report.txt.new.part report.txt
  add_raters
  render
}

page() { # page CLAIMS REPORT: the page of both
  local parts=$share/survey
  awk -f "$parts/text.awk" -f "$parts/picture.awk" -f "$parts/beside.awk" -f "$parts/report.awk" \
    "$parts/report.css" "$parts/report.js" "$1" "$2"
}

render() {
  local error
  error=$(page claims.tsv report.txt 2>&1 >report.html.part) ||
    fail "$folder/report.html: ${error##*$'\n'}"
  mv report.html.part report.html
  say '' "# The report is $folder/report.html"
}

parse_options "$@"
. "$share/survey/unblind.sh"
. "$share/survey/compare.sh"
. "$share/survey/words.sh"
"$mode"
