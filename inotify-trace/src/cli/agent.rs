//! Asking a running agent, instead of loading kernel programs.

use std::{
    future::poll_fn,
    io,
    path::{Path, PathBuf},
    task::{Context, Poll},
    time::Duration,
};

use anyhow::{Context as _, bail};
use inotify_trace_model::{
    event::BootTime,
    feed::Item,
    story::{Audience, Story},
    tracker::Tracker,
};

use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

use super::{say::say, session};
use crate::{
    recording::{Header, RecordingError},
    serve::protocol::{AgentError, SOCKET, Wish, ask},
    threads,
};

/// The most items that wait to be shown.
const WAITING: usize = 16;

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
    /// Where the agent answers.
    pub(super) fn path(&self) -> &Path {
        self.agent.as_deref().unwrap_or(Path::new(SOCKET))
    }

    /// The state of the agent. None if none is to be asked, or if none was asked for and none answers;
    /// `is_fit` is whether it can answer what is asked.
    ///
    /// # Errors
    /// If one was asked for and does not answer.
    pub(super) fn state(&self, is_fit: bool) -> anyhow::Result<Option<Known>> {
        self.asked(is_fit, |path| state(path).with_context(|| path.display().to_string()))
    }

    /// The events of the agent, as [`state`](Self::state) its state.
    ///
    /// # Errors
    /// If one was asked for and does not answer.
    #[cfg(feature = "top")]
    pub(super) fn events(&self, is_fit: bool) -> anyhow::Result<Option<Events>> {
        self.asked(is_fit, Events::of)
    }

    /// What the agent answers, if one is to be asked.
    fn asked<T>(
        &self,
        is_fit: bool,
        ask: impl FnOnce(&Path) -> anyhow::Result<T>,
    ) -> anyhow::Result<Option<T>> {
        match &self.agent {
            Some(path) => ask(path).map(Some),
            None if self.no_agent || !is_fit => Ok(None),
            None => Ok(ask(Path::new(SOCKET)).inspect_err(|error| log::info!("{error:#}")).ok()),
        }
    }
}

/// Events of an agent, as they happen.
pub(super) struct Events {
    pub(super) header: Header,
    items: mpsc::Receiver<Result<Item, RecordingError>>,
}

impl Events {
    /// Asks the agent at a path.
    ///
    /// # Errors
    /// If it does not answer.
    pub(super) fn of(path: &Path) -> anyhow::Result<Self> {
        let mut answer = ask(path, Wish::Events).with_context(|| path.display().to_string())?;
        let header = answer.header().clone();
        let (sender, items) = mpsc::channel(WAITING);
        threads::spawn("agent", move || {
            while let Some(item) = answer.next_item().transpose() {
                let is_last = !matches!(item, Ok(Item::Restart | Item::Part(_) | Item::Batch(_)));
                if sender.blocking_send(item).is_err() || is_last {
                    break;
                }
            }
        })?;
        Ok(Self { header, items })
    }

    /// Waits for the next item.
    ///
    /// # Errors
    /// If the agent is gone.
    pub(super) async fn next(&mut self) -> anyhow::Result<Item> {
        let Some(item) = self.items.recv().await else {
            bail!("the agent is gone: it was killed, or cut this off")
        };
        Ok(item?)
    }

    /// Tells the story to an audience, until the agent ends, a signal comes or `duration` is over.
    ///
    /// # Errors
    /// If the agent is gone, or the audience cannot continue.
    pub(super) async fn run<A: Audience<Error = io::Error>>(
        &mut self,
        duration: Option<Duration>,
        story: &mut Story,
        audience: &mut A,
    ) -> anyhow::Result<()> {
        let mut signals = session::catch_signals()?;
        let mut is_signalled = |context: &mut Context<'_>| {
            let mut all = signals.iter_mut().map(|it| it.poll_recv(context).map(drop));
            all.find(Poll::is_ready).unwrap_or(Poll::Pending)
        };
        let end = duration.and_then(|duration| Instant::now().checked_add(duration));
        loop {
            let item = tokio::select! {
                biased;
                () = poll_fn(&mut is_signalled) => break,
                () = async { sleep_until(end.unwrap_or_else(Instant::now)).await }, if end.is_some() => break,
                item = self.next() => item?,
            };
            let is_last = matches!(item, Item::End(_));
            story.take(item, audience)?;
            if is_last {
                say(format_args!("inotify-trace: the agent has ended, or cut this off"))?;
                break;
            }
            if self.items.is_empty() {
                audience.flush()?;
            }
        }
        Ok(story.end(audience)?)
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
