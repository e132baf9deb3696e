#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# Called by mmdebstrap at the end, for stage.sh: adds Debian's newest kernel of a
# series to a root file system, with its headers and its source, and writes the
# kernel's release to /.complete.
#
#   stage-kernel.sh <root> <series> <flavour>
set -euo pipefail

root=$1 series=$2 flavour=$3
within() { chroot "$root" env DEBIAN_FRONTEND=noninteractive "$@"; }

release=$(within apt-cache pkgnames "linux-headers-$series." |
	sed -nE "s/^linux-headers-($series\.[0-9]+\+deb[0-9]+-$flavour)$/\1/p" | sort -V | tail -n 1)
[ -n "$release" ] || {
	echo "error: Debian has no kernel $series for $flavour" >&2
	exit 1
}
within apt-get -qq install -y --no-install-recommends \
	"linux-headers-$release" "linux-source-$series" >&2
# The kernel and those of its modules that VMs load are unpacked only: installing
# them would make an initramfs, and there are thousands.
# shellcheck disable=SC2016 # variables of that shell
within sh -ec '
	cd /tmp
	apt-get -qq download "linux-binary-$1" "linux-modules-$1"
	dpkg-deb --extract linux-binary-*.deb /
	dpkg-deb --fsys-tarfile linux-modules-*.deb | tar -C / -x --wildcards \
		"*/kernel/drivers/vfio/*" "*/kernel/virt/*" "*/kernel/arch/x86/kvm/*" \
		"*/kernel/fs/fuse/*" "*/kernel/drivers/iommu/*" "*/kernel/drivers/crypto/ccp/*"
	rm linux-binary-*.deb linux-modules-*.deb
	depmod "$1"
' sh "$release"
echo "$release" >"$root/.complete"
