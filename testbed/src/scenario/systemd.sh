# What a user does with the Debian package under systemd, on two boots of one disk. The directory
# with this has first.deb and second.deb, a later version. Each step fails with its output.

state=/var/lib/inotify-trace
settings=/etc/inotify-trace.toml
drop_in=/etc/systemd/system/inotify-trace.service.d/record.conf
here=${0%/*}
# The first boot leaves a file here, by which the second knows itself.
kept=/var/lib/scenario

# Seconds.
PATIENCE=180
. "$here/shell.sh"

explain() {
    systemctl status --no-pager --lines=0 inotify-trace.service inotify-trace.socket
    journalctl --no-pager --unit='inotify-trace*' --lines=40
}

property() {
    systemctl show --property="$1" --value inotify-trace.service
}

is_active() {
    [ "$(property ActiveState)" = active ]
}

# The status of an HTTP answer, 000 without one; the answer goes to /run/answer.
get() {
    curl --silent --max-time 60 --output /run/answer --write-out '%{http_code}' \
        "http://127.0.0.1:20866/$1"
}

is_answered() {
    [ "$(get "$1")" = 200 ]
}

# The kernel programs that trace, and the links that attach them. systemd's own are of other types.
programs() {
    {
        bpftool prog list
        bpftool link list
    } | grep -E '^[0-9]+: (tracing|kprobe|tracepoint|raw_tracepoint|perf_event|iter) '
}

# The agent runs, and is as ready as systemd was told.
must_be_ready() {
    is_active || fail "it is $(property ActiveState) when systemctl returns"
    is_answered readyz || fail "not ready: $(cat /run/answer)"
    property StatusText | grep -qE '^[0-9]+ instances with [0-9]+ watches$' ||
        fail "its status is '$(property StatusText)'"
    [ -n "$(programs)" ] || fail 'no kernel program is loaded'
}

must_be_gone() {
    local left
    [ "$(property ActiveState)" = inactive ] || fail "it is $(property ActiveState)"
    left=$(programs) && fail "kernel programs stay loaded: $left"
    [ ! -e /run/inotify-trace.sock ] || fail 'its socket is still there'
    ! running >/dev/null || fail "it still runs: $(running)"
}

running() {
    grep -lx inotify-trace /proc/[0-9]*/comm 2>/dev/null
}

# A process with an instance and a watch, which the recordings must have.
mark() {
    echo "$1" >"/run/$1"
    tail -f "/run/$1" >/dev/null &
    local process=$!
    eventually "the recording has $1" has "$1"
    kill $process
}

# Exit code 2 says what is true: the end of a file is missing where the agent was killed.
replay() {
    inotify-trace replay $state >/run/replay 2>&1 || [ $? -eq 2 ]
}

has() {
    replay && grep -q "watch .*/run/$1" /run/replay
}

# Everything that was marked is in the recordings, and they are sound.
must_have() {
    local name
    replay && ! grep -qi damaged /run/replay || fail "replay: $(cat /run/replay)"
    for name in "$@"; do
        grep -q "watch .*/run/$name" /run/replay || fail "the recordings lack $name: $(cat /run/replay)"
    done
}

files() {
    ls $state | wc -l
}

# Another process runs the agent, and it is ready: is_new OLD_PROCESS
is_new() {
    is_active && [ "$(property MainPID)" != "$1" ] && is_answered readyz
}

# The agent comes back by itself, and records to a new file: must_come_back COMMAND...
must_come_back() {
    local old count restarts
    old=$(property MainPID) count=$(files) restarts=$(property NRestarts)
    must 'the end' "$@"
    eventually 'it comes back' is_new "$old"
    [ "$(property NRestarts)" -eq $((restarts + 1)) ] || fail "$(property NRestarts) restarts"
    [ "$(files)" -gt "$count" ] || fail "no new file: $(ls -l $state)"
}

# Whatever is called like the package, besides its state and configuration.
must_have_no_files_but() {
    local found
    found=$(find / -xdev \( -path /programs -o -path $kept -o -path /var/log \) -prune -o \
        -name '*inotify*trace*' -print | grep -vE "^($1)")
    [ -z "$found" ] || fail "these files stay: $found"
}

