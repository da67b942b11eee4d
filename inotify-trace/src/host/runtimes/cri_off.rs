//! The replacement of `cri` in builds without it: no runtime is asked.

use std::{path::PathBuf, time::Instant};

use super::{Answer, Container};

/// There are no runtimes to ask.
#[derive(Debug)]
pub struct Cri;

#[expect(missing_docs, reason = "as in `cri`")]
impl Cri {
    #[must_use]
    pub fn new(_: &std::path::Path, _: Option<PathBuf>) -> Self {
        Self
    }

    pub fn ask(&mut self, _: &Container) -> bool {
        false
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
