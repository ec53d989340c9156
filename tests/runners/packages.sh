#!/bin/bash
# packages.sh: builds the Debian packages in build-package; lintian finds no error in them; they are
# installed in a bare root, used there, and removed, after which the root has the files that it had.
# lintian and a root each need a package and, for the root, the rights of root: exit status 77, with
# the reason in the last line, where a part was skipped and the others passed.
set -euo pipefail
cd "$(dirname "$0")/../.."
build=$PWD/build-package

rm -f "$build"/*.deb
cmake --preset package --log-level=WARNING >/dev/null
cmake --build --preset package
(cd "$build" && cpack) >"$build/cpack.log"
packages=("$build"/*.deb)
skipped=
[ ${#packages[@]} -eq 4 ]
# Each has a summary of its own; pages are compressed, and no other file but the changelog.
summaries=$(for package in "${packages[@]}"; do
  dpkg-deb -f "$package" Description | sed -n 1p
done)
[ "$(sort -u <<<"$summaries" | wc -l)" -eq 4 ]
odd=$(for package in "${packages[@]}"; do dpkg-deb -c "$package"; done |
  awk '!/\/doc\// && (/\.gz/ != /\/man\/man[17]\/./)')
if [ -n "$odd" ]; then
  printf 'packages: compressed, or a page that is not:\n%s\n' "$odd" >&2
  exit 1
fi

if command -v lintian >/dev/null; then
  lintian --allow-root --fail-on error "${packages[@]}"
else
  skipped="lintian is not installed"
fi

if ! command -v mmdebstrap >/dev/null || [ "$(id -u)" -ne 0 ]; then
  echo "${skipped:+$skipped; }a bare root needs mmdebstrap and the rights of root"
  exit 77
fi
scratch=$(mktemp -d)
trap 'rm -rf --one-file-system "$scratch"' EXIT
root=$scratch/root

# What the packages depend on, but each other.
depends=$(for package in "${packages[@]}"; do dpkg-deb -f "$package" Depends; done |
  tr , '\n' | sed 's/[(|].*//; s/ //g' | grep -v noken | sort -u | paste -sd ,)
codename=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
mmdebstrap --quiet --variant=essential --include="$depends,pkgconf,man-db" "$codename" "$root"

list_files() { (cd "$root" && find . -path ./proc -prune -o -path ./sys -prune -o -print) | sort; }
list_files >"$scratch/before"
cp "${packages[@]}" "$root"
cp -r data/gpt2-tiny "$root/model"
in_root() { chroot "$root" "$@"; }
in_root bash -c 'dpkg -i /*.deb' >"$scratch/log" 2>&1 || { cat "$scratch/log" && exit 1; }

in_root nk --version
in_root nk-glitch /model >"$scratch/table"
[ "$(head -1 "$scratch/table" | cut -f1-3)" = $'id\ttext\tcategory' ]
# noken-dnnl has the module alone, which works or names what the processor lacks.
[ "$(dpkg-deb -c "$build"/noken-dnnl_*.deb | grep -c '\.so')" -eq 1 ]
in_root nk-run --precision bf16 -p 'The {}' --ids 300 /model 2>"$scratch/log" >/dev/null ||
  grep -q 'neither AVX512_BF16 nor AMX' "$scratch/log"
in_root nk-survey -q --quick --only glitch -o /survey /model
grep -q '<svg' "$root/survey/report.html"
in_root pkg-config --modversion noken
for page in tools/*.[17]; do
  page=${page##*/}
  in_root man -w "${page%.*}" >/dev/null
done
in_root bash -c 'source /usr/share/bash-completion/completions/nk && complete -p nk-run'

mapfile -t names < <(for package in "${packages[@]}"; do dpkg-deb -f "$package" Package; done)
in_root dpkg --purge "${names[@]}" >"$scratch/log" 2>&1
rm -r "$root"/*.deb "$root/model" "$root/survey"
list_files >"$scratch/after"
# What any package leaves: dpkg's log and its copies of lists, the caches of ldconfig and man.
left=$(diff "$scratch/before" "$scratch/after" |
  grep '^[<>]' | grep -vE '^> \./var/(lib/dpkg/|cache/|log/dpkg\.log$)' || true)
if [ -n "$left" ]; then
  printf 'packages: after their removal the root differs:\n%s\n' "$left" >&2
  exit 1
fi
if [ -n "$skipped" ]; then
  echo "$skipped"
  exit 77
fi
echo "packages: built, checked, installed, removed"
