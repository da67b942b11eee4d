//! The BPF iterator that finds existing instances.

use std::{
    fs::File,
    io::{ErrorKind, Read as _},
};

use aya::{
    Ebpf,
    programs::{Program, ProgramError},
};

use super::{KernelError, ahead, backend::ITERATOR, error::refused, functions::Functions};

/// The function that stands for the iterator over descriptors among the kernel's types.
pub(super) const FUNCTION: &str = "bpf_iter_task_file";

/// A run of the iterator over the descriptors of all processes. The answers come through the ring
/// buffer.
#[derive(Debug)]
pub struct Iteration(File);

impl Iteration {
    /// Starts a run.
    pub(super) fn start(ebpf: &mut Ebpf, functions: &Functions) -> Result<Self, KernelError> {
        let name = ITERATOR.program;
        let refused = |error: ProgramError| refused(&format!("program {name}"), &error);
        let program = ebpf.program_mut(name).ok_or_else(|| no_program(name))?;
        ahead::load_one(program, name, ITERATOR.attachment, functions).map_err(refused)?;
        let Program::Iter(program) = program else { return Err(no_program(name)) };
        let link = program.attach().and_then(|id| program.take_link(id)).map_err(refused)?;
        let run = link.into_file().map_err(|error| KernelError::Refused {
            what: format!("reading {name}"),
            reason: error.to_string(),
            hint: "",
        })?;
        Ok(Self(run))
    }

    /// Continues until the ring buffer is half full, and must be drained, or the run is complete.
    /// Returns whether there may be more.
    ///
    /// # Errors
    /// If the kernel aborts the run.
    pub fn step(&mut self) -> Result<bool, KernelError> {
        // Reading makes it run until it outputs a byte, after each instance; none means completion.
        // Interruptions, such as after a million descriptors, are `EAGAIN`.
        loop {
            match self.0.read(&mut [0; 1]) {
                Ok(0) => return Ok(false),
                Ok(_) => {}
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock | ErrorKind::Interrupted => return Ok(true),
                    _ => return Err(KernelError::Ring(error)),
                },
            }
        }
    }
}

fn no_program(name: &str) -> KernelError {
    KernelError::Object(format!("no program {name}"))
}
