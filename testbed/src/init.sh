#!/bin/busybox sh
# The first process of a virtual machine: makes it a usual Linux, runs /command, and tells the
# host over four serial ports: console, the command's output, a tar of /out, and how far it got.

/bin/busybox --install -s /bin
export PATH=/programs:/bin HOME=/root TMPDIR=/tmp RUST_BACKTRACE=1
export INOTIFY_TRACE_BIN=/programs/inotify-trace
export INOTIFY_TRACE_WORKLOAD=/programs/workload
export INOTIFY_TRACE_SKIPPED=/out/skipped-tests.txt

put() {
    mount -t "$1" none "$2" || echo "init: cannot mount $1" >/dev/console
}
put proc /proc
put sysfs /sys
put devtmpfs /dev
put tracefs /sys/kernel/tracing
put debugfs /sys/kernel/debug
put bpf /sys/fs/bpf
put cgroup2 /sys/fs/cgroup
put tmpfs /tmp
put tmpfs /run
# Without it the kernel has no memory cgroup to charge an instance to.
echo +memory >/sys/fs/cgroup/cgroup.subtree_control
ip link set lo up

# Ports as they come would turn line ends into CR LF, which destroys an archive.
for port in 1 2 3; do
    stty -F /dev/ttyS$port raw -echo
done

# Through a pipe: on a terminal, programs would write colours and cut lines.
mkfifo /run/output
cat /run/output >/dev/ttyS1 &
reader=$!

echo started >/dev/ttyS3
cd /programs
sh /command </dev/null >/run/output 2>&1
status=$?
cd /

# The reader ends with the last writer. A process that the command left behind is not waited for.
tries=50
while [ $tries -gt 0 ] && kill -0 $reader 2>/dev/null; do
    sleep 0.1
    tries=$((tries - 1))
done

if [ -n "$(ls /out)" ]; then
    tar -c -C /out . >/dev/ttyS2
fi
# Closing a port waits until all of it is sent.
echo "status $status" >/dev/ttyS3
# QEMU is told to end instead of booting again.
reboot -f
