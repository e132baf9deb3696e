#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# Prints where a static busybox is, in the cache. It is fetched from Debian and unpacked
# there, because its package cannot be installed beside the busybox that most machines have.
set -euo pipefail
# shellcheck source=tools/vm/env.sh
. "$(dirname "${BASH_SOURCE[0]}")/env.sh"

dir=$cache/busybox
if [ ! -x "$dir/busybox" ]; then
	say "fetching busybox-static from Debian, into $dir"
	rm -rf "$dir.new"
	mkdir -p "$dir.new"
	(
		cd "$dir.new"
		apt-get -qq -o APT::Sandbox::User=root download busybox-static
		dpkg-deb --extract busybox-static_*.deb .
		mv "$(find . -path '*bin/busybox')" .
	) >&2
	rm -rf "$dir"
	mv "$dir.new" "$dir"
fi
echo "$dir/busybox"
