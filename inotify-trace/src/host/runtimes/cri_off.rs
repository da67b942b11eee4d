//! In place of `cri`, where it is left out: nobody is asked.

use std::{path::PathBuf, time::Instant};

use super::{Container, Names, Runtime};

/// What is said of a container: nothing.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "never made")]
pub struct Answer {
    pub asked: Container,
    pub names: Option<Names>,
    pub runtime: Option<Runtime>,
}

/// Nobody.
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
