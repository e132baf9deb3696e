#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# Builds the VM's kernel with the series of intree.sh applied, in the ways in which
# its configuration can have VFIO, and runs tests on what was built.
#
#   intree-test.sh <kernel build tree> <patches> <programs> <work directory> [way]
#
# The kernel's source and the build tree are seen through layers that take the
# changes, at the same places: so only VFIO is compiled, and what depends on options
# that change, and the originals stay as they are.
set -euo pipefail
# shellcheck source=tools/vm/env.sh
. "$(dirname "${BASH_SOURCE[0]}")/vm/env.sh"

usage="usage: intree-test.sh <kernel build tree> <patches> <programs> <work directory> [way]"
kernel=${1:?$usage} patches=${2:?$usage} programs=${3:?$usage} work=${4:?$usage} only=${5:-}
src=${KSRC:-$cache/src/linux-source-$series}

if [ -z "${INTREE_INSIDE:-}" ]; then
	mkdir -p "$work"
	as_root=()
	[ "$(id -u)" = 0 ] || as_root=(sudo)
	exec "${as_root[@]}" env INTREE_INSIDE=yes "RUST_VFIO_CACHE=$cache" \
		unshare --mount --propagation private "$0" "$@"
fi

layer() { # NAME DIRECTORY
	rm -rf "$work/$1.upper" "$work/$1.work"
	mkdir -p "$work/$1.upper" "$work/$1.work"
	mount -t overlay overlay -o "lowerdir=$2,upperdir=$work/$1.upper,workdir=$work/$1.work" "$2"
}
kmake() { make -C "$src" "O=$kernel" "${kernel_tools[@]}" "$@"; }
set_options() { # OPTION=VALUE...
	local option
	for option; do
		sed -i "/^\(# \)\?CONFIG_${option%=*}[= ]/d" "$kernel/.config"
		echo "CONFIG_$option" >>"$kernel/.config"
	done
	kmake -s olddefconfig
	for option; do
		[ "${option#*=}" = n ] || grep -qx "CONFIG_$option" "$kernel/.config" ||
			{ echo "error: CONFIG_$option is not what comes out"; return 1; }
	done
}

# What depends on no module's file: groups, nodes, containers, the backend, iommufd.
rows=F010,F011,F012,F013,F018,F02,F03,F04,F05,F074,F09,F10,F110,F111,F112,F117,F118,F119,F123
rows+=,F137,F138,F139,F140,R01,R02,R03,R04,R09,R12,T01,T02,T04,T10,T11,T13
rust="VFIO_RUST=y VFIO_IOMMU_TYPE1_RUST=y"
built_in="VFIO=y IOMMUFD=y VFIO_PCI=y KVM=y KVM_AMD=y"
# Name; options; implementation that the tests are told of; rows.
ways=(
	"modules:$rust:rust:"
	"rust-core:VFIO_RUST=y VFIO_IOMMU_TYPE1_C=y:rust-core:$rows"
	"rust-type1:VFIO_C=y VFIO_IOMMU_TYPE1_RUST=y:rust-type1:$rows"
	"c:VFIO_C=y VFIO_IOMMU_TYPE1_C=y:c:$rows"
	"built-in:$rust $built_in:rust:$rows"
	"built-in-c:VFIO_C=y VFIO_IOMMU_TYPE1_C=y $built_in:c:$rows"
)

layer source "$src"
layer build "$kernel"
for patch in "$patches"/000[1-9]-*.patch; do
	patch --quiet -d "$src" -p1 <"$patch"
done
cp "$kernel/.config" "$work/config"

failed=0
printf '%-12s %-8s %s\n' way seconds result
for line in "${ways[@]}"; do
	IFS=: read -r name options impl pattern <<<"$line"
	[[ $name == *$only* ]] || continue
	start=$SECONDS
	read -ra options <<<"$options"
	# In the background, because `set -e` has no effect in a condition.
	(
		cp "$work/config" "$kernel/.config"
		set_options "${options[@]}"
		kmake -s -j"$(nproc)" bzImage modules
		rm -rf "$work/modules"
		mkdir -p "$work/modules"
		"$top/tools/modules.sh" "$kernel" "$top/tools/testing/selftests/vfio/fixture" "$work/fixture" modules
		cp "$work"/fixture/*.ko "$work/modules/"
		for module in vfio vfio_iommu_type1; do
			[ ! -f "$kernel/drivers/vfio/$module.ko" ] || cp "$kernel/drivers/vfio/$module.ko" "$work/modules/"
		done
		"$top/target/debug/vm" --kernel "$kernel" --modules "$work/modules" --programs "$programs" \
			--scratch "$work/$name" --impl "$impl" test --scope rows ${pattern:+--pattern "$pattern"}
	) >"$work/$name.log" 2>&1 &
	if wait $!; then
		result=$(tail -n 1 "$work/$name.log")
	else
		result="FAILED: $work/$name.log"
		failed=$((failed + 1))
	fi
	printf '%-12s %-8s %s\n' "$name" $((SECONDS - start)) "$result"
done
[ $failed = 0 ]
