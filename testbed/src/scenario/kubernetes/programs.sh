# Builds kubelet and the API server of Debian's source package, of which Debian itself builds a client
# only. Run as root, with the mirror, its keys, a directory to work in, and the directory for the
# programs.
set -eu
PATH=$PATH:/usr/sbin:/sbin
umask 022
mirror=$1 keys=$2 work=$3 out=$4
# The last suite with a compiler of that time, and the last one with the source.
suite=bullseye of_source=bookworm
tree=$work/tree
source=go/src/k8s.io/kubernetes

trap 'umount "$tree/proc" 2>/dev/null; rm -rf --one-file-system "$tree"' EXIT
trap 'exit 130' HUP INT TERM

# Shows the end of what a command wrote if it fails.
quietly() {
    "$@" >"$work/output.txt" 2>&1 && return
    tail -n 20 "$work/output.txt" >&2
    exit 1
}

quietly debootstrap --variant=minbase --force-check-gpg --keyring="$keys" \
    --include=golang-1.15-go "$suite" "$tree" "$mirror"
mount -t proc proc "$tree/proc"
echo "deb-src [signed-by=/etc/apt/keys.gpg] $mirror $of_source main" >"$tree/etc/apt/sources.list"
cp "$keys" "$tree/etc/apt/keys.gpg"
# How this machine reaches the mirror, and which dates it believes in.
cp /etc/apt/apt.conf.d/* "$tree/etc/apt/apt.conf.d/"
cp /etc/resolv.conf /etc/hosts "$tree/etc/"
quietly chroot "$tree" apt-get update
quietly chroot "$tree" sh -c 'cd /tmp && apt-get source --download-only kubernetes'
mkdir -p "$tree/$source"
tar -x -C "$tree/$source" --strip-components=1 -f "$tree"/tmp/kubernetes_*.orig.tar.*

# The description of the API is generated code that the package lacks. Only clients that check objects
# before they send them ask for it.
cd "$tree/$source"
cat >pkg/generated/openapi/none.go <<'GO'
package openapi

import "k8s.io/kube-openapi/pkg/common"

func GetOpenAPIDefinitions(common.ReferenceCallback) map[string]common.OpenAPIDefinition {
	return nil
}
GO
before='genericConfig.Authorization.Authorizer, genericConfig.RuleResolver, err = BuildAuthorizer'
sed -i "s/^\t$before/\tgenericConfig.OpenAPIConfig = nil\n&/" cmd/kube-apiserver/app/server.go
grep -q 'OpenAPIConfig = nil' cmd/kube-apiserver/app/server.go

# Programs otherwise call themselves v0.0.0, which newer clients refuse.
flags='-s -w'
for package in client-go/pkg/version component-base/version; do
    for value in gitVersion=v1.20.2 gitMajor=1 gitMinor=20; do
        flags="$flags -X k8s.io/kubernetes/vendor/k8s.io/$package.$value"
    done
done
mkdir -p "$tree/programs"
# Clouds and Docker are half of the code, and not used.
quietly chroot "$tree" env GO111MODULE=off CGO_ENABLED=0 GOPATH=/go GOCACHE=/go/cache \
    sh -c 'cd "/$1" && shift && /usr/lib/go-1.15/bin/go build "$@"' sh "$source" \
    -tags providerless,dockerless -ldflags "$flags" -o /programs/ ./cmd/kubelet ./cmd/kube-apiserver
mkdir -p "$out"
cp "$tree/programs/kubelet" "$tree/programs/kube-apiserver" "$out"
