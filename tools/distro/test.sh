#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# Installs the Debian packages on a whole Debian 13 with its own kernel, in a VM, as
# a user does, and checks what a user sees: see guest.sh. Prints the totals at the end.
#
#   test.sh <directory of packages> <programs> <modules> <work directory> [step...]
#
# The modules are the drivers that tests bring along, built for this kernel.
set -euo pipefail
# shellcheck source=tools/vm/env.sh
. "$(dirname "${BASH_SOURCE[0]}")/../vm/env.sh"
# shellcheck source=tools/distro/debian.sh
. "$top/tools/distro/debian.sh"

usage="usage: test.sh <directory of packages> <programs> <modules> <work directory> [step...]"
debs=${1:?$usage} programs=${2:?$usage} modules=${3:?$usage} work=${4:?$usage}
shift 4
# In this order: each goes on where the one before it has ended, and the last one
# leaves another kernel. The first four need no VM.
steps=(source again others dkms install reboot remove settings signed observe rows kernel_tests upgrade)
[ $# = 0 ] || steps=("$@")
huge="hugepagesz=1G hugepages=1 default_hugepagesz=2M"
declare -A words=([signed]=module.sig_enforce=1 [kernel_tests]=$huge
	[rows]="$huge printk.devkmsg=on log_buf_len=8M")

machine=$("$top/tools/distro/machine.sh")
release=$("$top/tools/distro/stage.sh" release)
rebuilt=$("$top/tools/distro/rebuilt.sh")
upstream=$("$top/tools/vm/upstream.sh")
disk=$work/disk.ext4
mkdir -p "$work"

# Our modules for the kernel that has the same release and a later version.
modules_for_rebuilt() { # DIRECTORY
	rm -rf "$work/tree"
	mkdir -p "$1"
	dpkg-deb --raw-extract "$debs"/rust-vfio-modules-*.deb "$work/tree"
	sed -Ei 's/^Version: .*/&+rebuilt1/; s/(linux-image-[^ ]* \(= [^)]*)\)/\1+rebuilt1)/' "$work/tree/DEBIAN/control"
	dpkg-deb --root-owner-group --build "$work/tree" "$1" >/dev/null
	# shellcheck disable=SC2016 # of that shell
	"$top/tools/distro/stage.sh" run sh -c 'cd "$1" && dpkg-scanpackages . /dev/null >Packages 2>/dev/null' sh "$1"
}

say "making the disk"
rm -rf "$work/srv"
mkdir -p "$work"/srv/{debs,programs,modules,repository}
cp "$debs"/*.deb "$work/srv/debs/"
cp -r "$rebuilt"/{same,other,release} "$work/srv/repository/"
modules_for_rebuilt "$work/srv/repository/modules"
cp "$programs"/vfio-{demo,selftests} "$upstream"/vfio_{dma_mapping_test,pci_device_test.*} \
	"$work/srv/programs/"
# What the tests find beside VFIO: the kernel's modules, and their own.
tree=$("$top/tools/distro/vm-tree.sh" "$work/kernel")
cp "$tree"/*.ko "$modules"/{vfio_fixture,rust_vfio_sample,rust_vfio_edu}.ko "$work/srv/modules/"
install -m 755 "$top"/tools/distro/{guest,check}.sh "$work/srv/"
cat >"$work/distro-test.service" <<-'END'
	[Unit]
	Description=Tests of rust_vfio
	After=multi-user.target
	[Service]
	Type=idle
	ExecStart=/srv/rust-vfio/guest.sh
	[Install]
	WantedBy=graphical.target
END
# As a layer over the root file system, so that it stays as it is.
# shellcheck disable=SC2016 # variables of that shell
"${as_root[@]}" unshare --mount --propagation private bash -ec '
	machine=$1 work=$2 disk=$3
	rm -rf "$work"/{upper,layer,whole}
	mkdir -p "$work"/{upper,layer,whole}
	mount -t overlay overlay -o "lowerdir=$machine,upperdir=$work/upper,workdir=$work/layer" "$work/whole"
	mkdir "$work/whole/srv/rust-vfio"
	cp -r "$work/srv/." "$work/whole/srv/rust-vfio"
	cp "$work/distro-test.service" "$work/whole/etc/systemd/system/"
	mkdir -p "$work/whole/etc/systemd/system/graphical.target.wants"
	ln -s ../distro-test.service "$work/whole/etc/systemd/system/graphical.target.wants/"
	rm -f "$disk"
	mke2fs -q -t ext4 -d "$work/whole" "$disk" 4G >/dev/null
' bash "$machine" "$work" "$disk"

# An emulated machine on a busy one is slow: systemd waits for its console.
append="root=/dev/vda rw console=ttyS0 panic=-1 intel_iommu=on no_timer_check"
append+=" systemd.default_device_timeout_sec=600"

# boot STEP LOG: boots the disk for a step, with the initramfs that it has now.
boot() {
	/sbin/debugfs -R "dump /boot/initrd.img-$release $work/initrd" "$disk" 2>/dev/null
	timeout 3600 setpriv --pdeathsig KILL qemu-system-x86_64 \
		-nodefaults -no-user-config -display none -no-reboot \
		-machine q35 -accel tcg,thread=single -cpu max,la57=off -smp 2 -m 6G \
		-device intel-iommu,intremap=on,caching-mode=on \
		-device edu,addr=0x3,dma_mask=0xffffffffffffffff \
		-device edu,addr=0x4,dma_mask=0xffffffffffffffff \
		-netdev user,id=net0,restrict=on -device igb,addr=0x5,netdev=net0 \
		-object memory-backend-ram,id=shared,size=64M,share=on \
		-device ivshmem-plain,addr=0x6,memdev=shared \
		-device i82801b11-bridge,id=bridge,addr=0x7 \
		-device edu,bus=bridge,addr=0x1,dma_mask=0xffffffffffffffff \
		-device edu,bus=bridge,addr=0x2,dma_mask=0xffffffffffffffff \
		-device pci-serial,bus=bridge,addr=0x3 \
		-drive "file=$disk,format=raw,if=none,id=disk,cache=unsafe" \
		-device virtio-blk,addr=0x9,drive=disk \
		-kernel "$machine/usr/lib/modules/$release/vmlinuz" -initrd "$work/initrd" \
		-append "$append distro_test=$1 ${words[$1]:-}" \
		-serial "file:$work/$1.log" -serial "file:$2" </dev/null || die "QEMU failed: $work/$1.log"
}

passed=0 failed=0
for step in "${steps[@]}"; do
	say "$step"
	log=$work/$step.out
	: >"$work/$step.log"
	case $step in
	source) "$top/tools/distro/source-test.sh" "$work/source" >"$log" && echo "# end of source" >>"$log" ;;
	again) "$top/tools/distro/again-test.sh" "$debs" "$work/again" >"$log" && echo "# end of again" >>"$log" ;;
	others) "$top/tools/distro/others-test.sh" "$debs" "$work/others" >"$log" && echo "# end of others" >>"$log" ;;
	dkms) "$top/tools/distro/dkms-test.sh" "$debs" "$rebuilt" "$work/dkms" >"$log" && echo "# end of dkms" >>"$log" ;;
	*) boot "$step" "$log" ;;
	esac
	sed -i 's/\r$//' "$log"
	grep -qxF "# end of $step" "$log" || { echo "not ok - $step came to its end" >>"$log"; }
	grep -vE '^# ' "$log" || true
	# What failed said why.
	awk '/^not ok/ { show = 1; print; next } /^ok/ { show = 0 } show' "$log"
	passed=$((passed + $(grep -c '^ok' "$log" || true)))
	failed=$((failed + $(grep -c '^not ok' "$log" || true)))
	# Some of our tests announce a warning.
	if sed '/expect-warn begin/,/expect-warn end/{/WARNING: /d}' "$work/$step.log" |
		grep -E 'BUG:|WARNING:|Oops|general protection'; then
		failed=$((failed + 1))
	fi
done
echo "$passed passed, $failed failed, 0 skipped"
[ "$failed" = 0 ]
