#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# Runs the programs that people use with VFIO, on the C modules and on ours, and
# compares what came of it: see guest/. Prints a table, and the totals at the end.
#
#   test.sh <modules for Debian's kernel> <modules for the VM's> <programs> <vfio-drive>
#           <work directory> [step...]
#
# IMPL says on which modules: "c rust", if it is not set.
set -euo pipefail
# shellcheck source=tools/vm/env.sh
. "$(dirname "${BASH_SOURCE[0]}")/../vm/env.sh"

usage="usage: test.sh <modules> <modules> <programs> <vfio-drive> <work directory> [step...]"
debian=${1:?$usage} release=${2:?$usage} programs=${3:?$usage} drive=${4:?$usage} work=${5:?$usage}
shift 5
chosen=("$@")

# What runs together: on which kernel, with how many CPUs, which steps. Debian's kernel
# has what udev and libvirt need, the VM's has iommufd. Who uses KVM gets one CPU: QEMU
# injects an interrupt twice if it has to switch to another CPU just then.
boots=("debian 2 driverctl mdevctl user dpdk stress" "debian 1 libvirt"
	"release 2 crates" "release 1 qemu qemu_tcg")
for step in "${chosen[@]}"; do
	[[ " ${boots[*]} " == *" $step "* ]] || die "there is no step $step"
done

root=$("$top/tools/clients/root.sh")
mkdir -p "$work"
rm -rf "$work/files"
mkdir -p "$work/files"
cp "$top"/tools/clients/guest/* "$top/tools/distro/check.sh" "$drive" "$work/files/"
declare -A kernel modules=([debian]=$debian [release]=$release)
kernel[release]=$("$top/tools/vm/kernel.sh" release)
"$top/tools/clients/nested.sh" "${kernel[release]}" "$drive" "$work/files"
kernel[debian]=$("$top/tools/distro/vm-tree.sh" "$work/kernel" "$root" 9p 9pnet_virtio overlay)
"$top/tools/distro/stage.sh" run "$top/tools/clients/mtty.sh" "$work/mtty"
cp "$work/mtty/mtty.ko" "${kernel[debian]}/"
echo mtty.o >>"${kernel[debian]}/modules.order"

# steps_of STEP...: those that are wanted, of these.
steps_of() {
	local step
	for step; do
		if [ ${#chosen[@]} = 0 ] || [[ " ${chosen[*]} " == *" $step "* ]]; then
			echo "$step"
		fi
	done
}

passed=0 failed=0 skipped=0 logs=()
for impl in ${IMPL:-c rust}; do
	: >"$work/$impl.out"
	logs+=("$work/$impl.out")
	for boot in "${boots[@]}"; do
		read -r flavour cpus steps <<<"$boot"
		# shellcheck disable=SC2086 # several words
		mapfile -t steps < <(steps_of $steps)
		[ ${#steps[@]} -gt 0 ] || continue
		say "$impl modules, the kernel of ${flavour/release/the VM}: ${steps[*]}"
		log=$work/$impl-$flavour-$cpus.out
		"$top/target/debug/vm" --kernel "${kernel[$flavour]}" --modules "${modules[$flavour]}" \
			--cpus "$cpus" --programs "$programs" --impl "$impl" --scratch "$work/scratch-$flavour-$cpus" \
			clients --root "$root" --files "$work/files" "${steps[@]}" >"$log" 2>&1 || true
		grep -aE '^(==>|FAILED:|log:)' "$log" || true
		cat "$log" >>"$work/$impl.out"
		# shellcheck disable=SC2034 # words between the numbers
		read -r p _ f _ s _ < <(tail -n 1 "$log")
		if ! [[ $p$f$s =~ ^[0-9]+$ ]]; then
			tail -n 5 "$log"
			p=0 f=1 s=0
		fi
		passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
	done
done
"$top/tools/clients/table.py" "${logs[@]}" | tee "$work/table"
failed=$((failed + $(grep -c ' <-- differs$' "$work/table" || true)))
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
