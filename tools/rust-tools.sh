# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# shellcheck disable=SC2154 # vm/env.sh, sourced before this, says where the caches are
#
# Finds the Rust tools that a kernel was built with. Sourced.

# rustc_for TEXT: prints the path of the rustc whose `--version` is TEXT, to the
# letter, because metadata of crates loads only in the compiler that wrote it.
rustc_for() {
	local candidate
	for candidate in "${RUSTC:-}" /usr/bin/rustc "$(command -v rustc || true)" \
		{"$metadata_cache",/var/cache/rust-vfio}/rustc/*/bin/rustc; do
		if [ -x "$candidate" ] && [ "$("$candidate" --version)" = "$1" ]; then
			echo "$candidate"
			return
		fi
	done
	return 1
}

# fetch_rustc TEXT: gets it from Debian, into the cache: it and its libraries are
# unpacked, not installed, because installing it would remove another one.
fetch_rustc() {
	local number version dir tool
	number=$(awk '{ print $2 }' <<<"$1")
	dir=$metadata_cache/rustc/$number
	version=$(apt-cache madison rustc 2>/dev/null |
		awk -v wanted="$number+" 'index($3, wanted) == 1 { print $3; exit }')
	[ -n "$version" ] || return 1
	mkdir -p "$metadata_cache/rustc"
	exec 8>"$metadata_cache/rustc/.lock"
	flock 8
	say "fetching rustc $version from Debian, into $dir"
	rm -rf "$dir"
	mkdir -p "$dir/bin" "$dir/packages"
	# Of what it depends on, the libraries that no other program brings along.
	(
		cd "$dir/packages" || exit
		apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts \
			--no-breaks --no-replaces --no-enhances "rustc=$version" |
			sed -nE 's/^(libstd-rust[-.a-z0-9]*|libllvm[0-9]+|libz3-[0-9]+)(:.*)?$/\1/p' |
			sort -u | sed "s/^libstd-rust.*/&=$version/" |
			xargs apt-get -qq -o APT::Sandbox::User=root download "rustc=$version" "rust-src=$version"
		for package in *.deb; do
			dpkg-deb --extract "$package" "$dir"
		done
	) >&2
	rm -r "$dir/packages"
	for tool in rustc rustdoc; do
		cat >"$dir/bin/$tool" <<-END
			#!/bin/sh
			LD_LIBRARY_PATH=$dir/usr/lib/$(uname -m)-linux-gnu exec $dir/usr/bin/$tool "\$@"
		END
		chmod +x "$dir/bin/$tool"
	done
	exec 8>&-
}

# find_bindgen TEXT: prints the path of the bindgen whose `--version` is TEXT, or of
# any if that is empty.
find_bindgen() {
	local candidate
	for candidate in "${BINDGEN:-}" "$cache/tools/bin/bindgen" "$(command -v bindgen || true)" \
		/usr/bin/bindgen; do
		if [ -x "$candidate" ] && { [ -z "$1" ] || [ "$("$candidate" --version)" = "$1" ]; }; then
			echo "$candidate"
			return
		fi
	done
	return 1
}
