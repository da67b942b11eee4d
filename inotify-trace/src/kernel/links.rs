//! What keeps programs attached.

use std::thread;

use aya::programs::{Program, ProgramError};

/// Attachments of programs, which end when it is dropped.
///
/// Each is closed by a thread of its own: when a kprobe or a system call's tracepoint loses its
/// program, the kernel waits for all processors, 20 to 45 ms each time, but for several together.
#[derive(Default)]
pub(super) struct Links(Vec<Box<dyn Send>>);

impl Links {
    /// Attaches a loaded program to a place of its kind: a function of the kernel, a system call's
    /// tracepoint, or a raw tracepoint. Trampolines have learned theirs when they were loaded.
    pub(super) fn attach(
        &mut self,
        program: &mut Program,
        place: &str,
    ) -> Result<(), ProgramError> {
        let link: Box<dyn Send> = match program {
            Program::FEntry(program) => {
                let link = program.attach()?;
                Box::new(program.take_link(link)?)
            }
            Program::FExit(program) => {
                let link = program.attach()?;
                Box::new(program.take_link(link)?)
            }
            Program::KProbe(program) => {
                let link = program.attach(place, 0)?;
                Box::new(program.take_link(link)?)
            }
            Program::TracePoint(program) => {
                let link = program.attach("syscalls", place)?;
                Box::new(program.take_link(link)?)
            }
            Program::RawTracePoint(program) => {
                let link = program.attach(place)?;
                Box::new(program.take_link(link)?)
            }
            _ => return Err(ProgramError::UnexpectedProgramType),
        };
        self.0.push(link);
        Ok(())
    }
}

impl Drop for Links {
    fn drop(&mut self) {
        thread::scope(|scope| {
            for link in self.0.drain(..) {
                // Without a thread it is closed here: what was to be done in it is dropped.
                let _ = thread::Builder::new().spawn_scoped(scope, move || drop(link));
            }
        });
    }
}
