#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# Prints the URI of the mirror from which this machine's apt takes Debian.
set -euo pipefail
# shellcheck source=tools/vm/env.sh
. "$(dirname "${BASH_SOURCE[0]}")/vm/env.sh"
. /etc/os-release

# shellcheck disable=SC2016 # variables of apt
known=$(apt-get indextargets --format '$(REPO_URI) $(CODENAME) $(ORIGIN)' 'Created-By: Packages')
uri=$(awk -v suite="${VERSION_CODENAME:-}" '$2 == suite && $3 == "Debian" { print $1; exit }' <<<"$known")
# Images for clouds name a file with mirrors.
case $uri in
mirror+file:*)
	file=${uri#mirror+file:}
	uri=$(grep -m1 -oE '^https?://[^[:space:]]+' "${file%/}") || true
	;;
esac
[ -n "$uri" ] || die "apt knows no mirror of ${VERSION_CODENAME:-this release of Debian}"
echo "${uri%/}"
