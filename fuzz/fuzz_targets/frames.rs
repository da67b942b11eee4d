//! Any bytes as what is in frames, whose heads and checksums are right: one frame after the other,
//! each with its kind in one byte and its length in two before it.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut file = b"\x89inotrc\n\x01\x00".to_vec();
    // The first has to be a header, and an empty one is.
    frame(&mut file, 1, 0, &[]);
    let mut rest = bytes;
    let mut number = 0_u16;
    while let Some(([kind, low, high], more)) = rest.split_first_chunk() {
        let length = usize::from(u16::from_le_bytes([*low, *high])).min(more.len());
        let (body, more) = more.split_at(length);
        // Mostly frames of events and state.
        number = number.wrapping_add(1);
        frame(&mut file, if *kind < 16 { *kind } else { 2 }, number, body);
        rest = more;
    }
    inotify_trace_fuzz::replay(&file);
});

fn frame(file: &mut Vec<u8>, kind: u8, number: u16, body: &[u8]) {
    let length = (body.len() as u32).to_le_bytes();
    let head = [&[kind, 0], &number.to_le_bytes()[..], &length, &length].concat();
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(&head);
    checksum.update(body);
    file.extend(head);
    file.extend(checksum.finalize().to_le_bytes());
    file.extend(body);
}
