//! Loads programs side by side.
//!
//! The verifier looks at one program for milliseconds, at several of them in as many threads.

use std::{collections::HashMap, num::NonZero, sync::Mutex, thread, time::Instant};

use aya::{
    Ebpf,
    programs::{Program, ProgramError},
};

use super::{
    backend::{Attachment, Hook},
    functions::Functions,
};

/// Loads the programs of these hooks, in a thread for each processor.
///
/// Failures are left to whoever loads them again, one after the other.
pub(super) fn load<'a>(
    ebpf: &mut Ebpf,
    hooks: impl Iterator<Item = &'a Hook>,
    functions: &Functions,
) {
    let mut programs: HashMap<_, _> = ebpf.programs_mut().collect();
    let hooks = hooks.filter_map(|hook| Some((hook, programs.remove(hook.program)?)));
    let hooks = hooks.collect::<Vec<_>>();
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(hooks.len());
    let hooks = Mutex::new(hooks.into_iter());
    let next = || hooks.lock().ok()?.next();
    let work = || {
        while let Some((hook, program)) = next() {
            let _ = load_one(program, hook.program, hook.attachment, functions);
        }
    };
    thread::scope(|scope| {
        for _ in 1..threads {
            // This thread does alone what others cannot be made for.
            let _ = thread::Builder::new().spawn_scoped(scope, work);
        }
        work();
    });
}

/// Loads one program, if it isn't: it may be attached in several places, or loaded ahead.
pub(super) fn load_one(
    program: &mut Program,
    name: &str,
    attachment: Attachment,
    functions: &Functions,
) -> Result<(), ProgramError> {
    if program.fd().is_ok() {
        return Ok(());
    }
    let started = Instant::now();
    let result = match (program, attachment) {
        (Program::FEntry(program), Attachment::Function(function)) => {
            program.load(function, functions.table())
        }
        (Program::FExit(program), Attachment::Function(function)) => {
            program.load(function, functions.table())
        }
        (Program::KProbe(program), Attachment::Function(_)) => program.load(),
        (Program::TracePoint(program), Attachment::Syscall(_)) => program.load(),
        (Program::RawTracePoint(program), Attachment::Raw(_) | Attachment::Ask) => program.load(),
        (Program::Iter(program), Attachment::Ask) => program.load("task_file", functions.table()),
        _ => Err(ProgramError::UnexpectedProgramType),
    };
    log::debug!("loading {name} took {:?}", started.elapsed());
    result
}
