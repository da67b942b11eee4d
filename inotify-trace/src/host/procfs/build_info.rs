//! Reads the build information that Go's linker writes into a program (`debug/buildinfo` of Go's
//! standard library).

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
};

/// The section of the build information, and its first bytes.
const SECTION: &[u8] = b".go.buildinfo";
const MAGIC: &[u8] = b"\xff Go buildinf:";

/// The offset of Go's version and the information, since Go 1.18. Older sections have pointers to
/// them instead, and hardly any information.
const STRINGS: usize = 32;
const FLAGS: usize = 15;
const ARE_INLINE: u8 = 2;

/// The number of bytes before and after the information that are skipped.
const FRAME: usize = 16;

/// The most bytes read of a section: programs with hundreds of dependencies have a tenth of it.
const LONGEST: u64 = 1 << 20;

/// The most sections searched, against programs made to keep the agent busy.
const MOST_SECTIONS: u64 = 1 << 10;

/// The build information of the program that a process runs, one fact per line; None if it is no Go
/// program, is too old, or may not be read.
#[must_use]
pub fn go_build_info(pid: u32) -> Option<String> {
    // The kernel's link is right even if the file was replaced or is in another mount namespace.
    let mut file = File::open(format!("/proc/{pid}/exe")).ok()?;
    parse(&section(&mut file)?)
}

/// The section's bytes, from a 64-bit little-endian ELF file (elf(5)).
fn section(file: &mut File) -> Option<Vec<u8>> {
    let header = read(file, 0, 64).ok()?;
    if !header.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let (offset, size) = (number(&header, 40, 8)?, number(&header, 58, 2)?);
    let (count, names) = (number(&header, 60, 2)?, number(&header, 62, 2)?);
    if size != 64 || count > MOST_SECTIONS {
        return None;
    }
    let sections = read(file, offset, count * size).ok()?;
    let place = |index: usize| {
        let header = sections.get(index * 64..)?;
        Some((number(header, 24, 8)?, number(header, 32, 8)?))
    };
    let (start, length) = place(usize::try_from(names).ok()?)?;
    let names = read(file, start, length).ok()?;
    let is_it = |index: &usize| {
        let name = number(&sections, index * 64, 4).and_then(|at| usize::try_from(at).ok());
        let name = name.and_then(|at| names.get(at..)).and_then(|it| it.split(|&b| b == 0).next());
        name == Some(SECTION)
    };
    let (start, length) = place((0..sections.len() / 64).find(is_it)?)?;
    read(file, start, length).ok()
}

fn read(file: &mut File, offset: u64, length: u64) -> io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::new();
    file.take(length.min(LONGEST)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A little-endian number of `size` bytes.
fn number(bytes: &[u8], at: usize, size: usize) -> Option<u64> {
    let bytes = bytes.get(at..at.checked_add(size)?)?;
    Some(bytes.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte)))
}

/// The information in a section.
fn parse(section: &[u8]) -> Option<String> {
    if !section.starts_with(MAGIC) || section.get(FLAGS)? & ARE_INLINE == 0 {
        return None;
    }
    let (_go, rest) = text(section.get(STRINGS..)?)?;
    let (info, _) = text(rest)?;
    let info = info.get(FRAME..info.len().checked_sub(FRAME)?)?;
    Some(String::from_utf8_lossy(info).into_owned())
}

/// Splits off bytes that are preceded by their number (in base 128), and returns the rest, too.
fn text(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().take(4).position(|byte| byte & 0x80 == 0)?;
    let length = bytes[..=end]
        .iter()
        .rev()
        .fold(0_usize, |length, &byte| length << 7 | usize::from(byte & 0x7f));
    bytes.get(end + 1..)?.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    /// The section of Debian 12's containerd-shim-runc-v2, as Go 1.19.8 wrote it.
    fn debian() -> (Vec<u8>, &'static str) {
        let info = "path\tgithub.com/containerd/containerd/cmd/containerd-shim-runc-v2\n\
                    build\t-compiler=gc\nbuild\t-trimpath=true\nbuild\tCGO_ENABLED=1\n\
                    build\tGOARCH=amd64\nbuild\tGOOS=linux\nbuild\tGOAMD64=v1\n";
        let mut section = b"\xff Go buildinf:\x08\x02".to_vec();
        section.resize(STRINGS, 0);
        section.extend(b"\x08go1.19.8\xd3\x010w\xaf\x0c\x92t\x08\x02A\xe1\xc1\x07\xe6\xd6\x18\xe6");
        section.extend(info.as_bytes());
        section.extend(b"\xf92C1\x86\x18 r\x00\x82B\x10A\x16\xd8\xf2");
        (section, info)
    }

    #[test]
    fn the_information_is_found_in_what_go_writes() {
        let (section, info) = debian();
        assert_eq!(parse(&section).as_deref(), Some(info));
        // Debian 11's, of Go 1.15, has pointers.
        assert_eq!(
            parse(b"\xff Go buildinf:\x08\x00 \xb5\xcd\0\0\0\0\0\xd0\x90\xce\0\0\0\0\0"),
            None
        );
    }

    #[test]
    fn what_is_cut_short_or_absurd_is_nothing() {
        let (section, _) = debian();
        for length in 0..section.len() {
            assert_eq!(parse(&section[..length]), None, "{length}");
        }
        let mut absurd = section[..STRINGS].to_vec();
        absurd.extend([0xff; 64]);
        assert_eq!(parse(&absurd), None);
    }

    #[test]
    fn a_program_that_is_not_go_s_has_none() {
        assert_eq!(go_build_info(std::process::id()), None);
        assert_eq!(go_build_info(u32::MAX), None);
    }

    #[test]
    fn the_section_is_found_by_its_name() {
        let content = b"what is in it";
        let names = b"\0.text\0.go.buildinfo\0";
        let mut file = vec![0; 64];
        file[..6].copy_from_slice(b"\x7fELF\x02\x01");
        let names_at = file.len();
        file.extend(names);
        let content_at = file.len();
        file.extend(content);
        let headers_at = file.len();
        // Nothing, the code, the section, and the names.
        for (name, at, length) in
            [(0, 0, 0), (1, 0, 64), (7, content_at, content.len()), (0, names_at, names.len())]
        {
            let mut header = [0; 64];
            header[..4].copy_from_slice(&u32::to_le_bytes(name));
            header[24..32].copy_from_slice(&(at as u64).to_le_bytes());
            header[32..40].copy_from_slice(&(length as u64).to_le_bytes());
            file.extend(header);
        }
        file[40..48].copy_from_slice(&(headers_at as u64).to_le_bytes());
        file[58..64].copy_from_slice(&[64, 0, 4, 0, 3, 0]);
        let mut written = tempfile::tempfile().unwrap();
        written.write_all(&file).unwrap();
        assert_eq!(section(&mut written).as_deref(), Some(&content[..]));
    }
}
