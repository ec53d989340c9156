# bash's completion, made from the tools' tables of options.
bats_require_minimum_version 1.5.0

# complete_line WORD...: what is offered for the last of the words.
complete_line() {
  source "$NOKEN_BUILD/share/bash-completion/completions/nk"
  COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
  _noken "$1" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
  echo "${COMPREPLY[*]}"
}

@test "options, values, commands and tools are completed" {
  run -0 complete_line nk-run model --offs
  [ "$output" = "--offsets" ]
  run -0 complete_line nk-run --mode re
  [ "$output" = replace ]
  run -0 complete_line nk-search --metric = co
  [ "$output" = cosine ]
  run -0 complete_line nk search --metric =
  [ "$output" = "l2 cosine mahalanobis knn" ]
  run -0 complete_line nk region sco
  [ "$output" = score ]
  run -0 complete_line nk glit
  [ "$output" = glitch ]
  run -0 complete_line nk-run --prompts ""
  [ "$output" = "" ] # readline completes files
}

@test "every option of every tool's help is completed" {
  source "$NOKEN_BUILD/share/bash-completion/completions/nk"
  for tool in "$NOKEN_BUILD"/bin/nk-*; do
    name=${tool##*/}
    for option in $("$tool" --help | grep -oE '^ +(-., )?--[a-z-]+' | grep -oE -- '--[a-z-]+'); do
      [[ $'\n'${_noken_options[$name]} == *$'\n'"$option "* ]] || {
        echo "$name: $option" >&2
        return 1
      }
    done
    [ -L "$NOKEN_BUILD/share/bash-completion/completions/$name" ]
  done
}

@test "a list of options goes to a closed pipe or a full device as other output does" {
  run -1 bash -c 'nk-run --list-options >/dev/full'
  [[ $output = *"No space left"* ]]
  cd "$BATS_TEST_TMPDIR"
  mkfifo gone
  : <gone & # it has gone when the pipe is written
  exec 7>gone
  wait $!
  status=0
  nk-run --list-options >&7 2>errors || status=$?
  exec 7>&-
  [ "$status" -eq 141 ] # SIGPIPE
  [ ! -s errors ]
}
