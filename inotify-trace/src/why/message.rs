//! Error messages as people paste them.

use inotify_trace_model::resource::Resource;

/// What may be behind a message, by the words of those who print it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Suspects {
    /// The limit of instances (EMFILE of inotify_init).
    pub instances: bool,
    /// The limit of watches (ENOSPC of inotify_add_watch).
    pub watches: bool,
    /// The open files of a process, `RLIMIT_NOFILE` (EMFILE of any call).
    pub descriptors: bool,
    /// The open files of the machine, `fs.file-max` (ENFILE).
    pub files: bool,
    /// A queue of events that was full (IN_Q_OVERFLOW).
    pub queue: bool,
}

/// Words of messages, in small letters, and what they are about. The first that a message has
/// decides, so the more telling ones come first.
const KNOWN: [(&[&str], Suspects); 6] = [
    (&["too many open files in system", "enfile"], Suspects { files: true, ..NONE }),
    (
        &[
            "in_q_overflow",
            "event queue overflow",
            "fsnotify: queue or buffer overflow",
            "queue overflow",
        ],
        Suspects { queue: true, ..NONE },
    ),
    (
        // node and VS Code, inotifywait, tail, Go.
        &[
            "file watchers",
            "limit on inotify watches",
            "inotify resources exhausted",
            "watch limit",
            "max_user_watches",
            "no space left on device",
            "enospc",
        ],
        Suspects { watches: true, ..NONE },
    ),
    (
        // journalctl prints the first for EMFILE, whatever its words say.
        &[
            "insufficient watch descriptors",
            "too many open files",
            "emfile",
            "cannot be used, reverting to polling",
        ],
        EMFILE,
    ),
    (&["instance limit", "inotify instances", "max_user_instances"], EMFILE),
    // systemd adds the reason, which may have been cut.
    (&["failed to allocate directory watch"], Suspects { watches: true, ..EMFILE }),
];

const NONE: Suspects =
    Suspects { instances: false, watches: false, descriptors: false, files: false, queue: false };

const EMFILE: Suspects = Suspects { instances: true, descriptors: true, ..NONE };

impl Suspects {
    /// The suspects of a message; None if it is no message that is known.
    #[must_use]
    pub fn of(message: &str) -> Option<Self> {
        let message = message.to_lowercase();
        let has = |words: &&(&[&str], Self)| words.0.iter().any(|it| message.contains(it));
        KNOWN.iter().find(has).map(|(_, suspects)| *suspects)
    }

    /// Whether a limit of this resource may be behind it.
    #[must_use]
    pub fn has(self, resource: Resource) -> bool {
        match resource {
            Resource::Instances => self.instances,
            Resource::Watches => self.watches,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{EMFILE, NONE, Suspects};

    #[test]
    fn messages_that_people_paste_are_known() {
        let watches = Suspects { watches: true, ..NONE };
        for (message, expected) in [
            ("failed to create fsnotify watcher: too many open files", EMFILE),
            ("inotify_init: Too many open files", EMFILE),
            ("tail: inotify cannot be used, reverting to polling: Too many open files", EMFILE),
            ("tail: inotify cannot be used, reverting to polling", EMFILE),
            ("tail: inotify resources exhausted", watches),
            ("Insufficient watch descriptors available. Reverting to -n.", EMFILE),
            ("Failed to allocate directory watch: Too many open files", EMFILE),
            ("Failed to allocate directory watch: No space left on device", watches),
            ("Failed to allocate directory watch", Suspects { watches: true, ..EMFILE }),
            ("ENOSPC: System limit for number of file watchers reached, watch '/srv'", watches),
            ("Failed to watch /srv; upper limit on inotify watches reached!", watches),
            ("inotify instance limit reached", EMFILE),
            ("accept: too many open files in system", Suspects { files: true, ..NONE }),
            ("fsnotify: queue or buffer overflow", Suspects { queue: true, ..NONE }),
        ] {
            assert_eq!(Suspects::of(message), Some(expected), "{message}");
        }
        assert_eq!(Suspects::of("connection refused"), None);
        assert_eq!(Suspects::of("shop-5d8f"), None);
    }
}
