//! Each filter, on two workloads, of which it selects one.

use std::collections::BTreeSet;

use inotify_trace_tests::{
    Agent, Backend, Cgroup, Run, Subject, World, agent::binary, live_test, system,
};
use serde_json::Value;

/// Runs the same steps in both workloads, with one failure each.
fn act(subjects: [&mut Subject; 2]) {
    for subject in subjects {
        let fd = subject.create(0).unwrap();
        let copy = subject.dup(fd);
        let wd = subject.watch(fd, "/", libc::IN_CREATE).unwrap();
        subject.watch(fd, "/does/not/exist", libc::IN_CREATE).unwrap_err();
        subject.unwatch(fd, wd);
        subject.close(copy);
        subject.close(fd);
        let left = subject.create(0).unwrap();
        subject.close_range(left, u32::MAX);
        subject.create(libc::IN_CLOEXEC).unwrap();
        subject.exit();
    }
}

/// The events of the workload that are shown by default. Not every agent reports closes.
const SHOWN: [&str; 6] = ["create", "watch", "watch-failed", "unwatch", "release", "close"];

/// Runs both workloads under an agent with this filter. Returns the names of the events about each,
/// and the agent's backend.
fn told_of(
    filter: impl FnOnce(&Subject) -> Vec<String>,
    prepare: impl FnOnce(&mut Subject, &mut Subject),
) -> ([Vec<String>; 2], Backend) {
    let world = World::new();
    let (mut one, mut two) = (world.subject(), world.subject());
    prepare(&mut one, &mut two);
    let filter = filter(&one);
    let filter: Vec<_> = filter.iter().map(String::as_str).collect();
    let agent = Agent::with(&filter);
    let backend = agent.backend();
    // An unfiltered agent shows when all events must have been reported.
    let everything = Agent::start();
    act([&mut one, &mut two]);
    everything.expect(&world);
    // Stopping takes a while, so both agents stop at once.
    everything.signal(libc::SIGINT);
    let run = agent.stop();
    let _ = everything.join();
    let others = run.events.iter().filter(|it| it["pid"] != one.pid() && it["pid"] != two.pid());
    assert!(others.count() == 0 || filter[0] == "-e" || filter[0] == "-x", "{:?}", run.events);
    ([names(&run, &one), names(&run, &two)], backend)
}

fn names(run: &Run, subject: &Subject) -> Vec<String> {
    let ours = run.events.iter().filter(|event| event["pid"] == subject.pid());
    ours.flat_map(|event| event["event"].as_str()).map(str::to_owned).collect()
}

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// Checks that all default events about the first workload are reported, and no other.
fn picks_the_first(filter: impl FnOnce(&Subject) -> Vec<String>) {
    let ([first, second], backend) = told_of(filter, |_, _| ());
    assert_eq!(second, Vec::<String>::new());
    is_complete(&first, backend);
}

fn is_complete(told: &[String], backend: Backend) {
    let kinds: BTreeSet<_> = told.iter().map(String::as_str).collect();
    let closes = usize::from(backend == Backend::Tracepoints);
    let shown = &SHOWN[..SHOWN.len() - 1 + closes];
    assert_eq!(kinds, shown.iter().copied().collect(), "{told:?}");
    let count = |name: &str| told.iter().filter(|it| *it == name).count();
    let counts = (told.len(), count("create"), count("release"));
    assert_eq!(counts, (9 + closes, 3, 3), "{told:?}");
}

#[live_test]
fn by_process() {
    let _machine = system::the_machine();
    picks_the_first(|one| strings(&["-p", &one.pid().to_string()]));
}

#[live_test]
fn by_user() {
    let _machine = system::the_machine();
    picks_the_first(|one| strings(&["-u", &one.actor.uid.to_string()]));
}

#[live_test]
fn by_command() {
    let _machine = system::the_machine();
    // Exec renames the second workload to `exe`.
    let filter = |_: &Subject| strings(&["-c", "workload"]);
    let ([first, second], backend) = told_of(filter, |_, two| two.exec());
    assert_eq!(second, Vec::<String>::new());
    is_complete(&first, backend);
}

#[live_test]
fn by_cgroup_and_below() {
    let _machine = system::the_machine();
    let (Some(one), Some(two)) = (Cgroup::of_containerd(), Cgroup::new()) else {
        system::skip("filters::by_cgroup_and_below", "no cgroup v2 hierarchy is mounted");
        return;
    };
    let parent = one.path.rsplit_once('/').unwrap().0.to_owned();
    let mounted = one.directory().to_str().unwrap().to_owned();
    for path in [&one.path, &parent, &mounted] {
        let filter = |_: &Subject| strings(&["--cgroup", path]);
        let ([first, second], backend) = told_of(filter, |a, b| {
            a.move_to(&one);
            b.move_to(&two);
        });
        assert_eq!(second, Vec::<String>::new());
        is_complete(&first, backend);
    }
}

#[live_test]
fn failures_only() {
    let _machine = system::the_machine();
    let (told, _) = told_of(|_| strings(&["-x"]), |_, _| ());
    assert_eq!(told, [["watch-failed"], ["watch-failed"]]);
}

