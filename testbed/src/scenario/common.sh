# What the stories of containerd have in common. The caller sets what a pod is: $pod, its uid;
# $pod_name; and $sandbox, the id of the container that keeps its namespaces.

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

# What a container of the pod is, for runc: specification NAME TYPE ID SCRIPT. Containers share a
# shim if their annotations name the same sandbox. The annotations are those of this containerd's
# CRI plugin: 1.4 gives a container its name, and a sandbox its directory of logs.
specification() {
    jq --argjson is_old $is_old --arg name "$1" --arg type "$2" --arg id "$3" --arg script "$4" \
        --arg pod "$pod" --arg sandbox "$sandbox" --arg pod_name "$pod_name" --arg root $root --arg image $image '
        .process.args = ["/bin/sh", "-c", $script]
        | .process.env = ["PATH=/bin"]
        | .process.terminal = false
        | .root.path = $root
        | .linux.cgroupsPath = "/kubepods/burstable/\($pod)/\($id)"
        | .linux.resources.memory = {limit: 67108864}
        | .annotations = {
            "io.kubernetes.cri.container-type": $type,
            "io.kubernetes.cri.sandbox-id": $sandbox
        }
        | if $type == "container" then
            .annotations["io.kubernetes.cri.container-name"] = $name
        else
            .annotations["io.kubernetes.cri.sandbox-log-directory"] =
                "/var/log/pods/default_\($pod_name)_\($pod | ltrimstr("pod"))"
        end
        | if $is_old then . else
            .annotations["io.kubernetes.cri.sandbox-name"] = $pod_name
            | .annotations["io.kubernetes.cri.sandbox-namespace"] = "default"
            | if $type == "container" then
                .annotations["io.kubernetes.cri.image-name"] = $image else . end
        end
    ' /tmp/plain.json
}

# The inotify descriptors of a process.
descriptors() {
    local file
    for file in /proc/"$1"/fd/*; do
        [ "$(readlink "$file")" = anon_inode:inotify ] && echo "${file##*/}"
    done
}

# A uid as Kubernetes makes them.
uid_of() {
    id_of "$*" | sed 's/\(.\{8\}\)\(.\{4\}\)\(.\{4\}\)\(.\{4\}\)\(.\{12\}\).*/\1-\2-\3-\4-\5/'
}

# Runs a container until it ends, and deletes it: container FILE NAME ID SCRIPT; more arguments are
# for ctr, such as --detach. Its status is the program's.
container() {
    local file=$1 name=$2 id=$3 script=$4 type=container
    shift 4
    [ "$id" = "$sandbox" ] && type=sandbox
    specification "$name" $type "$id" "$script" >"$file"
    ctr -n $namespace run "$@" --null-io --runtime io.containerd.runc.v2 --config "$file" "$id"
}

# The process that runs the pod's containers.
shim_of() {
    pgrep -f "containerd-shim-runc-v2.* -id $1 "
}

# The agent says on standard error that it traces: wait_for_agent PROCESS FILE.
wait_for_agent() {
    local tries
    for tries in $(seq 300); do
        grep -qs 'Tracing inotify' "$2" && return 0
        kill -0 "$1" 2>/dev/null || return 1
        sleep 0.2
    done
    fail 'inotify-trace does not begin'
}

# What containers have: busybox, and a program that uses inotify with what it needs.
make_root() {
    local name library
    mkdir -p $root/bin $root/proc $root/sys $root/dev $root/tmp
    cp /bin/busybox /usr/bin/tail $root/bin
    for name in sh sleep timeout; do
        ln -s busybox $root/bin/$name
    done
    ldd /usr/bin/tail | grep -o '/[^ ]*' | while read -r library; do
        mkdir -p "$root${library%/*}"
        cp -L "$library" "$root$library"
    done
    echo 'nothing happens' >$root/tmp/app.log
}

begin() {
    make_root
    start_containerd
    ctr oci spec >/tmp/plain.json || fail 'ctr has no specification'
    {
        echo "kernel $(uname -r)"
        containerd --version | sed 's/.* \([^ ]*\) \([^ ]*\)$/containerd \1/'
    } >$truth
    cat $truth
    is_old=false
    grep -q '^containerd 1\.4\.' $truth && is_old=true
}
