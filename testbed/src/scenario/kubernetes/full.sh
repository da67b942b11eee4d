# The same messages where nobody has lowered the limit: with as many pods as use it up.

pods=66
. "${0%/*}/messages.sh"
