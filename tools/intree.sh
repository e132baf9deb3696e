#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# Makes a series of patches that puts the modules into a kernel tree, below
# drivers/vfio, with a choice of the language in Kconfig.
#
#   intree.sh <kernel source> <directory for the patches>
#
# The tree is only read. `git am` or `patch -p1` apply the series to it. Author is
# whoever calls this, as git knows them.
set -euo pipefail
# shellcheck source=tools/vm/env.sh
. "$(dirname "${BASH_SOURCE[0]}")/vm/env.sh"

usage="usage: intree.sh <kernel source> <directory for the patches>"
ksrc=$(cd "${1:?$usage}" && pwd) patches=${2:?$usage}
parts=$top/packaging/intree
version=$(make -s --no-print-directory -C "$ksrc" kernelversion)
case $version in
"$series" | "$series".*) ;;
*) die "$ksrc is Linux $version, and the modules are for $series" ;;
esac

# The files that the series changes, in a repository of their own.
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
work=$scratch/linux
changed=(MAINTAINERS drivers/vfio/{Kconfig,Makefile} Documentation/driver-api/index.rst
	scripts/generate_rust_analyzer.py)
mkdir "$work"
(cd "$ksrc" && cp --parents --target-directory="$work" "${changed[@]}")
in_work() {
	git -C "$work" -c core.hooksPath=/dev/null \
		-c "user.name=${DEBFULLNAME:-$(git config user.name || echo 'The rust_vfio developers')}" \
		-c "user.email=${DEBEMAIL:-$(git config user.email || echo rust-vfio@example.org)}" "$@"
}
in_work init --quiet --initial-branch=vfio-rust
in_work add .
in_work commit --quiet --message="Linux $version"

# The files as they are now, but for what git ignores and for the crate for drivers,
# whose place would be rust/kernel; add PATHS... below rust_vfio.
add() {
	git -C "$top" ls-files --cached --others --exclude-standard -z -- \
		"${@/#/rust_vfio/}" ':(exclude)rust_vfio/driver.rs' ':(exclude)rust_vfio/rust_driver.rs' \
		':(exclude)rust_vfio/driver/' |
		(cd "$top" && xargs -0 cp --parents --target-directory="$work/drivers/vfio")
}
# Who maintains these paths. The entry grows with the series, so that each file
# has a maintainer from its first patch on.
maintain() {
	{
		cat "$parts/maintainers.txt"
		printf 'F:\t%s\n' "$@"
		echo
	} >"$scratch/entry"
	sed "/^VFIO DRIVER\$/e cat '$scratch/entry'" "$ksrc/MAINTAINERS" >"$work/MAINTAINERS"
}
commit() {
	in_work add .
	in_work commit --quiet --signoff --file="$parts/$1.txt"
}

rust=drivers/vfio/rust_vfio
add bindings bindings.rs kernel uapi
maintain "$rust"/{bindings*,kernel/,uapi/}
commit 1-wrappers
add iommu_type1 iommu_type1.rs rust_type1.rs
maintain "$rust"/{bindings*,iommu_type1*,kernel/,rust_type1.rs,uapi/}
commit 2-type1
add .
cp "$top/Kconfig" "$work/$rust/"
maintain "$rust/"
commit 3-core
in_work apply "$parts/4-kconfig.patch"
commit 4-kconfig
in_work apply "$parts/5-rust-analyzer.patch"
commit 5-rust-analyzer
cp "$parts/vfio-rust.rst" "$work/Documentation/driver-api/"
sed -i '/^   vfio-pci-device-specific-driver-acceptance$/a\   vfio-rust' \
	"$work/Documentation/driver-api/index.rst"
maintain Documentation/driver-api/vfio-rust.rst "$rust/"
commit 6-documentation
in_work config branch.vfio-rust.description "$(<"$parts/0-cover.txt")"

mkdir -p "$patches"
rm -f "$patches"/[0-9][0-9][0-9][0-9]-*.patch
in_work format-patch --quiet --cover-letter --cover-from-description=subject \
	--output-directory="$(cd "$patches" && pwd)" HEAD~6
ls -1 "$patches"/*.patch
