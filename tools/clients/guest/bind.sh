# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# shellcheck disable=SC2154,SC2317 # guest.sh has the devices; check calls the functions
#
# Who gives devices their drivers: driverctl, mdevctl, udev.

start_udev() {
	[ ! -S /run/udev/control ] || return 0
	/usr/lib/systemd/systemd-udevd --daemon
	udevadm trigger --action=add
	udevadm settle --timeout=120
}

step_driverctl() {
	local device=${devices[0]}
	start_udev
	# As after a boot: the driver of the card comes before vfio-pci.
	modprobe -r vfio-pci
	check "the kernel has a driver for the network card" modprobe igb
	client driverctl driverctl
	check "lists it with its driver" prints "$device igb" driverctl list-devices network
	check "set-override gives it to vfio-pci" driverctl set-override "$device" vfio-pci
	check "vfio-pci has it" has_driver "$device" vfio-pci
	check "it has a node" test -c "/dev/vfio/$(group_of "$device")"
	check "list-overrides shows it" prints "$device vfio-pci" driverctl list-overrides
	check "list-persisted shows it" prints "$device vfio-pci" driverctl list-persisted
	check "its own driver can have it without forgetting that" driverctl --nosave set-override "$device" igb
	check "igb has it" has_driver "$device" igb
	check "load-override, as at each boot, gives it to vfio-pci" driverctl load-override "$device"
	check "vfio-pci has it" has_driver "$device" vfio-pci
	check "unset-override gives it back" driverctl unset-override "$device"
	check "igb has it" has_driver "$device" igb
	check "the node is gone" fails test -e "/dev/vfio/$(group_of "$device")"
	modprobe -r igb
}

step_mdevctl() {
	local uuid=f00d0000-0000-4000-8000-000000000001
	client mdevctl mdevctl
	check "lists the types that mtty has" prints mtty-2 mdevctl types
	check "defines a device" mdevctl define --uuid $uuid --parent mtty --type mtty-2
	check "starts it" mdevctl start --uuid $uuid
	check "it has a node" wait_for 10 test -c "/dev/vfio/$(basename "$(readlink -f /sys/bus/mdev/devices/$uuid/iommu_group)")"
	check "lists it" prints "$uuid mtty mtty-2 manual (defined)" mdevctl list
	check "does not start it twice" fails mdevctl start --uuid $uuid
	check "stops it" mdevctl stop --uuid $uuid
	check "the device is gone" fails test -e /sys/bus/mdev/devices/$uuid
	check "starts it again, as at each boot" mdevctl start --uuid $uuid
	check "stops it" mdevctl stop --uuid $uuid
	check "forgets it" mdevctl undefine --uuid $uuid
	check "does not list it any more" fails prints $uuid mdevctl list --defined
}
