# Pods come and go at a normal pace, and their containers crash, are killed and end well, for
# $CHURN seconds; meanwhile inotify-trace looks for leaks, of which there is none.

. /programs/common.sh

# How many pods there are at a time. Every container costs this machine seconds.
lanes=3
# Longer than what seems leaked may take to be told as leaked.
settle=40

# Kills a container's program when it has run for a while.
kill_soon() {
    until ctr -n $namespace task list 2>/dev/null | grep -q "^$1 .*RUNNING"; do sleep 0.5; done
    sleep 3
    ctr -n $namespace task kill --signal SIGKILL "$1"
}

# One pod's life in lane $1, the $2nd there.
pod() {
    local lane=$1 number=$2 shim restart config=/tmp/config-$1.json
    pod_name=churn-$lane-$number
    pod=pod$(uid_of "$pod_name")
    sandbox=$(id_of "sandbox $pod_name")
    container "$config" pause "$sandbox" 'exec sleep 100000' --detach || return 1
    echo pod >>"/tmp/lane-$lane"
    for restart in 1 2 3; do
        local id script
        id=$(id_of "app $pod_name $restart")
        case $restart in
        1) script='sleep 2; exit 1' ;;
        2) script='timeout 4 /bin/tail -f /tmp/app.log; exit 0' ;;
        3) script='exec sleep 100000' ;;
        esac
        [ "$restart" = 3 ] && kill_soon "$id" &
        container "$config" app "$id" "$script" --rm
        echo container >>"/tmp/lane-$lane"
        # As kubelet waits before it starts a container again.
        sleep "$restart"
    done
    ctr -n $namespace task kill --signal SIGKILL "$sandbox"
    until ctr -n $namespace task delete "$sandbox" >/dev/null 2>&1; do
        ctr -n $namespace task list -q | grep -q "$sandbox" || break
        sleep 0.2
    done
    ctr -n $namespace container delete "$sandbox"
}

lane() {
    local number=0
    while [ "$(cut -d. -f1 /proc/uptime)" -lt "$end" ]; do
        number=$((number + 1))
        pod "$1" $number || say "lane $1: pod $number failed"
        say "lane $1: pod $number is gone"
    done
}

begin
inotify-trace leaks --watch -o json >/out/churn.json 2>/out/churn.txt &
watcher=$!
inotify-trace -o json -e create,release,lost >/out/trace.json 2>/out/trace.txt &
tracer=$!
wait_for_agent $watcher /out/churn.txt || fail 'leaks --watch does not start'
wait_for_agent $tracer /out/trace.txt || fail 'inotify-trace does not start'
end=$(($(cut -d. -f1 /proc/uptime) + CHURN))
for number in $(seq $lanes); do
    lane "$number" &
    lanes_running="$lanes_running $!"
done
wait $lanes_running
sleep $settle
kill -INT $watcher $tracer
wait $watcher
status=$?
wait $tracer
echo "churn $(cat /tmp/lane-* | grep -c pod) $(cat /tmp/lane-* | grep -c container) $status" >>$truth
cat $truth /out/churn.json
cp /var/log/containerd.txt /out
say 'done'
exit 0
