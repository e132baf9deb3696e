#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# Compiles the modules, and the kernel's own modules around them, for each
# configuration that changes them, and runs tests with what was built.
#
#   build-matrix.sh <kernel build tree> <programs> <work directory> <impl> [pattern]
#
# Not whole kernels: a copy of the VM's kernel tree is configured anew, with its
# generated headers, its Rust crates and the modules of VFIO and iommufd. Its
# vmlinux stays that of the VM. So what was built can be loaded there as long as
# no structure of the kernel looks different, which is compared each time; where
# one does, as without power management, compiling is all that is done.
set -euo pipefail
# shellcheck source=tools/vm/env.sh
. "$(dirname "${BASH_SOURCE[0]}")/vm/env.sh"

usage="usage: build-matrix.sh <kernel build tree> <programs> <work directory> <impl> [pattern]"
kernel=${1:?$usage} programs=${2:?$usage} work=${3:?$usage} impl=${4:?$usage} pattern=${5:-}
src=${KSRC:-$cache/src/linux-source-$series}
tree=$work/tree

# What groups and containers can show, what nodes can, what groups in an iommufd
# can with containers beside them and without any, and the rest.
by_group=F00,F01,F02,F030,F031,F032,F099,F100,F109,F110,F117,F118
by_group+=,F210,F211,F212_copies,F212_pins,F216
by_node=F039,F040,F041,F042,F043,F044,F047_bind_fails,F048,F049,F050,F051,F052,F054,F055
by_node+=,F142,F212_by_iommufd,R31,R53,T11_driver_without_rights_by_node
in_iommufd=F137_close,F137_no_,F137_open,F137_zombie,F138_pin_errors,F138_unmap,F139,F143,R30
in_iommufd+=,T11_driver_without_rights_by_group_in
beside=F137,F138,F140,F141,R38,R55
# Nodes in a kernel that has no groups, of which the other rows make use.
node_alone=F039,F040,F041,F043,F044_bind_once,F048,F049,F050,F051,F052,F054,F055
node_alone+=,F142_bind,F212_by_iommufd,R31,R53,T11_driver_without_rights_by_node
# Name; what is switched off; which tests run.
matrix=(
	"all-on::$by_group,$by_node,$in_iommufd,$beside"
	"no-noiommu:VFIO_NOIOMMU:$by_group,$by_node,$in_iommufd,$beside"
	"no-debugfs:VFIO_DEBUGFS:$by_group,$by_node"
	"no-cdev:VFIO_DEVICE_CDEV:$by_group,$in_iommufd,$beside"
	"no-virqfd:VFIO_PCI:"
	"no-group:VFIO_GROUP:$node_alone"
	"no-container:VFIO_CONTAINER:$by_node,$in_iommufd"
	"no-container-file:VFIO_CONTAINER IOMMUFD_VFIO_CONTAINER:$by_node,$in_iommufd"
	"no-iommufd:IOMMUFD:$by_group"
	"no-kvm:KVM:$by_group,$by_node"
	"only-cdev:VFIO_GROUP VFIO_NOIOMMU VFIO_DEBUGFS VFIO_PCI KVM:"
	"only-iommufd-groups:VFIO_CONTAINER VFIO_DEVICE_CDEV VFIO_NOIOMMU VFIO_DEBUGFS VFIO_PCI KVM:"
	"only-containers:IOMMUFD VFIO_NOIOMMU VFIO_DEBUGFS VFIO_PCI KVM:"
	"no-compat:IA32_EMULATION:$by_group"
	"no-pm:PM:$by_group"
	"all-off:IOMMUFD VFIO_NOIOMMU VFIO_DEBUGFS VFIO_PCI KVM PM IA32_EMULATION:"
)

kmake() { make -C "$src" "O=$tree" "${kernel_tools[@]}" "$@"; }
is() { grep -qE "^CONFIG_$1=[ym]" "$tree/.config"; }

# The structures that the kernel's Rust crates see. Constants of the
# configuration and functions come and go with it.
layouts() {
	sed -e '/^unsafe extern "C" {/,/^}/d' -e '/^pub const CONFIG_/d' \
		"$1/rust/bindings/bindings_generated.rs"
}

# configure OFF...: the VM's configuration without these.
configure() {
	local symbol
	cp "$kernel/.config" "$tree/.config"
	for symbol; do
		sed -i "/^\(# \)\?CONFIG_${symbol}[= ]/d" "$tree/.config"
		echo "# CONFIG_$symbol is not set" >>"$tree/.config"
	done
	kmake -s olddefconfig
	for symbol; do
		! is "$symbol" || { echo "error: CONFIG_$symbol does not go away"; return 1; }
	done
	is VFIO
}

# The kernel's modules that ours need below or above them, as files of the tree.
neighbours() {
	echo drivers/vfio/vfio.ko
	! is IOMMUFD || echo drivers/iommu/iommufd/iommufd.ko
	! is VFIO_IOMMU_TYPE1 || echo drivers/vfio/vfio_iommu_type1.ko
	! is IRQ_BYPASS_MANAGER || echo virt/lib/irqbypass.ko
	! is VFIO_PCI || printf 'drivers/vfio/pci/%s.ko\n' vfio-pci-core vfio-pci
	! is VFIO_MDEV || echo drivers/vfio/mdev/mdev.ko
	! is SAMPLE_VFIO_MDEV_MTTY || echo samples/vfio-mdev/mtty.ko
}

