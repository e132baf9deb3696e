#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# An interactive VM on this machine's own file system (read-only, with a
# writable overlay), with the chosen modules loaded and an edu and the igb bound
# to vfio-pci. Uses virtme-ng.
#
#   shell.sh <kernel build tree> <modules> <programs> <impl>
set -euo pipefail
# shellcheck source=tools/vm/env.sh
. "$(dirname "${BASH_SOURCE[0]}")/env.sh"

usage="usage: shell.sh <kernel build tree> <modules> <programs> <impl>"
kernel=${1:?$usage} modules=${2:?$usage} programs=${3:?$usage} impl=${4:?$usage}
venv=$cache/virtme-ng

if [ ! -x "$venv/bin/vng" ]; then
	say "installing virtme-ng"
	python3 -m venv "$venv"
	"$venv/bin/pip" install --quiet virtme-ng
fi

core=$kernel/drivers/vfio/vfio.ko type1=$kernel/drivers/vfio/vfio_iommu_type1.ko
case $impl in
c) ;;
rust) core=$modules/vfio.ko type1=$modules/vfio_iommu_type1.ko ;;
rust-core) core=$modules/vfio.ko ;;
rust-type1) type1=$modules/vfio_iommu_type1.ko ;;
*) die "IMPL=$impl is none of c, rust, rust-core, rust-type1" ;;
esac

# The guest's login shell: it prepares the guest, and then is a shell.
shell=$(mktemp)
trap 'rm -f "$shell"' EXIT
chmod 755 "$shell"
cat >"$shell" <<END
#!/bin/bash
for m in $kernel/virt/lib/irqbypass.ko $kernel/drivers/iommu/iommufd/iommufd.ko $core $type1 \\
	$kernel/drivers/vfio/pci/vfio-pci-core.ko $kernel/drivers/vfio/pci/vfio-pci.ko; do
	insmod "\$m" || echo "cannot load \$m"
done
for id in 1234:11e8 8086:10c9; do
	dev=\$(grep -il "pci_id=\$id" /sys/bus/pci/devices/*/uevent | head -n 1)
	dev=\${dev%/uevent}
	[ -n "\$dev" ] || continue
	echo vfio-pci >"\$dev/driver_override"
	echo "\${dev##*/}" >/sys/bus/pci/drivers/vfio-pci/bind
done
echo "VFIO modules: $impl; an edu and the igb are bound to vfio-pci:"
ls -l /dev/vfio
export PATH=\$PATH:$programs
exec bash --norc -i
END

# Not `exec`: the file must go when the VM is gone.
PATH=$venv/bin:$PATH vng --run "$kernel/arch/x86/boot/bzImage" --disable-kvm --disable-microvm \
	--force-initramfs --memory 4G --cpus 2 --user root --shell "$shell" --append "intel_iommu=on" \
	--qemu-opts="-machine q35 -device intel-iommu,intremap=on,caching-mode=on -device edu -device igb"
