#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# The kernel's own check of style on whatever the kernel's build reads: C,
# headers, Rust, Kconfig, Makefiles. Anything that it says is a failure.
set -euo pipefail
# shellcheck source=tools/vm/env.sh
. "$(dirname "${BASH_SOURCE[0]}")/vm/env.sh"
cd "$top"
src=${KSRC:-$cache/src/linux-source-$series}

# What it asks for and does not make sense here:
ignored=(
	# One C file declares a variable of the program that it is linked to.
	AVOID_EXTERNS
	# Kconfig speaks of the kernel's Kconfig.
	EMBEDDED_FILENAME
)

mapfile -t files < <(git ls-files '*.c' '*.h' '*.mk' '*Kbuild' '*Kconfig' '*Makefile' 'rust_vfio/*.rs')
# --no-tree: this is not the kernel's tree, so it has no MAINTAINERS to look into.
# --file: whole files and not patches.
"$src/scripts/checkpatch.pl" --no-tree --strict --show-types --terse --quiet --no-summary \
	--ignore "$(IFS=,; echo "${ignored[*]}")" --file "${files[@]}"
say "checkpatch: ${#files[@]} files, nothing to say"
