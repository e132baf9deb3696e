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
# The last two are for docs/observability.md.
packages=systemd-sysv,udev,kmod,procps,xz-utils,zstd,busybox,initramfs-tools
packages+=,linux-base/trixie-backports,linux-image-$release,trace-cmd,bpftrace
machine=$cache/machine-$release-$(cksum <<<"$packages" | cut -d' ' -f1)
if [ ! -e "$machine/.complete" ]; then
	say "making a whole Debian 13 with kernel $release in $machine: fetching some 350 MB"
	# shellcheck disable=SC2016 # a variable of that shell
	debian "$machine" minbase "$packages" \
		'echo "127.0.0.1 localhost machine" >"$1/etc/hosts"; echo machine >"$1/etc/hostname"; touch "$1/.complete"'
fi
echo "$machine"
