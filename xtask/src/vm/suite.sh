# The live tests in a virtual machine: with each backend that the kernel offers, one after the
# other. What they say comes to /out, and a line for each backend to /out/backends.txt: its name,
# the tests' status or `missing`, and how many seconds it took.

# What differs between kernels: hooks and structures. Left out is what emulation is too slow for
# (storms), what it has no programs for, and what does not depend on the kernel (filters, text).
TESTS='before:: compat:: containers:: endings:: holders:: limits:: list:: namespaces::'
SLOW='--skip what_happens_while_the_agent_starts --skip three_hundred_short_lived'

export INOTIFY_TRACE_EMULATED=1

set -o pipefail
worst=0
inotify-trace check >/out/check.txt 2>&1
for backend in fentry kprobe tracepoint; do
    if ! inotify-trace --backend $backend --duration 1 >/out/$backend.txt 2>&1; then
        echo "$backend missing 0" >>/out/backends.txt
        continue
    fi
    echo "with the $backend backend:"
    began=$(cut -d. -f1 /proc/uptime)
    export INOTIFY_TRACE_BACKEND=$backend INOTIFY_TRACE_SKIPPED=/out/$backend-skipped.txt
    # What it finds does not depend on the backend, so once is enough of what takes a minute.
    [ -e /out/backends.txt ] && SLOW="$SLOW --skip a_machine_full_of_instances --skip list::"
    live $TESTS $SLOW 2>&1 | tee /out/$backend.txt
    status=$?
    [ $status = 0 ] || worst=$status
    echo "$backend $status $(($(cut -d. -f1 /proc/uptime) - began))" >>/out/backends.txt
done
for backend in $(cut -d' ' -f1 /out/backends.txt); do
    if [ -e /out/$backend-skipped.txt ]; then
        sed "s/^/$backend: /" /out/$backend-skipped.txt >>/out/skipped-tests.txt
    fi
done
exit $worst