# build OUT: everything. Any warning, of compilers or of modpost, is an error.
build() {
	local out=$1 dir
	kmake -s -j"$(nproc)" prepare
	mapfile -t modules < <(neighbours)
	kmake -s -j"$(nproc)" "${modules[@]}"
	# Objects of another configuration must not stay: their number differs.
	rm -rf "$out"
	mkdir -p "$out/modules"
	"$top/tools/modules.sh" "$tree" "$top" "$out/ours" \
		KCFLAGS=-Werror KRUSTFLAGS=-Dwarnings modules
	cp "$out"/ours/*.ko "$out/modules/"
	# The tests' own driver and those in Rust need eventfds; without them there is no user either.
	if is VFIO_VIRQFD; then
		for dir in tools/testing/selftests/vfio/fixture samples/rust_vfio_{sample,edu}; do
			"$top/tools/modules.sh" "$tree" "$top/$dir" "$out/${dir##*/}" \
				KCFLAGS=-Werror KRUSTFLAGS=-Dwarnings modules
			cp "$out/${dir##*/}"/*.ko "$out/modules/"
		done
	fi
}

# boot OUT ARGUMENTS...: runs something in the VM, with what was built.
boot() {
	local out=$1 stage=$1/stage
	mkdir -p "$stage/arch/x86/boot" "$out/programs"
	ln -sf "$kernel/arch/x86/boot/bzImage" "$stage/arch/x86/boot/bzImage"
	cp "$tree/.config" "$stage/.config"
	mapfile -t modules < <(neighbours)
	printf "$tree/%s\n" "${modules[@]/%.ko/.o}" >"$stage/modules.order"
	! is KVM || printf "$kernel/arch/x86/kvm/%s.o\n" kvm kvm-amd >>"$stage/modules.order"
	"$top/target/debug/vm" --kernel "$stage" --modules "$out/modules" --programs "$programs" \
		--programs "$out/programs" --scratch "$out/scratch" --impl "$impl" "${@:2}"
}

# Opens what there must be: each file that the configuration has, and no other.
opens() {
	local has=(/bin/sh) hasnt=()
	want() { if "${@:2}"; then has+=("$1"); else hasnt+=("$1"); fi; }
	container_file() { is VFIO_CONTAINER || is IOMMUFD_VFIO_CONTAINER; }
	want /dev/vfio/vfio container_file
	want /dev/iommu is IOMMUFD
	want "/dev/vfio/[0-9]*" is VFIO_GROUP
	want "/dev/vfio/devices/vfio[0-9]*" is VFIO_DEVICE_CDEV
	want /sys/kernel/debug/vfio is VFIO_DEBUGFS
	want /sys/module/vfio/parameters/enable_unsafe_noiommu_mode is VFIO_NOIOMMU
	want /sys/module/vfio_pci is VFIO_PCI
	# An emulated device is there in every configuration.
	cat <<-END
		cd /sys/class/mdev_bus/mtty/mdev_supported_types/mtty-1 || exit 1
		echo 00000000-0000-4000-8000-000000000001 >create || exit 1
		sleep 1
		for f in ${has[*]}; do
			echo "# \$f"
			if [ -d \$f ]; then continue; fi
			if [ -c \$f ]; then : <>\$f || exit 1; continue; fi
			: <\$f || exit 1
		done
		for f in ${hasnt[*]}; do
			[ ! -e \$f ] || { echo "\$f is there"; exit 1; }
		done
	END
}

mkdir -p "$work"
if [ ! -f "$tree/.copied" ] || [ "$(cat "$tree/.copied")" != "$kernel" ]; then
	say "copying the kernel's build tree"
	rm -rf "$tree"
	cp -a "$kernel/." "$tree"
	# It names the place where the original is built.
	rm -f "$tree/Makefile"
	echo "$kernel" >"$tree/.copied"
fi

failed=0 built=0 loaded=0
printf '%-20s %-8s %-12s %s\n' configuration built seconds "with $impl modules"
for line in "${matrix[@]}"; do
	IFS=: read -r name off tests <<<"$line"
	[[ $name == *$pattern* ]] || continue
	out=$work/$name
	mkdir -p "$out"
	start=$SECONDS
	read -ra off <<<"$off"
	# In the background, because `set -e` has no effect in a condition.
	(
		configure "${off[@]}"
		build "$out"
	) >"$work/$name.log" 2>&1 &
	if ! wait $! || grep -iE 'warning|modpost:' "$work/$name.log"; then
		printf '%-20s %-8s %-12s %s\n' "$name" FAILED $((SECONDS - start)) "$work/$name.log"
		failed=$((failed + 1))
		continue
	fi
	built=$((built + 1)) took=$((SECONDS - start))
	if ! cmp -s <(layouts "$kernel") <(layouts "$tree"); then
		printf '%-20s %-8s %-12s %s\n' "$name" yes $took "only compiled: structures differ"
		continue
	fi
	mkdir -p "$out/programs"
	opens >"$out/programs/opens"
	result=
	if ! boot "$out" exec "sh /bin/opens" >>"$work/$name.log" 2>&1; then
		result="FAILED to load: $work/$name.log"
	elif [ -n "$tests" ] && ! boot "$out" test --pattern "$tests" >>"$work/$name.log" 2>&1; then
		result="FAILED: $work/$name.log"
	fi
	if [ -n "$result" ]; then
		failed=$((failed + 1))
	else
		loaded=$((loaded + 1))
		result="loaded${tests:+; $(tail -n 1 "$work/$name.log")}"
	fi
	printf '%-20s %-8s %-12s %s\n' "$name" yes "$took+$((SECONDS - start - took))" "$result"
done
echo "$built configurations built, $loaded of them loaded, $failed failed; $SECONDS seconds"
[ $((built + failed)) -gt 0 ] || die "no configuration is called $pattern"
[ $failed = 0 ]
