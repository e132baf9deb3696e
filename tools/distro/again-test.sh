#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# Makes Debian's packages once more, in a clone of this repository in another place and with
# nothing compiled before: they must be the same, byte by byte.
#
#   again-test.sh <directory of packages> <work directory>
#
# shellcheck disable=SC2317 # check calls the functions
set -euo pipefail
# shellcheck source=tools/vm/env.sh
. "$(dirname "${BASH_SOURCE[0]}")/../vm/env.sh"
# shellcheck source=tools/distro/debian.sh
. "$top/tools/distro/debian.sh"
# shellcheck source=tools/distro/check.sh
. "$top/tools/distro/check.sh"

usage="usage: again-test.sh <directory of packages> <work directory>"
debs=${1:?$usage} work=${2:?$usage}
clone=$work/rust_vfio

# The clone has what was committed, and gets what was changed since.
clone_project() {
	rm -rf "$work" && mkdir -p "$work" || return
	git clone --quiet "$top" "$clone" && copy_project "$clone" && git -C "$clone" add --all
}
names() { (cd "$1" && ls ./*.deb); }

check "the repository is cloned" clone_project || exit 0
check "the packages are made there" make -C "$clone" --no-print-directory deb || exit 0
check "they have the same names" diff <(names "$debs") <(names "$clone/build/deb") || true
for package in "$debs"/*.deb; do
	check "${package##*/} is the same" cmp "$package" "$clone/build/deb/${package##*/}" || true
done
