#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# What source-test.sh runs in the other root file system.
#
# shellcheck disable=SC2317 # check calls the functions
set -u
release=$1
dir=/lib/modules/$release
here=/home/somebody/rust_vfio there=/home/somebody/a/place/elsewhere
# shellcheck source=tools/distro/check.sh
. /srv/check.sh

# The kernel that runs is that of the machine outside.
cat >/usr/local/bin/uname <<END
#!/bin/sh
if [ "\$*" = -r ]; then echo $release; else exec /usr/bin/uname "\$@"; fi
END
chmod +x /usr/local/bin/uname
useradd --create-home --shell /bin/bash somebody
for place in $here $there; do
	mkdir -p "$(dirname "$place")"
	cp -r /srv/rust_vfio "$place"
done
chown -R somebody: /home/somebody

as_user() { # DIRECTORY COMMAND...
	su somebody -c "cd $1 && ${*:2}"
}
comes_from() { # DIRECTORY: modprobe takes both modules from there
	local module
	for module in vfio vfio_iommu_type1; do
		modinfo -k "$release" -n "$module"
		[[ $(modinfo -k "$release" -n "$module") == "$1"/* ]] || return
	done
}
signed_by() { # NAME
	local module
	for module in vfio vfio_iommu_type1; do
		[ "$(modinfo -F signer "$dir/updates/$module.ko")" = "$1" ] || return
	done
}
same_modules() { # DIRECTORY
	cmp "$1/vfio.ko" "$dir/updates/vfio.ko" &&
		cmp "$1/vfio_iommu_type1.ko" "$dir/updates/vfio_iommu_type1.ko"
}
# What the packages of the kernel say of its files. (Documentation was not unpacked.)
verify() { dpkg --verify "linux-modules-$release" "linux-image-$release" "linux-binary-$release" | grep -v " /usr/share/doc/"; }
prints_nothing() { # COMMAND...
	local out
	out=$("$@" 2>&1)
	echo "$out"
	[ -z "$out" ]
}
make_key() { # NAME FILE
	openssl req -new -x509 -newkey rsa:2048 -nodes -days 10 -subj "/CN=$1/" -outform DER \
		-keyout "$2.key" -out "$2.der"
}
has_early() { # DIRECTORY: the initramfs has the modules from there
	local files
	files=$(lsinitrd "/boot/initrd.img-$release" | grep -E '/(vfio|vfio_iommu_type1)\.ko')
	echo "$files"
	[ "$(grep -cF "$dir/$1/vfio" <<<"${files//usr\/lib/\/lib}")" = 2 ]
}

apt-get -qq update
apt-get -qq install -y make openssl >/dev/null 2>&1
check "make says what is missing" prints "linux-headers-$release" as_user $here make
check "what docs/install.md names is installed" \
	apt-get -qq install -y build-essential bindgen "linux-headers-$release" linux-source-7.3
check "and held" apt-mark hold "linux-headers-$release" linux-source-7.3
# A connection that breaks before all of the compiler is there.
cat >/usr/local/bin/apt-get <<'END'
#!/bin/bash
case "$*" in
*\ download\ *) /usr/bin/apt-get "${@/#rust-src*/dpkg}" && exit 100 ;;
*) exec /usr/bin/apt-get "$@" ;;
esac
END
chmod +x /usr/local/bin/apt-get
check "make says that it cannot get the compiler" prints "be fetched from Debian" as_user $here make
rm /usr/local/bin/apt-get
check "make, as a user" as_user $here make
check "the metadata is in the user's cache" test -e "/home/somebody/.cache/rust_vfio/$release/.complete"
check "make modules_install" make -C $here modules_install
check "modprobe takes them" comes_from "$dir/updates"
check "nobody has signed them" signed_by ""
check "make in another directory" as_user $there make
mkdir -p "/tmp/root$dir/kernel"
cp "$dir"/modules.{order,builtin,builtin.modinfo} "/tmp/root$dir/"
ln -s "$(realpath "$dir/build")" "/tmp/root$dir/build"
check "make modules_install to another root" make -C $there modules_install INSTALL_MOD_PATH=/tmp/root
check "both builds are identical" same_modules "/tmp/root$dir/updates"
check "removing them from there" make -C $there modules_uninstall INSTALL_MOD_PATH=/tmp/root
check "none is left there" fails test -e "/tmp/root$dir/updates"
check "a key is made" make_key "Somebody's key" /tmp/own
check "not without its certificate" \
	prints "SIGN_CERT is not" make -C $here modules_install SIGN_KEY=/tmp/own.key
check "make modules_install signs with it" \
	make -C $here modules_install SIGN_KEY=/tmp/own.key SIGN_CERT=/tmp/own.der
check "modinfo says so" signed_by "Somebody's key"
mkdir -p /var/lib/dkms
make_key "Key of DKMS" /tmp/mok 2>/dev/null
mv /tmp/mok.key /var/lib/dkms/mok.key
mv /tmp/mok.der /var/lib/dkms/mok.pub
check "make modules_install takes the key of DKMS" make -C $here modules_install
check "modinfo says so" signed_by "Key of DKMS"
check "dracut comes in place of initramfs-tools" apt-get -qq install -y dracut initramfs-tools-
printf 'force_drivers+=" vfio vfio_iommu_type1 "\nhostonly=no\n' >/etc/dracut.conf.d/vfio.conf
check "it makes an initramfs that loads VFIO" dracut --force --kver "$release" "/boot/initrd.img-$release"
check "with the modules in Rust" has_early updates
check "rust-vfio-switch c" $here/packaging/rust-vfio-switch c
check "the initramfs has those in C" has_early kernel/drivers/vfio
check "rust-vfio-switch rust" $here/packaging/rust-vfio-switch rust
check "the initramfs has those in Rust, again" has_early updates
check "make modules_uninstall" make -C $here modules_uninstall
check "modprobe takes the kernel's" comes_from "$dir/kernel/drivers/vfio"
check "and so does the initramfs" has_early kernel/drivers/vfio
check "no module is left" fails test -e "$dir/updates"
check "no choice is left" find /etc/depmod.d -name 'rust-vfio*' -exec false {} +
check "the kernel's package is as it was" prints_nothing verify
# At the end, because with it comes the compiler that make has had to fetch.
check "cargo of this Debian is installed" apt-get -qq install -y --no-install-recommends cargo
check "it builds the programs of make deb and make demo" as_user $here CARGO_HOME=/srv/cargo \
	cargo check --quiet --offline --locked -p vfioctl -p vm -p vfio-selftests -p vfio-demo -p vfio-migrate
exit $((failed > 0))
