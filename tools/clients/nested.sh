#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# Puts what a nested VM boots into a directory: the VM's kernel and an initramfs with
# busybox, VFIO and vfio-drive.
#
#   nested.sh <kernel build tree> <vfio-drive> <output directory>
set -euo pipefail
# shellcheck source=tools/vm/env.sh
. "$(dirname "${BASH_SOURCE[0]}")/../vm/env.sh"

usage="usage: nested.sh <kernel build tree> <vfio-drive> <output directory>"
kernel=${1:?$usage} program=${2:?$usage} out=${3:?$usage}

rm -rf "$out/tree"
mkdir -p "$out"/tree/{bin,modules,dev}
cp "$("$top/tools/vm/busybox.sh")" "$program" "$out/tree/bin/"
ln -s busybox "$out/tree/bin/sh"
install -m 755 "$top/tools/clients/nested-init.sh" "$out/tree/init"
cp "$kernel"/{virt/lib/irqbypass,drivers/iommu/iommufd/iommufd,drivers/vfio/vfio}.ko \
	"$kernel"/drivers/vfio/pci/vfio-pci{-core,}.ko "$out/tree/modules/"
(cd "$out/tree" && find . | cpio --quiet -o -H newc --owner=0:0) >"$out/nested.cpio"
rm -r "$out/tree"
cp "$kernel/arch/x86/boot/bzImage" "$out/"
