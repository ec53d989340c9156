#!/bin/sh
# faiss-c-api.sh FOLDER: puts the sources of FAISS's C API (its folder c_api/), of the same version
# as the installed libfaiss-dev, into FOLDER.
#
# Debian packages FAISS with the headers of the C API, but without the library faiss_c. Its sources
# are in Debian's source package, which apt fetches and verifies. Few systems have deb-src entries:
# here they are made from the system's deb entries. They and their indices are in a private folder;
# the system's configuration and lists are read and not changed.
set -eu

fail() {
  echo "faiss-c-api.sh: $*" >&2
  exit 1
}

[ $# -eq 1 ] || fail "usage: faiss-c-api.sh FOLDER"
target=$1
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

version=$(dpkg-query -W -f '${source:Version}' libfaiss-dev 2>/dev/null) ||
  fail "libfaiss-dev is not installed"
if [ -f "$target/VERSION" ] && [ "$(cat "$target/VERSION")" = "$version" ]; then
  exit 0
fi
[ -r "$keyring" ] || fail "$keyring: no such file; install debian-archive-keyring"
command -v dpkg-source >/dev/null || fail "no program dpkg-source; install dpkg-dev"

mkdir -p "$(dirname "$target")"
work=$(mktemp -d "$(dirname "$target")/faiss-source.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
work=$(cd "$work" && pwd)
mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/unpacked"

# apt lists its entries, from files of any format. An entry whose index was never fetched has no
# origin; it is used too, since an archive that Debian's keyring did not sign is not accepted.
apt-get indextargets --format '$(ORIGIN)|$(REPO_URI)|$(RELEASE)|$(COMPONENT)' \
  'Created-By: Packages' | sort -u |
  while IFS='|' read -r origin uri release component; do
    case $origin in
      Debian | '' | '$(ORIGIN)')
        echo "deb-src [signed-by=$keyring] $uri $release $component"
        ;;
    esac
  done >"$work/sources.list"
[ -s "$work/sources.list" ] || fail "no Debian archive among apt's entries"

# The hooks of the system's configuration are for its own lists.
cat >"$work/apt.conf" <<END
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
Dir::Etc::SourceList "$work/sources.list";
Dir::Etc::SourceParts "/dev/null";
Dir::State::Lists "$work/lists";
Dir::Cache "$work/cache";
APT::Sandbox::User "root";
APT::Get::List-Cleanup "0";
Acquire::Languages "none";
Acquire::Retries "3";
END

echo "fetching the sources of FAISS's C API (faiss $version) by apt" >&2
apt-get -c "$work/apt.conf" -qq update >"$work/log" 2>&1 || true # another entry may be enough
(cd "$work/unpacked" &&
  apt-get -c "$work/apt.conf" -qq source "faiss=$version" >>"$work/log" 2>&1) || {
  cat "$work/log" >&2
  fail "apt could not fetch the source package faiss $version"
}

set -- "$work"/unpacked/faiss-*/c_api
[ -f "$1/Index_c.cpp" ] || fail "the source package faiss $version has no c_api/Index_c.cpp"
rm -rf "$target"
mv "$1" "$target"
echo "$version" >"$target/VERSION"