#[live_test]
fn by_event() {
    let _machine = system::the_machine();
    let filter = |_: &Subject| strings(&["-e", "exit,unwatch", "-e", "range-close"]);
    let (told, backend) = told_of(filter, |_, _| ());
    let expected = match backend {
        Backend::Tracepoints => strings(&["unwatch", "range-close", "exit"]),
        Backend::Functions => strings(&["unwatch", "exit"]),
    };
    assert_eq!(told, [expected.clone(), expected]);
}

#[live_test]
fn several_at_once_must_all_hold() {
    let _machine = system::the_machine();
    let ([first, second], _) = told_of(
        |one| {
            strings(&[
                "-e",
                "create,watch-failed",
                "-x",
                "-c",
                "workload",
                "-u",
                &one.actor.uid.to_string(),
            ])
        },
        |_, _| (),
    );
    assert_eq!((first, second.len()), (strings(&["watch-failed"]), 0));
}

#[live_test]
fn a_duration_ends_it() {
    let _machine = system::the_machine();
    let agent = Agent::with(&["-d", "0.2"]);
    let run = agent.join();
    assert!(run.summary["open"].is_u64(), "{}", run.summary);
    assert!(run.status.success());
}

#[live_test]
fn sigterm_ends_it_with_a_summary() {
    let _machine = system::the_machine();
    let agent = Agent::start();
    let run = agent.stop_with(libc::SIGTERM);
    assert!(run.summary["open"].is_u64(), "{}", run.summary);
}

#[live_test]
fn a_terminal_that_goes_away_ends_it_with_a_summary_unless_nohup_started_it() {
    let _machine = system::the_machine();
    let run = Agent::start().stop_with(libc::SIGHUP);
    assert!(run.summary["open"].is_u64() && run.status.success(), "{}", run.summary);
    // Ignored signals stay ignored in programs that are executed.
    // SAFETY: no handler is installed.
    let before = unsafe { libc::signal(libc::SIGHUP, libc::SIG_IGN) };
    let agent = Agent::start();
    // SAFETY: this is what was returned for this signal.
    unsafe { libc::signal(libc::SIGHUP, before) };
    agent.signal(libc::SIGHUP);
    let world = World::new();
    let mut subject = world.subject();
    subject.create(0).unwrap();
    agent.expect(&world);
    assert!(agent.stop().summary["open"].is_u64());
}

#[live_test]
fn the_agent_s_own_doings_are_not_shown_beside_others() {
    let _machine = system::the_machine();
    let agent = Agent::with(&["--wide"]);
    let everything = Agent::start();
    let world = World::new();
    let mut subject = world.subject();
    let fd = subject.create(0).unwrap();
    for option in ["--by", "--walk-proc"] {
        let arguments = if option == "--by" { vec!["list"] } else { vec!["list", option] };
        let listed = std::process::Command::new(binary()).args(arguments).output().unwrap();
        assert!(listed.status.success());
    }
    subject.close(fd);
    everything.wait_for("the close is told", |events| {
        events.iter().any(|it| it["event"] == "release" && it["pid"] == subject.pid())
    });
    let own = |events: &[Value]| {
        events.iter().filter(|it| it["comm"] == "inotify-trace").cloned().collect::<Vec<_>>()
    };
    assert!(!own(&everything.events()).is_empty(), "where all is asked for, nothing is left out");
    let _ = everything.stop();
    let run = agent.stop();
    assert_eq!(own(&run.events), [Value::Null; 0]);
    assert_eq!(names(&run, &subject).len(), 2, "{:?}", run.events);
}

#[live_test(each = kernel)]
fn watches_that_were_there_are_found_by_their_holder() {
    let _machine = system::the_machine();
    let directory = system::directory();
    let world = World::new();
    let (mut subject, mut other) = (world.subject(), world.subject());
    for one in [&mut subject, &mut other] {
        let fd = one.create(0).unwrap();
        one.watch(fd, directory.path(), libc::IN_MODIFY).unwrap();
    }
    let pid = subject.pid().to_string();
    for filter in [["-p", &pid], ["-c", "workload"]] {
        let agent = Agent::with(&[&["-e", "watch-found"][..], &filter].concat());
        let is_its = |it: &&Value| it["pid"] == subject.pid();
        agent.wait_for("its watch", |events| events.iter().any(|it| is_its(&it)));
        let run = agent.stop();
        let told = run.events.iter().find(is_its).unwrap();
        assert_eq!(told["path"], directory.path().to_str().unwrap(), "{told}");
        let others = run.events.iter().filter(|it| it["pid"] == other.pid()).count();
        assert_eq!(others, usize::from(filter[0] == "-c"), "{:?}", run.events);
    }
}

#[live_test]
fn what_came_before_a_signal_is_told() {
    let _machine = system::the_machine();
    for _ in 0..3 {
        let world = World::new();
        let mut subject = world.subject();
        let agent = Agent::start();
        for _ in 0..20 {
            let fd = subject.create(0).unwrap();
            subject.close(fd);
        }
        // Stops without waiting for any event.
        let backend = agent.backend();
        let run = agent.stop();
        world.compare(&run.events, backend).unwrap();
    }
}
