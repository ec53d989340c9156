# What a user of the library does after `cmake --install`: builds a small program against it, by
# pkg-config and by CMake, and runs an installed tool.
bats_require_minimum_version 1.5.0

setup_file() {
  version=$(awk '/define NK_VERSION_/ { printf "%s%s", dot, $3; dot = "." }' include/noken/base.h)
  export version
  export prefix=$BATS_FILE_TMPDIR/prefix
  cmake --install "$NOKEN_BUILD" --prefix "$prefix" >"$BATS_FILE_TMPDIR/log"
  # The build folder's own tools must not answer for the installed ones.
  PATH=$prefix/bin:${PATH#"$NOKEN_BUILD"/bin:}
  export PATH
  libdir=$(dirname "$(find "$prefix" -name libnoken.so)")
  export libdir
  mkdir "$BATS_FILE_TMPDIR/program"
  cat >"$BATS_FILE_TMPDIR/program/program.c" <<'END'
#include <noken/noken.h>
#include <stdio.h>

int main(void) {
  struct nk_buffer text = {0};
  nk_escape(&text, "a\tb", 3);
  printf("%s %s\n", nk_version(), text.data);
  nk_buffer_free(&text);
  return 0;
}
END
}

@test "a program builds and runs by pkg-config" {
  export PKG_CONFIG_PATH=$libdir/pkgconfig
  [ "$(pkg-config --modversion noken)" = "$version" ]
  read -ra flags < <(pkg-config --cflags --libs noken)
  cc -o "$BATS_TEST_TMPDIR/program" "$BATS_FILE_TMPDIR/program/program.c" "${flags[@]}"
  LD_LIBRARY_PATH=$libdir run -0 "$BATS_TEST_TMPDIR/program"
  [ "$output" = "$version a\\tb" ]
}

@test "a program builds and runs by CMake's find_package" {
  cat >"$BATS_FILE_TMPDIR/program/CMakeLists.txt" <<'END'
cmake_minimum_required(VERSION 3.25)
project(program LANGUAGES C)
find_package(noken 0.2 REQUIRED)
add_executable(program program.c)
target_link_libraries(program PRIVATE noken::noken)
END
  cmake -G Ninja -S "$BATS_FILE_TMPDIR/program" -B "$BATS_TEST_TMPDIR/b" \
    -DCMAKE_PREFIX_PATH="$prefix"
  cmake --build "$BATS_TEST_TMPDIR/b"
  run -0 "$BATS_TEST_TMPDIR/b/program"
  [ "$output" = "$version a\\tb" ]
}

@test "an installed tool runs, and so does one of a prefix that was moved" {
  [ "$(command -v nk)" = "$prefix/bin/nk" ]
  run -0 nk --version
  [[ $output = *"$version"* ]]
  cp -r "$prefix" "$BATS_TEST_TMPDIR/moved"
  run -0 "$BATS_TEST_TMPDIR/moved/bin/nk" --version
  [[ $output = *"$version"* ]]
}

@test "every header compiles alone, as C and as C++" {
  for header in "$prefix"/include/noken/*.h; do
    echo "#include <noken/${header##*/}>" >"$BATS_TEST_TMPDIR/one.c"
    cc -std=c11 -Wall -Wextra -Wpedantic -Werror -I"$prefix/include" -fsyntax-only \
      "$BATS_TEST_TMPDIR/one.c"
    c++ -x c++ -Wall -Wextra -Werror -I"$prefix/include" -fsyntax-only "$BATS_TEST_TMPDIR/one.c"
  done
}

@test "noken.h includes every public header" {
  for header in "$prefix"/include/noken/*.h; do
    [ "${header##*/}" = noken.h ] ||
      grep -qxF "#include <noken/${header##*/}>" "$prefix/include/noken/noken.h"
  done
}

@test "every tool is installed with its page" {
  for source in tools/nk*.c tools/nk-*.sh; do
    name=$(basename "${source%.*}")
    [ -x "$prefix/bin/$name" ]
    [ -f "$prefix/share/man/man1/$name.1" ]
  done
}

