#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# What dkms-test.sh runs in the other root file system.
#
# shellcheck disable=SC2016,SC2317 # other scripts have variables; check calls the functions
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

made_initramfs() { # RELEASE...: it was made for these since the last time, and for no others
	local out
	out=$(cat /tmp/initramfs.log)
	: >/tmp/initramfs.log
	echo "$out"
	[ "$(sed -n 's/^-u -k //p' <<<"$out" | xargs)" = "$*" ]
}
# An initramfs that contains VFIO, as far as rust-vfio-switch can see.
printf '#!/bin/sh\ncat "$1"\n' >/usr/bin/lsinitramfs
printf '#!/bin/sh\necho "$@" >>/tmp/initramfs.log\nmodinfo -k "$3" -n vfio >"/boot/initrd.img-$3"\n' >/usr/sbin/update-initramfs
chmod +x /usr/bin/lsinitramfs /usr/sbin/update-initramfs
for kernel in "$release" "$next"; do
	echo "/lib/modules/$kernel/kernel/drivers/vfio/vfio.ko" >"/boot/initrd.img-$kernel"
done

apt-get -qq update
# No directory can be made there.
touch /var/cache/rust-vfio
check "the packages are installed, also where building fails" \
	apt-get -qq install -y /srv/debs/rust-vfio-tools_*.deb /srv/debs/rust-vfio-dkms_*.deb
check "and modprobe takes the kernel's" comes_from "$stock"
rm /var/cache/rust-vfio
: >/tmp/initramfs.log
check "where it does not, DKMS builds" dpkg-reconfigure rust-vfio-dkms
check "the initramfs has what was built" made_initramfs "$release"
dkms status
check "modprobe takes what was built" comes_from "/lib/modules/$release/updates/dkms"
check "the kernel's modules are where they were" same_stock
check "the metadata is kept" test -e "/var/cache/rust-vfio/$release/.complete"
check "no other kernel got anything" nothing_for_others
check "headers come later" dpkg-trigger --by-package=rust-vfio-dkms /usr/src
check "and are followed" dpkg --configure --pending
check "the initramfs stays as it was" made_initramfs
check "rust-vfio-switch c" rust-vfio-switch c
check "modprobe takes the kernel's" comes_from "$stock"
check "rust-vfio-switch leave, as if they had not been removed then" rust-vfio-switch leave "$release"
check "rust-vfio-switch rust" rust-vfio-switch rust
check "modprobe takes what was built, again" comes_from "/lib/modules/$release/updates/dkms"
: >/tmp/initramfs.log
check "headers and source of another kernel come" apt-get -qq install -y /srv/next/*.deb
check "modules for it are built" comes_from "/lib/modules/$next/updates/dkms" "$next"
check "the initramfs has them" made_initramfs "$next"
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
