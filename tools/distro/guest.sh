#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Runs on a whole Debian 13, as a service at the end of the boot, with what test.sh
# has put into /srv/rust-vfio: our packages and the programs of the tests. Which of
# the functions below it runs, the kernel's command line says (distro_test=...).
# Prints one line for each check, and switches the machine off.
set -u
cd /srv/rust-vfio || exit
PATH=$PATH:/srv/rust-vfio/programs
export DEBIAN_FRONTEND=noninteractive
release=$(uname -r)
stock=/lib/modules/$release/kernel/drivers/vfio

# shellcheck source=tools/distro/check.sh
. ./check.sh

is_by() { # rust|c FILE: says who wrote it, and whether that is right
	local author
	author=$(modinfo -F author "$2")
	echo "$2: by $author"
	case $1:$author in
	rust:'The rust_vfio developers' | c:'Alex Williamson'*) ;;
	*) return 1 ;;
	esac
}
file_of_loaded() { # MODULE
	local file
	for file in "/lib/modules/$release/updates"/*/"$1".ko* "$stock/$1".ko*; do
		[ "$(modinfo -F srcversion "$file" 2>/dev/null)" = "$(cat "/sys/module/$1/srcversion")" ] &&
			echo "$file" && return
	done
}
loaded() { # rust|c: both modules are loaded, and are these
	is_by "$1" "$(file_of_loaded vfio)" && is_by "$1" "$(file_of_loaded vfio_iommu_type1)"
}
unload() { modprobe -r vfio-pci vfio_iommu_type1 vfio; }
# Opens the container as somebody without rights, which loads the modules.
open_as_nobody() { setpriv --reuid nobody --clear-groups sh -c ': <>/dev/vfio/vfio'; }
demo() { modprobe vfio-pci && IMPL=$1 timeout 600 vfio-demo; }
install_packages() { apt-get -qq install -y ./debs/rust-vfio-tools_*.deb ./debs/rust-vfio-modules-*.deb; }
remove_packages() { apt-get -qq purge -y "rust-vfio-modules-$release" rust-vfio-tools; }
# What the packages of the kernel say of its files. (Documentation was not unpacked.)
verify() { dpkg --verify "linux-modules-$release" "linux-image-$release" "linux-binary-$release" | grep -v " /usr/share/doc/" | tee /dev/stderr | fails grep -q .; }
nothing_left() { find / -xdev -path /srv -prune -o \( -name '*rust-vfio*' -print \) | grep -v '^/var/\(log\|cache/apt\|lib/apt\|lib/systemd\)\|distro-test' | tee /dev/stderr | fails grep -q .; }
# Damages a module: it looks right to depmod and modinfo, and does not load.
damage() { sed -i 's/vermagic=7/vermagic=8/' "$1"; }
initramfs_has() { # rust|c [RELEASE]
	local dir=/tmp/initramfs
	rm -rf $dir
	unmkinitramfs "/boot/initrd.img-${2:-$release}" $dir || return
	is_by "$1" "$(find $dir -name 'vfio.ko*')"
}
takes() { # rust|c RELEASE: modprobe would load these there
	is_by "$1" "$(modinfo -k "$2" -n vfio)" && is_by "$1" "$(modinfo -k "$2" -n vfio_iommu_type1)"
}
# Whether a package is the one of the later version.
is_rebuilt() { dpkg-query -W -f='${Version}\n' "$1" | tee /dev/stderr | grep -q rebuilt; }
# apt_knows DIRECTORY...: apt knows the packages in these, and no others.
apt_knows() {
	rm -rf /etc/apt/sources.list.d/* /var/lib/apt/lists/*
	printf "deb [trusted=yes] file:$PWD/repository/%s ./\n" "$@" >/etc/apt/sources.list
	apt-get -qq update
}
keep_in_initramfs() { printf 'vfio\nvfio_iommu_type1\n' >>/etc/initramfs-tools/modules; }
# Binds the device to vfio-pci, without telling vfio-pci of its kind.
device=0000:00:05.0
is_bound() { test -e /sys/bus/pci/drivers/vfio-pci/$device; }
bind_device() {
	modprobe vfio-pci
	modprobe -r igb 2>/dev/null
	echo vfio-pci >/sys/bus/pci/devices/$device/driver_override
	echo $device >/sys/bus/pci/drivers/vfio-pci/bind
}

install() {
	check "a user opens /dev/vfio/vfio, and the kernel's modules are loaded" open_as_nobody
	check "they are in C" loaded c
	check "the packages are installed" install_packages
	check "nobody used VFIO, so ours are loaded now" loaded rust
	check "the kernel's files are as they were" verify
	check "status says so, to everybody" prints "written in Rust" \
		setpriv --reuid nobody --clear-groups env PATH=/usr/bin:/bin rust-vfio-switch status
	check "the demonstration runs" demo rust
	check "switch to C" rust-vfio-switch c
	check "C is loaded" loaded c
	check "switch to C again" rust-vfio-switch c
	check "it is still loaded" loaded c
	check "status says so" prints "written in C" rust-vfio-switch status
	check "the demonstration runs in C" demo c
	sleep 10000 <>/dev/vfio/vfio &
	local user=$!
	check "switch to Rust while somebody uses VFIO: it says who" prints "$user sleep" rust-vfio-switch rust
	check "what is used stays loaded" loaded c
	check "status says that this is not what is chosen" prints "not what is chosen" rust-vfio-switch status
	kill $user
	wait $user 2>/dev/null
	check "switch to Rust again" rust-vfio-switch rust
	check "Rust is loaded" loaded rust
	check "only root switches" fails setpriv --reuid nobody --clear-groups rust-vfio-switch c
	check "what is no choice is refused" fails rust-vfio-switch java
	check "vfioctl knows them" prints "in Rust, of rust_vfio" vfioctl doctor
}

reboot() {
	check "a user opens /dev/vfio/vfio" open_as_nobody
	check "ours are loaded" loaded rust
	check "they unload" unload
	keep_in_initramfs
	check "an initramfs takes VFIO" update-initramfs -u
	check "it took ours" initramfs_has rust
	check "switch to C" rust-vfio-switch c
	check "the initramfs has C" initramfs_has c
	check "switch to Rust" rust-vfio-switch rust
	check "the initramfs has Rust" initramfs_has rust
	check "vfioctl hands a device over, now and at each boot" vfioctl bind --save $device
	check "vfio-pci has the device" is_bound
}

remove() {
	check "ours are loaded, from the initramfs" loaded rust
	check "vfio-pci has the device again" is_bound
	check "a program can use it" vfioctl why $device
	echo 1 >/sys/bus/pci/devices/$device/remove
	echo 1 >/sys/bus/pci/rescan
	check "it is unplugged and comes back" udevadm settle --timeout=120
	check "vfio-pci has the device again" is_bound
	check "vfioctl gives it back for good" vfioctl unbind --save $device
	check "its own driver has it" test -e /sys/bus/pci/drivers/igb/$device
	check "nothing is remembered" fails test -e /etc/driverctl.d/pci-$device
	check "the packages are removed" remove_packages
	check "C is loaded" loaded c
	check "the initramfs has C" initramfs_has c
	check "the kernel's files are as they were" verify
	check "nothing is left" nothing_left
}

# Devices and parameters survive a reload.
settings() {
	local dir=/sys/bus/pci/devices/$device
	check "the packages are installed" install_packages
	bind_device
	echo >$dir/driver_override
	echo Y >/sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts
	check "switch to C" rust-vfio-switch c
	check "C is loaded" loaded c
	check "the device is bound again" test -e /sys/bus/pci/drivers/vfio-pci/$device
	check "the parameter is as it was" grep -q Y /sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts
	check "the device has no override" grep -qxF "(null)" $dir/driver_override
	check "switch to Rust" rust-vfio-switch rust
	# A file that is no module, as after a failed build.
	local file=/lib/modules/$release/updates/rust-vfio/vfio.ko
	cp "$file" /tmp/vfio.ko
	check "switch to C" rust-vfio-switch c
	damage "$file"
	# The initramfs cannot be made either.
	keep_in_initramfs
	check "an initramfs takes VFIO" update-initramfs -u
	chmod -x /usr/sbin/update-initramfs
	check "Rust does not load" fails rust-vfio-switch rust
	chmod +x /usr/sbin/update-initramfs
	check "C is chosen" prints "chosen: VFIO in C" rust-vfio-switch status
	check "C is loaded" loaded c
	check "the device is bound again" test -e /sys/bus/pci/drivers/vfio-pci/$device
	check "an update is installed all the same" dpkg-reconfigure "rust-vfio-modules-$release"
	cp /tmp/vfio.ko "$file"
	check "removed, not purged" apt-get -qq remove -y "rust-vfio-modules-$release"
	check "C is loaded" loaded c
	check "installed again" install_packages
	check "Rust is loaded" loaded rust
	check "nothing is loaded" unload
	damage "/lib/modules/$release/updates/rust-vfio/vfio_iommu_type1.ko"
	check "half of Rust loads" fails rust-vfio-switch rust
	check "C is chosen" prints "chosen: VFIO in C" rust-vfio-switch status
	check "and nothing stays loaded" fails test -e /sys/module/vfio
	check "removed" remove_packages
	check "nothing is left" nothing_left
}

signed() {
	local other=/lib/modules/7.3.99-amd64
	check "this kernel wants signatures" grep -q Y /sys/module/module/parameters/sig_enforce
	# The kernel that boots next is another one.
	check "the tools are installed" apt-get -qq install -y ./debs/rust-vfio-tools_*.deb
	mkdir -p $other/updates
	touch $other/modules.{order,builtin,builtin.modinfo}
	dpkg-deb --fsys-tarfile debs/rust-vfio-modules-*.deb | tar -xO --wildcards '*/vfio.ko' >$other/updates/vfio.ko
	depmod "${other##*/}"
	check "Rust is refused for a kernel that does not run" prints mokutil rust-vfio-switch rust
	check "C is chosen" prints "chosen: VFIO in C" rust-vfio-switch status
	rm -r $other
	check "the packages are installed" install_packages
	check "C is chosen" prints "chosen: VFIO in C" rust-vfio-switch status
	check "a user opens /dev/vfio/vfio" open_as_nobody
	check "C is loaded" loaded c
	check "Rust is refused" fails rust-vfio-switch rust
	check "and it says what to do" prints "mokutil --import" rust-vfio-switch rust
	check "the demonstration runs in C" demo c
	check "the packages are removed" remove_packages
	check "nothing is left, of the choice neither" nothing_left
}

