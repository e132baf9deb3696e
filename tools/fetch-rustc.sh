#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# Fetches a compiler from Debian into the cache. It and its libraries are unpacked, not
# installed, because installing it would remove another one.
#
#   fetch-rustc.sh <what its --version says>
set -euo pipefail
# shellcheck source=tools/vm/env.sh
. "$(dirname "${BASH_SOURCE[0]}")/vm/env.sh"
# shellcheck source=tools/rust-tools.sh
. "$top/tools/rust-tools.sh"

text=${1:?usage: fetch-rustc.sh <what its --version says>}
number=$(awk '{ print $2 }' <<<"$text")
dir=$metadata_cache/rustc/$number
version=$(apt-cache madison rustc 2>/dev/null |
	awk -v wanted="$number+" 'index($3, wanted) == 1 && !found++ { print $3 }') || true
[ -n "$version" ] || die "apt knows no rustc $number"

mkdir -p "$metadata_cache/rustc"
exec 9>"$metadata_cache/rustc/.lock"
flock 9
# Another one may have fetched it meanwhile.
! rustc_for "$text" >/dev/null || exit 0
say "fetching rustc $version from Debian, into $dir"
rm -rf "$dir" "$dir.new"
mkdir -p "$dir.new/bin" "$dir.new/packages"
cd "$dir.new/packages"
# Of what it depends on, the libraries that no other program brings along.
apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts \
	--no-breaks --no-replaces --no-enhances "rustc=$version" |
	sed -nE 's/^(libstd-rust[-.a-z0-9]*|libllvm[0-9]+|libz3-[0-9]+)(:.*)?$/\1/p' |
	sort -u | sed "s/^libstd-rust.*/&=$version/" |
	xargs apt-get -qq -o APT::Sandbox::User=root download "rustc=$version" "rust-src=$version" >&2
for package in *.deb; do
	dpkg-deb --extract "$package" "$dir.new"
done
cd "$top"
rm -r "$dir.new/packages"
for tool in rustc rustdoc; do
	cat >"$dir.new/bin/$tool" <<-END
		#!/bin/sh
		LD_LIBRARY_PATH=$dir/usr/lib/$(uname -m)-linux-gnu exec $dir/usr/bin/$tool "\$@"
	END
	chmod +x "$dir.new/bin/$tool"
done
# Only a whole one has this name.
mv "$dir.new" "$dir"
