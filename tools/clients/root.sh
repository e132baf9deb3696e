#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# Makes the root file system of a Debian 13 with the programs that people use with
# VFIO, as Debian packages them. Prints where it is in the cache.
set -euo pipefail
# shellcheck source=tools/vm/env.sh
. "$(dirname "${BASH_SOURCE[0]}")/../vm/env.sh"
# shellcheck source=tools/distro/debian.sh
. "$top/tools/distro/debian.sh"

packages=udev,kmod,procps,pciutils,iproute2,python3
packages+=,dpdk,dpdk-dev,librte-net-e1000-25,librte-mempool-ring25
packages+=,qemu-system-x86
packages+=,libvirt-daemon,libvirt-clients,libvirt-daemon-driver-qemu,libvirt-daemon-driver-nodedev
packages+=,driverctl,mdevctl,stress-ng
release=$("$top/tools/distro/stage.sh" release)
root=$cache/clients-$release-$(cat "$top"/tools/clients/root{,-kernel}.sh | cksum | cut -d' ' -f1)
if [ ! -e "$root/.complete" ]; then
	say "making a Debian 13 with users of VFIO in $root: fetching some 400 MB"
	debian "$root" minbase "$packages" "$top/tools/clients/root-kernel.sh \"\$1\" $release"
fi
echo "$root"
