# Installs, uses, upgrades and removes a package in a root file system. Run as root in a mount
# namespace of its own, with the kind of package (deb or rpm), its file, an archive of Debian below
# debian/, and a directory to work in.
set -eu
kind=$1 package=$2 archive=$3 work=$4
tree=$work/debian

fail() {
    echo "$*" >&2
    exit 1
}

clean() {
    kill $traced $leaker $tracer 2>/dev/null || :
    [ -z "$cgroup" ] || rmdir "$cgroup" 2>/dev/null || :
    umount --recursive "$tree/sys" "$tree/proc" || :
    rm -rf --one-file-system "$tree"
}
trap clean EXIT
trap 'exit 130' HUP INT TERM
traced= leaker= tracer= cgroup=

cd "$work"
cpio --extract --make-directories --quiet <"$archive"
mount -t proc proc "$tree/proc"
mount --rbind /sys "$tree/sys"
cp "$package" "$tree/tmp/package"
mknod -m 666 "$tree/dev/null" c 1 3
enter() {
    chroot "$tree" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 "$@"
}

# dpkg is the root's own, of its Debian; rpm is this machine's, and its database knows nothing of
# what Debian installed: of the shell, which is all that the package asks for.
install() {
    if [ $kind = deb ]; then
        enter dpkg --install /tmp/package
    else
        rpm --root "$tree" --force-debian --nodeps --upgrade --replacepkgs "$package"
    fi
}
remove() {
    if [ $kind = deb ]; then
        enter dpkg --remove inotify-trace
    else
        rpm --root "$tree" --force-debian --nodeps --erase inotify-trace
    fi
}
# All but what package managers note for themselves. RPM leaves directories that are of another
# package, or would be in a system of its own.
files() {
    (cd "$tree" && find . -xdev ! -type d ! -path './var/lib/dpkg*' ! -path './var/lib/rpm*' \
        ! -path './var/log*' ! -path './var/cache*' ! -path './root/.rpmdb*' | sort)
}

[ $kind = deb ] || rpm --root "$tree" --initdb
files >before.txt
install
for file in bin/inotify-trace lib/systemd/system/inotify-trace.service \
    lib/systemd/system/inotify-trace.socket \
    share/man/man1/inotify-trace.1.gz share/bash-completion/completions/inotify-trace \
    share/doc/inotify-trace/LICENSES.txt share/doc/inotify-trace/inotify-trace.cdx.json; do
    [ -f "$tree/usr/$file" ] || fail "/usr/$file is missing"
done
[ -f "$tree/etc/inotify-trace.toml" ] || fail "/etc/inotify-trace.toml is missing"
[ -z "$(find "$tree/etc/systemd" -name 'inotify-trace*')" ] || fail "the unit is enabled"

enter man --where inotify-trace | grep -q /inotify-trace.1 || fail "there is no manual page"
enter inotify-trace --version
enter inotify-trace check >check.txt || fail "check: $(cat check.txt)"

# A trace sees what Debian's own tail does, and a list its instance. Both run until they are told.
# Without the function, whose process would be a shell's.
chroot "$tree" /usr/bin/inotify-trace >trace.txt 2>&1 &
tracer=$!
within() {
    tries=600
    until eval "$1"; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] || fail "in vain: $1; $(tail -n 20 trace.txt)"
        sleep 0.1
    done
}
within 'grep -q ^Tracing trace.txt'
chroot "$tree" /usr/bin/tail -f /etc/hostname >/dev/null &
traced=$!
within "grep -q ' create  *$traced tail ' trace.txt"
within "grep -q ' watch  *$traced tail .*/etc/hostname' trace.txt"
enter inotify-trace list | grep -q "^ *$traced  *tail " || fail "list does not have tail ($traced)"
kill $traced
within "grep -q ' release  *$traced tail ' trace.txt"

# A leak: a cgroup goes, and who watches it keeps the instance. The trace tells of it once it is old
# enough (half a minute); `leaks` finds it at once, but where the kernel takes the watch away with the
# cgroup, as from Linux 7 on.
hierarchy=$(sed -n 's/^[^ ]* \([^ ]*\) cgroup2 .*/\1/p' /proc/mounts | head -n 1)
[ -n "$hierarchy" ] || fail "this machine has no cgroup v2"
cgroup=$hierarchy/inotify-trace-packages-$$
mkdir "$cgroup"
chroot "$tree" /usr/bin/tail -f "$cgroup/cgroup.events" >/dev/null 2>&1 &
leaker=$!
within "grep -q ' watch  *$leaker tail .*cgroup.events' trace.txt"
rmdir "$cgroup"
cgroup=
within "grep -q ' LEAK  *tail ($leaker) ' trace.txt"
case $(uname -r) in
[56].*)
    status=0
    enter inotify-trace leaks >leaks.txt || status=$?
    [ $status = 1 ] || fail "leaks ended with $status: $(cat leaks.txt)"
    grep -q "^LEAK  *tail ($leaker) " leaks.txt || fail "leaks does not have tail: $(cat leaks.txt)"
    ;;
esac
kill $leaker
kill -INT $tracer
wait $tracer || fail "the trace ended with $?: $(tail trace.txt)"

# What the unit keeps, and what its user has set.
mkdir "$tree/var/lib/inotify-trace"
touch "$tree/var/lib/inotify-trace/recording.itr"
echo 'memory = "64M"' >>"$tree/etc/inotify-trace.toml"
install
enter inotify-trace serve --print-config | grep -q '^memory = "64M"  # /etc/inotify-trace.toml:' ||
    fail "an upgrade took the settings"
[ -f "$tree/var/lib/inotify-trace/recording.itr" ] || fail "an upgrade took the recordings"
enter inotify-trace --version >/dev/null
remove
[ -f "$tree/var/lib/inotify-trace/recording.itr" ] || fail "removal took the recordings"
if [ $kind = deb ]; then
    enter dpkg --purge inotify-trace
else
    rm -r "$tree/var/lib/inotify-trace" "$tree/etc/inotify-trace.toml.rpmsave"
fi
files >after.txt
diff before.txt after.txt || fail "these files are left"
