//! The program to compare with: a look through `/proc` as compiled inotify scanners do it. It reads
//! the link of every descriptor, and the fdinfo of inotify's; it has one thread and does nothing
//! else.

use std::ffi::CStr;
use std::io::{self, BufWriter, Write};

use anyhow::{Context, Result};

use crate::sys::{Directory, read_at, read_link_at};

/// Larger than the fdinfo of most instances, so that one read is enough.
const BUFFER: usize = 64 * 1024;

/// The counts of one process, or of all.
#[derive(Default)]
struct Found {
    descriptors: u64,
    instances: u64,
    watches: u64,
}

/// Prints a line for each process with inotify instances, and one for all with
/// all descriptors as well.
pub fn scan() -> Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    let mut buffer = vec![0; BUFFER];
    let mut proc = Directory::open(None, c"/proc").context("cannot read /proc")?;
    let mut total = Found::default();
    // Real scanners know neither names nor numbers beforehand.
    let mut path = Vec::new();
    while let Some(pid) = proc.next_number() {
        named(&mut path, &[&pid, b"/fd"]);
        // The process may have ended, or belong to another user.
        let Ok(mut descriptors) = Directory::open(Some(&proc), terminated(&path)?) else {
            continue;
        };
        let mut found = Found::default();
        while let Some(fd) = descriptors.next_number() {
            named(&mut path, &[&fd]);
            found.descriptors += 1;
            let link = read_link_at(&descriptors, terminated(&path)?, &mut buffer);
            if link.is_ok_and(|link| link == b"anon_inode:inotify") {
                found.instances += 1;
                named(&mut path, &[b"../fdinfo/", &fd]);
                // Relative to a directory of `/proc/PID/fd`, where dots work as everywhere.
                let info = read_at(&descriptors, terminated(&path)?, &mut buffer);
                found.watches += info.map_or(0, watches);
            }
        }
        total.descriptors += found.descriptors;
        total.instances += found.instances;
        total.watches += found.watches;
        if found.instances > 0 {
            named(&mut path, &[&pid, b"/comm"]);
            let comm = read_at(&proc, terminated(&path)?, &mut buffer).unwrap_or_default();
            out.write_all(&pid)?;
            write!(out, " {} {} ", found.instances, found.watches)?;
            out.write_all(comm.trim_ascii_end())?;
            writeln!(out)?;
        }
    }
    writeln!(out, "total {} {} {}", total.instances, total.watches, total.descriptors)?;
    out.flush()?;
    Ok(())
}

fn named(path: &mut Vec<u8>, parts: &[&[u8]]) {
    path.clear();
    for part in parts {
        path.extend_from_slice(part);
    }
    path.push(0);
}

fn terminated(path: &[u8]) -> Result<&CStr> {
    CStr::from_bytes_with_nul(path).context("a name in /proc contains a zero")
}

/// The number of watches in fdinfo.
fn watches(info: &[u8]) -> u64 {
    info.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"inotify wd:")).count() as u64
}

#[cfg(test)]
mod tests {
    use super::watches;

    #[test]
    fn watches_are_lines_of_their_own() {
        let info = b"pos:\t0\nflags:\t00\ninotify wd:2 ino:5\ninotify wd:1 ino:4\n";
        assert_eq!(watches(info), 2);
        assert_eq!(watches(b"pos:\t0\n"), 0);
    }
}
