# Restarts a container of a pod again and again, as Kubernetes does when it crashes, and writes to
# /out what inotify-trace says about that, and what /proc says. For each backend there is a pod of
# its own. With containerd before 1.5.12 every restart leaves the pod's shim with an inotify
# instance that waits for events of a cgroup that is gone (containerd#5670).

restarts=${RESTARTS:-8}
events=found,watch-found,create,create-failed,watch,watch-failed,unwatch,close,release
events=$events,cgroup-create,cgroup-remove,container-name,exit,lost
namespace=k8s.io
image=docker.io/library/busybox:latest
root=/var/lib/scenario/rootfs
truth=/out/truth.txt

say() {
    echo "$(cut -d. -f1 /proc/uptime) s: $*"
}

fail() {
    say "FAILED: $*"
    tail -n 20 /var/log/containerd.txt
    cp /var/log/containerd.txt /out
    exit 1
}

# As systemd would have it: controllers for everyone, and containerd in a service of its own.
start_containerd() {
    local controller
    for controller in cpuset cpu io memory pids; do
        # Not every kernel has each of them.
        echo +$controller >/sys/fs/cgroup/cgroup.subtree_control 2>/dev/null
    done
    mkdir -p /sys/fs/cgroup/system.slice/containerd.service /var/log
    (
        echo "$BASHPID" >/sys/fs/cgroup/system.slice/containerd.service/cgroup.procs
        exec containerd
    ) </dev/null >/var/log/containerd.txt 2>&1 &
    local tries
    for tries in $(seq 300); do
        ctr version >/dev/null 2>&1 && return
        sleep 0.2
    done
    fail 'containerd does not answer'
}

# An id as containerd's CRI makes them.
id_of() {
    sha256sum <<<"$*" | cut -d' ' -f1
}

# What a container is: specification NAME TYPE ID SCRIPT, in the pod $pod with the sandbox $sandbox.
# Containers share a shim if their annotations name the same sandbox.
specification() {
    jq --arg name "$1" --arg type "$2" --arg id "$3" --arg script "$4" --arg pod "$pod" \
        --arg sandbox "$sandbox" --arg backend "$backend" --arg root $root --arg image $image '
        .process.args = ["/bin/sh", "-c", $script]
        | .process.env = ["PATH=/bin"]
        | .process.terminal = false
        | .root.path = $root
        | .linux.cgroupsPath = "/kubepods/burstable/\($pod)/\($id)"
        | .linux.resources.memory = {limit: 67108864}
        | .annotations = {
            "io.kubernetes.cri.container-type": $type,
            "io.kubernetes.cri.sandbox-id": $sandbox,
            "io.kubernetes.cri.sandbox-name": "crashing-\($backend)",
            "io.kubernetes.cri.sandbox-namespace": "default",
            "io.kubernetes.cri.image-name": $image
        }
        | if $type == "container" then
            .annotations["io.kubernetes.cri.container-name"] = $name else . end
    ' /tmp/plain.json >/tmp/config.json
}

# The inotify descriptors of a process.
descriptors() {
    local file
    for file in /proc/"$1"/fd/*; do
        [ "$(readlink "$file")" = anon_inode:inotify ] && echo "${file##*/}"
    done
}

# For each of the shim's descriptors how many watches it has, and on how many inodes that no file
# below /sys/fs/cgroup has; and all that the kernel says.
describe() {
    local number inode watches gone
    for number in $(descriptors "$shim"); do
        watches=0 gone=0
        while read -r inode; do
            watches=$((watches + 1))
            [ -n "$(find /sys/fs/cgroup -inum $((16#$inode)))" ] || gone=$((gone + 1))
        done < <(sed -n 's/^inotify .*ino:\([0-9a-f]*\) .*/\1/p' "/proc/$shim/fdinfo/$number")
        echo "fd $backend $number $watches $gone" >>$truth
        sed -n "s/^inotify /fdinfo $backend $number /p" "/proc/$shim/fdinfo/$number" >>$truth
    done
}

count() {
    local number=$1
    echo "restart $backend $number $(descriptors "$shim" | wc -l)" >>$truth
    tail -n 1 $truth
}

