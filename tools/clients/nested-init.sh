#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=dash # what busybox has
#
# The first process of the nested VM: loads VFIO and runs vfio-drive for each word in
# nested=... of the kernel's command line. The line "nested: ends" is the last one if
# all went well.

/bin/busybox mkdir -p /bin /sbin /proc /sys /dev
/bin/busybox --install -s /bin
# Limits of waiting are for a machine that is not emulated in an emulated one.
export PATH=/bin:/sbin SLOW=15
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev 2>/dev/null
for module in irqbypass iommufd vfio vfio-pci-core vfio-pci; do
	insmod /modules/$module.ko
done
echo Y >/sys/module/vfio/parameters/enable_unsafe_noiommu_mode

for step in $(tr ' ' '\n' </proc/cmdline | sed -n 's/^nested=//p' | tr ',' ' '); do
	if ! vfio-drive "$step"; then
		echo "nested: $step failed"
		dmesg | tail -n 15
		reboot -f
	fi
done
echo "nested: ends"
reboot -f
