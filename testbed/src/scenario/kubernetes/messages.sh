# The three messages of programs that get no instance, on a node whose limit is as good as used up:
# who says them, what inotify-trace says of each, and that they are gone after `limits --apply`.

. "${0%/*}/node.sh"

# Besides the one with the programs that fail. With few, the limit is lowered.
pods=${pods:-3}
few=10

# Whether as much is used as Linux allows by itself.
is_used_up() {
    [ "$(used)" -ge "$(cat /proc/sys/fs/inotify/max_user_instances)" ]
}

# follow FILE COMMAND...: what a program says that goes on until it is ended.
follow() {
    local file=/out/$1
    shift
    timeout --kill-after=5 "${FOLLOW:-20}" "$@" >"$file" 2>&1
    sed "s|^|    ${file##*/}: |" "$file" | tail -n 3
}

# The programs of the messages: follow_all WHEN
follow_all() {
    say "$1: kubectl logs -f"
    follow "$1-kubectl.txt" kubectl logs -f web --container app
    say "$1: tail -f in a pod"
    # Of a file that is none of the image: on overlayfs, tail asks again and again in any case.
    follow "$1-tail.txt" kubectl exec web --container shell -- tail -f /etc/hosts
    say "$1: journalctl -f"
    FOLLOW=5 follow "$1-journalctl.txt" journalctl -f --lines=1
}

# ask FILE COMMAND...: what inotify-trace says, for people and as JSON.
ask() {
    local file=/out/$1
    shift
    say "inotify-trace $*"
    inotify-trace "$@" | tee "$file.txt"
    inotify-trace "$@" -o json >"$file.json"
}

start_node
mkdir -p /out
must 'start the agent' systemd-run --unit=inotify-trace inotify-trace serve
eventually 'the agent is ready' curl --fail --silent http://127.0.0.1:20866/readyz
# They have begun long before something fails.
inotify-trace trace --agent -x >/out/trace.txt 2>/out/trace.err &
inotify-trace trace --agent -x -o json >/out/trace.json 2>/out/trace.json.err &

say "$((pods + 1)) pods"
pod default web "$(container app sh -c 'while :; do date; sleep 5; done')" "$(container shell sleep 1000000000)"
for number in $(seq $pods); do
    pod prod "shop-$number" "$(container app sleep 1000000000)"
done
PATIENCE=3600 eventually 'all pods run' run_all $((pods + 1))

if [ $pods -le $few ]; then
    lower_limit
else
    eventually 'the limit is used up' is_used_up
    say "the limit of root is $(cat /proc/sys/fs/inotify/max_user_instances), and $(used) are used"
fi
follow_all full
# Its end is that of the traces.
ask why why 'failed to create fsnotify watcher: too many open files'
ask limits limits
ask list list --by container
cat /out/trace.txt

say 'limits --apply'
inotify-trace limits --apply --yes >/out/apply.txt 2>&1 || say "limits --apply: status $?"
cat /out/apply.txt
follow_all after
systemctl stop inotify-trace
wait
keep_logs
say 'done'
