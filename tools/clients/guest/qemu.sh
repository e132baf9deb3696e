# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# shellcheck disable=SC2154,SC2317 # guest.sh has the devices; check calls the functions
#
# QEMU, with a nested guest in which vfio-drive uses the devices that it was given.

edu=0000:00:03.0 igb=0000:00:09.0
# The VM's kernel has no interrupt controllers of KVM but the local ones.
kvm=(-accel kvm -machine "q35,kernel-irqchip=split")
tcg=(-accel "tcg,thread=single" -machine q35)
# A slot in which devices can be plugged. The guest serves it itself, without ACPI.
slot=(-global "ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off"
	-device "pcie-root-port,id=root1,chassis=1,slot=1")
socket=/tmp/qmp console=/tmp/console

# What the guest before said must not be taken for what the next one says.
forget() { rm -f $console $socket; }
# nested STEPS WORD...: boots the guest, in which vfio-drive does these steps.
nested() {
	local steps=$1
	shift
	timeout "${limit:-300}" qemu-system-x86_64 -nodefaults -no-user-config -display none -no-reboot \
		-cpu max,la57=off -m 128M -kernel bzImage -initrd nested.cpio \
		-append "console=ttyS0 quiet panic=-1 no_timer_check nested=$steps" \
		-serial "file:$console" -qmp "unix:$socket,server=on,wait=off" "$@"
}
# succeeds QEMU'S STATUS: whether the guest has done all.
succeeds() {
	tr -d '\r' <$console
	[ "$1" = 0 ] && says "nested: ends"
}
says() { grep -qa "$1" $console 2>/dev/null; }
# Whether the guest of process QEMU says this before it ends.
guest_says() { # QEMU TEXT
	wait_for 150 eval "says '$2' || ! kill -0 $1 2>/dev/null" && says "$2"
}
# uses STEPS WORD...: the guest does these steps, and they succeed.
uses() {
	local status=0
	forget
	nested "$@" || status=$?
	succeeds $status
}

node_of() { echo "/dev/vfio/devices/$(ls "$1/vfio-dev")"; }

has_no_device() { ! holders | grep vfio; }
qmp() { ./qmp.py $socket "$@"; }
# replugs PROPERTIES WORD...: takes a device with these properties out while the guest
# runs, and gives it another time.
replugs() {
	local properties=$1 qemu status=0
	shift
	forget
	nested edu,unplug,plug,edu "${kvm[@]}" "${slot[@]}" "$@" \
		-device "vfio-pci,id=device,bus=root1,${properties// /,}" &
	qemu=$!
	if guest_says $qemu "waits for the button" &&
		qmp --until DEVICE_DELETED device_del id=device &&
		wait_for 30 has_no_device; then
		# shellcheck disable=SC2086 # several properties
		qmp device_add driver=vfio-pci id=device bus=root1 $properties
	else
		qmp quit
	fi
	wait $qemu || status=$?
	succeeds $status
}

# Which round of vfio-drive's work at the serial port was the last.
round() { grep -ao "round [0-9]*" $console | tail -n 1 | cut -d' ' -f2; }
round_is() { [ "$(round)" -ge "$1" ]; } 2>/dev/null
saved() { qmp query-migrate | tee /dev/stderr | grep -q '"status": "completed"'; }
# Moves a guest that uses an emulated serial port into a file, and from there to another
# QEMU with another port.
migrates() { # WORD... for both, PROPERTIES of the device
	local properties=${*: -1} words=("${@:1:$#-1}") ports=() port qemu last
	for port in 1 2; do
		ports+=("f00d0000-0000-4000-8000-00000000000$port")
		echo "${ports[-1]}" >/sys/class/mdev_bus/mtty/mdev_supported_types/mtty-1/create || return
	done
	port=vfio-pci,enable-migration=on$properties,sysfsdev=/sys/bus/mdev/devices

	forget
	nested serial "${kvm[@]}" "${words[@]}" -device "$port/${ports[0]}" &
	qemu=$!
	wait_for 120 round_is 5
	qmp migrate uri=file:/tmp/state
	wait_for 120 saved
	last=$(round)
	qmp quit
	wait $qemu
	tr -d '\r' <$console
	ls -l /tmp/state
	forget
	nested serial "${kvm[@]}" "${words[@]}" -device "$port/${ports[1]}" -incoming file:/tmp/state &
	qemu=$!
	wait_for 120 round_is $((last + 5))
	qmp quit
	wait $qemu
	tr -d '\r' <$console
	rm /tmp/state
	for port in "${ports[@]}"; do
		echo 1 >"/sys/bus/mdev/devices/$port/remove"
	done
	echo "from round $last to round $(round)"
	round_is $((last + 5)) && ! says "in place of"
}

# Without KVM. An emulated machine in an emulated one is slow.
step_qemu_tcg() {
	local limit=1000
	client qemu-system-x86_64 qemu-system-x86
	check "edu is given to vfio-pci" give_to_vfio $edu
	check "assigns edu by its group, without KVM" \
		uses edu "${tcg[@]}" -device vfio-pci,host=$edu
}

step_qemu() {
	client qemu-system-x86_64 qemu-system-x86
	check "edu and igb are given to vfio-pci" give_to_vfio $edu $igb
	modprobe kvm-amd
	check "assigns edu and igb by their groups, with KVM" \
		uses edu,igb "${kvm[@]}" -device vfio-pci,host=$edu -device vfio-pci,host=$igb
	check "assigns edu and igb by iommufd and their nodes, with KVM" \
		uses edu,igb "${kvm[@]}" -object iommufd,id=iommufd0 \
		-device vfio-pci,host=$edu,iommufd=iommufd0 -device vfio-pci,host=$igb,iommufd=iommufd0
	exec {node}<>"$(node_of "$(pci $edu)")" {iommufd}<>/dev/iommu
	check "uses files that were passed to it" \
		uses edu "${kvm[@]}" -object "iommufd,id=iommufd0,fd=$iommufd" \
		-device "vfio-pci,fd=$node,iommufd=iommufd0"
	exec {node}<&- {iommufd}<&-
	check "unplugs edu, and plugs it again, by its group" replugs host=$edu
	check "the same by iommufd and its node" replugs "host=$edu iommufd=iommufd0" \
		-object iommufd,id=iommufd0
	check "moves a guest with an mdev through a file to another QEMU, by groups" migrates ""
	check "the same by iommufd and nodes" migrates -object iommufd,id=iommufd0 ,iommufd=iommufd0
}
