//! The entry point of all live tests.

use crate::system;

/// Runs a live test, or skips it with a reason. `emulated` is the reason why the test is too slow
/// on an emulated processor, if it is.
pub fn run(emulated: Option<&str>, test: fn()) {
    let name = std::thread::current().name().unwrap_or("a test").to_owned();
    match emulated {
        _ if !system::is_root() => system::skip(&name, "needs root"),
        Some(why) if system::is_emulated() => system::skip(&name, why),
        _ => test(),
    }
}
