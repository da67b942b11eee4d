//! The content of a virtual machine: busybox, the programs under test and the first process.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use super::cpio::Archive;

const INIT: &str = include_str!("init.sh");

/// Parents come first.
const DIRECTORIES: &[&str] =
    &["bin", "dev", "etc", "out", "proc", "programs", "root", "run", "sys", "tmp"];

/// A file to put among the machine's programs.
#[derive(Clone, Debug)]
pub struct Program {
    pub name: String,
    pub path: PathBuf,
}

impl Program {
    pub fn new(name: &str, path: PathBuf) -> Self {
        Self { name: name.to_owned(), path }
    }

    /// Under the name it has.
    pub fn from_path(path: &Path) -> Result<Self> {
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.with_context(|| format!("{} has no usable file name", path.display()))?;
        Ok(Self::new(name, path.to_path_buf()))
    }
}

/// The archive that the kernel unpacks: it runs `command` with `programs` at hand, and has `files`
/// under the paths that they have on this machine.
pub fn build(
    busybox: &Path,
    programs: &[Program],
    files: &[PathBuf],
    command: &str,
) -> Result<Vec<u8>> {
    let mut archive = Archive::new();
    for directory in DIRECTORIES {
        archive.directory(directory);
    }
    archive.program("bin/busybox", &read_busybox(busybox)?);
    archive.program("init", INIT.as_bytes());
    archive.program("command", command.as_bytes());
    for Program { name, path } in programs {
        let content = read(path)?;
        ensure!(
            !is_dynamic(&content),
            "{} needs shared libraries, and the virtual machine has none: link it statically \
             (RUSTFLAGS='-C target-feature=+crt-static', or -static for C)",
            path.display()
        );
        archive.program(&format!("programs/{name}"), &content);
    }
    for directory in parents(files) {
        archive.directory(&directory);
    }
    for file in files {
        let name = file.to_str().and_then(|name| name.strip_prefix('/'));
        let name = name.with_context(|| format!("{} has no usable path", file.display()))?;
        archive.program(name, &read(file)?);
    }
    Ok(archive.finish())
}

/// The directories that files are in, those above first, without those that are there anyway.
fn parents(files: &[PathBuf]) -> Vec<String> {
    // In the order of names, a directory comes before its content.
    let directories: BTreeSet<_> = files
        .iter()
        .flat_map(|file| file.ancestors().skip(1))
        .filter_map(|directory| directory.to_str()?.strip_prefix('/'))
        .filter(|directory| !directory.is_empty() && !DIRECTORIES.contains(directory))
        .map(str::to_owned)
        .collect();
    directories.into_iter().collect()
}

/// The words of a command as a script, which the shell takes as they are.
pub fn script(words: &[String]) -> String {
    let quoted: Vec<_> =
        words.iter().map(|word| format!("'{}'", word.replace('\'', r"'\''"))).collect();
    format!("exec {}\n", quoted.join(" "))
}

fn read_busybox(path: &Path) -> Result<Vec<u8>> {
    let content = read(path)?;
    if is_dynamic(&content) {
        bail!(
            "{} needs shared libraries, and the virtual machine has none: replace the package \
             busybox with busybox-static",
            path.display()
        );
    }
    Ok(content)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Whether it is a program that names an interpreter, which loads its libraries.
fn is_dynamic(content: &[u8]) -> bool {
    program_headers(content).is_some_and(|types| types.contains(&PT_INTERP))
}

const PT_INTERP: u32 = 3;

/// The types of the program headers of a little-endian ELF file, of 64 or 32 bits.
fn program_headers(content: &[u8]) -> Option<Vec<u32>> {
    let wide = match content.get(..6)? {
        [0x7f, b'E', b'L', b'F', 2, 1] => true,
        [0x7f, b'E', b'L', b'F', 1, 1] => false,
        _ => return None,
    };
    let (offset, size, count) = if wide {
        (usize::try_from(number(content, 32, 8)?).ok()?, 54, 56)
    } else {
        (usize::try_from(number(content, 28, 4)?).ok()?, 42, 44)
    };
    let size = usize::try_from(number(content, size, 2)?).ok()?;
    let count = usize::try_from(number(content, count, 2)?).ok()?;
    (0..count)
        .map(|index| {
            let start = offset.checked_add(index.checked_mul(size)?)?;
            u32::try_from(number(content, start, 4)?).ok()
        })
        .collect()
}

fn number(content: &[u8], start: usize, length: usize) -> Option<u64> {
    let bytes = content.get(start..start.checked_add(length)?)?;
    Some(bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::{is_dynamic, parents, script};

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn words_stay_what_they_are() {
        assert_eq!(script(&words(&["a", "b c", "$d"])), "exec 'a' 'b c' '$d'\n");
        assert_eq!(script(&words(&["it's"])), "exec 'it'\\''s'\n");
    }

    #[test]
    fn directories_come_before_what_is_in_them() {
        let files = ["/usr/bin/x", "/usr/lib/a/y", "/bin/z"].map(PathBuf::from);
        assert_eq!(parents(&files), ["usr", "usr/bin", "usr/lib", "usr/lib/a"]);
    }

    #[test]
    fn only_programs_with_an_interpreter_are_dynamic() {
        // Two program headers of 56 bytes behind the file's header.
        let mut elf = vec![0; 64 + 2 * 56];
        elf[..6].copy_from_slice(&[0x7f, b'E', b'L', b'F', 2, 1]);
        elf[32] = 64;
        elf[54] = 56;
        elf[56] = 2;
        elf[64] = 1;
        assert!(!is_dynamic(&elf));
        elf[64 + 56] = 3;
        assert!(is_dynamic(&elf));
        elf[57] = 0xff; // More headers than the file has room for.
        assert!(!is_dynamic(&elf));
        assert!(!is_dynamic(b"#!/bin/sh\n"));
        assert!(!is_dynamic(b""));
    }
}
