//! The differences between backends in what an agent can see.

use serde_json::json;

use crate::expected::{ANY, Expected};

/// How an agent hooks inotify.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// Trampolines or kprobes on inotify's functions: the agent sees ends, but not the closes
    /// before.
    Functions,
    /// Tracepoints on system calls: the agent sees closes, and infers ends.
    Tracepoints,
}

impl Backend {
    /// Parses the backend from the agent's first message.
    #[must_use]
    pub fn of_greeting(greeting: &str) -> Self {
        if greeting.contains("(tracepoint backend)") { Self::Tracepoints } else { Self::Functions }
    }

    /// The events that an agent with this backend reports.
    #[must_use]
    pub fn tells(self, happened: &[Expected]) -> Vec<Expected> {
        let seen = happened.iter().filter(|it| {
            let event = &it.fields["event"];
            self == Self::Tracepoints || (event != "close" && event != "range-close")
        });
        let as_told = |it: &Expected| {
            let mut it = it.clone();
            if self == Self::Functions && it.fields["event"] == "release" {
                // Without closes the agent cannot know which descriptor was the last, nor whether
                // an exit or exec was the end if a late copy of the descriptor is still open.
                it.fields.insert("fd".to_owned(), json!(ANY));
                // Ends are reported when they happen, in order, without the closes between them.
                it.ordered = false;
                if let Some(end) = it.end.take() {
                    it.fields.extend(end.by);
                    (it.time, it.lived) = (end.time, end.lived);
                }
            }
            it
        };
        seen.map(as_told).collect()
    }
}