@test "the library is versioned, exports nk_* only and names one folder to look in" {
  [ -f "$libdir/libnoken.so.$version" ]
  [ -L "$libdir/libnoken.so" ]
  exported=$(nm -D --defined-only "$libdir/libnoken.so" | awk '$2 != "A" { print $3 }')
  [ -n "$exported" ]
  run -1 grep -v '^nk_' <<<"$exported"
  # An empty entry in the path would mean the current folder.
  run -1 grep -E 'RUNPATH.*(\[:|::|:\])' <(readelf -d "$libdir/libnoken.so" "$prefix"/bin/nk)
}

@test "the library brings no second BLAS" {
  run -0 readelf -d "$libdir/libnoken.so"
  [ "$(grep -cE 'NEEDED.*lib(openblas|blas|cblas|lapack|lapacke|blis|mkl)' <<<"$output")" -le 1 ]
}

@test "nothing installed names the build folder or the checkout" {
  run -1 grep -rlF -e "$NOKEN_BUILD" -e "$PWD/" "$prefix"
}

# Builds tests/examples/$1.c against the installed copy, as README says.
build_example() {
  export PKG_CONFIG_PATH=$libdir/pkgconfig LD_LIBRARY_PATH=$libdir
  read -ra flags < <(pkg-config --cflags --libs noken)
  cc -std=c11 -Wall -Wextra -Wpedantic -Werror -o "$BATS_TEST_TMPDIR/$1" "tests/examples/$1.c" \
    "${flags[@]}"
}

# Examples run with the kernels that the tools choose, so that both round alike: a program has those
# of OpenBLAS's own choice.
with_the_kernels_of_the_tools() {
  OPENBLAS_CORETYPE=$(nk --version | sed -n 's/^OpenBLAS kernels: \([^,]*\),.*/\1/p') "$@"
}

# The named columns of the table on standard input, without its head.
columns() {
  awk -F '\t' -v OFS='\t' -v names="$*" '
    NR == 1 { n = split(names, name, " "); for (i = 1; i <= NF; i++) at[$i] = i; next }
    { for (i = 1; i <= n; i++) printf "%s%s", $at[name[i]], i < n ? OFS : "\n" }'
}

@test "the example of README makes and runs ten nokens in at most 25 lines, as the tools do" {
  [ "$(wc -l <tests/examples/nokens.c)" -le 25 ]
  sed -n '/^```c$/,/^```$/p' README.md | sed '1d;$d' | diff - tests/examples/nokens.c
  build_example nokens
  with_the_kernels_of_the_tools "$BATS_TEST_TMPDIR/nokens" data/gpt2-tiny >"$BATS_TEST_TMPDIR/rows"
  awk -F '\t' '{ for (i = 1; i <= 4; i++) if ($i !~ /^[0-9.e+-]+$/) exit 1 }
    NF != 4 { exit 1 } END { exit NR != 10 }' "$BATS_TEST_TMPDIR/rows"
  nk-extract data/gpt2-tiny | nk-region fit | nk-sample -n 10 --times 2 |
    nk-run data/gpt2-tiny -p 'Please repeat the string "{}": "' | columns id entropy kl p_value |
    diff - "$BATS_TEST_TMPDIR/rows"
  run -1 --separate-stderr "$BATS_TEST_TMPDIR/nokens" /nowhere
  [[ $stderr == *"/nowhere"* ]]
  [ -z "$output" ]
}

@test "the second example runs a set that nk-sample made, as nk-run does" {
  build_example run_set
  nk-extract data/llama-tiny | nk-region fit |
    nk-sample -n 3 --times 1,4 -o "$BATS_TEST_TMPDIR/set"
  with_the_kernels_of_the_tools "$BATS_TEST_TMPDIR/run_set" data/llama-tiny \
    "$BATS_TEST_TMPDIR/set" 'The {} of' >"$BATS_TEST_TMPDIR/rows"
  nk-run data/llama-tiny -p 'The {} of' "$BATS_TEST_TMPDIR/set" |
    columns id distance entropy kl p_value | diff - "$BATS_TEST_TMPDIR/rows"
  [ "$(wc -l <"$BATS_TEST_TMPDIR/rows")" -eq 6 ]
  run -1 --separate-stderr "$BATS_TEST_TMPDIR/run_set" data/gpt2-tiny /nowhere 'The {}'
  [[ $stderr == "run_set: "*"/nowhere"* ]]
}
