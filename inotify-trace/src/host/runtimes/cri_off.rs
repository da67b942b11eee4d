//! The replacement of `cri` in builds without it: no runtime is asked.

use std::{path::PathBuf, sync::Arc, time::Instant};

use super::{Answer, Container, CriCounts};

/// There are no runtimes to ask.
#[derive(Debug)]
pub struct Cri(Arc<CriCounts>);

#[expect(missing_docs, reason = "as in `cri`")]
impl Cri {
    #[must_use]
    pub fn new(_: &std::path::Path, _: Option<PathBuf>) -> Self {
        Self(Arc::default())
    }

    pub fn ask(&mut self, _: &Container) -> bool {
        false
    }

    #[must_use]
    pub fn counts(&self) -> &Arc<CriCounts> {
        &self.0
    }

    #[must_use]
    pub fn is_open(&self) -> bool {
        false
    }

    pub fn answer(&mut self) -> Option<Answer> {
        None
    }

    pub fn wait(&mut self, _: Instant) -> Option<Answer> {
        None
    }
}
