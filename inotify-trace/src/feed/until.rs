//! A recording until a moment.

use inotify_trace_model::{
    event::BootTime,
    feed::Item,
    story::{Audience, Story},
};

use super::Replay;

/// Gives what a run says of the time until a moment, and no more.
#[derive(Debug)]
pub struct Until<'a> {
    run: &'a mut Replay,
    moment: BootTime,
    is_over: bool,
}

impl<'a> Until<'a> {
    /// All that `run` says.
    #[must_use]
    pub fn end(run: &'a mut Replay) -> Self {
        Self::new(run, BootTime(u64::MAX))
    }

    /// What `run` says of the time until `moment`.
    #[must_use]
    pub fn new(run: &'a mut Replay, moment: BootTime) -> Self {
        Self { run, moment, is_over: false }
    }

    /// What comes next; None at the end.
    pub fn next_item(&mut self) -> Option<Item> {
        if self.is_over {
            return None;
        }
        Some(match self.run.next_item()? {
            Item::Batch(mut batch) => {
                // Events of one batch have happened at different times.
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

    /// Tells all of it as fast as `audience` takes it, and says after each item how many bytes of
    /// the run were read. The story has no end after that: of [`Story::end`] the caller decides.
    ///
    /// # Errors
    /// That of the audience. What cannot be read is the run's problem.
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
