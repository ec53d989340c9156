#!/bin/bash
# completion.sh BIN OUT: writes OUT, bash's completion of the tools in the folder BIN, from what
# each of them prints for --list-options.
set -euo pipefail
bin=$1 out=$2

{
  echo "# bash completion of noken's tools, made from their tables of options"
  echo "declare -gA _noken_options=("
  for tool in "$bin"/nk-*; do
    printf '  [%s]=%q\n' "${tool##*/}" "$("$tool" --list-options)"
  done
  cat <<'END'
)

# The value of the option before, an option, a command; else readline's default, a file. In
# --option=value the = is a word of its own.
_noken() {
  local tool=${1##*/} word=$2 before=$3 first=1 name argument values= options= commands=
  if [ "$tool" = nk ]; then
    if [ "$COMP_CWORD" -eq 1 ]; then
      local tools="${!_noken_options[*]}"
      mapfile -t COMPREPLY < <(compgen -W "${tools//nk-/} --help --version" -- "$word")
      return
    fi
    tool=nk-${COMP_WORDS[1]#nk-} first=2
  fi
  [ "$word" = = ] && word=
  [ "$before" = = ] && before=${COMP_WORDS[COMP_CWORD - 2]}
  while read -r name argument; do
    case $name in
      -*) options+=" $name" ;;
      *) commands+=" $name" ;;
    esac
    [ "$name" = "$before" ] && values=$argument
  done <<<"${_noken_options[$tool]-}"
  COMPREPLY=()
  if [ -n "$values" ]; then
    case $values in
      *\|*) mapfile -t COMPREPLY < <(compgen -W "${values//|/ }" -- "$word") ;;
    esac
  elif [ "${word:0:1}" = - ]; then
    mapfile -t COMPREPLY < <(compgen -W "$options" -- "$word")
  elif [ "$COMP_CWORD" -eq "$first" ]; then
    mapfile -t COMPREPLY < <(compgen -W "$commands" -- "$word")
  fi
}
complete -o default -F _noken nk "${!_noken_options[@]}"
END
} >"$out.part"
mv "$out.part" "$out"
