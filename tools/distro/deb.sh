#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# Makes the Debian packages with Debian's own tools, and lets lintian look at them:
# for the kernel of the root file system that stage.sh makes.
#
#   deb.sh <output directory> <directory with vfioctl>
#
# vfioctl comes with its man pages and completions from `make vfioctl`, because Debian 13
# lacks some of the crates that it is made of.
#
# Whoever builds a package is its maintainer: DEBFULLNAME and DEBEMAIL say who.
#
# shellcheck disable=SC2016 # variables of other shells, and of dpkg
set -euo pipefail
# shellcheck source=tools/vm/env.sh
. "$(dirname "${BASH_SOURCE[0]}")/../vm/env.sh"
# shellcheck source=tools/distro/debian.sh
. "$top/tools/distro/debian.sh"

usage="usage: deb.sh <output directory> <directory with vfioctl>"
out=${1:?$usage} vfioctl=${2:?$usage}
stage=$top/tools/distro/stage.sh
tree=$out/rust-vfio-$version

maintainer="${DEBFULLNAME:-The rust_vfio developers} <${DEBEMAIL:-rust-vfio@example.org}>"

"$stage" update
"$stage" add build-essential debhelper dh-dkms lintian
release=$("$stage" release)
kernel_version=$("$stage" run dpkg-query -W -f='${Version}' "linux-headers-$release")

rm -rf "$tree" "$out"/rust-vfio*
copy_project "$tree"
mv "$tree/packaging/debian" "$tree"
cp -r "$vfioctl" "$tree/vfioctl"
fill() {
	sed -e "s/@RELEASE@/$release/g" -e "s/@KERNEL_VERSION@/$kernel_version/g" \
		-e "s/@SERIES@/$series/g" -e "s/@MAINTAINER@/$maintainer/" "$tree/debian/$1.in" >"$tree/debian/$2"
	rm "$tree/debian/$1.in"
}
fill control control
for script in postinst prerm postrm; do
	fill "modules.$script" "rust-vfio-modules-$release.$script"
done
# The modules are of another version when the kernel is.
cat >"$tree/debian/kernel.mk" <<END
RELEASE := $release
MODULES_VERSION := $version+${kernel_version//-/.}
END
# The time of the last change makes two builds of it the same.
cat >"$tree/debian/changelog" <<END
rust-vfio ($version) unstable; urgency=medium

  * See CHANGELOG.md.

 -- $maintainer  $(git -C "$top" log -1 --format=%cD)
END

say "building the packages"
"$stage" run bash -ec 'cd "$1" && dpkg-buildpackage --build=binary --no-sign' bash "$tree" \
	>"$out/build.log" 2>&1 || { tail -n 30 "$out/build.log" >&2; die "that failed: $out/build.log"; }
say "checking them with lintian"
"$stage" run bash -ec 'cd "$1" && lintian --fail-on error,warning *.changes' bash "$out"
ls -1 "$out"/*.deb
