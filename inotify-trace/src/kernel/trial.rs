//! Tries each backend on this machine.

use super::{Backend, KernelError, Settings, loader::Loader};

/// The result of loading and attaching a backend: only that proves that it works.
#[derive(Debug)]
pub struct Trial {
    /// The backend.
    pub backend: Backend,
    /// The features it lacks here, or the reason why it does not work.
    pub result: Result<Vec<&'static str>, KernelError>,
}

/// Loads and attaches every backend, and detaches it again.
///
/// # Errors
/// If no backend can be tried at all.
///
/// # Panics
/// Outside a tokio runtime with I/O enabled.
pub fn try_backends() -> Result<Vec<Trial>, KernelError> {
    let mut loader = Loader::new(Settings::default(), &Backend::ALL)?;
    let trials = Backend::ALL.map(|backend| {
        let result = loader.install(backend).map(|()| loader.losses().to_vec());
        loader.uninstall(backend);
        Trial { backend, result }
    });
    Ok(trials.into())
}
