#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# Lays out Debian's own kernel as the runner of the VM wants a kernel: where the
# build tree of one has its image and its modules. Prints the path of that.
#
#   vm-tree.sh <directory> [<root file system> <module>...]
#
# The further modules are those of another root file system with the same kernel.
set -euo pipefail
# shellcheck source=tools/vm/env.sh
. "$(dirname "${BASH_SOURCE[0]}")/../vm/env.sh"

tree=${1:?usage: vm-tree.sh <directory> [<root file system> <module>...]}
shift
root=$("$top/tools/distro/stage.sh" path)
release=$("$top/tools/distro/stage.sh" release)
# VFIO, and what tests drive beside it; each with what it needs below it.
wanted=(vfio_iommu_type1 vfio-pci kvm-amd mdev fuse)

rm -rf "$tree"
mkdir -p "$tree/arch/x86/boot"
ln -s "$root/lib/modules/$release/vmlinuz" "$tree/arch/x86/boot/bzImage"
ln -s "$root/lib/modules/$release/config" "$tree/.config"
add() { # ROOT MODULE...
	local root=$1
	shift
	/sbin/modprobe --dirname "$root" --set-version "$release" --all --show-depends "$@" |
		awk '$1 == "insmod" && !seen[$2]++ { print $2 }' |
		while read -r packed; do
			name=$(basename "$packed" .ko.xz)
			xz --decompress --stdout "$packed" >"$tree/$name.ko"
			echo "$name.o" >>"$tree/modules.order"
		done
}
add "$root" "${wanted[@]}"
[ $# = 0 ] || add "$@"
echo "$tree"
