//! What `cargo` and `rustup` left in our environment and a child must not inherit.

use std::env;
use std::ffi::OsString;
use std::process::Command;

/// Set by `cargo run` for us alone.
const OURS: &[&str] =
    &["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_", "CARGO_PRIMARY_", "OUT_DIR"];

/// Choices about how to reach registries: they hold for every compiler.
const NETWORK: &[&str] =
    &["CARGO_HOME", "CARGO_HTTP_", "CARGO_NET_", "CARGO_REGISTR", "CARGO_SOURCE_", "CARGO_TERM_"];

/// The cargo that started us, with its toolchain and the user's own settings.
pub fn cargo() -> Command {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(cargo);
    // Cargo put its own directories in front; they matter to this program only.
    command.env_remove("LD_LIBRARY_PATH");
    remove(&mut command, |name| starts_with_any(name, OURS));
    command
}

/// Like [`cargo`], for something that is no part of the workspace: the user's flags and target
/// directory are not meant for it.
pub fn cargo_elsewhere() -> Command {
    let mut command = cargo();
    remove(&mut command, |name| {
        (name.starts_with("CARGO_") && !starts_with_any(name, NETWORK))
            || matches!(name, "RUSTFLAGS" | "RUSTDOCFLAGS")
    });
    command
}

/// A command that another toolchain than ours is to serve.
pub fn without_toolchain(mut command: Command) -> Command {
    remove(&mut command, chooses_toolchain);
    command
}

fn chooses_toolchain(name: &str) -> bool {
    (name.starts_with("CARGO") && !starts_with_any(name, NETWORK))
        || name.starts_with("RUSTC")
        || name.starts_with("RUSTDOC")
        || matches!(name, "RUSTFLAGS" | "RUSTUP_TOOLCHAIN" | "LD_LIBRARY_PATH" | "OUT_DIR")
}

fn remove(command: &mut Command, unwanted: impl Fn(&str) -> bool) {
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(&unwanted) {
            command.env_remove(name);
        }
    }
}

fn starts_with_any(name: &str, prefixes: &[&str]) -> bool {
    prefixes.iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::chooses_toolchain;

    #[test]
    fn another_toolchain_inherits_the_way_to_the_network_only() {
        for name in ["CARGO", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_TARGET", "RUSTC_WRAPPER"] {
            assert!(chooses_toolchain(name), "{name}");
        }
        for name in ["CARGO_HOME", "CARGO_HTTP_PROXY", "CARGO_REGISTRIES_X_INDEX", "RUSTUP_HOME"] {
            assert!(!chooses_toolchain(name), "{name}");
        }
    }
}
