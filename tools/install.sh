#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# Installs the modules for the kernel that they were built for, where modprobe
# prefers them to the kernel's own, which stay where they are; or removes them.
# Fails unless modprobe then takes what it shall.
#
#   install.sh <directory of built modules>
#   install.sh --remove
#
# INSTALL_MOD_PATH is put before /lib/modules, as in the kernel's own makefiles.
# SIGN_KEY and SIGN_CERT sign the modules. Without them a key is taken that the
# kernel's build tree or DKMS has.
set -euo pipefail
# shellcheck source=tools/vm/env.sh
. "$(dirname "${BASH_SOURCE[0]}")/vm/env.sh"
PATH=$PATH:/usr/sbin:/sbin

root=${INSTALL_MOD_PATH:-}
switch=$top/packaging/rust-vfio-switch
modules=(vfio vfio_iommu_type1)

ours() { [ "$(modinfo -F author "$1" 2>/dev/null)" = "The rust_vfio developers" ]; }

# chosen RELEASE MODULE: the file that modprobe takes.
chosen() { modinfo --basedir "${root:-/}" --set-version "$1" --filename "$2" 2>/dev/null; }

# Prints the key and the certificate to sign with, if there are any.
signer() {
	local build=$root/lib/modules/$1/build pair
	if [ -n "${SIGN_KEY:-}" ]; then
		echo "$SIGN_KEY $SIGN_CERT"
		return
	fi
	for pair in "$build/certs/signing_key.pem $build/certs/signing_key.x509" \
		"/var/lib/dkms/mok.key /var/lib/dkms/mok.pub"; do
		if [ -r "${pair% *}" ] && [ -r "${pair#* }" ]; then
			echo "$pair"
			return
		fi
	done
}

# Whether the kernel that runs refuses modules that nobody signed whom it knows.
wants_signatures() {
	grep -qsx Y /sys/module/module/parameters/sig_enforce ||
		grep -qs '\[\(integrity\|confidentiality\)\]' /sys/kernel/security/lockdown
}

# is_known CERTIFICATE: whether the kernel that runs accepts what is signed with it.
is_known() {
	local name
	name=$(openssl x509 -in "$1" -inform DER -noout -subject -nameopt multiline 2>/dev/null |
		sed -n 's/^ *commonName *= //p')
	[ -n "$name" ] && grep -qF "$name: " /proc/keys
}

install_modules() {
	local from=$1 release dir build key cert module file hash
	for module in "${modules[@]}"; do
		[ -f "$from/$module.ko" ] || die "$from/$module.ko is not there: run 'make' first"
	done
	release=$(modinfo -F vermagic "$from/vfio.ko" | cut -d' ' -f1)
	dir=$root/lib/modules/$release
	build=$dir/build
	[ -z "${SIGN_KEY:-}" ] || [ -n "${SIGN_CERT:-}" ] || die "SIGN_KEY is set, and SIGN_CERT is not"
	[ -d "$dir" ] || die "the modules are built for Linux $release, and $dir is not there"
	hash=$(sed -n 's/^CONFIG_MODULE_SIG_HASH="\(.*\)"$/\1/p' "$build/.config" 2>/dev/null) || true
	if [ -n "$hash" ] && [ -x "$build/scripts/sign-file" ]; then
		read -r key cert < <(signer "$release") || true
	fi
	[ -z "${SIGN_KEY:-}" ] || [ -n "${key:-}" ] ||
		die "$build has no scripts/sign-file or no CONFIG_MODULE_SIG_HASH to sign with SIGN_KEY"
	if [ -z "$root" ] && wants_signatures && ! { [ -n "${key:-}" ] && is_known "$cert"; }; then
		die "this kernel loads only modules that are signed with a key which it knows, and there" \
			"is no such key here. docs/install.md, Secure Boot, says what to do. Nothing was installed."
	fi
	mkdir -p "$dir/updates"
	for module in "${modules[@]}"; do
		file=$dir/updates/$module.ko
		strip --strip-debug -o "$file.new" "$from/$module.ko"
		if [ -n "${key:-}" ]; then
			"$build/scripts/sign-file" "$hash" "$key" "$cert" "$file.new"
		fi
		chmod 644 "$file.new"
		mv "$file.new" "$file"
	done
	depmod --basedir "${root:-/}" "$release"
	for module in "${modules[@]}"; do
		file=$(chosen "$release" "$module") || true
		[ "$(realpath "${file:-/}")" = "$(realpath "$dir/updates/$module.ko")" ] ||
			die "modprobe takes ${file:-nothing} for $module, not $dir/updates/$module.ko." \
				"If 'rust-vfio-switch status' says that C is chosen: sudo packaging/rust-vfio-switch rust." \
				"Else there may be another 'override' in /etc/depmod.d."
		echo "$file${key:+ (signed with $key)}"
	done
	[ -n "$root" ] || "$switch" reload
}

remove_modules() {
	local file dir release module found=()
	for dir in "$root"/lib/modules/*/; do
		dir=${dir%/} release=$(basename "$dir")
		ours "$dir/updates/vfio.ko" || continue
		# What is loaded, and what an initramfs has, must not be ours then.
		[ -n "$root" ] || "$switch" leave "$release"
		for module in "${modules[@]}"; do
			file=$dir/updates/$module.ko
			echo "removing $file"
			rm -f "$file"
		done
		rmdir --ignore-fail-on-non-empty "$dir/updates"
		[ -n "$root" ] || rm -f "/etc/depmod.d/rust-vfio-$release.conf"
		found+=("$release")
	done
	[ ${#found[@]} -gt 0 ] || { say "none of our modules is installed"; return; }
	if [ -z "$root" ] && [ -z "$(find /lib/modules/*/updates -name 'vfio.ko*' 2>/dev/null)" ]; then
		rm -f /etc/depmod.d/rust-vfio.conf
	fi
	for release in "${found[@]}"; do
		depmod --basedir "${root:-/}" "$release"
		for module in "${modules[@]}"; do
			file=$(chosen "$release" "$module") || true
			[ -n "$file" ] || { say "Linux $release has no $module now"; continue; }
			! ours "$file" || die "modprobe still takes $file, which 'make modules_install' did not install"
			echo "$file"
		done
	done
}

case ${1:?usage: install.sh <directory of built modules> | --remove} in
--remove) remove_modules ;;
*) install_modules "$1" ;;
esac
