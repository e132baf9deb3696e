# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=dash # what busybox has
#
# Part of /job if the programs to run are those of a distribution. The host shares its
# root file system; what is written there goes to memory, and is gone with the machine.

share() { # TAG DIRECTORY
	mount -t 9p -o trans=virtio,ro,cache=loose,msize=262144 "$1" "$2" || fail "no share $1"
}

enter_distribution() {
	for module in netfs 9pnet 9pnet_virtio 9p overlay; do
		load $module
	done
	mkdir -p /lower /upper /distribution
	mount -t tmpfs upper /upper
	mkdir /upper/files /upper/work
	share root /lower
	mount -t overlay -o lowerdir=/lower,upperdir=/upper/files,workdir=/upper/work \
		overlay /distribution || fail "no root file system"
	for dir in proc sys dev; do
		mount -o rbind /$dir /distribution/$dir
	done
	mount -t tmpfs run /distribution/run
	mount -t tmpfs tmp /distribution/tmp
	share files /distribution/srv
	# Programs load modules by name, and must get those that this boot is about.
	modules=/distribution/lib/modules/$(uname -r)
	mkdir -p "$modules/updates"
	cp /modules/*.ko "$modules/updates"
	for list in order builtin builtin.modinfo; do
		: >>"$modules/modules.$list"
	done
	chroot /distribution /sbin/depmod
}

# Whatever still runs there has been left behind.
leave_distribution() {
	for root in /proc/[0-9]*/root; do
		[ "$(readlink "$root")" = /distribution ] || continue
		pid=${root#/proc/}
		kill -KILL "${pid%/root}"
	done
	sleep 1
	# What was mounted last comes first.
	sed -n 's,^[^ ]* \(/distribution[^ ]*\|/lower\|/upper\) .*,\1,p' /proc/mounts | tac |
		while read -r dir; do
			umount "$dir" || fail "$dir is in use"
		done
}
