#!/usr/bin/env bash
# make box: the class box for libvirt and for VirtualBox, out of one disk, from Debian packages.
#
# Needs root (it makes a Debian tree with its owners), but no loop device and no mount outlives it.
# The same packages give the same boxes, bit for bit: times come from the last commit, and every
# random number that a file system or a disk image holds is fixed.
#   MIRROR=URL   another Debian mirror      SIZE=8   the disk, in GiB, as the learner sees it
#   GRUB=x86_64-efi   a disk for UEFI, as arm64's always is, in place of one for a BIOS
set -euo pipefail
cd "$(dirname "$0")/.."

SUITE=trixie
SIZE=${SIZE:-8}
OUT=$PWD/build
UUID=6d79646f-636b-4572-8d63-6c6173732e31 # of the file system and, in its last digits, the disk
tools=(mmdebstrap sfdisk mke2fs mformat qemu-img grub-mkimage tar gzip unshare git)

fail() { echo "make box: $*" >&2; exit 1; }
say() { printf '[%(%T)T] %s\n' -1 "$*"; }

[ "$(id -u)" = 0 ] || fail "this makes a Debian tree, which needs root. Try: sudo make box"
missing=()
for tool in "${tools[@]}"; do command -v "$tool" >/dev/null || missing+=("$tool"); done
[ ${#missing[@]} = 0 ] || fail "${missing[*]} not found. On Debian and Ubuntu: apt install" \
  "mmdebstrap debian-archive-keyring fdisk e2fsprogs mtools qemu-utils grub-common git"
case $(uname -m) in
  x86_64) arch=amd64 grub=${GRUB:-i386-pc} ;;
  aarch64) arch=arm64 grub=arm64-efi ;;
  *) fail "there is no box for $(uname -m), only for x86_64 and aarch64" ;;
esac
case $grub in
  i386-pc) package=grub-pc-bin ;;
  x86_64-efi) package=grub-efi-amd64-bin loader=BOOTX64.EFI ;;
  arm64-efi) package=grub-efi-arm64-bin loader=BOOTAA64.EFI ;;
  *) fail "GRUB=$grub: there is i386-pc and x86_64-efi" ;;
esac
[ -d "/usr/lib/grub/$grub" ] || fail "/usr/lib/grub/$grub not found. Cure: apt install $package"

# Mounts of ours end with us, also when we are killed.
[ -n "${LABKIT_BOX_INSIDE:-}" ] || LABKIT_BOX_INSIDE=1 exec unshare --mount "$0" "$@"

mkdir -p "$OUT"
free=$(df --output=avail --block-size=1M "$OUT" | tail -1)
[ "$free" -ge 3072 ] || fail "$OUT has ${free// /} MiB free, and making the box takes 3072. Make room there."
work=$(mktemp -d "$OUT/box.XXXXXX")
trap 'rm -rf "$work"' EXIT
root=$work/root
new=$work/new # what $OUT gets, when it is whole
mkdir "$new"
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2>/dev/null || stat -c %Y pyproject.toml)
export SOURCE_DATE_EPOCH LC_ALL=C.UTF-8

say "the course"
vm/course.sh "$new/course.tgz" # also for other VM managers

say "Debian $SUITE ($arch)"
touch "$work/started"
# No documentation and no firmware: this machine is virtual and its users are on the net elsewhere.
# For podman apt would take larger packages than netavark and gpg, were these not named.
mmdebstrap --quiet --mode=root --variant=minbase --format=directory --architectures="$arch" \
  --aptopt='APT::Install-Recommends "false"' \
  --dpkgopt=vm/dpkg.cfg \
  --include="linux-image-cloud-$arch,systemd-sysv,systemd-resolved,systemd-timesyncd,udev,dbus" \
  --include="libpam-systemd,openssh-server,sudo,rsync,ca-certificates,less,nano,vim-tiny,psmisc" \
  --include="iputils-ping,procps,iproute2,util-linux,mount,hostname,make,python3,python3-venv" \
  --include=podman,runc,crun,netavark,gpg \
  --essential-hook='mkdir -p "$1/etc/initramfs-tools/conf.d" &&
    echo MODULES=list > "$1/etc/initramfs-tools/conf.d/box" &&
    printf "%s\n" ext4 virtio_pci virtio_blk virtio_scsi sd_mod ahci ata_piix vmw_pvscsi \
      > "$1/etc/initramfs-tools/modules"' \
  --customize-hook="vm/customize.sh \"\$1\" $new/course.tgz" \
  "$SUITE" "$root" ${MIRROR:+"$MIRROR"}
dpkg-query --admindir="$root/var/lib/dpkg" -W > "$new/packages.txt"
find "$root" -newer "$work/started" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +

