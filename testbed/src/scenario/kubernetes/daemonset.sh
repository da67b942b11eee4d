# The agent as a pod of the DaemonSet: it tells what a pod that crashes and one that ends at once have
# leaked, the plug-in of kubectl asks it, and a real Prometheus has an alert fire. With containerd 1.6
# nothing has leaked here so far: then nothing must be told.

. "${0%/*}/node.sh"

# How often the containers have ended before anybody looks.
restarts=5

# Whether the container of a pod has: has_ended POD
has_ended() {
    [ "$(api "/api/v1/namespaces/shop/pods/$1" | jq '.status.containerStatuses[0].restartCount')" -ge $restarts ]
}

# The process that runs the containers of a pod: shim POD
shim() {
    local sandbox
    sandbox=$(ctr -n k8s.io containers ls -q \
        "labels.\"io.kubernetes.pod.name\"==$1,labels.\"io.cri-containerd.kind\"==sandbox")
    pgrep -of "^[^ ]*containerd-shim.* -id $sandbox"
}

# The instances of a pod's shim, and how many of them watch nothing that exists: instances POD
instances() {
    local shim file all=0 leaked=0
    shim=$(shim "$1")
    # The kernel shows the numbers of inodes as hexadecimal ones.
    find /sys/fs/cgroup -name '*.events' -printf '%i\n' | xargs printf '%x\n' | sort >/run/existing
    for file in "/proc/$shim/fdinfo"/*; do
        [ "$(readlink "/proc/$shim/fd/${file##*/}")" = anon_inode:inotify ] || continue
        all=$((all + 1))
        sed -n 's/^inotify wd:[0-9a-f]* ino:\([0-9a-f]*\) .*/\1/p' "$file" | sort |
            comm -12 - /run/existing | grep -q . || leaked=$((leaked + 1))
    done
    echo "$1 $shim $all $leaked"
}

truth() {
    instances crasher
    instances instant
}

# Asks the agent by the plug-in until it has told of what is there, and that is the same before and after.
leaks_are_told() {
    local told
    truth >/out/truth.txt
    kubectl inotify-trace -o json leaks >/out/leaks.json 2>/out/leaks.err
    truth >/run/after.txt
    cmp --silent /out/truth.txt /run/after.txt || return
    told=$(jq '[.nodes[][] | select(.verdict == "target-gone") | .instances] | add // 0' /out/leaks.json)
    [ "$told" = "$(awk '{ sum += $4 } END { print sum }' /out/truth.txt)" ]
}

# What Prometheus answers: prometheus PATH
prometheus() {
    curl --silent --show-error --fail "http://127.0.0.1:9090/api/v1/$1"
}

scrapes() {
    prometheus targets | jq -e '.data.activeTargets[0].health == "up"'
}

# Whether this alert fires: fires NAME
fires() {
    prometheus alerts >/out/alerts.json &&
        jq -e --arg name "$1" '.data.alerts[] | select(.labels.alertname == $name).state == "firing"' \
            /out/alerts.json
}

start_prometheus() {
    mkdir -p /run/prometheus
    cp "$here/rules.yaml" /run/prometheus
    cat >/run/prometheus/prometheus.yaml <<-END
	global: {scrape_interval: 5s, evaluation_interval: 5s}
	scrape_configs:
	  - job_name: inotify-trace
	    honor_labels: true
	    static_configs: [{targets: ["$1:20866"]}]
	rule_files: [rules.yaml]
	END
    must 'start Prometheus' systemd-run --unit=prometheus-of-node prometheus \
        --config.file=/run/prometheus/prometheus.yaml --storage.tsdb.path=/run/prometheus/data \
        --web.listen-address=127.0.0.1:9090
    eventually 'Prometheus scrapes the pod' scrapes
}

start_node
mkdir -p /out
say 'the agent as a pod'
start_agent_pod
address=$(agent_pod .status.podIP)

say 'a pod that crashes, one that ends at once, and one that works'
pod shop crasher "$(container app sh -c 'sleep 3; exit 1')"
pod shop instant "$(container app true)"
pod default web "$(container app sleep 1000000000)"
eventually 'the pod runs' is_ready namespaces/default/pods/web
start_prometheus "$address"
PATIENCE=1800 eventually 'the pod that crashes has' has_ended crasher
PATIENCE=1800 eventually 'the pod that ends at once has' has_ended instant

say 'kubectl inotify-trace leaks'
eventually 'the leaks are told' leaks_are_told
cat /out/truth.txt
kubectl inotify-trace leaks | tee /out/leaks.txt
say 'kubectl inotify-trace list'
kubectl inotify-trace -o json list --by container >/out/list.json
kubectl inotify-trace list --by container

lower_limit
timeout 20 kubectl exec web -- tail -f /etc/hosts >/out/tail.txt 2>&1
cat /out/tail.txt
eventually 'the alert fires' fires InotifyInstancesExhausted
say 'an alert fires'
jq -r '.data.alerts[] | "\(.state) \(.labels.alertname) \(.labels.instance): \(.annotations.summary)"' /out/alerts.json
say 'kubectl inotify-trace why'
kubectl inotify-trace why too many open files | tee /out/why.txt

agent_cgroup memory.peak >/out/peak.txt
agent_pod '.status.containerStatuses[0].restartCount' >/out/agent-restarts.txt
say "memory of the agent's pod: $(($(cat /out/peak.txt) / 1024)) KiB at most, restarts: $(cat /out/agent-restarts.txt)"
keep_logs
say 'done'
