#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# Checks the types of the kernel's crates, in seconds: compiles both modules and
# the fixture as Kbuild does, but makes no code. Whatever is not Rust, such as
# the bindings, is as of the last build, so that comes first if there is none or
# if it is older.
#
#   check.sh <kernel build tree> <where vm-modules builds>
set -euo pipefail
# shellcheck source=tools/vm/env.sh
. "$(dirname "${BASH_SOURCE[0]}")/vm/env.sh"
# shellcheck source=tools/crates.sh
. "$top/tools/crates.sh"

usage="usage: check.sh <kernel build tree> <build output>"
kernel=${1:?$usage} build=${2:?$usage}

# built DIRECTORY OUTPUT SOURCES...: builds the modules of a directory, if that
# must be, from these sources.
built() {
	local dir=$1 out=$2 stamp=$2/.checked
	shift 2
	if [ "$(cat "$stamp" 2>/dev/null)" = "$kernel" ] && [ -z "$(find "$@" \
		\( -name '*.h' -o -name '*.mk' -o -name Kbuild -o -name vfio_bindings.rs \) -newer "$stamp")" ]; then
		return
	fi
	say "building ${out##*/} once"
	mkdir -p "$out"
	echo "$kernel" >"$stamp.new"
	"$top/tools/modules.sh" "$kernel" "$dir" "$out" modules
	mv "$stamp.new" "$stamp"
}

# types OUTPUT OBJECT: checks the crate that this object is made from.
types() {
	mkdir -p "$1/types"
	crate_run "$1" "$2" /usr/bin/rustc --crate-type rlib --emit=metadata \
		--out-dir "$1/types"
}

fixture=$top/tools/testing/selftests/vfio/fixture
built "$top" "$build/out" "$top/Kbuild" "$top/rust_vfio"
built "$fixture" "$build/fixture" "$fixture" "$top/rust_vfio"

types "$build/out" rust_vfio/rust_vfio.o &
core=$!
types "$build/out" rust_vfio/rust_type1.o &
type1=$!
status=0
types "$build/fixture" rust_vfio_fixture.o || status=$?
wait $core || status=$?
wait $type1 || status=$?
exit $status
