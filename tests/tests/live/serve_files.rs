//! What `inotify-trace serve` writes to disk: also if it is killed.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Instant, SystemTime},
};

use inotify_trace_tests::{Process, agent::binary, live_test, require_program, system, wait};

use crate::serve::Served;

/// How often it is killed, and how often in the full tier.
const KILLS: u64 = 5;
const KILLS_IN_FULL: u64 = 50;

const SYNCED: &str = "inotify_trace_recording_last_sync_timestamp_seconds";

/// The identities of the kernel's BPF programs or links, by the command that lists them.
fn ids(command: u32) -> BTreeSet<u32> {
    let mut found = BTreeSet::new();
    // start_id, next_id and open_flags of `union bpf_attr`.
    let mut attributes = [0_u32; 3];
    loop {
        // SAFETY: the pointer and the size are those of the attributes, which live on.
        let result = unsafe {
            libc::syscall(libc::SYS_bpf, command, attributes.as_mut_ptr(), size_of_val(&attributes))
        };
        if result != 0 {
            return found;
        }
        found.insert(attributes[1]);
        attributes[0] = attributes[1];
    }
}

/// Programs and links: BPF_PROG_GET_NEXT_ID, BPF_LINK_GET_NEXT_ID.
fn loaded() -> [BTreeSet<u32>; 2] {
    [ids(11), ids(31)]
}

fn now() -> f64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64()
}

/// All files below a directory.
fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap().flatten() {
        match entry.file_type().unwrap().is_dir() {
            true => found.extend(files(&entry.path())),
            false => found.push(entry.path()),
        }
    }
    found.sort();
    found
}

/// How many instances a process has created, as a recording says.
fn created(recording: &Path, pid: u32) -> usize {
    let mut command = Command::new(binary());
    command.arg("replay").arg(recording).args(["-o", "json", "-e", "create", "-p"]);
    let output = command.arg(pid.to_string()).output().unwrap();
    let lines = String::from_utf8(output.stdout).unwrap();
    lines.lines().filter(|line| line.contains("\"event\":\"create\"")).count()
}

#[live_test]
fn whenever_it_is_killed_what_was_synced_is_there_and_no_program_is_left() {
    let _machine = system::the_machine();
    let kills = if system::soak().is_some() { KILLS_IN_FULL } else { KILLS };
    let recorded = system::directory();
    let record = recorded.path().to_str().unwrap();
    let before = loaded();
    let mut starts = Vec::new();
    let mut random = 0x1234_5678_9abc_def1_u64;
    for round in 0..kills {
        let begun = Instant::now();
        let served = Served::start(&["--record", record]);
        starts.push(begun.elapsed());
        let with = loaded();
        // Other agents' programs may go meanwhile.
        assert!(!with[0].is_subset(&before[0]), "programs are seen by this test");
        let mut process = Process::start();
        let mut create = || {
            let fd = process.call("init1 0").unwrap();
            process.call(&format!("close {fd}")).unwrap();
        };
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let synced = usize::try_from((random >> 33) % 300).unwrap() + 1;
        (0..synced).for_each(|_| create());
        let made = now();
        wait::until("it is on disk", || served.scrape()[SYNCED] > made);
        // These may be there or not.
        let more = usize::try_from((random >> 43) % 300).unwrap();
        (0..more).for_each(|_| create());
        let pid = process.pid;
        served.kill();
        let recordings = files(recorded.path());
        assert_eq!(recordings.len() as u64, round + 1, "each run has a file: {recordings:?}");
        let there = created(recordings.last().unwrap(), pid);
        assert!((synced..=synced + more).contains(&there), "{synced} to {more} more: {there}");
        wait::until("programs and links are gone", || {
            loaded().iter().zip(&before).all(|(now, before)| now.is_subset(before))
        });
    }
    starts.sort();
    let middle = starts[starts.len() / 2];
    eprintln!("{kills} kills; ready after {middle:?}, {:?} at most", starts.last().unwrap());
}

