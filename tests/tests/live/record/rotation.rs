//! Recordings in several files, the oldest of which are deleted.

use std::{fs, path::PathBuf};

use inotify_trace_tests::{Listing, live_test, system, wait::Wait};

use super::{Witness, held, hidden, in_directory, record, replay, told_of};

const ROTATION: [&str; 8] =
    ["--rotate-size", "64K", "--keep", "3", "--max-total", "512K", "--flush", "20ms"];

/// The files in a directory, sorted by name, with the number at the end of each name.
fn files(directory: &std::path::Path) -> Vec<(PathBuf, u32)> {
    let entries = fs::read_dir(directory).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let number = |path: &PathBuf| {
        let stem = path.file_name().unwrap().to_str().unwrap().strip_suffix(".itrec").unwrap();
        stem.rsplit('-').next().unwrap().parse().unwrap()
    };
    paths.into_iter().map(|path| (path.clone(), number(&path))).collect()
}

#[live_test]
fn the_oldest_files_go_and_what_they_told_of_is_known() {
    let _machine = system::the_machine();
    let parent = system::directory();
    let directory = in_directory(&parent, "recordings");
    let mut witness = Witness::start();
    witness.hold(parent.path(), libc::IN_CREATE);
    let with_slash = in_directory(&parent, "recordings/");
    let agent = record(&with_slash, &ROTATION);
    witness.deeds.clear();
    witness.hold(parent.path(), libc::IN_DELETE);
    let wait = Wait::begin();
    while files(&directory).last().unwrap().1 < 6 {
        witness.steps(500);
        wait.look_again(|| format!("{:?}", files(&directory)));
    }
    witness.hold(parent.path(), libc::IN_MODIFY);
    witness.steps(10);
    let live = Listing::by("instance", &["--watches"]);
    let run = agent.stop();

    let kept = files(&directory);
    let numbers: Vec<_> = kept.iter().map(|(_, number)| *number).collect();
    let last = *numbers.last().unwrap();
    assert_eq!(numbers, [last - 2, last - 1, last], "the last three");
    assert!(run.errors.contains(&format!(" in {} files (", last + 1)), "{}", run.errors);
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    for (path, number) in &kept {
        let name = path.file_name().unwrap().to_str().unwrap();
        let time = name.strip_prefix(host.trim()).and_then(|rest| rest.strip_prefix('-'));
        let time = time.and_then(|rest| rest.strip_suffix(&format!("-{number:04}.itrec")));
        assert_eq!(time.map(|time| (time.len(), &time[8..9])), Some((18, "T")), "{name}");
        let size = fs::metadata(path).unwrap().len();
        let is_over = *number < last;
        assert!(!is_over || (64 << 10..256 << 10).contains(&size), "{name}: {size} bytes");
    }

    // The missing events were in the deleted files.
    let told = told_of(&witness, &directory);
    let missing = witness.missing(&told);
    let gone = missing.iter().enumerate().take_while(|(at, number)| at == *number).count();
    assert!(gone > 0, "nothing went");
    let otherwise = &missing[gone..];
    assert!(otherwise.len() <= hidden(&told), "{otherwise:?}, and {gone} that are gone");
    // Each file has a part of the events.
    let one_by_one: Vec<_> = kept.iter().map(|(path, _)| told_of(&witness, path)).collect();
    // The last file may start after the witness's last step.
    let (_, earlier) = one_by_one.split_last().unwrap();
    assert!(earlier.iter().all(|events| !events.is_empty()));
    // A file that is read alone numbers its instances from one.
    let times = |events: &[serde_json::Value]| -> Vec<_> {
        events.iter().map(|event| event["boot_ns"].as_u64().unwrap()).collect()
    };
    assert_eq!(times(&one_by_one.concat()), times(&told));

    // Instances from before the oldest file are known, from all files together and from each.
    let now = held(&witness, &live);
    assert_eq!(now.len(), 3, "{now:?}");
    let of = |path: &std::path::Path| {
        held(&witness, &Listing::recorded(path, "instance", &["--watches"]))
    };
    assert_eq!(of(&directory), now);
    for (path, number) in &kept {
        let known = of(path);
        assert!(known.iter().all(|row| now.contains(row)), "{known:?}, not {now:?}");
        assert!(known.len() >= if *number == last { 3 } else { 2 }, "file {number}: {known:?}");
    }
    // Existing files do not prevent another run.
    let again = record(&with_slash, &ROTATION).stop();
    assert!(again.errors.contains("in 1 file"), "{}", again.errors);
    assert_eq!(files(&directory).len(), 3);
    let both = replay(&directory, &["-e", "create", "-p", &witness.pid()]);
    assert_eq!((both.code, both.errors.lines().count()), (Some(0), 3), "{}", both.errors);
    // Of the first run the oldest files are gone, which is no loss, and is said.
    assert_eq!(both.errors.matches("What came before is not here").count(), 1, "{}", both.errors);
}
