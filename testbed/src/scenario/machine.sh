# From the machine's own root, which only has busybox, into Debian below /debian.

# runc can't make its containers' roots with the kernel's first file system as its own root
# (pivot_root); a mount of a directory in it will do.
mount --bind /debian /debian
for name in dev proc sys; do
    mount --rbind /$name /debian/$name
done
mkdir -p /debian/programs /debian/out
mount --bind /programs /debian/programs
mount --bind /out /debian/out
mount -t tmpfs none /debian/run
mount -t tmpfs none /debian/tmp

# Debian's kernels resolve the program that runc starts from a descriptor by this name (TOMOYO).
ln -s /proc/self/fd /dev/fd
mkdir -p /dev/pts /dev/shm
mount -t devpts none /debian/dev/pts
mount -t tmpfs none /debian/dev/shm

export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/programs
exec chroot /debian /bin/bash "/programs/$STORY.sh"
