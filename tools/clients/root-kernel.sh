#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# Called by mmdebstrap at the end, for root.sh: adds those modules of Debian's kernel
# that clients use beside VFIO, and /.complete. The kernel itself and VFIO come from
# elsewhere.
#
#   root-kernel.sh <root> <release>
set -euo pipefail

root=$1 release=$2
# shellcheck disable=SC2016 # variables of that shell
chroot "$root" bash -ec '
	cd /tmp
	apt-get -qq download "linux-modules-$1"
	dpkg-deb --fsys-tarfile linux-modules-*.deb | tar -C / -x --wildcards \
		"*/kernel/fs/9p/*" "*/kernel/net/9p/*" "*/kernel/fs/netfs/*" \
		"*/kernel/fs/overlayfs/*" "*/kernel/drivers/net/ethernet/intel/igb/*" \
		"*/kernel/drivers/dca/*" "*/kernel/drivers/i2c/algos/*"
	rm linux-modules-*.deb
	touch "/lib/modules/$1"/modules.{order,builtin,builtin.modinfo}
	depmod "$1"
' bash "$release"
# Whoever runs the VM reads all of it.
find "$root"/{boot,etc,home,lib,opt,root,srv,usr,var}/ ! -type l -exec chmod a+rX {} +
touch "$root/.complete"
