//! The replacement of `export` in builds without Parquet: nothing is exported.

use std::{convert::Infallible, io, path::Path, sync::Arc};

use inotify_trace_model::{event::BootTime, story::Audience, tracker::Tracker};

use crate::recording::{Header, Progress};

/// There are none.
#[derive(Debug)]
pub struct Exports(Infallible);

#[expect(missing_docs, reason = "as in `export`")]
impl Exports {
    pub fn start(_: &Path, _: Header, _: Box<dyn Fn(&str) + Send>) -> io::Result<Self> {
        Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "this inotify-trace was built without Parquet: build it with cargo's default features",
        ))
    }

    #[must_use]
    pub fn progress(&self) -> Arc<Progress> {
        match self.0 {}
    }

    pub fn finish(self, _: &Tracker, _: BootTime) -> io::Result<()> {
        match self.0 {}
    }
}

impl Audience for Exports {
    type Error = io::Error;
}
