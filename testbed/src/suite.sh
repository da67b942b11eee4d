# The live tests in a virtual machine: with one backend after the other those that the variable
# FILTERS_BACKEND chooses, `all` or `none`. What becomes of each test comes to /out/BACKEND, and a
# line for each backend to /out/backends.txt: its name, the tests' status or `missing`, and how many
# seconds it took.

export INOTIFY_TRACE_EMULATED=1

# More than a test waits for something that does not come, in seconds.
LIMIT=1500

worst=0
inotify-trace check >/out/check.txt 2>&1
for backend in fentry kprobe tracepoint; do
    eval "filters=\$FILTERS_$backend"
    [ "$filters" = none ] && continue
    [ "$filters" = all ] && filters=
    if ! inotify-trace --backend $backend --duration 1 >/out/$backend.txt 2>&1; then
        echo "$backend missing 0" >>/out/backends.txt
        continue
    fi
    echo "with the $backend backend:"
    began=$(cut -d. -f1 /proc/uptime)
    {
        printf 'alone\tlive\t/programs/live\t/programs'
        for filter in $filters; do
            printf '\t%s' "$filter"
        done
        echo
    } >/run/plan
    INOTIFY_TRACE_BACKEND=$backend run-tests /run/plan /out/$backend $LIMIT
    status=$?
    [ $status = 0 ] || worst=$status
    echo "$backend $status $(($(cut -d. -f1 /proc/uptime) - began))" >>/out/backends.txt
done
exit $worst