#[live_test]
fn parquet_files_have_their_names_when_they_are_complete() {
    let _machine = system::the_machine();
    let directory = system::directory();
    let served = Served::start(&["--export", directory.path().to_str().unwrap()]);
    let mut process = Process::start();
    process.call("init1 0").unwrap();
    wait::until("a file is begun", || !files(directory.path()).is_empty());
    let is_partial = |path: &PathBuf| path.to_string_lossy().ends_with(".partial");
    assert!(files(directory.path()).iter().all(is_partial));
    let left = files(directory.path());
    let now = served.scrape();
    assert_eq!(now["inotify_trace_export_errors_total"], 0.0);
    assert_eq!(now["inotify_trace_export_missed_events_total"], 0.0);
    assert!(!now.contains_key(SYNCED), "it does not record");
    // What a killed one leaves is removed by the next.
    served.kill();
    assert!(files(directory.path()).iter().all(is_partial));
    let served = Served::start(&["--export", directory.path().to_str().unwrap()]);
    process.call("init1 0").unwrap();
    wait::until("only the new file is there", || {
        let now = files(directory.path());
        now.iter().all(is_partial) && now.iter().all(|path| !left.contains(path)) && !now.is_empty()
    });
    served.stop();
    let complete = files(directory.path());
    assert!(!complete.is_empty() && !complete.iter().any(is_partial), "{complete:?}");
    for path in complete {
        let below = path.strip_prefix(directory.path()).unwrap().to_string_lossy().into_owned();
        assert!(below.starts_with("node=") && below.contains("/date=2"), "{below}");
        let bytes = fs::read(&path).unwrap();
        assert!(bytes.starts_with(b"PAR1") && bytes.ends_with(b"PAR1"), "{below}");
    }
}

#[live_test]
fn a_recording_that_cannot_be_written_is_a_metric() {
    let _machine = system::the_machine();
    // A file system without room for anything.
    let directory = system::directory();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=64k", "nodev"])
        .arg(directory.path())
        .status();
    if !mounted.is_ok_and(|it| it.success()) {
        system::skip("a recording that cannot be written", "no tmpfs can be mounted");
        return;
    }
    let unmounted = Unmounted(directory.path().to_owned());
    let served = Served::start(&["--record", directory.path().to_str().unwrap()]);
    let filler = directory.path().join("filler");
    // Whatever is left is taken.
    let _ = fs::write(&filler, vec![1; 1 << 20]);
    let errors = "inotify_trace_recording_errors_total";
    let mut process = Process::start();
    wait::until("errors are counted", || {
        let fd = process.call("init1 0").unwrap();
        process.call(&format!("close {fd}")).unwrap();
        let now = served.scrape();
        now[errors] >= 2.0 && now["inotify_trace_recording_missed_events_total"] > 0.0
    });
    fs::remove_file(&filler).unwrap();
    let freed = now();
    wait::until("it goes on", || {
        let fd = process.call("init1 0").unwrap();
        process.call(&format!("close {fd}")).unwrap();
        served.scrape()[SYNCED] > freed
    });
    served.stop();
    drop(unmounted);
}

/// A mount that ends with this.
struct Unmounted(PathBuf);

impl Drop for Unmounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[live_test]
fn systemd_can_listen_for_it() {
    let activate = require_program!("systemd-socket-activate");
    let _machine = system::the_machine();
    let directory = system::directory();
    let socket = directory.path().join("http.sock");
    let mut child = Command::new(activate)
        .arg(format!("--listen={}", socket.display()))
        .arg(binary())
        .args(["serve", "--no-socket"])
        .spawn()
        .unwrap();
    wait::until("systemd listens", || socket.exists());
    // The first connection starts the agent, which answers it.
    let get = || -> Option<String> {
        use std::io::{Read as _, Write as _};
        let mut stream = std::os::unix::net::UnixStream::connect(&socket).ok()?;
        write!(stream, "GET /readyz HTTP/1.1\r\nhost: x\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    };
    wait::until("it is ready", || get().is_some_and(|it| it.starts_with("HTTP/1.1 200")));
    // SAFETY: the child has not been waited for, so its process id is valid.
    unsafe { libc::kill(child.id().cast_signed(), libc::SIGTERM) };
    assert!(child.wait().unwrap().success());
}
