//! Which backends work here: each is tried.

use super::{Backend, KernelError, Settings, loader::Loader};

/// A backend, tried for real: nothing less proves that it works.
#[derive(Debug)]
pub struct Trial {
    /// The backend.
    pub backend: Backend,
    /// What it cannot see here, or why it does not work.
    pub result: Result<Vec<&'static str>, KernelError>,
}

/// Loads and attaches every backend, and detaches it again.
///
/// # Errors
/// Whatever keeps all of them from being tried.
///
/// # Panics
/// Outside a tokio runtime with I/O enabled.
pub fn try_backends() -> Result<Vec<Trial>, KernelError> {
    let mut loader = Loader::new(Settings::default())?;
    let trials = Backend::ALL.map(|backend| {
        let result = loader.install(backend).map(|()| loader.losses().to_vec());
        loader.uninstall(backend);
        Trial { backend, result }
    });
    Ok(trials.into())
}
