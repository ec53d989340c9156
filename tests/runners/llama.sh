#!/bin/sh
# Builds runners/llama, with runners/ggml and runners/tokens beside it, which need llama.cpp's
# prebuilt libraries and its headers, and prints the path of the first and the libraries' folder.
# They come from npm into a folder of the build, without running any of the packages' scripts.
#
#   llama.sh BUILD     exit status 77, with the reason, where they cannot be had
set -eu
build=$1
here=$(CDPATH="" cd -- "$(dirname -- "$0")" && pwd)
cache=${NOKEN_LLAMA:-$build/llama}
version=3.22.1

skip() {
  echo "$1"
  exit 77
}

mkdir -p "$cache"
exec 9>"$cache/lock" # tests that run side by side begin with this
flock 9
libraries=$cache/node_modules/@node-llama-cpp/linux-x64/bins/linux-x64
bundle=$cache/node_modules/node-llama-cpp/llama/gitRelease.bundle
if [ ! -d "$libraries" ] || [ ! -f "$bundle" ]; then
  command -v npm >/dev/null || skip "npm is not installed"
  timeout 300 npm install --prefix "$cache" --ignore-scripts --no-audit --no-fund --omit=optional \
    "node-llama-cpp@$version" "@node-llama-cpp/linux-x64@$version" >"$cache/npm.log" 2>&1 ||
    skip "llama.cpp's libraries cannot be installed by npm"
  [ -d "$libraries" ] && [ -f "$bundle" ] || skip "no llama.cpp libraries for this machine"
fi
command -v git >/dev/null || skip "git is not installed: llama.cpp's headers are in a bundle"
source=$cache/llama.cpp
[ -f "$source/include/llama.h" ] || git -c advice.detachedHead=false clone -q "$bundle" "$source"
# Linked by their own names, which npm's package has given them.
llama=$(find "$libraries" -name 'libllama.*so' ! -name '*common*' | sort | head -n 1)
ggml=$(find "$libraries" -name 'libggml.*so' | sort | head -n 1)
for program in llama ggml tokens; do
  [ ! -x "$cache/$program" ] ||
    [ -n "$(find "$here/$program.c" "$here/../../include" -newer "$cache/$program")" ] || continue
  cc -O2 -o "$cache/$program" "$here/$program.c" -I "$here/../../include" -I "$source/include" \
    -I "$source/ggml/include" -L "$build/lib" -lnoken "$llama" "$ggml" \
    "$libraries/libggml-base.so" -lm -Wl,-rpath,"$build/lib:$libraries" \
    -Wl,--allow-shlib-undefined >&2
done
echo "$cache/llama $libraries"