# The agent says what it finds as soon as it traces.
wait_for_agent() {
    local tries
    for tries in $(seq 300); do
        grep -qs '"event":"found"' "$1" && return 0
        kill -0 "$agent" 2>/dev/null || return 1
        sleep 0.2
    done
    fail 'inotify-trace finds nothing'
}

# The whole story with one backend.
run() {
    local trace=/out/trace-$backend.json number
    pod=pod$(id_of "pod $backend" | sed 's/\(.\{8\}\)\(.\{4\}\)\(.\{4\}\)\(.\{4\}\)\(.\{12\}\).*/\1-\2-\3-\4-\5/')
    sandbox=$(id_of "sandbox $backend")
    specification pause sandbox "$sandbox" 'exec sleep 100000'
    ctr -n $namespace run --detach --null-io --runtime io.containerd.runc.v2 \
        --config /tmp/config.json "$sandbox" || fail "cannot start the pod's first container"
    shim=$(pgrep -f "containerd-shim-runc-v2.* -id $sandbox ") || fail 'there is no shim'

    # The shim makes the first container's instance when it has started it, not before. That one
    # must not pass for a leak.
    for number in $(seq 50); do
        [ -n "$(descriptors "$shim")" ] && break
        sleep 0.2
    done

    say "$backend: starting inotify-trace"
    inotify-trace --backend "$backend" -o json -e $events >"$trace" 2>"/out/trace-$backend.txt" &
    agent=$!
    if ! wait_for_agent "$trace"; then
        say "$backend: not offered"
        rm -f "$trace"
        return
    fi
    echo "pod $backend $shim $pod" >>$truth
    count 0
    for number in $(seq "$restarts"); do
        local id
        id=$(id_of "app $backend $number")
        specification app container "$id" 'sleep 3; exit 1'
        # It ends with the container's status, after having deleted it.
        ctr -n $namespace run --rm --null-io --runtime io.containerd.runc.v2 \
            --config /tmp/config.json "$id"
        [ $? = 1 ] || fail "container $number did not exit with 1"
        # A shim without the leak closes its instance when it hears of the end, which is later; on
        # a busy machine much later, and the last count is the one that matters.
        [ "$number" = "$restarts" ] && sleep 4
        sleep 1
        count "$number"
    done
    describe
    kill -INT $agent
    wait $agent
    # Started only now, it has not seen how it came about.
    inotify-trace list -o json --watches >"/out/list-$backend.json" ||
        fail 'inotify-trace cannot list'
}

mkdir -p $root/bin $root/proc $root/sys $root/dev $root/tmp
cp /bin/busybox $root/bin
for name in sh sleep; do
    ln -s busybox $root/bin/$name
done
start_containerd
ctr oci spec >/tmp/plain.json || fail 'ctr has no specification'
{
    echo "kernel $(uname -r)"
    containerd --version | sed 's/.* \([^ ]*\) \([^ ]*\)$/containerd \1/'
} >$truth
cat $truth

for backend in fentry kprobe tracepoint; do
    run
done

inotify-trace list --by container >/out/containers.txt || fail 'inotify-trace cannot list'
inotify-trace list --by container -o json >/out/containers.json
cat /out/containers.txt

# Nothing of this was traced by the one who is asked now.
inotify-trace leaks >/out/leaks.txt
echo $? >/out/leaks.status
inotify-trace leaks -o json >/out/leaks.json
cat /out/leaks.txt

# At the limit: who is refused, and who is to blame for it.
used=$(jq '[.users[] | select(.uid == 0)][0].instances.used' /out/containers.json)
echo "$used" >/proc/sys/fs/inotify/max_user_instances
inotify-trace -x >/out/failures.txt 2>/out/failures.errors &
tracer=$!
until grep -q Tracing /out/failures.errors; do sleep 0.1; done
timeout 2 tail -f /var/log/containerd.txt >/dev/null 2>/out/tail.txt
kill -INT "$tracer"
wait "$tracer"
cat /out/tail.txt /out/failures.txt

cp /var/log/containerd.txt /out
say 'done'
exit 0
