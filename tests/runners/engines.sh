#!/bin/sh
# Builds what tests/cli/engines.bats needs, with the llama.cpp of llama.sh as an installed one: the
# module noken/llama.so as CMake builds it, the program runners/engines, and a server and a library
# of llama.cpp's RPC backend, which npm's package lacks but has the sources of. Prints their folder.
#
#   engines.sh BUILD     exit status 77, with the reason, where llama.cpp cannot be had
set -eu
build=$1
here=$(CDPATH="" cd -- "$(dirname -- "$0")" && pwd)
root=$here/../..
line=$("$here/llama.sh" "$build") || {
  status=$?
  echo "$line"
  exit $status
}
libraries=${line#* }
cache=${line%/llama *}
ggml=$cache/llama.cpp/ggml
prefix=$cache/prefix
mkdir -p "$prefix/include"
ln -sfn "$libraries" "$prefix/lib"
cp "$cache/llama.cpp/include/"*.h "$ggml/include/"*.h "$prefix/include"
[ -f "$cache/build/CMakeCache.txt" ] || {
  faiss=$(sed -n 's/^\(NOKEN_FAISS_C_API:.*\)/-D\1/p' "$build/CMakeCache.txt")
  # shellcheck disable=SC2086 # none, or one without spaces
  cmake -S "$root" -B "$cache/build" -DCMAKE_BUILD_TYPE=Release -DNOKEN_TESTS=OFF \
    -DNOKEN_LLAMA="$prefix" $faiss --log-level=WARNING >&2
}
cmake --build "$cache/build" --target noken_llama >&2
is_older() { # is_older FILE SOURCE...
  file=$1
  shift
  [ ! -e "$file" ] || [ -n "$(find "$@" -newer "$file")" ]
}
if is_older "$cache/engines" "$here/engines.c" "$root/include"; then
  cc -O2 -Wall -Wextra -o "$cache/engines" "$here/engines.c" -I "$root/include" -L "$build/lib" \
    -lnoken -lm -Wl,-rpath,"$build/lib" >&2
fi
if is_older "$cache/rpc-server" "$here/rpc-server.c"; then
  cc -O2 -Wall -Wextra -o "$cache/rpc-server" "$here/rpc-server.c" -I "$prefix/include" \
    "$(find "$libraries" -name 'libggml.*so')" "$libraries/libggml-base.so" \
    -Wl,-rpath,"$libraries" >&2
fi
if [ ! -e "$cache/libggml-rpc.so" ]; then
  c++ -std=c++17 -O1 -fPIC -shared -DNDEBUG -DGGML_BACKEND_DL -DGGML_BACKEND_SHARED \
    -DGGML_BACKEND_BUILD -DGGML_SHARED -I "$ggml/include" -I "$ggml/src" \
    -o "$cache/libggml-rpc.so" "$ggml/src/ggml-rpc/ggml-rpc.cpp" \
    "$ggml/src/ggml-rpc/transport.cpp" "$libraries/libggml-base.so" -Wl,-rpath,"$libraries" >&2
fi
echo "$cache"
