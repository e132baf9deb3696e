#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# What dkms.conf calls.
#
#   dkms.sh metadata RELEASE      make the metadata of the kernel's Rust crates, if
#                                 the kernel's headers lack it
#   dkms.sh build RELEASE         build the modules
#   dkms.sh keep-stock RELEASE    put the kernel's own modules back
#   dkms.sh clean                 remove the metadata of kernels that are gone
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
export RUST_VFIO_CACHE=/var/cache/rust-vfio

case $1 in
metadata) tools/kdir.sh "$2" >/dev/null ;;
build) tools/modules.sh "$(tools/kdir.sh "$2")" "$PWD" "$PWD/out" modules ;;
keep-stock)
	# DKMS moves them away. They belong to the kernel's package, and
	# rust-vfio-switch needs them.
	for origin in "/var/lib/dkms/rust-vfio/original_module/$2"/*/*.origin; do
		[ -e "$origin" ] || continue
		cp -a "${origin%.origin}" "$(cat "$origin")"
	done
	;;
clean)
	for complete in "$RUST_VFIO_CACHE"/*/.complete; do
		[ -e "$complete" ] || continue
		tree=${complete%/.complete}
		[ -d "/usr/src/linux-headers-${tree##*/}" ] || rm -rf "$tree" "$RUST_VFIO_CACHE/.${tree##*/}.lock"
	done
	;;
esac
