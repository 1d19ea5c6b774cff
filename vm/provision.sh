#!/bin/sh
# Makes a Debian or Ubuntu machine the class VM:  provision.sh COURSE.tgz  (as root)
#
# COURSE.tgz holds a manifest and what `vm/files` lists. Any VM manager can run this, as often as it likes: what is
# there already is left alone, and what a learner changed is kept. Settings, all optional:
#   LABKIT_USER   who runs JupyterLab (vagrant)
#   LABKIT_TOKEN  the token of its address; without it, the first start makes a random one
set -eu

course=$1
user=${LABKIT_USER:-vagrant}
home=$(getent passwd "$user" | cut -d: -f6)
[ -n "$home" ] || { echo "provision: there is no user $user here. Name one: LABKIT_USER=…" >&2; exit 1; }
folder=$home/mydocker
ready=/etc/systemd/system/labkit.service.ready
as_user() { runuser -u "$user" -- env HOME="$home" USER="$user" "$@"; }

packages() {
  missing=$(for pair in make:make ps:procps ip:iproute2 unshare:util-linux mount:mount \
                        hostname:hostname python3:python3; do
    command -v "${pair%%:*}" >/dev/null || echo "${pair##*:}"
  done)
  python3 -c 'import ensurepip' 2>/dev/null || missing="$missing python3 python3-venv"
  [ -n "$missing" ] || return 0
  echo "Installing" $missing
  apt-get -qq update
  # shellcheck disable=SC2086  # one word a package
  DEBIAN_FRONTEND=noninteractive apt-get -qq install --yes --no-install-recommends $missing
}

deliver() {
  echo "Placing the course in $folder"
  unpacked=$(mktemp -d)
  tar -xzf "$course" -C "$unpacked" vm/guest
  install -m 755 "$unpacked"/vm/guest/labkit-* /usr/local/bin/
  sed -e "s|@USER@|$user|; s|@FOLDER@|$folder|" "$unpacked/vm/guest/labkit.service" \
    > /etc/systemd/system/labkit.service
  rm -r "$unpacked"
  chmod a+r "$course"
  # Who works as root may give that power up (notebook 09 does), and must still get to the course.
  chmod a+x "$home"
  as_user labkit-course deliver "$course" "$folder"
  # With nbval: a class VM may lie where no network is, and must show what it promises there, too.
  as_user make --no-print-directory -C "$folder" setup test-tools PYTHON=/usr/bin/python3
  # The learner's copies, and what there is to say about them, where `vagrant` shows it.
  as_user "$folder/.venv/bin/python" -c \
    'from labkit.course import copies; [print(line) for line in copies.prepare()]'
}

# The manifest is what the course's own folder keeps of the last delivery, written when it is whole.
if ! tar -xOzf "$course" .delivered | cmp -s - "$folder/.delivered" || [ ! -e "$ready" ]; then
  rm -f "$ready"
  packages
  deliver
  systemctl --quiet enable labkit.service
  touch "$ready"
  again=yes
fi
if [ -n "${LABKIT_TOKEN:-}" ] && [ "$LABKIT_TOKEN" != "$(cat "$home/.labkit-token" 2>/dev/null)" ]; then
  (umask 077 && printf %s "$LABKIT_TOKEN" > "$home/.labkit-token")
  chown "$user:" "$home/.labkit-token"
  again=yes
fi
if [ -d /run/systemd/system ]; then  # not while a box is being built
  [ -z "${again:-}" ] || { systemctl daemon-reload; systemctl restart labkit.service; }
  systemctl start labkit.service
fi
