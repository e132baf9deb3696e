#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=dash # what busybox has
#
# The first process of the test VM. It makes a system of the busybox image,
# loads the modules in the order that VFIO needs, and then reads /job, which
# the runner wrote: a list of `run NAME SECONDS PROGRAM...` lines.
#
# Kernel messages go to ttyS0. Everything that programs print goes to ttyS1,
# so that a kernel line never lands in the middle of a test result. Lines that
# begin with "##vm" are for the runner.

/bin/busybox mkdir -p /bin /sbin /proc /sys /dev /tmp /root /run /etc
/bin/busybox --install -s /bin
export PATH=/bin:/sbin HOME=/root
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev 2>/dev/null
mkdir -p /dev/pts /dev/shm /dev/hugepages
mount -t devpts pts /dev/pts
mount -t tmpfs tmp /tmp
mount -t tmpfs shm /dev/shm
mount -t debugfs debug /sys/kernel/debug
mount -t hugetlbfs huge /dev/hugepages
mkdir -p /sys/fs/cgroup
mount -t cgroup2 cgroup /sys/fs/cgroup 2>/dev/null

stty -F /dev/ttyS1 raw -echo 2>/dev/null
exec </dev/null >/dev/ttyS1 2>&1

# word KEY: the value of KEY=... on the kernel command line.
word() { tr ' ' '\n' </proc/cmdline | sed -n "s/^$1=//p" | tail -n 1; }

fail() { echo "##vm fail $*"; }

# begin/end markers tell the runner whose results it reads; the same line in
# the kernel log tells a reader of that log which program was running.
run() {
	name=$1 limit=$2
	shift 2
	echo "##vm begin $limit $name"
	echo "vm: running $name" >/dev/kmsg
	timeout -s KILL "$limit" "$@"
	status=$?
	[ $status = 137 ] && echo "# $name: killed, probably at its limit of $limit s"
	echo "##vm end $name $status"
}

# The kernel's own tests want their device bound already. With `enable_sriov`
# as second word the driver is loaded anew, able to make virtual functions.
bind_vfio_pci() {
	local dev=/sys/bus/pci/devices/$1
	if [ "$2" = enable_sriov ]; then
		unbind_all
		rmmod vfio_pci
		insmod /modules/vfio-pci.ko enable_sriov=1 || fail "cannot load vfio-pci.ko"
	fi
	echo vfio-pci >"$dev/driver_override"
	# A driver that was just loaded has taken the device by itself.
	[ "$(readlink "$dev/driver")" = ../../../bus/pci/drivers/vfio-pci ] && return
	[ -e "$dev/driver" ] && echo "$1" >"$dev/driver/unbind"
	echo "$1" >/sys/bus/pci/drivers/vfio-pci/bind || fail "cannot bind $1 to vfio-pci"
}

unbind_all() {
	local dev
	for dev in /sys/bus/pci/drivers/vfio-pci/0*; do
		[ -e "$dev" ] || continue
		[ -e "$dev/sriov_numvfs" ] && echo 0 >"$dev/sriov_numvfs"
		echo "${dev##*/}" >/sys/bus/pci/drivers/vfio-pci/unbind
	done
	for dev in /sys/bus/mdev/devices/*; do
		[ -e "$dev" ] && echo 1 >"$dev/remove"
	done
}

# What lockdep knows now, and what tests have kept of it before they unloaded a
# module: each lock, and what was taken directly under it. The addresses differ
# from one copy to the next, and the counters do not matter.
send_lock_order() {
	[ -e /proc/lockdep ] || return
	mkdir -p /run/lockdep
	cat /proc/lockdep >/run/lockdep/end
	cat /run/lockdep/* | awk '
		NF == 0 || /^all lock classes:/ { next }
		/^ -> / { sub(/\[[^]]*\] /, ""); line = $0; if (!seen[outer, line]++) inner[outer] = inner[outer] "\n" line; next }
		{ sub(/^.* BD: *[0-9]+ [^ ]+ /, ""); outer = $0; if (!(outer in inner)) inner[outer] = "" }
		END { for (outer in inner) print outer inner[outer] "\n" }
	' | gzip | base64 | sed 's/^/##vm lockdep /'
}

IMPL=$(word impl)
export IMPL=${IMPL:-c}
SPLIT=$(word split)
export SPLIT
case $IMPL in
c) core=c type1=c ;;
rust) core=rust type1=rust ;;
rust-core) core=rust type1=c ;;
rust-type1) core=c type1=rust ;;
*) fail "impl=$IMPL is none of c, rust, rust-core, rust-type1" ;;
esac
ln -s "$core/vfio.ko" /modules/vfio.ko
ln -s "$type1/vfio_iommu_type1.ko" /modules/vfio_iommu_type1.ko

echo 512 >/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages

# What the boot itself leaked is not ours.
leaks=/sys/kernel/debug/kmemleak
if [ -e $leaks ]; then
	echo scan=off >$leaks
	echo clear >$leaks
	# Whoever enables a device makes the kernel evaluate the firmware's table of
	# interrupts, which creates thousands of objects. A kernel that checks each of
	# them needs seconds for that, more than for all else that most tests do. A
	# device that is enabled already, as here, spares them that.
	for device in /sys/bus/pci/devices/*; do
		[ -e "$device/driver" ] || echo 1 >"$device/enable"
	done
fi

# What is not there was not configured: the runner saw to it that all is.
load() {
	[ -e "/modules/$1.ko" ] || return
	insmod "/modules/$1.ko" || fail "cannot load $1.ko"
}
if [ "$(word load)" != no ]; then
	load irqbypass
	load iommufd
	load vfio
	load vfio_iommu_type1
	# An IOMMU that does not isolate interrupts, and nobody here to harm.
	if [ "$(word unsafe_interrupts)" = yes ]; then
		for module in iommufd vfio_iommu_type1; do
			unsafe=/sys/module/$module/parameters/allow_unsafe_interrupts
			[ ! -e $unsafe ] || echo Y >$unsafe
		done
	fi
	load vfio-pci-core
	load vfio-pci
	load mdev
	load mtty
fi
echo "##vm ready impl=$IMPL kernel=$(uname -r) up=$(cut -d' ' -f1 /proc/uptime)"

# shellcheck source=/dev/null
. /job

[ "$IMPL" != rust ] || send_lock_order

# Everything must go away again: a reference somebody forgot shows up here.
if [ "$(word unload)" != no ]; then
	unbind_all
	more=yes
	while [ $more = yes ]; do
		more=no
		while read -r module _; do
			rmmod "$module" 2>/dev/null && more=yes
		done </proc/modules
	done
	left=$(cut -d' ' -f1,3 /proc/modules | tr '\n' ';')
	[ -z "$left" ] || fail "modules that do not unload (with their users): $left"
	# Twice, and some seconds apart: kmemleak spares objects younger than 5 s.
	if [ -e $leaks ]; then
		echo "##vm step kmemleak: first scan"
		sleep 6
		echo scan >$leaks
		echo "##vm step kmemleak: second scan"
		sleep 1
		echo scan >$leaks
		cat $leaks
		if [ -z "$(head -c 1 $leaks)" ]; then
			echo "# kmemleak: nothing found in two scans"
		else
			fail "kmemleak found the objects above"
		fi
	fi
fi
echo "##vm done"
sync
reboot -f
