# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# shellcheck disable=SC2317 # check calls the functions
#
# stress-ng beside a program that has memory mapped for a device, which copies in it.

load_begins() { grep -q "load: begins" /tmp/load; }
load_is_right() {
	touch /tmp/enough
	wait_for 180 grep -q "^status" /tmp/load
	cat /tmp/load
	grep -qx "status 0" /tmp/load
}
# stress OPTION...: these stressors for some seconds, one process each.
stress() { stress-ng --temp-path /tmp --timeout 12s --verify --oom-avoid --skip-silent --metrics-brief "$@"; }

step_stress() {
	{
		vfio-drive load /tmp/enough 2>&1
		echo "status $?"
	} >/tmp/load &
	client stress-ng stress-ng
	check "a program has memory mapped for edu" wait_for 60 load_begins
	check "maps, unmaps, moves and protects memory" stress --mmap 1 --mmap-bytes 64M --munmap 1 \
		--mremap 1 --mremap-bytes 16M --mprotect 1 --madvise 1 --mlock 1
	check "forks, and writes to what is shared" stress --fork 1 --mmapfork 1 --mmapfork-bytes 64M \
		--mmapcow 1 --vm 1 --vm-bytes 128M --userfaultfd 1 --memfd 1 --memfd-bytes 64M
	check "uses huge pages, and moves pages" stress --mmaphuge 1 --pagemove 1 --pageswap 1 \
		--physpage 1
	check "makes memory scarce, and the kernel compact it" compacts
	check "reads what procfs and sysfs have" stress --procfs 1 --sysfs 1
	check "opens and asks devices, those of VFIO too" stress --dev 1 --dev-file /dev/vfio/vfio
	check "edu has copied all that time, and the data are right" load_is_right
}
compacts() {
	local memory=$(($(awk '$1 == "MemFree:" { print $2 }' /proc/meminfo) * 3 / 5))K
	stress --vm 1 --vm-bytes "$memory" --vm-method zero-one &
	local stress=$!
	while kill -0 $stress 2>/dev/null; do
		echo 1 >/proc/sys/vm/compact_memory
		echo 3 >/proc/sys/vm/drop_caches
		sleep 1
	done
	wait $stress
}
