#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# Installs the DKMS package in a Debian 13 that has the headers of its kernel, and
# removes it again. Without a VM, in which the compilers would need an hour.
#
#   dkms-test.sh <directory of packages> <work directory>
#
# Prints one line for each check.
set -euo pipefail
# shellcheck source=tools/vm/env.sh
. "$(dirname "${BASH_SOURCE[0]}")/../vm/env.sh"
# shellcheck source=tools/distro/debian.sh
. "$top/tools/distro/debian.sh"

usage="usage: dkms-test.sh <directory of packages> <work directory>"
debs=${1:?$usage} work=${2:?$usage}
stage=$("$top/tools/distro/stage.sh" path)
release=$("$top/tools/distro/stage.sh" release)

mkdir -p "$work"
# As a layer over the root file system, so that it stays as it is.
# shellcheck disable=SC2016 # variables of that shell
"${as_root[@]}" unshare --mount --propagation private bash -ec '
	stage=$1 work=$2 debs=$3 release=$4 guest=$5
	rm -rf "$work"/{upper,layer,whole}
	mkdir -p "$work"/{upper,layer,whole}
	mount -t overlay overlay -o "lowerdir=$stage,upperdir=$work/upper,workdir=$work/layer" "$work/whole"
	for dir in dev proc sys; do
		mount --rbind "/$dir" "$work/whole/$dir"
	done
	mkdir -p "$work/whole/srv/debs"
	cp "$debs"/*.deb "$work/whole/srv/debs/"
	cp "$guest" "$work/whole/srv/dkms-guest.sh"
	chroot "$work/whole" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root DEBIAN_FRONTEND=noninteractive \
		/srv/dkms-guest.sh "$release"
' bash "$stage" "$work" "$debs" "$release" "$top/tools/distro/dkms-guest.sh"