# What docs/observability.md says to type, with a program to look at.
observe() {
	check "the packages are installed" install_packages
	modprobe vfio-pci
	check "Rust is loaded" loaded rust
	check "trace-cmd records a program" \
		trace-cmd record -q -o /tmp/trace.dat -e vfio -F programs/vfio-demo
	check "and shows what it mapped" prints vfio_map trace-cmd report -i /tmp/trace.dat
	check "and what was refused to it" prints reason=overlap trace-cmd report -i /tmp/trace.dat
	check "bpftrace adds up what programs map" prints "@[vfio-demo]: " bpftrace -c programs/vfio-demo \
		-e 'tracepoint:vfio:vfio_map /args.error == 0/ { @[comm] = sum(args.size); }'
	check "bpftrace measures unmapping" prints "@us:" bpftrace -c programs/vfio-demo \
		-e 'tracepoint:vfio:vfio_unmap { @begin[tid] = nsecs; }
		tracepoint:vfio:vfio_unmap_done /@begin[tid]/ {
			@us = hist((nsecs - @begin[tid]) / 1000); delete(@begin[tid]); }'
	check "the packages are removed" remove_packages
}

# Updates of the kernel: to another build of the same release, and to another release.
upgrade() {
	local next
	next=$(cat repository/release)
	check "the packages are installed" install_packages
	check "a user opens /dev/vfio/vfio" open_as_nobody
	check "Rust is loaded" loaded rust
	check "apt knows another build of this kernel" apt_knows same
	check "an upgrade" apt-get -qq upgrade -y
	check "leaves this one, which has modules" fails is_rebuilt "linux-image-$release"
	check "Rust is loaded" loaded rust
	check "apt knows modules for that build" apt_knows same modules
	check "an upgrade" apt-get -qq upgrade -y
	check "brings the kernel" is_rebuilt "linux-image-$release"
	check "and the modules" is_rebuilt "rust-vfio-modules-$release"
	check "modprobe takes them" takes rust "$release"
	check "Rust is loaded" loaded rust
	keep_in_initramfs
	check "apt knows a kernel of another release" apt_knows other
	check "it is installed" apt-get -qq install -y "linux-image-$next"
	check "its own VFIO is used there" takes c "$next"
	check "also in its initramfs" initramfs_has c "$next"
	check "nothing changes here" takes rust "$release"
	check "switch to C, at the next boot" prints "at the next boot" rust-vfio-switch c
	check "switch to Rust" rust-vfio-switch rust
	check "its own VFIO is used there" takes c "$next"
	check "ours is used here" takes rust "$release"
	check "the other kernel is removed" apt-get -qq purge -y "linux-"{image,binary,modules,base}"-$next"
	check "the packages are removed" remove_packages
	check "what is loaded is not of the kernel that was installed, and stays" grep -q O /sys/module/vfio/taint
	check "the kernel's files are as they were" verify
	check "nothing is left" nothing_left
}

