# nk: the tools by their short names.
bats_require_minimum_version 1.5.0

@test "nk without arguments lists the installed tools with the summaries of their help" {
  run -0 nk
  for tool in "$NOKEN_BUILD"/bin/nk-*; do
    name=$(basename "$tool")
    summary=$("$tool" --help | sed -n 2p)
    grep -F "  nk ${name#nk-} " <<<"$output" | grep -F -- "$summary"
  done
}

@test "nk NAME runs nk-NAME with its arguments and has its exit status" {
  run -0 nk extract --version
  [[ $output == "nk-extract (noken) "* ]]
  run -2 nk nk-extract --nothing
  [[ $output == "nk-extract: unknown option '--nothing'"* ]]
}

@test "an unknown tool is a usage error" {
  run -2 nk nothing
  [ "$output" = "nk: unknown tool 'nothing' (nk without arguments lists the tools)" ]
  run -2 nk ../../bin/sh
  [[ $output == "nk: unknown tool '../../bin/sh'"* ]]
}

@test "nk --version prints the version of noken and the kernels of OpenBLAS" {
  version=$(awk '/define NK_VERSION_/ { printf "%s%s", dot, $3; dot = "." }' include/noken/base.h)
  run -0 nk --version
  [ "${lines[0]}" = "nk (noken) $version" ]
  [[ ${lines[1]} == "OpenBLAS kernels: "* ]]
  [ "${lines[3]}" = "Unicode 16.0.0 in tokenizers' patterns" ]
}

@test "nk --version prints the versions of the libraries as Debian has them" {
  run -0 nk --version
  names=${lines[2]}
  for pair in OpenBLAS:libopenblas0-openmp FAISS:libfaiss-dev Jansson:libjansson4 \
    PCRE2:libpcre2-8-0 utf8proc:libutf8proc2; do
    package=$(dpkg-query -W -f '${Version}' "${pair#*:}") || skip "Debian's packages are not there"
    [[ "$names," == *"${pair%:*} ${package%%[+-]*},"* ]]
  done
}

@test "nk reports a full device" {
  run -1 bash -c 'nk >/dev/full'
  [[ $output == *"No space left on device"* ]]
}
