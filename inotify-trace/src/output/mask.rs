//! Names of the bits that programs pass to inotify (inotify(7), `include/uapi/linux/inotify.h`).

use inotify_trace_model::event::IN_CLOEXEC;

/// `IN_NONBLOCK` of inotify_init1(2).
const IN_NONBLOCK: u32 = 0o4000;

/// The bits of a watch's mask. `IN_ALL_EVENTS` is the first twelve of them.
const WATCH: [(u32, &str); 19] = [
    (0x0001, "access"),
    (0x0002, "modify"),
    (0x0004, "attrib"),
    (0x0008, "close-write"),
    (0x0010, "close-nowrite"),
    (0x0020, "open"),
    (0x0040, "moved-from"),
    (0x0080, "moved-to"),
    (0x0100, "create"),
    (0x0200, "delete"),
    (0x0400, "delete-self"),
    (0x0800, "move-self"),
    (0x0100_0000, "onlydir"),
    (0x0200_0000, "dont-follow"),
    (0x0400_0000, "excl-unlink"),
    (0x1000_0000, "mask-create"),
    (0x2000_0000, "mask-add"),
    (0x4000_0000, "isdir"),
    (0x8000_0000, "oneshot"),
];

/// The names of the flags of an instance's descriptor. Other bits are the kernel's own.
pub(crate) fn instance_flags(flags: u32) -> Vec<&'static str> {
    names(&[(IN_NONBLOCK, "nonblock"), (IN_CLOEXEC, "cloexec")], flags)
}

/// The names of the events that a watch waits for.
pub(crate) fn watch_mask(mask: u32) -> Vec<&'static str> {
    names(&WATCH, mask)
}

fn names(table: &[(u32, &'static str)], bits: u32) -> Vec<&'static str> {
    table.iter().filter(|&&(bit, _)| bits & bit != 0).map(|&(_, name)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_bits() {
        // The masks of containerd's shim and coreutils' tail.
        assert_eq!(watch_mask(0x2), ["modify"]);
        assert_eq!(watch_mask(0xc06), ["modify", "attrib", "delete-self", "move-self"]);
        assert_eq!(instance_flags(0o2_004_000), ["nonblock", "cloexec"]);
        assert!(instance_flags(0).is_empty());
    }
}
