//! Files for debugging a failed test: the output and the recording of each agent. The test runner
//! names a directory for them, and removes it if the test passes.

use std::{
    env,
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
};

use tempfile::TempDir;

use crate::system;

/// The variable that names the directory.
const KEEP: &str = "INOTIFY_TRACE_KEEP";

/// The output files of one agent.
pub(crate) struct Files {
    /// The common path without the extension, if the files are kept.
    stem: Option<PathBuf>,
}

/// The recording of an agent. Removed on drop unless it is kept.
#[derive(Debug)]
pub(crate) struct Recording {
    file: PathBuf,
    _directory: Option<TempDir>,
}

/// A log that is written line by line, so no line is lost if the test is killed.
pub(crate) struct Log(Option<File>);

impl Files {
    /// The files of the next agent that this process starts.
    pub(crate) fn next() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let directory = env::var_os(KEEP).map(PathBuf::from);
        Self { stem: directory.map(|it| it.join(format!("agent-{number}"))) }
    }

    pub(crate) fn recording(&self) -> Recording {
        match &self.stem {
            Some(stem) => Recording { file: stem.with_extension("itrec"), _directory: None },
            None => {
                let directory = system::directory();
                Recording { file: directory.path().join("run.itrec"), _directory: Some(directory) }
            }
        }
    }

    /// The file for the agent's standard output.
    pub(crate) fn output(&self) -> Log {
        self.log("stdout.txt")
    }

    /// The file for the command line and standard error.
    pub(crate) fn errors(&self, command: &Command) -> Log {
        let mut log = self.log("stderr.txt");
        log.line(&format!("{command:?}"));
        log
    }

    fn log(&self, extension: &str) -> Log {
        let create = |stem: &PathBuf| File::create(stem.with_extension(extension));
        Log(self.stem.as_ref().map(|stem| create(stem).expect("the directory is writable")))
    }
}

impl Recording {
    pub(crate) fn file(&self) -> &Path {
        &self.file
    }
}

impl Log {
    pub(crate) fn line(&mut self, line: &str) {
        if let Some(file) = &mut self.0 {
            // On a full disk the test itself reports the error.
            let _ = file.write_all(format!("{line}\n").as_bytes());
        }
    }
}
