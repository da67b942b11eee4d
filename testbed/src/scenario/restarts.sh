# Restarts a container of a pod again and again, as Kubernetes does when it crashes, and writes to
# /out what inotify-trace says about that, and what /proc says. For each backend there is a pod of
# its own. With containerd before 1.5.12 every restart leaves the pod's shim with an inotify
# instance that waits for events of a cgroup that is gone (containerd#5670).

. /programs/common.sh

restarts=${RESTARTS:-8}
events=found,watch-found,create,create-failed,watch,watch-failed,unwatch,close,release
events=$events,cgroup-create,cgroup-remove,container-name,shim,exit,lost
# How long after the end of a container its instance counts as leaked, in seconds: short, so that
# each is told in time.
grace=5

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

# Root's instances, none of which is shared, and how many there may be.
quota() {
    echo "$(ls -l /proc/[0-9]*/fd 2>/dev/null | grep -c anon_inode:inotify)" \
        "$(cat /proc/sys/fs/inotify/max_user_instances)"
}

# How many instances the latest verdict on the shim is about.
told() {
    local count
    count=$(jq -s "[.[] | select(.verdict == \"target-gone\" and .pid == $shim) | .instances] | last // 0" "$1")
    echo "${count:-0}"
}

# Starts a pod with this name and the ids of $backend, and waits for its shim.
begin_pod() {
    local tries
    pod_name=$1
    pod=pod$(uid_of "pod $backend")
    sandbox=$(id_of "sandbox $backend")
    container /tmp/config.json pause "$sandbox" 'exec sleep 100000' --detach ||
        fail "cannot start the pod's first container"
    shim=$(shim_of "$sandbox") || fail 'there is no shim'
    # The shim makes the first container's instance when it has started it, not before. That one
    # must not pass for a leak.
    for tries in $(seq 50); do
        [ -n "$(descriptors "$shim")" ] && break
        sleep 0.2
    done
}

# A container of the pod: app ID SCRIPT; more arguments are for ctr. It has to run in the pod's shim.
# containerd gives that one 100 ms to answer, and if the machine is busier than that, it removes the
# shim's socket and starts another shim: such a pod shows nothing from there on.
app() {
    local id=$1 status
    shift
    container /tmp/config.json app "$id" "$@"
    status=$?
    if grep -q "starting signal loop.*/$id " /var/log/containerd.txt; then
        say "container $id has a shim of its own: the pod's did not answer containerd in time"
        # Told apart from failures in mod.rs.
        exit 75
    fi
    return $status
}

# The whole story with one backend.
run() {
    local trace=/out/trace-$backend.json watch=/out/watch-$backend.json number tracer watcher before leaked
    begin_pod crashing-$backend

    say "$backend: starting inotify-trace"
    inotify-trace --backend "$backend" -o json -e $events --record "/out/trace-$backend.itrec" \
        >"$trace" 2>"/out/trace-$backend.txt" &
    tracer=$!
    inotify-trace leaks --watch --grace $grace --backend "$backend" -o json \
        >"$watch" 2>"/out/watch-$backend.txt" &
    watcher=$!
    if ! wait_for_agent $tracer "/out/trace-$backend.txt"; then
        say "$backend: not offered"
        rm -f "$trace" "$watch"
        wait $watcher
        return
    fi
    wait_for_agent $watcher "/out/watch-$backend.txt" || fail 'leaks --watch does not start'
    echo "pod $backend $shim $grace $pod_name" >>$truth
    count 0
    before=$(descriptors "$shim" | wc -l)
    for number in $(seq "$restarts"); do
        app "$(id_of "app $backend $number")" 'sleep 3; exit 1' --rm
        [ $? = 1 ] || fail "container $number did not exit with 1"
        # A shim without the leak closes its instance when it hears of the end, which is later; on
        # a busy machine much later, and the last count is the one that matters.
        [ "$number" = "$restarts" ] && sleep 4
        sleep 1
        count "$number"
    done
    describe
    # It tells each time that there are twice as many.
    leaked=$(($(descriptors "$shim" | wc -l) - before))
    for number in $(seq 100); do
        [ $((2 * $(told "$watch") + (leaked == 0))) -gt "$leaked" ] && break
        sleep 0.2
    done
    echo "used $backend $(quota)" >>$truth
    kill -INT $tracer $watcher
    wait $tracer
    wait $watcher
    echo "watched $backend $?" >>$truth
    # Started only now, it has not seen how it came about.
    inotify-trace list -o json --watches >"/out/list-$backend.json" ||
        fail 'inotify-trace cannot list'
}

