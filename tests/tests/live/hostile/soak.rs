//! All hostile loads at once, beside an ordinary one. Only the full tier runs it, which sets the
//! variable.

use std::{
    collections::BTreeMap,
    fs,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use inotify_trace_tests::{
    Agent, Run, World,
    agent::{EVERYTHING, binary},
    live_test, system,
};

use super::{
    CEILING_KIB,
    loads::{ALL, Ground},
};

/// The time between two rounds of the ordinary load.
const PACE: Duration = Duration::from_millis(100);

/// The commands that are tried again and again, and the time that each may take, as docs/security.md
/// has it.
const COMMANDS: [&[&str]; 5] =
    [&["list"], &["list", "--watches"], &["leaks", "--settle", "1"], &["limits"], &["check"]];
const BUDGET: Duration = Duration::from_secs(60);

/// The number of lost events that are told in the lines, and in the summary.
fn lost(run: &Run) -> (u64, u64) {
    let lines = run.events.iter().filter(|it| it["event"] == "lost");
    let told = lines.filter(|it| it["lost_what"] == "events");
    let summary = run.summary["lost"]["events"].as_u64().unwrap_or_default();
    (told.filter_map(|it| it["lost_count"].as_u64()).sum(), summary)
}

/// Runs a command, whose result is of no interest, and returns how long it took.
fn time(arguments: &[&str]) -> Duration {
    let begun = Instant::now();
    let mut command = Command::new(binary());
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(matches!(output.status.code(), Some(0 | 1)), "{arguments:?}: {errors}");
    begun.elapsed()
}

#[live_test]
fn an_ordinary_load_is_told_in_full_beside_all_hostile_ones() {
    const NAME: &str = "hostile::soak::an_ordinary_load_is_told_in_full_beside_all_hostile_ones";
    let Some(seconds) = system::soak() else {
        return system::skip(NAME, &system::without_soak());
    };
    let _machine = system::the_machine();
    let ground = Ground::new();
    let (root, recordings) = (ground.root(), ground.directory("recordings"));
    let root = ["--host-root", root.to_str().unwrap()];
    let world = World::new();
    let mut ordinary = world.subject();
    let watched = ground.directory("ordinary");
    let pid = ordinary.pid().to_string();
    let trace = Agent::with(&[&root[..], &["-e", EVERYTHING, "-p", &pid]].concat());
    let recordings = ["-o", recordings.to_str().unwrap(), "--max-total", "256M"];
    let recorder = Agent::unparsed(&[&["record"][..], &root, &recordings].concat());
    let watcher = Agent::unparsed(&[&["leaks", "--watch", "-o", "json"][..], &root].concat());
    let agents = [("trace", &trace), ("record", &recorder), ("leaks --watch", &watcher)];
    let mut loads = Vec::new();
    for (name, start) in ALL {
        match start(&ground) {
            Ok(load) => loads.push(load),
            Err(why) => eprintln!("without {name}: {why}"),
        }
    }
    let mut longest: BTreeMap<String, Duration> = BTreeMap::new();
    let (begun, mut round) = (Instant::now(), 0_usize);
    while begun.elapsed() < Duration::from_secs(seconds) {
        let file = watched.join((round % 10).to_string());
        fs::write(&file, "").unwrap();
        let fd = ordinary.create(libc::IN_CLOEXEC).unwrap();
        let wd = ordinary.watch(fd, &file, libc::IN_MODIFY).unwrap();
        ordinary.watch(fd, &watched, libc::IN_CREATE).unwrap();
        ordinary.unwatch(fd, wd);
        ordinary.close(fd);
        if round % 50 == 0 {
            let command = COMMANDS[round / 50 % COMMANDS.len()];
            let took = time(command);
            let longest = longest.entry(command.join(" ")).or_default();
            *longest = took.max(*longest);
            assert!(took < BUDGET, "{command:?} took {took:?} after {:?}", begun.elapsed());
        }
        round += 1;
        thread::sleep(PACE);
    }
    let peaks = agents.map(|(name, agent)| (name, system::peak_resident_kib(agent.pid())));
    drop(loads);
    eprintln!("{round} rounds; peaks in KiB: {peaks:?}; longest: {longest:?}");
    let is_complete = world.expected_count(trace.backend());
    trace.wait_for("all is told", |events| world.count_of(events) >= is_complete);
    let backend = trace.backend();
    let (run, recorded, _) = (trace.stop(), recorder.stop(), watcher.stop());
    let (told, summed) = lost(&run);
    eprintln!("{summed} events lost; the recorder says: {}", recorded.errors.trim());
    assert_eq!(told, summed, "each loss is told");
    // What is lost is the flood's own.
    world.compare(&run.events, backend).unwrap();
    for (name, peak) in peaks {
        assert!(peak < CEILING_KIB, "{name}: {peak} KiB");
    }
}
