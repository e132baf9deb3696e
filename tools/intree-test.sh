#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# Checks the series of intree.sh: its style, that a kernel with all drivers of VFIO
# compiles and links, and what editors are told; then builds the VM's kernel with it in
# the ways in which its configuration can have VFIO, and runs tests on what was built.
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
kmake() { make -C "$src" "O=${out:-$kernel}" "${kernel_tools[@]}" "$@"; }
set_options() { # OPTION=VALUE...
	local option
	for option; do
		sed -i "/^\(# \)\?CONFIG_${option%=*}[= ]/d" "$kernel/.config"
		echo "CONFIG_$option" >>"$kernel/.config"
	done
	kmake -s olddefconfig
	check_options "$kernel/.config" "$@"
}
check_options() { # FILE OPTION=VALUE...
	local file=$1 option
	shift
	for option; do
		[ "${option#*=}" = n ] || grep -qx "CONFIG_$option" "$file" ||
			die "CONFIG_$option is not what comes out"
	done
}

style() {
	local patch
	# In the tree, because whether there is a maintainer is a question of style.
	cd "$src"
	for patch in "$patches"/000[1-9]-*.patch; do
		scripts/checkpatch.pl --strict --show-types --terse --quiet --no-summary "$patch"
	done
	echo "checkpatch has nothing to say"
}

# A kernel with everything, of which only VFIO is compiled. The configuration cannot
# have Rust together with two of its options.
drivers() {
	local out=$work/all missing modules
	mkdir -p "$out"
	printf 'CONFIG_%s\n' RUST=y VFIO_RUST=y VFIO_IOMMU_TYPE1_RUST=y KUNIT=y WERROR=y \
		MODVERSIONS=n DEBUG_INFO_BTF=n >"$work/all.config"
	KCONFIG_ALLCONFIG=$work/all.config kmake -s allmodconfig
	check_options "$out/.config" VFIO_RUST=y VFIO_IOMMU_TYPE1_RUST=y VFIO_RUST_KUNIT_TEST=y \
		{MLX5,HISI_ACC,PDS,VIRTIO,NVGRACE_GPU,QAT,XE}_VFIO_PCI=m VFIO_{PLATFORM,FSL_MC,CDX}=m
	kmake -s -j"$(nproc)" drivers/vfio/
	mapfile -t modules < <(sed 's/o$/ko/' "$out/drivers/vfio/modules.order")
	# The symbols of the rest of the kernel, which is not there, are missing.
	KBUILD_MODPOST_WARN=1 kmake -s -j"$(nproc)" "${modules[@]}"
	missing=$(cd "$out" && comm -23 <(nm -u "${modules[@]}" | awk '{ print $2 }' | grep -E '^_?vfio_' | sort -u) \
		<(cut -f 2 modules-only.symvers | sort))
	[ -z "$missing" ] || die "no module has these: $missing"
	echo "${#modules[@]} modules of drivers/vfio compile and link"
}

editors() {
	set_options "${rust[@]}"
	# The bindings are made by the build.
	kmake -s -j"$(nproc)" prepare drivers/vfio/
	kmake -s rust-analyzer
	python3 - "$kernel/rust-project.json" <<-'END'
		import json, os, sys
		crates = json.load(open(sys.argv[1]))["crates"]
		named = {crate["display_name"]: crate for crate in crates}
		for name in "vfio_bindings", "rust_vfio", "rust_type1":
		    crate = named[name]
		    assert os.path.exists(crate["root_module"]), name
		    assert all(crates[d["crate"]]["display_name"] == d["name"] for d in crate["deps"]), name
		assert os.path.isdir(named["vfio_bindings"]["env"]["VFIO_RS_GEN"])
		print("rust-project.json has the three crates")
	END
}

run_vm() { # COMMAND...
	"$top/target/debug/vm" --kernel "$kernel" --modules "$work/modules" --programs "$programs" \
		--scratch "$work/$way" --impl "$impl" "$@"
}

