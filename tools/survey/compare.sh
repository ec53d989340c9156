# nk-survey --compare: several surveys side by side on one page.

# A fact in the head of a survey's report.
fact_of() { awk -F '\t' -v name="$2" '$1 == "fact" && $2 == name { print $3; exit }' "$1/report.txt"; }

# The facts but the model's name, as one line.
facts_of() {
  awk -F '\t' '$1 == "fact" && $2 != "Model" && $3 != "" { printf "%s%s %s", comma, tolower($2), $3; comma = ", " }' \
    "$1/report.txt"
}

# What decides which samples a survey draws: its size and seed, its inputs, the version of the tools.
settings_of() {
  fact_of "$1" Survey
  sed -n '1s/.*, by //p; s/.*# \([0-9a-f]\{16\}\)$/\1/p' "$1/steps/inputs.sh"
}

distinct() { [ -z "$(printf '%s\n' "$@" | sort | uniq -d)" ]; }

# label PATH...: labels, the models' names, the folders' names or the paths: the first that differ.
label() {
  local path
  labels=()
  for path in "$@"; do labels+=("$(fact_of "$path" Model)"); done
  labels=("${labels[@]##*/}")
  distinct "${labels[@]}" || labels=("${@##*/}")
  distinct "${labels[@]}" || labels=("$@")
  labels=("${labels[@]//=/-}")
}

compare() {
  [ ${#operands[@]} -ge 2 ] || fail 'name two folders or more; see nk-survey --help' 2
  [ ! -d "$folder" ] || fail "$folder: a folder; name a file with -o"
  local path paths=() labels i
  for path in "${operands[@]}"; do
    [[ $(realpath -m -- "$path") != *[[:cntrl:]]* ]] || fail 'a name of a folder has control characters; rename it'
    [ -e "$path/report.txt" ] && [ -e "$path/claims.tsv" ] && [ -e "$path/steps/inputs.sh" ] ||
      fail "$path: the folder holds no survey, or one that has not ended"
    paths+=("$(realpath -- "$path")")
  done
  distinct "${paths[@]}" || fail 'a folder is named twice'
  label "${paths[@]}"
  work=$(mktemp -d) # for the trap not local
  trap 'rm -rf "$work"' EXIT
  {
    printf 'title\tGlitch tokens and nokens in %d surveys\n' ${#paths[@]}
    for i in "${!paths[@]}"; do printf 'fact\t%s\t%s\n' "${labels[i]}" "$(facts_of "${paths[i]}")"; done
    printf 'section\tcomparison\tWhat do the surveys find?\n'
    printf 'text\tEach row is a claim; its number has the interval and the sample of the survey in the column. %s\n' \
      "Where intervals are apart, the models differ in other samples too; where they are not, they may."
    [ "$(for path in "${paths[@]}"; do settings_of "$path" | b2sum; done | sort -u | wc -l)" = 1 ] ||
      printf 'missing\t%s\n' 'The surveys have other sizes, seeds, inputs or versions of noken: part of a difference can be due to these.'
    printf comparison
    for i in "${!paths[@]}"; do printf '\t%s=%s' "${labels[i]}" "${paths[i]}"; done
    printf '\n'
  } >"$work/report.txt"
  printf 'key\n' >"$work/claims.tsv"
  page "$work/claims.tsv" "$work/report.txt" >"$folder.part" || {
    rm -f -- "$folder.part"
    fail "$folder cannot be written"
  }
  mv -- "$folder.part" "$folder"
  say "# The page is $folder"
}
