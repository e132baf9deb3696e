#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# Makes the packages that Debian would have after its next upload, for the tests of
# updates: its kernel of our series with a later version, once under the same release
# and once under one of its own. Prints where they are in the cache:
#
#   same/     kernel of the same release
#   other/    kernel of the other release, to install beside the first
#   build/    headers and source for that one
#   release   its name
#
# They are Debian's own packages with other names and versions, so what is in other/
# installs and does not boot: the kernel itself still says its old release.
set -euo pipefail
# shellcheck source=tools/vm/env.sh
. "$(dirname "${BASH_SOURCE[0]}")/../vm/env.sh"

stage=$top/tools/distro/stage.sh
release=$("$stage" release)
# shellcheck disable=SC2016 # dpkg's
version=$("$stage" run dpkg-query -W -f='${Version}' "linux-headers-$release")
key=$(sha256sum <"${BASH_SOURCE[0]}" | cut -c1-12)
out=$cache/rebuilt-$version-$key

if [ ! -e "$out/.complete" ]; then
	say "making packages of a newer kernel from Debian's of $version: fetching some 300 MB"
	"$stage" add dpkg-dev
	# shellcheck disable=SC2016 # variables of that shell
	"$stage" run bash -ec '
		out=$1 release=$2 version=$3 source=$4
		# Without the flavour, because some packages are for all of them.
		old=${release%-*} new=${release%+*}+rebuilt
		rm -rf "$out"
		mkdir -p "$out"/{same,other,build,tmp}
		cd "$out/tmp"
		apt-get -qq update

		# repack PACKAGE DIRECTORY [other]: with a later version, for the other release.
		repack() {
			rm -rf tree
			[ -e "$1"_*.deb ] || apt-get -qq download "$1"
			dpkg-deb --raw-extract "$1"_*.deb tree
			sed -i "s/${version//./[.]}/$version+rebuilt1/g" tree/DEBIAN/control
			if [ -n "${3:-}" ]; then
				find tree -depth -name "*$old*" -execdir \
					bash -c "mv \"\$0\" \"\${0//$old/$new}\"" {} \;
				find tree -type l -lname "*$old*" -printf "%l\n%p\n" |
					while read -r target && read -r link; do
						ln -sfn "${target//$old/$new}" "$link"
					done
				grep -rlIF "$old" tree | xargs --no-run-if-empty sed -i "s/${old//./[.]}/$new/g"
			fi
			dpkg-deb -Znone --root-owner-group --build tree "$2" >/dev/null
		}
		for part in base binary modules image; do
			repack "linux-$part-$release" ../same
			repack "linux-$part-$release" ../other other
		done
		for part in "base-$release" "headers-$release" "headers-$old-common" "kbuild-$old"; do
			repack "linux-$part" ../build other
		done
		repack "$source" ../build
		cd ..
		rm -r tmp
		for dir in same other; do
			(cd "$dir" && dpkg-scanpackages . /dev/null >Packages 2>/dev/null)
		done
		echo "$new-${release##*-}" >release
		touch .complete
	' bash "$out" "$release" "$version" "linux-source-$series"
fi
echo "$out"
