#!/bin/sh
# debian-base.sh DIRECTORY: a base of Debian packages, for machines that reach no registry. Writes two root file systems:
# build.tar has Python with pip and a shell; base.tar has Python, the libraries that it is linked with, and no shell.
# No maintainer script runs. The same packages give the same archives.
set -eu
suite=trixie python=python3.13
packages="base-files ca-certificates libbz2-1.0 libc6 libexpat1 libffi8 libgcc-s1 liblzma5 lib$python-minimal
  lib$python-stdlib libssl3t64 libstdc++6 libuuid1 libzstd1 gcc-14-base $python-minimal zlib1g"

command -v mmdebstrap >/dev/null || {
  echo "a base of Debian packages needs mmdebstrap, which is not installed: 'apt-get install mmdebstrap'" >&2
  exit 1
}
directory=$1
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# mmdebstrap verifies Debian's signatures, and adds what the packages depend on.
extract() {
  mmdebstrap --quiet --variant=extract --format=directory --skip=essential/unlink,cleanup/apt \
    --include="$(echo "$2" | tr -s ' \n' ,)" "$suite" "$scratch/$1" >"$scratch/log" 2>&1 || {
    echo "Debian's packages cannot be extracted: $(grep '^E: ' "$scratch/log" | head -n 1)" >&2
    exit 1
  }
}

archive() {
  chmod -R u-s,go-ws "$1" && chmod 1777 "$1/tmp"
  tar --create --file "$directory/$2" --directory "$1" --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner \
    --pax-option=delete=atime,delete=ctime --format=pax .
}

extract build "base-files ca-certificates coreutils dash findutils python3 $python-venv sed"
(cd "$scratch"/build && rm -r var/cache var/lib/apt && mkdir -p etc/ssl/certs) # then what ca-certificates would do
find "$scratch"/build/usr/share/ca-certificates -name '*.crt' | LC_ALL=C sort | xargs cat >"$scratch/authorities"
cp "$scratch/authorities" "$scratch"/build/etc/ssl/certs/ca-certificates.crt
archive "$scratch/build" build.tar

# Of the runtime only these packages, without what they depend on in an installed system.
extract all "$packages"
root=$scratch/root
mkdir "$root"
for package in $packages; do
  file=$(echo "$scratch/all/var/cache/apt/archives/${package}"_*.deb)
  dpkg-deb --extract "$file" "$root"
  mkdir -p "$root/var/lib/dpkg/status.d" # where scanners read the packages of an image
  dpkg-deb --field "$file" >"$root/var/lib/dpkg/status.d/$package"
done
cd "$root"
find usr/share -mindepth 1 -maxdepth 1 ! -name doc -exec rm -r {} +
find usr/share/doc -type f ! -name copyright -delete
rm -r usr/sbin usr/lib/*/gconv usr/lib/*/libmvec*
(cd usr/lib/*-linux-gnu && rm libthread_db* libmemusage* libpcprofile* libc_malloc_debug* libBrokenLocale*)
# Extension modules whose libraries are not among the packages, and tests.
(cd usr/lib/"$python"/lib-dynload && rm _curses* _dbm* _sqlite3* _test* readline*)
printf 'root:x:0:0::/:\nnonroot:x:65532:65532::/:\n' >etc/passwd
printf 'root:x:0:\nnonroot:x:65532:\n' >etc/group
echo 'hosts: files dns' >etc/nsswitch.conf
ln -s "$python" usr/bin/python3
mkdir -p dev etc/ssl/certs proc run sys tmp
cp "$scratch/authorities" etc/ssl/certs/ca-certificates.crt
archive "$root" base.tar
