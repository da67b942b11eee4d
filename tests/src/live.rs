//! The beginning of all live tests.

use crate::system;

/// Runs a live test, or says why it cannot run here. `emulated` is why it takes too long on an
/// emulated processor, if it does.
pub fn run(emulated: Option<&str>, test: fn()) {
    let name = std::thread::current().name().unwrap_or("a test").to_owned();
    match emulated {
        _ if !system::is_root() => system::skip(&name, "needs root"),
        Some(why) if system::is_emulated() => system::skip(&name, why),
        _ => test(),
    }
}
