//! A recording until a moment.

use inotify_trace_model::{
    event::BootTime,
    feed::Item,
    story::{Audience, Story},
};

use super::Replay;

/// The items of a run until a moment.
#[derive(Debug)]
pub struct Until<'a> {
    run: &'a mut Replay,
    moment: BootTime,
    is_over: bool,
}

impl<'a> Until<'a> {
    /// All items of `run`.
    #[must_use]
    pub fn end(run: &'a mut Replay) -> Self {
        Self::new(run, BootTime(u64::MAX))
    }

    /// The items of `run` until `moment`.
    #[must_use]
    pub fn new(run: &'a mut Replay, moment: BootTime) -> Self {
        Self { run, moment, is_over: false }
    }

    /// The next item; None at the end.
    pub fn next_item(&mut self) -> Option<Item> {
        if self.is_over {
            return None;
        }
        Some(match self.run.next_item()? {
            Item::Batch(mut batch) => {
                // The events of a batch have different times.
                batch.events.retain(|event| event.time <= self.moment);
                if batch.time > self.moment {
                    batch.time = self.moment;
                    batch.judged = false;
                    self.is_over = true;
                }
                Item::Batch(batch)
            }
            Item::End(time) => Item::End(time.min(self.moment)),
            item => item,
        })
    }

    /// Feeds the story as fast as `audience` takes it, and passes the number of bytes read after each
    /// item. It does not call [`Story::end`].
    ///
    /// # Errors
    /// That of the audience. Read errors are the run's problems.
    pub fn run<A: Audience + ?Sized>(
        mut self,
        story: &mut Story,
        audience: &mut A,
        mut progress: impl FnMut(u64),
    ) -> Result<(), A::Error> {
        while let Some(item) = self.next_item() {
            story.take(item, audience)?;
            progress(self.run.position());
        }
        Ok(())
    }
}
