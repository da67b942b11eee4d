//! The BPF iterator that finds existing instances.

use std::{
    fs::File,
    io::{ErrorKind, Read as _},
};

use aya::{
    Ebpf,
    programs::{Program, ProgramError},
};

use super::{KernelError, error::refused, functions::Functions};

/// The function that stands for the iterator over descriptors among the kernel's types.
pub(super) const FUNCTION: &str = "bpf_iter_task_file";

/// A run of the iterator over the descriptors of all processes. The answers come through the ring
/// buffer.
#[derive(Debug)]
pub struct Iteration(File);

impl Iteration {
    /// Starts a run.
    pub(super) fn start(ebpf: &mut Ebpf, functions: &Functions) -> Result<Self, KernelError> {
        const NAME: &str = "iter_descriptors";
        let refused = |error: ProgramError| refused(&format!("program {NAME}"), &error);
        let Some(Program::Iter(program)) = ebpf.program_mut(NAME) else {
            return Err(KernelError::Object(format!("no program {NAME}")));
        };
        if program.fd().is_err() {
            program.load("task_file", functions.table()).map_err(refused)?;
        }
        let link = program.attach().and_then(|id| program.take_link(id)).map_err(refused)?;
        let run = link.into_file().map_err(|error| KernelError::Refused {
            what: format!("reading {NAME}"),
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
        // Reading makes it run. It outputs nothing, so that a read of 0 bytes means completion.
        // Interruptions, such as after a million descriptors, are `EAGAIN`.
        match self.0.read(&mut [0; 64]) {
            Ok(0) => Ok(false),
            Ok(_) => Ok(true),
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::Interrupted => Ok(true),
                _ => Err(KernelError::Ring(error)),
            },
        }
    }
}
