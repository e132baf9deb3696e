#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# Prints where a static busybox is: the one of this machine, or else one in the cache. That is
# fetched from Debian and unpacked, because its package cannot be installed beside the busybox
# that most machines have.
set -euo pipefail
# shellcheck source=tools/vm/env.sh
. "$(dirname "${BASH_SOURCE[0]}")/env.sh"

# shellcheck disable=SC2016 # dpkg's
if [ "$(dpkg-query -W -f='${db:Status-Status}' busybox-static 2>/dev/null)" = installed ]; then
	echo /bin/busybox
	exit
fi

dir=$cache/busybox
mkdir -p "$cache"
exec 9>"$dir.lock"
flock 9
if [ ! -x "$dir/busybox" ]; then
	say "fetching busybox-static from Debian, into $dir"
	rm -rf "$dir"
	mkdir "$dir"
	(
		cd "$dir"
		apt-get -qq -o APT::Sandbox::User=root download busybox-static
		dpkg-deb --extract busybox-static_*.deb .
		mv "$(find . -path '*bin/busybox')" .
	) >&2
fi
echo "$dir/busybox"