first_boot() {
    say 'install'
    must install dpkg --install "$here/first.deb"
    must 'the files of the package' dpkg --verify inotify-trace
    [ "$(systemctl is-enabled inotify-trace.service)" = disabled ] || fail 'it is enabled by itself'
    [ "$(systemctl is-enabled inotify-trace.socket)" = disabled ] || fail 'its socket is enabled by itself'
    must_be_gone

    say 'commands without a service'
    must check inotify-trace check
    inotify-trace check
    tail -f /etc/hostname >/dev/null &
    eventually 'list has a process' sh -c 'inotify-trace list | grep -qw tail'
    kill $!
    inotify-trace --duration 10 >/run/trace 2>/run/trace.err &
    local trace=$!
    eventually 'the trace begins' grep -q 'Tracing inotify' /run/trace.err
    timeout 1 tail -f /etc/hostname >/dev/null
    wait $trace || fail "trace: status $?: $(cat /run/trace.err)"
    grep -q 'create .*tail' /run/trace || fail "the trace has no tail: $(cat /run/trace /run/trace.err)"

    say 'enable and start'
    mkdir -p "${drop_in%/*}"
    # As docs/install.md says: this kernel demands more to attach anything.
    if [[ $(uname -r) = 5.10.* ]]; then
        printf '[Service]\nCapabilityBoundingSet=CAP_SYS_ADMIN\n' >"${drop_in%/*}/debian-11.conf"
        must 'read the setting' systemctl daemon-reload
    fi
    must start systemctl enable --now inotify-trace.service
    must_be_ready
    is_answered metrics && grep -q '^inotify_instances_used{user="root"' /run/answer &&
        [ "$(tail -n 1 /run/answer)" = '# EOF' ] || fail "metrics: $(cat /run/answer)"
    must 'the agent answers' inotify-trace list --agent

    say 'a setting, and a restart'
    local old
    old=$(property MainPID)
    printf '[Service]\nExecStart=\nExecStart=/usr/bin/inotify-trace serve --record %s/\n' $state >$drop_in
    must 'read the setting' systemctl daemon-reload
    [ "$(property MainPID)" = "$old" ] || fail 'reading its unit restarts it'
    must restart systemctl reload-or-restart inotify-trace.service
    must_be_ready
    [ "$(property MainPID)" != "$old" ] || fail 'it was not restarted'
    mark mark-1

    say 'kill -9'
    must_come_back systemctl kill --signal=KILL inotify-trace.service
    must_have mark-1
    mark mark-2

    say 'a hang'
    must_come_back kill -STOP "$(property MainPID)"
    journalctl --unit=inotify-trace.service | grep -q 'Watchdog timeout' ||
        fail 'it was not the watchdog'
    must_have mark-1 mark-2

    say 'stop'
    must stop systemctl stop inotify-trace.service
    [ "$(property Result) $(property ExecMainStatus)" = 'success 0' ] ||
        fail "it ended as $(property Result) $(property ExecMainStatus)"
    must_be_gone
    must_have mark-1 mark-2

    say 'the socket starts it'
    must 'enable the socket' systemctl enable --now inotify-trace.socket
    must_be_gone
    [ "$(get readyz)" != 000 ] || fail 'the first connection gets no answer'
    eventually 'it is ready' is_answered readyz
    is_active || fail "it is $(property ActiveState)"
    must 'disable the socket' systemctl disable --now inotify-trace.socket
    must restart systemctl restart inotify-trace.service
    mark mark-3
}

second_boot() {
    say 'after a reboot'
    eventually 'it starts by itself' is_active
    must_be_ready
    must_have mark-1 mark-2 mark-3
    mark mark-4

    say 'upgrade'
    local old
    old=$(property MainPID)
    must upgrade dpkg --install "$here/second.deb"
    eventually 'it is restarted' is_new "$old"
    must_be_ready
    [ "$(systemctl is-enabled inotify-trace.service)" = enabled ] || fail 'it is not enabled any more'
    must_have mark-1 mark-2 mark-3 mark-4
    mark mark-5

    say 'remove'
    must remove dpkg --remove inotify-trace
    must_be_gone
    must_have_no_files_but "$state|/etc/systemd/system/|$settings$|/var/lib/dpkg/info/inotify-trace\.(list|postrm)$"
    [ "$(files)" -gt 0 ] || fail 'the recordings are gone'
    [ -e $settings ] || fail 'the settings are gone'

    say 'purge'
    must purge dpkg --purge inotify-trace
    must_have_no_files_but "${drop_in%/*}"
}

set -o pipefail
if [ -e $kept/booted ]; then
    second_boot
else
    mkdir -p $kept
    touch $kept/booted
    first_boot
fi
say 'done'
exit 0
