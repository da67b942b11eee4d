# Makes a suite's root file system as an archive that a kernel unpacks. Run as root, with the
# suite, the mirror, its keys, the packages with commas between them, a directory to work in,
# and the archive to write.
set -eu
# A user's PATH and umask may not be fit for this.
PATH=$PATH:/usr/sbin:/sbin
umask 022
suite=$1 mirror=$2 keys=$3 packages=$4 work=$5 archive=$6
# In the archive everything is below this directory: at / is what every virtual machine has.
tree=$work/debian

# Whatever happens, half a system is of no use to anyone, and needs root to be removed.
trap 'rm -rf "$tree"' EXIT
trap 'exit 130' HUP INT TERM

mkdir -p "$tree"
if ! debootstrap --variant=minbase --force-check-gpg --keyring="$keys" \
    --include="$packages" "$suite" "$tree" "$mirror" >"$work/debootstrap.txt" 2>&1; then
    # What it fetched until then is of no interest.
    grep '^E: ' "$work/debootstrap.txt" >&2 || tail -n 5 "$work/debootstrap.txt" >&2
    exit 1
fi

# All of it costs the machine memory, and the time to unpack it.
cd "$tree"
rm -rf usr/share/doc usr/share/man usr/share/info usr/share/locale usr/share/zoneinfo \
    usr/lib/x86_64-linux-gnu/gconv var/cache/* var/lib/apt var/log/*
# The kernel of the machine has its own file systems for these.
rm -rf dev/* run/* tmp/*

cd "$work"
find debian -print0 | cpio --null --create --format=newc --quiet >"$archive"
chmod 644 "$archive"
