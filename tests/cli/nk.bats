# nk: the tools by their short names.
bats_require_minimum_version 1.5.0

@test "nk alone lists the tools that are there, each with the summary of its own help" {
  run -0 nk
  for tool in "$NOKEN_BUILD"/bin/nk-*; do
    name=$(basename "$tool")
    summary=$("$tool" --help | sed -n 2p)
    grep -F "  nk ${name#nk-} " <<<"$output" | grep -F -- "$summary"
  done
}

@test "nk NAME runs nk-NAME with its arguments and gives its exit status" {
  run -0 nk extract --version
  [[ $output == "nk-extract (noken) "* ]]
  run -2 nk nk-extract --nothing
  [[ $output == "nk-extract: unknown option '--nothing'"* ]]
}

@test "nk refuses a tool that is not there" {
  run -2 nk nothing
  [ "$output" = "nk: there is no tool 'nothing' (nk alone lists them)" ]
  run -2 nk ../../bin/sh
  [[ $output == *"is no tool's name"* ]]
}

@test "nk notices a full device" {
  run -1 bash -c 'nk >/dev/full'
  [[ $output == *"No space left on device"* ]]
}
