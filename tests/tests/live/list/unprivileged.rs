//! `list` without privileges: less output, but no wrong output.

use std::{fs, io, path::PathBuf};

use inotify_trace_tests::{Listing, World, agent, listing::ROADS, live_test, system};
use serde_json::{Value, json};

/// A copy of the agent that every user can execute.
fn reachable(directory: &tempfile::TempDir) -> PathBuf {
    let copy = directory.path().join("inotify-trace");
    fs::copy(agent::binary(), &copy).unwrap();
    copy
}

/// Whether this kernel has kcmp(2).
fn compares_files() -> bool {
    let pid = std::process::id();
    // SAFETY: all arguments are numbers: two process ids and two descriptors.
    let result = unsafe { libc::syscall(libc::SYS_kcmp, pid, pid, 0, 0, 0) };
    result == 0 || io::Error::last_os_error().raw_os_error() != Some(libc::ENOSYS)
}

#[live_test]
fn a_user_sees_its_own_and_is_told_what_it_cannot_know() {
    if !compares_files() {
        return system::skip(
            "list::unprivileged::a_user_sees_its_own_and_is_told_what_it_cannot_know",
            "this kernel has no kcmp",
        );
    }
    let _machine = system::the_machine();
    let (world, directory) = (World::new(), system::directory());
    let program = reachable(&directory);
    let (mut subject, mut stranger) = (world.subject(), world.subject());
    stranger.create(0).unwrap();
    // After a change of user, only root may inspect a process unless it is dumpable.
    subject.process.call("dumpable").unwrap();
    let first = subject.create(0).unwrap();
    subject.create(0).unwrap();
    for name in ["one", "two"] {
        let path = directory.path().join(name);
        fs::write(&path, "").unwrap();
        subject.watch(first, &path, libc::IN_MODIFY).unwrap();
    }
    let mut child = subject.fork();
    child.dup(first);
    let own = child.create(0).unwrap();
    child.dup_over(own, 50, None);
    world.check_listings();
    for road in ROADS {
        let list = |by| Listing::as_user(subject.actor.uid, &program, by, road);
        let by_process = list("process");
        let counts = |pid| {
            let row = by_process.process(pid).unwrap();
            ["instances", "watches", "fds", "shared"].map(|field| row[field].as_u64().unwrap())
        };
        assert_eq!(counts(subject.pid()), [2, 2, 2, 2], "{}", by_process.json);
        assert_eq!(counts(child.pid()), [3, 2, 5, 2], "{}", by_process.json);
        assert_eq!(by_process.process(stranger.pid()), None, "of another user");
        let total = json!({ "instances": 3, "watches": 2, "fds": 7, "processes": 2 });
        for by in ["process", "instance", "container", "user"] {
            let listing = list(by);
            assert_eq!(listing.json["total"], total, "by {by}");
            // The agent does not guess.
            assert_eq!(listing.json["users"], Value::Null, "by {by}");
            assert!(listing.rows().iter().all(|row| row["used"] == Value::Null), "by {by}");
            for said in ["cannot ask the kernel", "no users' charges", "are left out"] {
                assert!(listing.errors.contains(said), "{said}: {}", listing.errors);
            }
        }
        assert_eq!(list("instance").rows().len(), 3);
    }
}

#[live_test]
fn a_user_with_nothing_is_told_of_nothing() {
    let _machine = system::the_machine();
    let (world, directory) = (World::new(), system::directory());
    let program = reachable(&directory);
    let mut stranger = world.subject();
    stranger.create(0).unwrap();
    let listing = Listing::as_user(system::fresh_uid(), &program, "process", &[]);
    assert_eq!(listing.rows().len(), 0, "{}", listing.json);
    assert_eq!(listing.json["total"]["instances"], 0);
    assert!(listing.errors.contains("are left out"), "{}", listing.errors);
}
