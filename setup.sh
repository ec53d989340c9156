#!/bin/bash
# setup.sh: everything between a fresh clone and built tools in build/bin. Installs the Debian
# packages that are missing (asks apt for nothing when none is), configures and builds. A second
# run finds it all done in a moment.
set -euo pipefail
cd "$(dirname "$0")"

packages=(
  gcc g++ cmake ninja-build pkgconf
  libopenblas-openmp-dev liblapacke-dev libfaiss-dev libjansson-dev libpcre2-dev libutf8proc-dev
  gnuplot-nox fonts-dejavu-core      # nk-plot
  libcmocka-dev bats mandoc          # tests
  bsdextrautils                      # column, in demo.sh
  dpkg-dev debian-archive-keyring    # to fetch the sources of FAISS's C API
)

missing_packages() {
  local package installed
  installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "${packages[@]}" 2>/dev/null) ||
    true
  for package in "${packages[@]}"; do
    # gnuplot's packages exclude each other; any of them will do.
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
      exit 1
    fi
  fi
  echo "installing: $*"
  # An archive that does not answer need not be the one that has these packages.
  "${as_root[@]}" "${apt[@]}" update || true
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    "${apt[@]}" install --no-install-recommends -y "$@" </dev/null
}

if command -v dpkg-query >/dev/null; then
  mapfile -t missing < <(missing_packages)
  [ ${#missing[@]} -eq 0 ] || install_packages "${missing[@]}"
else
  echo "setup.sh: not a Debian system, going on with what is installed; Debian's names for what" >&2
  echo "is needed: ${packages[*]}" >&2
fi

# A build folder that moved with its checkout still names the old place.
if [ -f build/CMakeCache.txt ] &&
  ! grep -qxF "CMAKE_HOME_DIRECTORY:INTERNAL=$PWD" build/CMakeCache.txt; then
  rm -rf build/CMakeCache.txt build/CMakeFiles build/build.ninja
fi
[ -f build/build.ninja ] || cmake --preset release --log-level=NOTICE

quiet=(--quiet)
[ -t 1 ] && quiet=()
ninja -C build "${quiet[@]}"
