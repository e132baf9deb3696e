#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# What dkms.conf calls, and the package's scripts.
#
#   dkms.sh metadata RELEASE      make the metadata of the kernel's Rust crates, if
#                                 the kernel's headers lack it
#   dkms.sh build RELEASE         build the modules
#   dkms.sh keep-stock RELEASE    put the kernel's own modules back
#   dkms.sh follow-headers        build for headers that came, and remove the
#                                 metadata of kernels whose headers are gone
#
# The first one ends with status 77 where the modules cannot be built: to DKMS that
# means that the kernel has no need of them, which is better than a kernel or
# headers that cannot be installed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
# shellcheck source=tools/series.sh
. tools/series.sh
export RUST_VFIO_CACHE=/var/cache/rust-vfio

case $1 in
metadata)
	if ! grep -qsx 'CONFIG_VFIO=m' "/lib/modules/$2/build/.config"; then
		echo "VFIO is no module of kernel $2, so there is nothing to replace" >&2
		exit 77
	fi
	tools/kdir.sh "$2" >/dev/null
	;;
build) tools/modules.sh "$(tools/kdir.sh "$2")" "$PWD" "$PWD/out" modules ;;
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
	for headers in "/usr/src/linux-headers-$series".*; do
		[ -f "$headers/.config" ] || continue
		dkms autoinstall --kernelver "${headers#/usr/src/linux-headers-}"
	done
	for complete in "$RUST_VFIO_CACHE"/*/.complete; do
		[ -e "$complete" ] || continue
		tree=${complete%/.complete}
		[ -d "/usr/src/linux-headers-${tree##*/}" ] || rm -rf "$tree" "$RUST_VFIO_CACHE/.${tree##*/}.lock"
	done
	;;
esac
