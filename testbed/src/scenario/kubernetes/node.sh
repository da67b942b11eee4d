# A node of Kubernetes: etcd and containerd run, systemd has started them; the rest is started here.

here=${0%/*}
. "$here/shell.sh"

export KUBECONFIG=/etc/kubernetes/kubeconfig.yaml
node=node-1
# What all containers have as their root: busybox, and a program that uses inotify.
root=/var/lib/scenario/root
image=localhost/pods:1

explain() {
    systemctl --no-pager --failed
    api /api/v1/pods | jq -r '.items[] | "\(.metadata.namespace)/\(.metadata.name) \(.status.phase)"'
    local unit
    for unit in etcd containerd kube-apiserver kubelet; do
        echo "--- $unit"
        journalctl --no-pager --unit=$unit --lines=15 --output=cat | cut -c1-300
    done
    keep_logs
}

# What people look at when a run went wrong.
keep_logs() {
    local unit
    for unit in containerd kube-apiserver kubelet inotify-trace; do
        journalctl --no-pager --unit=$unit >/out/$unit.txt
    done
}

make_root() {
    local name library
    mkdir -p $root/bin $root/proc $root/sys $root/dev $root/etc $root/tmp $root/lib64
    cp /bin/busybox $root/bin
    for name in cat date sh sleep true; do
        ln -s busybox $root/bin/$name
    done
    # busybox's own asks again and again.
    cp /usr/bin/tail $root/bin
    ldd /usr/bin/tail | grep -o '/[^ ]*' | while read -r library; do
        mkdir -p "$root${library%/*}"
        cp -L "$library" "$root$library"
    done
    echo 'nothing happens' >$root/tmp/app.log
}

# The root as an image of one layer, for pods' containers and for what keeps their namespaces.
make_image() {
    local work=/var/lib/scenario/image layer
    mkdir -p $work
    tar -C $root -cf $work/layer.tar .
    layer=$(sha256sum <$work/layer.tar | cut -d' ' -f1)
    jq -n --arg layer "sha256:$layer" '{
        architecture: "amd64",
        os: "linux",
        config: {Env: ["PATH=/bin"], Cmd: ["/bin/sleep", "1000000000"]},
        rootfs: {type: "layers", diff_ids: [$layer]}
    }' >$work/config.json
    jq -n --arg image $image '[{Config: "config.json", RepoTags: [$image], Layers: ["layer.tar"]}]' \
        >$work/manifest.json
    tar -C $work -c manifest.json config.json layer.tar | ctr -n k8s.io images import -
}

# Asks the API server: api PATH CURL-OPTION... kubectl would take seconds of an emulated processor, each time.
api() {
    local path=$1
    shift
    curl --silent --show-error --fail --insecure --max-time 60 --header 'Authorization: Bearer admin' \
        "$@" "https://10.0.0.1:6443$path"
}

# Makes an object of JSON: create PATH <FILE
create() {
    api "$1" --header 'Content-Type: application/json' --data-binary @- --output /run/created.json
}

# Whether a node or a pod is ready: is_ready PATH
is_ready() {
    api "/api/v1/$1" | jq -e '.status.conditions[] | select(.type == "Ready").status == "True"'
}

# The API server makes the first one itself, a while after it has started.
make_namespace() {
    api "/api/v1/namespaces/$1" >/dev/null 2>&1 ||
        jq -n --arg name "$1" '{apiVersion: "v1", kind: "Namespace", metadata: {name: $name}}' |
        create /api/v1/namespaces
    eventually "the namespace $1" api "/api/v1/namespaces/$1"
}

start_node() {
    local namespace
    # The clock skips the time in which the machine waits for the disk, which may be minutes of its own.
    echo 0 >/proc/sys/kernel/hung_task_timeout_secs
    # An address that is none of the loopback device, which kubelet refuses.
    modprobe dummy
    ip link add dummy0 type dummy
    ip address add 10.0.0.1/24 dev dummy0
    ip link set dummy0 up
    ip route add default via 10.0.0.254

    say 'image'
    make_root
    eventually 'containerd answers' ctr version
    must 'the image of pods' make_image

    say 'API server'
    must 'a key' openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 \
        -subj /CN=$node -addext subjectAltName=IP:10.0.0.1,DNS:$node \
        -keyout /etc/kubernetes/node.key -out /etc/kubernetes/node.crt
    echo 'admin,admin,1,system:masters' >/etc/kubernetes/tokens.csv
    must 'start the API server' systemctl start etcd kube-apiserver
    eventually 'the API server is healthy' api /healthz

    say 'kubelet'
    must 'start kubelet' systemctl start kubelet
    eventually 'the node is ready' is_ready nodes/$node
    for namespace in default prod shop; do
        make_namespace $namespace
    done
    say "$(kubectl version --short | tr '\n' ' '), $(containerd --version)"
}

# A container of a pod, as JSON: container NAME COMMAND...
container() {
    local name=$1
    shift
    jq -n --arg name "$name" --arg image $image \
        '{name: $name, image: $image, imagePullPolicy: "Never", command: $ARGS.positional}' --args -- "$@"
}

# Makes a pod on this node, in the machine's own network: pod NAMESPACE NAME CONTAINER...
pod() {
    local namespace=$1 name=$2
    shift 2
    printf '%s\n' "$@" | jq -s --arg namespace "$namespace" --arg name "$name" --arg node $node '{
        apiVersion: "v1",
        kind: "Pod",
        metadata: {name: $name, namespace: $namespace},
        spec: {
            nodeName: $node,
            hostNetwork: true,
            # No controller marks the node as ready.
            tolerations: [{operator: "Exists"}],
            terminationGracePeriodSeconds: 1,
            containers: .
        }
    }' | create "/api/v1/namespaces/$namespace/pods" || fail "the API server takes no pod $name"
}

# How many pods run.
running() {
    api '/api/v1/pods?fieldSelector=status.phase=Running' | jq '.items | length'
}

run_all() {
    [ "$(running)" -ge "$1" ]
}

# The instances that root is charged for, by the kernel's own count.
used() {
    inotify-trace list --by user -o json | jq '.users[] | select(.user.name == "root") | .used'
}

# Leaves root no instance besides those that it has.
lower_limit() {
    local limit
    limit=$(used)
    say "the limit of root is $limit from now on, as much as is used"
    echo "$limit" >/proc/sys/fs/inotify/max_user_instances
}

# The agent as the manifest has it. No controller is here to make the DaemonSet's pods: its pod is made
# of the template that the API server has taken.
start_agent_pod() {
    must 'the image of the agent' ctr -n k8s.io images import "$here/inotify-trace.oci.tar"
    must 'the manifest' kubectl create --validate=false -f "$here/inotify-trace.yaml"
    api /apis/apps/v1/namespaces/inotify-trace/daemonsets/inotify-trace | jq --arg node $node '{
        apiVersion: "v1",
        kind: "Pod",
        metadata: (.spec.template.metadata + {name: "inotify-trace-1"}),
        spec: (.spec.template.spec + {nodeName: $node})
    }' | create /api/v1/namespaces/inotify-trace/pods || fail 'the API server takes no pod of the template'
    eventually 'the pod of the agent is ready' is_ready namespaces/inotify-trace/pods/inotify-trace-1
    kubectl get pods --namespace inotify-trace -o wide
}

# A field of the agent's pod.
agent_pod() {
    api /api/v1/namespaces/inotify-trace/pods/inotify-trace-1 | jq -r "$1"
}

# A file of the cgroup of the agent's pod.
agent_cgroup() {
    cat /sys/fs/cgroup/kubepods/*/pod"$(agent_pod .metadata.uid)/$1"
}
