//! Recordings that lead to more state than their authors had to write.

#![expect(clippy::unwrap_used, reason = "a test that fails may panic; helpers are tests too")]

use std::{path::Path, process::Stdio};

use inotify_trace_tests::peak::peak_kib;

use crate::{agent, run, text};

/// A frame by hand (docs/recording-format.md).
fn frame(kind: u8, number: usize, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap().to_le_bytes();
    let number = u16::try_from(number).unwrap().to_le_bytes();
    let head = [&[kind, 0][..], &number, &length, &length].concat();
    let checksum = crc32(head.iter().chain(body));
    [&head[..], &checksum.to_le_bytes(), body].concat()
}

/// CRC-32 of IEEE 802.3.
fn crc32<'a>(bytes: impl Iterator<Item = &'a u8>) -> u32 {
    !bytes.fold(u32::MAX, |sum, &byte| {
        (0..8).fold(sum ^ u32::from(byte), |sum, _| (sum >> 1) ^ (0xedb8_8320 * (sum & 1)))
    })
}

fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number > 0x7f {
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

/// A field that is a message.
fn message(field: u64, body: &[u8]) -> Vec<u8> {
    [&varint(field << 3 | 2), &varint(body.len() as u64), body].concat()
}

/// A recording of this many instances, of eight bytes each, and of one more frame.
fn of_instances(path: &Path, count: u64, more: Vec<u8>) {
    let mut file = b"\x89inotrc\n\x01\x00".to_vec();
    file.extend(frame(1, 0, &message(1, b"0.1")));
    let instances: Vec<_> = (1..=count).collect();
    let part = |&id: &u64| message(4, &message(5, &[&varint(1 << 3)[..], &varint(id)].concat()));
    let frames = instances.chunks(50_000).map(|some| some.iter().flat_map(part).collect());
    let frames: Vec<Vec<u8>> = frames.chain([more]).collect();
    for (body, number) in frames.iter().zip(1..) {
        file.extend(frame(2, number, body));
    }
    file.extend(frame(3, 1 + frames.len(), &[]));
    std::fs::write(path, file).unwrap();
}

#[test]
fn a_small_recording_of_much_takes_no_more_than_it_may() {
    let directory = tempfile::tempdir().unwrap();
    let (file, out) = (directory.path().join("a.itrec"), directory.path().join("out"));
    // 1.9 MB, which would take 350.
    of_instances(&file, 240_000, Vec::new());
    let (file, out) = (file.to_str().unwrap(), out.to_str().unwrap());
    for arguments in [
        &["replay", file][..],
        &["report", file, "--format", "text", "-o", out],
        &["list", "--recording", file, "--top", "1"],
    ] {
        let mut command = agent(arguments);
        let (peak, status) = peak_kib(command.stdout(Stdio::null()).stderr(Stdio::null()));
        assert!(status.success(), "{arguments:?}: {status}");
        println!("{arguments:?}: {peak} KiB");
        assert!(peak < 256 << 10, "{arguments:?}: {peak} KiB");
    }
    let errors = |arguments: &[&str]| text(&run(arguments).stderr).to_owned();
    let said = errors(&["replay", file, "--memory", "16M"]);
    assert!(said.contains("LOST") && said.contains("instances"), "{said}");
    let said = errors(&["list", "--recording", file, "--top", "1"]);
    assert!(said.contains("instances and 0 cgroups of the recording were forgotten"), "{said}");
    assert!(!errors(&["replay", file, "--memory", "0"]).contains("LOST"));
    // Whatever reads a recording takes it.
    for command in [&["list", "--top", "1"][..], &["limits"], &["leaks"], &["why"]] {
        let said = |memory| errors(&[command, &["--recording", file, "--memory", memory]].concat());
        assert!(said("16M").contains("were forgotten"), "{command:?}: {}", said("16M"));
        assert!(!said("0").contains("were forgotten"), "{command:?}: {}", said("0"));
    }
}

#[test]
fn a_frame_of_too_much_is_refused_with_the_reason() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.itrec");
    of_instances(&path, 1, message(3, &[]).repeat(200_000));
    for command in ["replay", "report"] {
        let output = run(&[command, path.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(2));
        let said = text(&output.stderr);
        assert!(said.contains("more messages than this tool writes at once"), "{said}");
    }
}
