//! The BPF iterator that finds what exists already.

use aya::{
    Btf, Ebpf,
    programs::{Program, ProgramError},
};

use super::{KernelError, error::refused, loader::running_kernel};

/// Runs the iterator over the descriptors of all processes.
pub(super) fn iterate(ebpf: &mut Ebpf, btf: &mut Option<Btf>) -> Result<(), KernelError> {
    const NAME: &str = "iter_descriptors";
    let refused = |error: ProgramError| refused(&format!("program {NAME}"), &error);
    let Some(Program::Iter(program)) = ebpf.program_mut(NAME) else {
        return Err(KernelError::Object(format!("no program {NAME}")));
    };
    if program.fd().is_err() {
        let btf = running_kernel(btf).map_err(refused)?;
        program.load("task_file", btf).map_err(refused)?;
    }
    let link = program.attach().and_then(|id| program.take_link(id)).map_err(refused)?;
    let mut run = link.into_file().map_err(|error| KernelError::Refused {
        what: format!("reading {NAME}"),
        reason: error.to_string(),
        hint: "",
    })?;
    // Reading is what makes it run; it writes nothing itself.
    std::io::copy(&mut run, &mut std::io::sink()).map(drop).map_err(KernelError::Ring)
}
