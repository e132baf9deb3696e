# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# shellcheck disable=SC2154,SC2317 # guest.sh has the devices; check calls the functions
#
# libvirt: devices whose drivers it changes (managed='yes'), plugged and unplugged, and an
# mdev. The guest is that of qemu.sh.

uuid=f00d0000-0000-4000-8000-000000000001
xml=/tmp/domain.xml

start_libvirt() {
	start_udev
	modprobe -a kvm-amd igb vfio-pci
	# This is in a chroot already, in which QEMU cannot get devices of its own.
	echo "namespaces = []" >>/etc/libvirt/qemu.conf
	virtlogd --daemon
	libvirtd --daemon
	wait_for 60 virsh --quiet uri
}

# pci_hostdev ADDRESS [PLACE]: a device for the guest, and the bus where it goes.
pci_hostdev() {
	local domain bus slot function
	IFS=:. read -r domain bus slot function <<<"$1"
	cat <<-XML
		<hostdev mode='subsystem' type='pci' managed='yes'>
		  <source>
		    <address domain='0x$domain' bus='0x$bus' slot='0x$slot' function='0x$function'/>
		  </source>
		  ${2:-}
		</hostdev>
	XML
}
# domain STEPS DEVICE...: the guest, with these devices from the beginning.
domain() {
	cat <<-XML
		<domain type='kvm' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
		  <name>nested</name>
		  <memory unit='MiB'>128</memory>
		  <vcpu>1</vcpu>
		  <os>
		    <type arch='x86_64' machine='q35'>hvm</type>
		    <kernel>/srv/bzImage</kernel>
		    <initrd>/srv/nested.cpio</initrd>
		    <cmdline>console=ttyS0 quiet panic=-1 no_timer_check nested=$1</cmdline>
		  </os>
		  <features><acpi/><apic/></features>
		  <cpu mode='host-passthrough'/>
		  <on_reboot>destroy</on_reboot>
		  <devices>
		    <controller type='usb' model='none'/>
		    <controller type='pci' index='0' model='pcie-root'/>
		    <controller type='pci' index='1' model='pcie-root-port'/>
		    <serial type='file'><source path='$console'/></serial>
		    <memballoon model='none'/>
		    ${*:2}
		  </devices>
		  <qemu:commandline>
		    <qemu:arg value='-global'/>
		    <qemu:arg value='ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off'/>
		  </qemu:commandline>
		</domain>
	XML
}
starts() { # STEPS DEVICE...
	forget
	domain "$@" >$xml
	virsh create $xml
}
ended() { ! virsh domstate nested >/dev/null 2>&1; }
guest_succeeds() {
	wait_for 60 ended
	tr -d '\r' <"$console"
	says "nested: ends"
}
waits_for() { wait_for 120 eval "says '$1' || ended" && says "$1"; }
# How much memory QEMU may lock: some more than its guest has.
memlock() {
	local limit
	limit=$(prlimit --pid "$(pidof qemu-system-x86_64)" --memlock --noheadings --output SOFT | xargs)
	echo "$limit"
	[ "$limit" != unlimited ] && [ "$limit" -gt $((128 << 20)) ]
}

step_libvirt() {
	local at="<address type='pci' domain='0' bus='0' slot='0x10' function='0'/>"
	client libvirt libvirt-daemon
	check "libvirtd runs" start_libvirt
	check "the kernel's driver has the network card" has_driver "$igb" igb
	check "nodedev-list shows it" prints pci_0000_00_09_0 virsh nodedev-list --cap pci
	check "nodedev-detach gives it to vfio-pci" virsh nodedev-detach pci_0000_00_09_0
	check "vfio-pci has it" has_driver "$igb" vfio-pci
	check "nodedev-reattach gives it back" virsh nodedev-reattach pci_0000_00_09_0
	check "igb has it" has_driver "$igb" igb

	check "starts a guest with edu" starts edu,plug,igb,unplug,plug,igb "$(pci_hostdev "$edu" "$at")"
	check "vfio-pci has edu" has_driver "$edu" vfio-pci
	check "lets QEMU lock the guest's memory, but not without a limit" memlock
	check "the guest uses edu" waits_for "slot: waits for a device"
	pci_hostdev "$igb" >/tmp/igb.xml
	check "attach-device gives it the network card" virsh attach-device nested /tmp/igb.xml --live
	check "vfio-pci has the card" has_driver "$igb" vfio-pci
	check "the guest uses it" waits_for "slot: waits for the button"
	check "detach-device takes it from the guest" virsh detach-device nested /tmp/igb.xml --live
	check "igb has the card" wait_for 60 has_driver "$igb" igb
	check "attach-device gives it again" virsh attach-device nested /tmp/igb.xml --live
	check "the guest uses it, and ends" guest_succeeds
	check "igb has the card" wait_for 30 has_driver "$igb" igb
	check "nobody has edu, as before" wait_for 30 fails test -e "$(pci "$edu")/driver"

	check "an mdev is there" eval "echo $uuid >/sys/class/mdev_bus/mtty/mdev_supported_types/mtty-1/create"
	check "starts a guest with it" starts serial \
		"<hostdev mode='subsystem' type='mdev' model='vfio-pci'><source><address uuid='$uuid'/></source></hostdev>"
	check "lets QEMU lock the guest's memory for it" memlock
	check "the guest uses it" wait_for 60 round_is 5
	check "destroy ends the guest" virsh destroy nested
	check "the mdev can be removed" eval "echo 1 >/sys/bus/mdev/devices/$uuid/remove"
	modprobe -r igb
	kill "$(cat /run/libvirtd.pid)" "$(cat /run/virtlogd.pid)"
}