# An app that ends at once, again and again, in a pod of its own: its end may come before the shim
# watches for it, and then the shim keeps the instance, with every containerd on kernels before
# Linux 7. That is a race, so it goes on until some were left, or long enough.
instant() {
    local trace=/out/trace-instant.json watch=/out/watch-instant.json number tracer watcher before id left tries
    backend=instant
    begin_pod instant
    say 'apps that end at once'
    inotify-trace -o json -e $events --record "/out/trace-instant.itrec" \
        >"$trace" 2>"/out/trace-instant.txt" &
    tracer=$!
    inotify-trace leaks --watch --grace $grace -o json >"$watch" 2>"/out/watch-instant.txt" &
    watcher=$!
    wait_for_agent $tracer "/out/trace-instant.txt" || fail 'inotify-trace does not start'
    wait_for_agent $watcher "/out/watch-instant.txt" || fail 'leaks --watch does not start'
    echo "instant $shim $grace $pod_name" >>$truth
    count 0
    before=$(descriptors "$shim" | wc -l)
    for number in $(seq 40); do
        id=$(id_of "app $backend $number")
        app "$id" 'exit 0' --detach || fail "container $number does not start"
        for tries in $(seq 100); do
            ctr -n $namespace task ls | grep -q "^$id .*STOPPED" && break
            sleep 0.2
        done
        ctr -n $namespace task delete "$id" >/dev/null 2>&1
        ctr -n $namespace container delete "$id"
        sleep 1
        count "$number"
        left=$(($(descriptors "$shim" | wc -l) - before))
        [ "$left" -ge 4 ] && [ "$number" -ge "$restarts" ] && break
    done
    # A shim that hears of an end closes its instance a moment later.
    sleep 4
    echo "settled $backend $(descriptors "$shim" | wc -l)" >>$truth
    describe
    left=$(($(descriptors "$shim" | wc -l) - before))
    # The trace that runs all along has the grace period that everybody has.
    for tries in $(seq 300); do
        [ $((2 * $(told "$watch") + (left == 0))) -gt "$left" ] &&
            [ $((2 * $(told /out/trace.json) + (left == 0))) -gt "$left" ] && break
        sleep 0.2
    done
    echo "used $backend $(quota)" >>$truth
    kill -INT $tracer $watcher
    wait $tracer
    wait $watcher
    echo "watched $backend $?" >>$truth
    inotify-trace list -o json --watches >"/out/list-$backend.json" ||
        fail 'inotify-trace cannot list'
}

# At the limit: who is refused, and who is to blame for it. One who is refused is in a container.
run_out() {
    local tracer reader tries
    # A shell of busybox has a tail of its own, which does not use inotify.
    container /tmp/config.json watcher "$(id_of watcher)" \
        'until [ -e /tmp/go ]; do sleep 0.2; done; exec /bin/tail -f /tmp/app.log' --detach ||
        fail 'cannot start the container that watches'
    # The shim makes this one's instance a moment after its start.
    sleep 2
    inotify-trace -x >/out/failures.txt 2>/out/failures.errors &
    tracer=$!
    inotify-trace -x -o json >/out/failures.json 2>/out/failures-json.errors &
    reader=$!
    wait_for_agent $tracer /out/failures.errors || fail 'inotify-trace does not start'
    wait_for_agent $reader /out/failures-json.errors || fail 'inotify-trace does not start'
    quota | cut -d' ' -f1 >/proc/sys/fs/inotify/max_user_instances
    touch $root/tmp/go
    for tries in $(seq 100); do
        grep -q create-failed /out/failures.json && break
        sleep 0.2
    done
    # Who is to blame is said once a second.
    sleep 1.5
    timeout 2 tail -f /var/log/containerd.txt >/dev/null 2>/out/tail.txt
    kill -INT "$tracer" "$reader"
    wait "$tracer" "$reader"
    cat /out/tail.txt /out/failures.txt
}

begin
# With the grace period that everybody has, it has its say on the first pod while others run.
inotify-trace -c containerd-shim -o json --record /out/trace.itrec >/out/trace.json 2>/out/trace.txt &
onlooker=$!
wait_for_agent $onlooker /out/trace.txt || fail 'inotify-trace does not start'
instant
for backend in fentry kprobe tracepoint; do
    run
done
kill -INT $onlooker
wait $onlooker

inotify-trace list --by container >/out/containers.txt || fail 'inotify-trace cannot list'
inotify-trace list --by container -o json >/out/containers.json
cat /out/containers.txt
inotify-trace limits -o json >/out/limits.json

# Nothing of this was traced by the one who is asked now.
inotify-trace leaks >/out/leaks.txt
echo $? >/out/leaks.status
inotify-trace leaks -o json >/out/leaks.json
echo "used leaks $(quota)" >>$truth
cat /out/leaks.txt

run_out

cp /var/log/containerd.txt /out
say 'done'
exit 0
