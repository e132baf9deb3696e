#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# Builds the kernel's own VFIO selftests, unmodified and static, and prints the
# directory that holds the programs. Cached by kernel version.
set -euo pipefail
# shellcheck source=tools/vm/env.sh
. "$(dirname "${BASH_SOURCE[0]}")/env.sh"

src=${KSRC:-$cache/src/linux-source-$series}
version=$(make -s --no-print-directory -C "$src" kernelversion)
key=$(cat "${BASH_SOURCE[0]}" "$top"/tools/vm/{group_mode.c,slow_harness.h} | sha256sum | cut -c1-12)
out=$cache/upstream/$version-$key

mkdir -p "$out"
exec 9>"$out/.lock"
flock 9

selftests() { # ARGUMENTS FOR MAKE...
	make -C "$src/tools/testing/selftests/vfio" OUTPUT="$out" CC=gcc LDFLAGS=-static \
		KHDR_INCLUDES="-isystem $out/headers/include" "$@"
}

if [ ! -f "$out/.complete" ]; then
	say "building the kernel's own selftests"
	find "$out" -mindepth 1 ! -name .lock -delete
	mkdir -p "$out/programs"
	{
		make -C "$src" "O=$out/scratch" headers_install INSTALL_HDR_PATH="$out/headers" "${kernel_tools[@]}"
		selftests
		selftests -W vfio_pci_driver_test.c "$out/vfio_pci_driver_test" \
			KHDR_INCLUDES="-isystem $out/headers/include -include $top/tools/vm/slow_harness.h"
		for mode in vfio_type1_iommu vfio_type1v2_iommu; do
			gcc -DGROUP_MODE="\"$mode\"" -c -o "$out/$mode.o" "$top/tools/vm/group_mode.c"
			mapfile -t library < <(find "$out/libvfio" -name '*.o')
			gcc -static -o "$out/programs/vfio_pci_device_test.$mode" \
				"$out/vfio_pci_device_test.o" "$out/$mode.o" "${library[@]}" -luuid
		done
	} >"$out/build.log" 2>&1 || { tail -n 10 "$out/build.log" >&2; die "that failed: $out/build.log"; }
	find "$out" -maxdepth 1 -name '*_test' -exec cp {} "$out/programs" \;
	touch "$out/.complete"
fi
echo "$out/programs"
