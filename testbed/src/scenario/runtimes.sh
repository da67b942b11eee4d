# One container of each runtime, in cgroups whose names mean nothing where the runtime lets one
# choose, and what inotify-trace calls them, written to /out; and in truth.txt a line for each as
# its runtime has it: RUNTIME ID NAME PID, the name `-` if it has none besides the id.

root=/var/lib/scenario/rootfs
truth=/out/truth.txt
command='["/usr/bin/tail", "-f", "/etc/log"]'
: >$truth

say() {
    echo "$(cut -d. -f1 /proc/uptime) s: $*"
}

fail() {
    say "FAILED: $*"
    tail -n 20 /var/log/scenario/*.txt
    cp -r /var/log/scenario /out
    exit 1
}

# Runs a command until it ends well.
until_it_works() {
    local tries
    for tries in $(seq 300); do
        "$@" >/dev/null 2>&1 && return
        sleep 0.2
    done
    fail "in vain: $*"
}

# A file system with Debian's programs, and a file to wait for.
mkdir -p $root/etc $root/usr $root/proc $root/sys $root/dev $root/run $root/tmp /var/log/scenario
for name in bin lib lib64; do
    ln -s usr/$name $root/$name
done
touch $root/etc/log

# As systemd would have it.
for controller in cpuset cpu io memory pids; do
    # Not every kernel has each of them.
    echo +$controller >/sys/fs/cgroup/cgroup.subtree_control 2>/dev/null
done

# A bundle for a container in cgroup $2.
bundle() {
    mkdir -p "$1"
    jq --arg cgroup "$2" --arg root $root --argjson command "$command" '
        .process.args = $command
        | .process.terminal = false
        | .root = {path: $root, readonly: true}
        | .mounts += [{destination: "/usr", source: "/usr", type: "bind", options: ["rbind", "ro"]}]
        | .linux.cgroupsPath = $cgroup
    ' /tmp/plain.json >"$1/config.json"
}

cd /tmp && runc spec && mv config.json plain.json || fail 'runc has no specification'

say 'starting inotify-trace'
inotify-trace -o json -e create,watch,container-name,lost >/out/trace.json 2>/out/trace.txt &
agent=$!
until_it_works grep -q Tracing /out/trace.txt

say runc
bundle /tmp/runc /anywhere/one
runc run --detach --bundle /tmp/runc plain-runc </dev/null >/var/log/scenario/runc.txt 2>&1 ||
    fail 'runc runs no container'
runc list --format json | jq -r '.[] | "runc \(.id) \(.id) \(.pid)"' >>$truth

say crun
bundle /tmp/crun /user.slice/user-1000.slice/two
crun run --detach --bundle /tmp/crun plain-crun </dev/null >/var/log/scenario/crun.txt 2>&1 ||
    fail 'crun runs no container'
crun list --format json | jq -r '.[] | "crun \(.id) \(.id) \(.pid)"' >>$truth

say containerd
containerd </dev/null >/var/log/scenario/containerd.txt 2>&1 &
until_it_works ctr version
bundle /tmp/containerd /anywhere/three
ctr --namespace mine run --detach --null-io --runtime io.containerd.runc.v2 \
    --config /tmp/containerd/config.json of-ctr || fail 'ctr runs no container'
ctr --namespace mine tasks list | sed -n 's/^\([^ ]*\) *\([0-9]*\) *RUNNING.*/containerd \1 - \2/p' >>$truth

say podman
podman="podman --storage-driver=vfs --cgroup-manager=cgroupfs --events-backend=none"
tar -C $root -c . | $podman import - local/empty:1 >/var/log/scenario/podman.txt 2>&1 ||
    fail 'podman imports no image'
# With --rm it is in another list.
$podman run --detach --rm --name of-podman --network host --cgroup-parent /anywhere \
    --volume /usr:/usr:ro local/empty:1 /usr/bin/tail -f /etc/log \
    >>/var/log/scenario/podman.txt 2>&1 || fail 'podman runs no container'
$podman ps --no-trunc --format json | jq -r '.[] | "podman \(.Id) \(.Names[0]) \(.Pid)"' >>$truth

if command -v dockerd >/dev/null; then
    say docker
    dockerd --storage-driver vfs --iptables=false --ip6tables=false --bridge none \
        --containerd /run/containerd/containerd.sock --exec-opt native.cgroupdriver=cgroupfs \
        </dev/null >/var/log/scenario/docker.txt 2>&1 &
    until_it_works docker version
    tar -C $root -c . | docker import - local/empty:1 >/dev/null || fail 'docker imports no image'
    docker run --detach --name of-docker --network host --cgroup-parent /anywhere \
        --volume /usr:/usr:ro local/empty:1 /usr/bin/tail -f /etc/log \
        >>/var/log/scenario/docker.txt 2>&1 || fail 'docker runs no container'
    docker inspect of-docker |
        jq -r '.[] | "docker \(.Id) \(.Name | ltrimstr("/")) \(.State.Pid)"' >>$truth
fi

say 'what inotify-trace says'
while read -r _ _ _ pid; do
    until_it_works grep -q "\"event\":\"watch\",\"pid\":$pid," /out/trace.json
done <$truth
kill -INT $agent
wait $agent
inotify-trace list --by container || fail 'inotify-trace cannot list'
inotify-trace list --by container -o json >/out/list.json
cat $truth
cp -r /var/log/scenario /out
say 'done'
exit 0
