//! Asking a running agent, instead of loading kernel programs.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use inotify_trace_model::{event::BootTime, feed::Item, story::Story, tracker::Tracker};

use crate::{
    recording::Header,
    serve::protocol::{AgentError, SOCKET, Wish, ask},
};

#[derive(Clone, Debug, clap::Args)]
pub(super) struct AgentArgs {
    /// Ask the agent that `inotify-trace serve` runs at this socket, and fail if that is not possible
    /// [default: ask the one at /run/inotify-trace.sock if it answers]
    #[arg(long, value_name = "PATH", num_args = 0..=1, require_equals = true, default_missing_value = SOCKET)]
    agent: Option<PathBuf>,
    /// Ask no agent
    #[arg(long, conflicts_with = "agent")]
    no_agent: bool,
}

/// What an agent knows.
pub(super) struct Known {
    pub(super) header: Header,
    pub(super) tracker: Tracker,
    pub(super) now: BootTime,
}

impl AgentArgs {
    /// The state of the agent. None if none is to be asked, or if none was asked for and none answers;
    /// `is_fit` is whether it can answer what is asked.
    ///
    /// # Errors
    /// If one was asked for and does not answer.
    pub(super) fn state(&self, is_fit: bool) -> anyhow::Result<Option<Known>> {
        match &self.agent {
            Some(path) => {
                let known = state(path);
                known.map(Some).with_context(|| path.display().to_string())
            }
            None if self.no_agent || !is_fit => Ok(None),
            None => Ok(state(Path::new(SOCKET))
                .inspect_err(|error| log::info!("{SOCKET}: {error}"))
                .ok()),
        }
    }
}

fn state(path: &Path) -> Result<Known, AgentError> {
    let mut answer = ask(path, Wish::State)?;
    let header = answer.header().clone();
    let mut story = Story::without_verdicts(header.started).within(None);
    let mut is_whole = false;
    while let Some(item) = answer.next_item()? {
        is_whole |= matches!(item, Item::End(_));
        let Ok(()) = story.take(item, &mut ());
    }
    if !is_whole {
        return Err(AgentError::NoAgent);
    }
    Ok(Known { header, now: story.now(), tracker: story.into_tracker() })
}