# in_rust_and_c COMMAND...: with one after the other.
in_rust_and_c() {
	check "the packages are installed" install_packages
	for IMPL in rust c; do
		export IMPL
		check "switch to $IMPL" rust-vfio-switch $IMPL
		modprobe vfio-pci
		check "$IMPL is loaded" loaded $IMPL
		"$@"
	done
	check "the packages are removed" remove_packages
}
# Runs a program that prints its own results.
program() {
	"$@"
	check "$1 came to its end, $IMPL" [ $? = 0 ]
}

# Our own tests look for the modules in one directory.
rows() {
	echo 512 >/proc/sys/vm/nr_hugepages
	mkdir -p /modules
	cp modules/* /modules/
	in_rust_and_c rows_once
}
rows_once() {
	local module
	for module in vfio vfio_iommu_type1; do
		unpacked "$(file_of_loaded $module)" >/modules/$module.ko
	done
	SLOW=3 program vfio-selftests
}
unpacked() { # FILE
	case $1 in
	*.xz) xz --decompress --stdout "$1" ;;
	*) cat "$1" ;;
	esac
}

# Not vfio_pci_driver_test: it opens /dev/iommu in each mode, which this kernel does not have.
kernel_tests() {
	echo 128 >/proc/sys/vm/nr_hugepages
	in_rust_and_c kernel_tests_once
}
kernel_tests_once() {
	local mode of_mode
	bind_device
	for mode in vfio_type1_iommu vfio_type1v2_iommu; do
		of_mode=(-v "$mode" -v "${mode}_anonymous" -v "${mode}_anonymous_hugetlb_2mb" -v "${mode}_anonymous_hugetlb_1gb")
		program vfio_dma_mapping_test "${of_mode[@]}" $device
		program "vfio_pci_device_test.$mode" $device
	done
	echo $device >/sys/bus/pci/drivers/vfio-pci/unbind
}

exec >/dev/ttyS1 2>&1
step=$(tr ' ' '\n' </proc/cmdline | sed -n 's/^distro_test=//p')
echo "# $step on Linux $release"
"$step"
echo "# end of $step"
systemctl poweroff --no-block
