#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# Makes the root file system of a whole Debian 13, as somebody has it who uses its
# kernel of our series: systemd, udev, an initramfs. Prints where it is in the cache.
set -euo pipefail
# shellcheck source=tools/vm/env.sh
. "$(dirname "${BASH_SOURCE[0]}")/../vm/env.sh"
# shellcheck source=tools/distro/debian.sh
. "$top/tools/distro/debian.sh"

release=$("$top/tools/distro/stage.sh" release)
machine=$cache/machine-$release
if [ ! -e "$machine/.complete" ]; then
	say "making a whole Debian 13 with kernel $release in $machine: fetching some 250 MB"
	# shellcheck disable=SC2016 # a variable of that shell
	debian "$machine" minbase \
		"systemd-sysv,udev,kmod,procps,zstd,busybox,initramfs-tools,linux-base/trixie-backports,linux-image-$release" \
		'echo "127.0.0.1 localhost machine" >"$1/etc/hosts"; echo machine >"$1/etc/hostname"; touch "$1/.complete"'
fi
echo "$machine"
