//! What an agent can know differs with how it hooks inotify.

use serde_json::json;

use crate::expected::{ANY, Expected};

/// How an agent hooks inotify.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// On its own functions, by trampolines or kprobes: it sees ends, and not what leads to them.
    Functions,
    /// On system calls: it sees closes, and infers ends.
    Tracepoints,
}

impl Backend {
    /// From what an agent says when it begins.
    #[must_use]
    pub fn of_greeting(greeting: &str) -> Self {
        if greeting.contains("(tracepoint backend)") { Self::Tracepoints } else { Self::Functions }
    }

    /// What an agent with this backend tells of what happened.
    #[must_use]
    pub fn tells(self, happened: &[Expected]) -> Vec<Expected> {
        let seen = happened.iter().filter(|it| {
            let event = &it.fields["event"];
            self == Self::Tracepoints || (event != "close" && event != "range-close")
        });
        let as_told = |it: &Expected| {
            let mut it = it.clone();
            if self == Self::Functions && it.fields["event"] == "release" {
                // Without the closes it cannot be known which descriptor was the last, nor, with
                // a late copy of it still open, whether an exit or exec was the end.
                it.fields.insert("fd".to_owned(), json!(ANY));
                // Ends are told where they happen: in order, but not with what is between them.
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