say "the disk"
disk=$work/disk.raw
truncate -s "${SIZE}G" "$disk"
kernel=$(basename "$root"/boot/vmlinuz-*)
config=$work/grub.cfg
cat > "$config" <<GRUB
search --set=root --fs-uuid $UUID
linux /boot/$kernel root=UUID=$UUID rw rootflags=noatime console=tty0 console=ttyS0 net.ifnames=0 quiet
initrd /boot/initrd.img-${kernel#vmlinuz-}
boot
GRUB
modules=(part_gpt part_msdos ext2 search search_fs_uuid linux normal serial echo)
image() { grub-mkimage -O "$grub" -p /boot/grub -c "$config" -o "$1" "${modules[@]}" "${@:2}"; }
# 16 MiB for UEFI's loader, which a BIOS does not look at, then the root file system.
start=$((17 * 2048)) # in sectors of 512 bytes
printf 'label: dos\nlabel-id: 0x%s\nstart=2048, size=32768, type=ef\nstart=%s, type=83, bootable\n' \
  2e316d79 "$start" | sfdisk -q "$disk"
export E2FSPROGS_FAKE_TIME=$SOURCE_DATE_EPOCH
mke2fs -q -t ext4 -U "$UUID" -m 1 \
  -E "offset=$((start * 512)),hash_seed=$UUID,lazy_itable_init=1" -d "$root" "$disk" \
  $((SIZE * 1048576 - start / 2))k
# What touch cannot set, and what reading changes, for each inode in use; 11 is the first free one.
filesystem="$disk?offset=$((start * 512))"
used=$(dumpe2fs -h "$filesystem" 2>&1 |
  awk '/^Inode count/ { n += $3 } /^Free inodes/ { n -= $3 } END { print n }')
for inode in 2 $(seq 11 "$used"); do
  printf "set_inode_field <$inode> %s @$SOURCE_DATE_EPOCH\n" atime ctime
done | debugfs -w -f - "$filesystem" > "$work/debugfs.log" 2>&1
if [ "$grub" = i386-pc ]; then
  image "$work/core.img" biosdisk
  [ "$(stat -c %s "$work/core.img")" -lt $((2047 * 512)) ] || fail "GRUB does not fit before the partitions"
  dd if=/usr/lib/grub/i386-pc/boot.img of="$disk" bs=440 count=1 conv=notrunc status=none
  dd if="$work/core.img" of="$disk" bs=512 seek=1 conv=notrunc status=none
else
  image "$work/grub.efi"
  mformat -i "$disk@@1M" -T 32768 -h 64 -s 32 -H 2048 -N 2e316d79 ::
  mmd -i "$disk@@1M" ::EFI ::EFI/BOOT
  mcopy -i "$disk@@1M" "$work/grub.efi" "::EFI/BOOT/$loader"
fi

# Disks that are compressed inside, in boxes that are not: quick to unpack and to read.
box() { # box NAME FILE…: the files of the folder $work/NAME
  tar --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" --mode=644 \
    -C "$work/$1" -cf "$new/mydocker-$1.box" "${@:2}"
  rm -r "${work:?}/$1"
}
mkdir "$work/libvirt" "$work/virtualbox"
say "the box for libvirt"
if [ "$grub" = i386-pc ]; then : > "$work/libvirt/Vagrantfile"; else
  case $arch in
    amd64) machine=q35 firmware=/usr/share/OVMF/OVMF_CODE_4M.fd ;;
    arm64) machine=virt firmware=/usr/share/AAVMF/AAVMF_CODE.fd ;;
  esac
  cat > "$work/libvirt/Vagrantfile" <<RUBY
Vagrant.configure("2") do |config|
  config.vm.provider :libvirt do |libvirt|
    libvirt.machine_type = "$machine"
    libvirt.loader = "$firmware"
    libvirt.nvram = "/var/lib/libvirt/qemu/nvram/#{File.basename(Dir.pwd)}-mydocker.fd"
  end
end
RUBY
fi
qemu-img convert -c -o compression_type=zstd -f raw -O qcow2 "$disk" "$work/libvirt/box.img"
echo "{\"provider\":\"libvirt\",\"format\":\"qcow2\",\"virtual_size\":$SIZE,\"architecture\":\"$arch\"}" \
  > "$work/libvirt/metadata.json"
box libvirt metadata.json Vagrantfile box.img

virtualbox() {
  local vmdk=$work/virtualbox/box.vmdk at
  qemu-img convert -o subformat=streamOptimized -f raw -O vmdk "$disk" "$vmdk"
  # The image's identity, which qemu-img draws at random.
  at=$(grep -abo -m1 '^CID=' "$vmdk" | cut -d: -f1)
  printf 6d796421 | dd of="$vmdk" bs=1 seek=$((at + 4)) conv=notrunc status=none
  sed -e "s/@BYTES@/$(stat -c %s "$disk")/; s/@FILE@/$(stat -c %s "$vmdk")/" \
    vm/box.ovf > "$work/virtualbox/box.ovf"
  echo "{\"provider\":\"virtualbox\",\"architecture\":\"$arch\"}" > "$work/virtualbox/metadata.json"
  # The cloud kernel has no driver for the network card that VirtualBox emulates by default.
  cat > "$work/virtualbox/Vagrantfile" <<'RUBY'
Vagrant.configure("2") do |config|
  config.vm.base_mac = "080027D0C4E2"
  config.vm.provider(:virtualbox) { |vb| vb.customize ["modifyvm", :id, "--nictype1", "virtio"] }
end
RUBY
  box virtualbox metadata.json Vagrantfile box.ovf box.vmdk
}
if [ "$grub" = i386-pc ]; then
  say "the box for VirtualBox"
  virtualbox
else
  say "no box for VirtualBox: vm/box.ovf describes a machine with a BIOS"
fi

cp "$root/boot/$kernel" "$new/vmlinuz" # for the question whether KVM works here
(cd "$new" && sha256sum mydocker-*.box > SHA256SUMS)
# The box that make looks for comes last.
rm -f "$OUT"/mydocker-*.box
mv "$new/mydocker-libvirt.box" "$work"
mv "$new"/* "$OUT"
mv "$work/mydocker-libvirt.box" "$OUT"
say "done: $(cd "$OUT" && du -m mydocker-*.box | awk '{printf "%s%s, %s MB", sep, $2, $1; sep = "; "}')"
