#!/usr/bin/env bash
# The course in this folder as provision.sh takes it:  course.sh COURSE.tgz
#
# Times come from SOURCE_DATE_EPOCH.
set -euo pipefail
manifest=$(mktemp -d)
trap 'rm -r "$manifest"' EXIT
mapfile -t files < <(xargs -a vm/files -I{} find {} -type f \
  -not -path '*/__pycache__/*' -not -path '*/.ipynb_checkpoints/*' -print | LC_ALL=C sort)
sha256sum "${files[@]}" > "$manifest/.delivered"
tar --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" -cf - \
  -C "$manifest" .delivered -C "$PWD" "${files[@]}" | gzip -n > "$1"
