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
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work"/{drivers/vfio,Documentation/driver-api}
for file in MAINTAINERS drivers/vfio/{Kconfig,Makefile} Documentation/driver-api/index.rst; do
	cp "$ksrc/$file" "$work/$file"
done
in_work() {
	git -C "$work" -c core.hooksPath=/dev/null \
		-c "user.name=${DEBFULLNAME:-$(git config user.name || echo 'The rust_vfio developers')}" \
		-c "user.email=${DEBEMAIL:-$(git config user.email || echo rust-vfio@example.org)}" "$@"
}
in_work init --quiet
in_work add .
in_work commit --quiet --message="Linux $version"

# What is in git, as it is now; add PATHS... below rust_vfio.
add() {
	git -C "$top" ls-files -z -- "${@/#/rust_vfio/}" |
		(cd "$top" && xargs -0 cp --parents --target-directory="$work/drivers/vfio")
}
commit() {
	in_work add .
	in_work commit --quiet --signoff --file="$parts/$1.txt"
}

add bindings bindings.rs kernel uapi
commit 1-wrappers
add iommu_type1 iommu_type1.rs rust_type1.rs
commit 2-type1
add .
rm "$work/drivers/vfio/rust_vfio/objects.mk"
commit 3-core
add objects.mk
cp "$top/Kconfig" "$work/drivers/vfio/rust_vfio/"
in_work apply "$parts/4-kconfig.patch"
commit 4-kconfig
cp "$parts/vfio-rust.rst" "$work/Documentation/driver-api/"
sed -i '/^   vfio-pci-device-specific-driver-acceptance$/a\   vfio-rust' \
	"$work/Documentation/driver-api/index.rst"
sed -i "/^VFIO DRIVER\$/{
	r $parts/maintainers.txt
	N
}" "$work/MAINTAINERS"
commit 5-documentation

mkdir -p "$patches"
rm -f "$patches"/[0-9][0-9][0-9][0-9]-*.patch
in_work format-patch --quiet --cover-letter --cover-from-description=none \
	--output-directory="$(cd "$patches" && pwd)" HEAD~5
ls -1 "$patches"/*.patch
