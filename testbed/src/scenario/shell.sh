# What scenarios' scripts have in common. `explain` shows what may have led to a failure: each has its own.

say() {
    echo "$(cut -d. -f1 /proc/uptime) s: $*"
}

fail() {
    say "FAILED: $*"
    explain
    exit 1
}

# must WHAT COMMAND...: the command's output is shown if it fails.
must() {
    local what=$1 output
    shift
    output=$("$@" 2>&1) || fail "$what: $*: status $?: $output"
}

# Runs a command until it ends well: eventually WHAT COMMAND...
eventually() {
    local what=$1 end=$((SECONDS + ${PATIENCE:-300}))
    shift
    while [ $SECONDS -lt $end ]; do
        "$@" >/dev/null 2>&1 && return
        sleep 1
    done
    fail "in vain: $what: $("$@" 2>&1)"
}
