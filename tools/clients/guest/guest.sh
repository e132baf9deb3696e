#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Runs in the guest, in the root file system of a Debian 13: one of the steps in the
# other files here, by name. Prints a line for each check, and before those of a
# program its name and version: see table.py.
#
# shellcheck disable=SC1090,SC2034,SC2317 # the steps are in the other files, and use all this
set -u
cd /srv || exit
# shellcheck source=tools/distro/check.sh
. ./check.sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin:/srv LC_ALL=C.UTF-8 HOME=/root XDG_RUNTIME_DIR=/run
# udev and others would do nothing in a chroot.
export SYSTEMD_IGNORE_CHROOT=1

# client NAME PACKAGE: the checks that follow are of this program.
client() { echo "# client $1 $(dpkg-query -W -f='${Version}' "$2")"; }

# The device of this address and its IOMMU group.
pci() { echo "/sys/bus/pci/devices/$1"; }
group_of() { basename "$(readlink -f "$(pci "$1")/iommu_group")"; }
driver_of() { basename "$(readlink "$(pci "$1")/driver")"; }
has_driver() { # ADDRESS DRIVER
	echo "$1: $(driver_of "$1")"
	[ "$(driver_of "$1")" = "$2" ]
}
wait_for() { # SECONDS COMMAND...
	local end=$((SECONDS + $1))
	shift
	until "$@"; do
		[ "$SECONDS" -lt "$end" ] || return
		sleep 0.3
	done
}

give_to_vfio() { # ADDRESS...
	local device
	for device; do
		echo vfio-pci >"$(pci "$device")/driver_override"
		[ ! -e "$(pci "$device")/driver" ] || echo "$device" >"$(pci "$device")/driver/unbind"
		echo "$device" >/sys/bus/pci/drivers_probe
		has_driver "$device" vfio-pci || return
	done
}
# give_back: takes all devices from vfio-pci.
give_back() {
	local dir
	for dir in /sys/bus/pci/drivers/vfio-pci/0*; do
		[ -e "$dir" ] || continue
		echo >"$dir/driver_override"
		echo "${dir##*/}" >/sys/bus/pci/drivers/vfio-pci/unbind
	done
}

# What VFIO still holds: users of its modules that are no modules, and pages that are
# pinned. Pages are let go when the last file of a container is closed.
vmstat() { awk -v key="$1" '$1 == key { print $2 }' /proc/vmstat; }
pinned() { echo $(($(vmstat nr_foll_pin_acquired) - $(vmstat nr_foll_pin_released))); }
users() { awk '$1 == "vfio" || $1 == "vfio_iommu_type1" { users += $3 - gsub(/,/, "", $4) } END { print +users }' /proc/modules; }
holders() {
	find /proc/[0-9]*/fd \( -lname '/dev/vfio/*' -o -lname /dev/iommu -o -lname 'anon_inode:*vfio*' \) \
		-printf '%p -> %l\n' 2>/dev/null | grep .
}
nothing_left() {
	[ "$(pinned)" = "$pinned_before" ] && [ "$(users)" = 0 ] && ! holders >/dev/null
}
what_is_left() {
	wait_for 10 nothing_left && return
	echo "pinned pages: $(pinned), before: $pinned_before; users of the modules: $(users)"
	holders
	return 1
}

devices=(0000:00:09.0 0000:00:0b.0)
for file in [a-z]*.sh; do
	[ "$file" = guest.sh ] || [ "$file" = check.sh ] || . "./$file"
done

step=$1
pinned_before=$(pinned)
"step_$step"
check "gives everything back" give_back
check "leaves nothing behind" what_is_left
exit $((failed > 0))
