
# clap's function completes single values. This one adds recordings by their suffix, lists with commas,
# and leaves out the names of arguments, such as <FILE>.
_inotify_trace_all() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}
    local before='' word recordings='' kept=()
    if [[ $prev == -* && $cur == *,* ]]; then
        before=${cur%,*},
        cur=${cur##*,}
        COMP_WORDS[COMP_CWORD]=$cur
    fi
    _inotify_trace "$1" "$cur" "$prev"
    for word in "${COMPREPLY[@]}"; do
        [[ $word == [\<\[]* ]] || kept+=("$before$word")
    done
    COMPREPLY=("${kept[@]}")
    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        [[ $word == replay || $word == report || $word == export ]] && recordings=1
    done
    # Nothing, or options only: a recording comes here.
    if [[ $prev == --recording || ( $recordings && $cur != -* && ${kept[0]:--} == -* ) ]]; then
        compopt -o filenames 2>/dev/null
        local IFS=$'\n'
        COMPREPLY=($(compgen -f -X '!*.itrec' -- "$cur") $(compgen -d -- "$cur"))
    fi
}

complete -F _inotify_trace_all -o bashdefault -o default inotify-trace
