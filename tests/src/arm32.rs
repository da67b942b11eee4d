//! A program for 32-bit ARM, which 64-bit ARM machines may run too. It is made here, so that the tests
//! need no second toolchain.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// Where the program is in memory: a page that any kernel lets programs use.
const BASE: u32 = 0x1_0000;

/// The headers of the file: ELF's own, and that of the one segment, which is the whole file.
const HEADERS: u32 = 52 + 32;

/// `mov` of a constant of eight bits to a register.
const fn set(register: u32, value: u32) -> u32 {
    0xe3a0_0000 | register << 12 | value
}

/// `mov` of a register.
const fn copy(to: u32, from: u32) -> u32 {
    0xe1a0_0000 | to << 12 | from
}

/// `movw` of a system call's number to r7, where the kernel looks for it, and `svc`.
const fn call(number: u32) -> [u32; 2] {
    [0xe300_7000 | (number & 0xf000) << 4 | (number & 0xfff), 0xef00_0000]
}

/// Creates an instance, watches /tmp for changes, unwatches it, and closes the instance.
fn instructions() -> Vec<u32> {
    // Numbers of arch/arm/tools/syscall.tbl.
    let [create, watch, unwatch, close, exit] = [360, 317, 318, 6, 1].map(call);
    // r4 is kept over system calls. The path follows the last instruction.
    let mut code = vec![set(0, 0)];
    code.extend(create);
    code.push(copy(4, 0));
    let address = code.len();
    code.extend([0, set(2, libc::IN_MODIFY)]);
    code.extend(watch);
    code.extend([copy(1, 0), copy(0, 4)]);
    code.extend(unwatch);
    code.push(copy(0, 4));
    code.extend(close);
    code.push(set(0, 0));
    code.extend(exit);
    // `add r1, pc`: the counter is two instructions ahead.
    let distance = (code.len() - address - 2) * 4;
    code[address] = 0xe28f_1000 | distance as u32;
    code
}

/// Writes the program to a file.
///
/// # Errors
/// If the file cannot be written.
pub fn write(path: &Path) -> io::Result<()> {
    let mut body: Vec<u8> = instructions().into_iter().flat_map(u32::to_le_bytes).collect();
    body.extend(b"/tmp\0");
    let size = HEADERS + body.len() as u32;
    let mut file = b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    // An executable for ARM, of version 1.
    file.extend([2u16, 40].into_iter().flat_map(u16::to_le_bytes));
    // Its entry, where the segment's header is, no sections, and the version of ARM's conventions.
    let words = [1, BASE + HEADERS, 52, 0, 0x0500_0000];
    file.extend(words.into_iter().flat_map(u32::to_le_bytes));
    file.extend([52u16, 32, 1, 40, 0, 0].into_iter().flat_map(u16::to_le_bytes));
    // To be loaded, from the file's start, to be read and executed, in pages of up to 64 KB.
    let segment = [1, 0, BASE, BASE, size, size, 5, 0x1_0000];
    file.extend(segment.into_iter().flat_map(u32::to_le_bytes));
    file.extend(body);
    fs::write(path, file)?;
    fs::set_permissions(path, Permissions::from_mode(0o755))
}