# Builds the kernel with options, and runs rows on it: these, or all if none is named.
test_way() { # IMPL ROWS OPTION=VALUE...
	local impl=$1 wanted=$2 module
	shift 2
	cp "$work/config" "$kernel/.config"
	set_options "$@"
	kmake -s -j"$(nproc)" bzImage modules
	rm -rf "$work/modules"
	mkdir -p "$work/modules"
	"$top/tools/modules.sh" "$kernel" "$top/tools/testing/selftests/vfio/fixture" "$work/fixture" modules
	cp "$work"/fixture/*.ko "$work/modules/"
	# What this kernel has built in is still there from another one.
	for module in vfio vfio_iommu_type1; do
		! grep -qx "drivers/vfio/$module.o" "$kernel/modules.order" ||
			cp "$kernel/drivers/vfio/$module.ko" "$work/modules/"
	done
	[[ $way != built-in* ]] || parameters
	[[ " $* " != *" VFIO_RUST_KUNIT_TEST=y "* ]] || kunit "$work/$way/exec-$impl.log"
	run_vm test --scope rows ${wanted:+--pattern "$wanted"}
}

# Whether those on the kernel's command line arrive.
parameters() {
	run_vm --word vfio_iommu_type1.dma_entry_limit=77 --word vfio.enable_unsafe_noiommu_mode=1 exec sh -c \
		'"cd /sys/module && grep -x 77 vfio_iommu_type1/parameters/dma_entry_limit &&
			grep -x Y vfio/parameters/enable_unsafe_noiommu_mode"'
}

# Whether KUnit has run each suite of the modules, and all passed, as the kernel's
# log says. Both modules have some.
kunit() { # LOG
	diff <(grep -rhoP 'kunit_tests\(\K\w+' "$src/drivers/vfio/rust_vfio" | sort) \
		<(grep -oP '(?<!not )ok \d+ \Kvfio_\w+' "$1" | sort -u) ||
		die "KUnit has not run these, or they failed"
	echo "KUnit: $(grep -cP '(?<!not )ok \d+ vfio_' "$1") suites passed"
}

# What depends on no module's file: groups, nodes, containers, the backend, iommufd.
rows=F010,F011,F012,F013,F018,F02,F03,F04,F05,F074,F09,F10,F110,F111,F112,F117,F118,F119,F123
rows+=,F137,F138,F139,F140,R01,R02,R03,R04,R09,R12,T01,T02,T04,T10,T11,T13
rust=(VFIO_RUST=y VFIO_IOMMU_TYPE1_RUST=y)
c=(VFIO_C=y VFIO_IOMMU_TYPE1_C=y)
built_in=(VFIO=y IOMMUFD=y VFIO_PCI=y KVM=y KVM_AMD=y KUNIT=y)
ways=(style drivers editors modules rust-core rust-type1 c built-in built-in-c)
take() { # WAY
	case $1 in
	style | drivers | editors) "$1" ;;
	modules) test_way rust "" "${rust[@]}" ;;
	rust-core) test_way rust-core "$rows" VFIO_RUST=y VFIO_IOMMU_TYPE1_C=y ;;
	rust-type1) test_way rust-type1 "$rows" VFIO_C=y VFIO_IOMMU_TYPE1_RUST=y ;;
	c) test_way c "$rows" "${c[@]}" ;;
	built-in) test_way rust "$rows" "${rust[@]}" "${built_in[@]}" VFIO_RUST_KUNIT_TEST=y ;;
	built-in-c) test_way c "$rows" "${c[@]}" "${built_in[@]}" ;;
	esac
}

layer source "$src"
layer build "$kernel"
for patch in "$patches"/000[1-9]-*.patch; do
	patch --quiet -d "$src" -p1 <"$patch"
done
cp "$kernel/.config" "$work/config"

failed=0
printf '%-12s %-8s %s\n' way seconds result
for way in "${ways[@]}"; do
	[[ $way == *$only* ]] || continue
	start=$SECONDS
	# In the background, because `set -e` has no effect in a condition.
	take "$way" >"$work/$way.log" 2>&1 &
	if wait $!; then
		result=$(tail -n 1 "$work/$way.log")
	else
		result="FAILED: $work/$way.log"
		failed=$((failed + 1))
	fi
	printf '%-12s %-8s %s\n' "$way" $((SECONDS - start)) "$result"
done
[ $failed = 0 ]
