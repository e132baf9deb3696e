#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# What dkms.conf calls, and the package's scripts.
#
#   dkms.sh build RELEASE         build the modules, after the metadata of the kernel's
#                                 Rust crates if its headers lack it
#   dkms.sh try RELEASE           the same, with status 77 if that fails
#   dkms.sh keep-stock RELEASE    put the kernel's own modules back
#   dkms.sh follow-headers        build for headers that came, and remove the
#                                 metadata of kernels whose headers are gone
#
# To DKMS, 77 means that the kernel has no need of the modules. Any other failure, if only for
# a full disk, would leave a kernel or headers that cannot be installed, and apt stuck. So
# DKMS tries first, and where it then builds, all has been built.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
# shellcheck source=tools/series.sh
. tools/series.sh
export RUST_VFIO_CACHE=/var/cache/rust-vfio

case $1 in
build)
	if ! grep -qsx 'CONFIG_VFIO=m' "/lib/modules/$2/build/.config"; then
		echo "VFIO is no module of kernel $2, so there is nothing to replace" >&2
		exit 1
	fi
	kdir=$(tools/kdir.sh "$2")
	tools/modules.sh "$kdir" "$PWD" "$PWD/out" modules
	;;
try)
	if ! packaging/dkms/dkms.sh build "$2"; then
		echo "kernel $2 keeps its own VFIO, for the reason above" >&2
		exit 77
	fi
	;;
keep-stock)
	# DKMS moves them away, to move them back at the end, over what a newer package
	# of the kernel may have brought. They belong to that, and rust-vfio-switch
	# needs them.
	for origin in "/var/lib/dkms/rust-vfio/original_module/$2"/*/*.origin; do
		[ -e "$origin" ] || continue
		mv "${origin%.origin}" "$(cat "$origin")"
		rm "$origin"
	done
	depmod "$2"
	;;
follow-headers)
	# It fails also if it cannot build something else.
	for headers in "/usr/src/linux-headers-$series".*; do
		[ -f "$headers/.config" ] || continue
		dkms autoinstall --kernelver "${headers#/usr/src/linux-headers-}" || true
	done
	# An initramfs that was there before has another VFIO, and so has the kernel that runs.
	rust-vfio-switch reload || true
	for complete in "$RUST_VFIO_CACHE"/*/.complete; do
		[ -e "$complete" ] || continue
		tree=${complete%/.complete}
		[ -d "/usr/src/linux-headers-${tree##*/}" ] || rm -rf "$tree" "$RUST_VFIO_CACHE/.${tree##*/}.lock"
	done
	;;
esac
