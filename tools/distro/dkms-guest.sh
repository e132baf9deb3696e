#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# What dkms-test.sh runs in the other root file system.
#
# shellcheck disable=SC2317 # check calls the functions
set -u
release=$1 next=$2
stock=/lib/modules/$release/kernel/drivers/vfio
# shellcheck source=tools/distro/check.sh
. /srv/check.sh

comes_from() { # DIRECTORY [RELEASE]: modprobe takes both modules from there
	local module
	for module in vfio vfio_iommu_type1; do
		modinfo -k "${2:-$release}" -n "$module"
		[[ $(modinfo -k "${2:-$release}" -n "$module") == "$1"/* ]] || return
	done
}
nothing_for_others() { [ -z "$(find /lib/modules/{6.1.0-1,7.3.99}-amd64 -name "vfio*")" ]; }
same_stock() { (cd "$stock" && sha256sum --quiet --check /tmp/stock.sums); }

(cd "$stock" && sha256sum ./*.ko* >/tmp/stock.sums)
# A kernel of another series, and one of which there is no source, must not be in the
# way of those who install.
for other in 6.1.0-1-amd64 7.3.99-amd64; do
	mkdir -p "/lib/modules/$other/kernel" "/usr/src/linux-headers-$other/include/config"
	ln -s "/usr/src/linux-headers-$other" "/lib/modules/$other/build"
	touch "/lib/modules/$other"/modules.{order,builtin}
	printf 'CONFIG_%s\n' RUST=y VFIO=m >"/usr/src/linux-headers-$other/.config"
done

apt-get -qq update
check "the packages are installed, and build" \
	apt-get -qq install -y /srv/debs/rust-vfio-tools_*.deb /srv/debs/rust-vfio-dkms_*.deb
dkms status
check "modprobe takes what was built" comes_from "/lib/modules/$release/updates/dkms"
check "the kernel's modules are where they were" same_stock
check "the metadata is kept" test -e "/var/cache/rust-vfio/$release/.complete"
check "no other kernel got anything" nothing_for_others
check "headers come later" dpkg-trigger --by-package=rust-vfio-dkms /usr/src
check "and are followed" dpkg --configure --pending
check "rust-vfio-switch c" rust-vfio-switch c
check "modprobe takes the kernel's" comes_from "$stock"
check "rust-vfio-switch rust" rust-vfio-switch rust
check "modprobe takes what was built, again" comes_from "/lib/modules/$release/updates/dkms"
check "headers and source of another kernel come" apt-get -qq install -y /srv/next/*.deb
check "modules for it are built" comes_from "/lib/modules/$next/updates/dkms" "$next"
check "those for this one stay" comes_from "/lib/modules/$release/updates/dkms"
check "its headers are removed" apt-get -qq purge -y "linux-headers-$next"
check "and with them the metadata" fails test -e "/var/cache/rust-vfio/$next"
check "the metadata of this one is kept" test -e "/var/cache/rust-vfio/$release/.complete"
check "removing the package" apt-get -qq purge -y rust-vfio-dkms rust-vfio-tools
check "modprobe takes the kernel's" comes_from "$stock"
check "the kernel's modules are where they were" same_stock
check "no metadata is left" fails test -e /var/cache/rust-vfio
check "no module is left" find /lib/modules -path '*/updates/*' -name 'vfio*' -exec false {} +
check "no choice is left" fails test -e /etc/depmod.d/rust-vfio.conf
exit $((failed > 0))
