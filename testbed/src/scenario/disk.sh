# Makes a disk of a root file system in an archive, and takes its kernel and initramfs out. Run as
# root, with the archive, the directory whose content to add, and a directory for the files: disk,
# vmlinuz, initrd, and version, which is the kernel package's.
set -eu
PATH=$PATH:/usr/sbin:/sbin
umask 022
archive=$1 added=$2 out=$3
tree=$out/debian
trap 'rm -rf "$tree"' EXIT
trap 'exit 130' HUP INT TERM

cd "$out"
cpio --extract --make-directories --preserve-modification-time --quiet <"$archive"
cp -r "$added/." "$tree"
# /tmp is on the disk, and was emptied with what the machine makes itself.
chmod 1777 "$tree/tmp"
cp "$tree"/boot/vmlinuz-* vmlinuz
cp "$tree"/boot/initrd.img-* initrd
mkfs.ext4 -q -F -d "$tree" disk 2G
dpkg-query --admindir="$tree/var/lib/dpkg" --show --showformat='${Version}' \
    linux-image-cloud-amd64 >version
chmod 666 disk
