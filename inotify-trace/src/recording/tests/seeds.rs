//! What fuzzing begins with: small recordings of every kind of event and state, in `fuzz/corpus`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use inotify_trace_model::feed::{Batch, Item};
use proptest::{
    collection::vec,
    strategy::{Strategy, ValueTree as _},
    test_runner::TestRunner,
};

use super::{
    boundaries, file, read,
    samples::{self, KINDS, which},
};
use crate::recording::frame::Unpacker;

/// Larger ones only slow fuzzing down.
const LARGEST: usize = 4 << 10;
const SEEDS: usize = 24;

fn corpus(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target)
}

fn made<S: Strategy>(runner: &mut TestRunner, strategy: &S) -> S::Value {
    strategy.new_tree(runner).unwrap().current()
}

/// What a file has in it, as the target `frames` wants it: of each frame its kind, its length in
/// two bytes, and what is in it, unpacked.
fn frames(bytes: &[u8]) -> Vec<u8> {
    let mut frames = Unpacker::new(bytes).unwrap();
    let kinds = boundaries(bytes);
    let mut all = Vec::new();
    for at in kinds {
        let Some((_, plain)) = frames.next().unwrap() else { break };
        all.push(bytes[at]);
        all.extend(u16::try_from(plain.len()).unwrap().to_le_bytes());
        all.extend(plain);
    }
    all
}

#[test]
#[ignore = "rewrites fuzz/corpus"]
fn remake_seeds() {
    let mut runner = TestRunner::deterministic();
    let small = |bytes: &Vec<u8>| frames(bytes).len() <= LARGEST;
    let parts = vec(samples::part(), 0..4);
    let batches = vec(samples::batch(), 0..4);
    let seeds = (parts, batches).prop_map(|(parts, batches)| file(&parts, &batches));
    let mut seeds: Vec<_> =
        std::iter::repeat_with(|| made(&mut runner, &seeds)).filter(small).take(SEEDS).collect();
    // Each kind by itself, so that none is there by luck only.
    for kind in 0..KINDS {
        let alone = std::iter::repeat_with(|| made(&mut runner, &samples::event()))
            .filter(|event| which(&event.kind) == kind)
            .map(|event| file(&[], &[Batch { events: vec![event], ..Batch::default() }]))
            .find(small);
        seeds.extend(alone);
    }
    for target in ["file", "frames"] {
        let _ = fs::remove_dir_all(corpus(target));
        fs::create_dir_all(corpus(target)).unwrap();
    }
    for (number, seed) in seeds.iter().enumerate() {
        let name = format!("{number:02}");
        fs::write(corpus("file").join(&name), seed).unwrap();
        fs::write(corpus("frames").join(&name), frames(seed)).unwrap();
    }
}

#[test]
fn seeds_are_recordings_of_every_kind() {
    let mut seen = [false; KINDS];
    let entries = fs::read_dir(corpus("file")).expect("fuzz/corpus is a part of the source");
    for entry in entries {
        let path = entry.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        let (items, result) = read(&bytes);
        assert!(result.is_ok(), "{}: {result:?}", path.display());
        let same = fs::read(corpus("frames").join(path.file_name().unwrap())).unwrap();
        assert!(same == frames(&bytes), "{}", path.display());
        for item in items {
            if let Item::Batch(batch) = item {
                batch.events.iter().for_each(|event| seen[which(&event.kind)] = true);
            }
        }
    }
    assert_eq!(seen, [true; KINDS], "see `cargo test -p inotify-trace remake_seeds`");
}
