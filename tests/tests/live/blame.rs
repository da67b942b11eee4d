//! Who is to blame for a limit that is reached.

use inotify_trace_tests::{
    Agent, Cgroup, Process, Run, agent::has, live_test, process::hex, system,
};
use serde_json::{Value, json};

const MAX_INSTANCES: &str = "/proc/sys/fs/inotify/max_user_instances";

/// More processes than this would take too long to start.
const MOST: u32 = 512;

fn lines(run: &Run) -> Vec<&str> {
    run.events.iter().flat_map(Value::as_str).collect()
}

/// A process of this user, which may open enough files.
fn of_user(uid: u32) -> Process {
    let mut process = Process::start();
    process.call("open_files 4096").unwrap();
    process.call(&format!("uid {uid}")).unwrap();
    process
}

#[live_test]
fn equal_processes_of_one_container_are_named_together() {
    const NAME: &str = "blame::equal_processes_of_one_container_are_named_together";
    let _machine = system::the_machine();
    let limit = system::number_in(MAX_INSTANCES);
    if limit > MOST {
        return system::skip(NAME, "the limit is too high");
    }
    let Some(container) = Cgroup::of_containerd() else {
        return system::skip(NAME, "no cgroup v2 hierarchy is mounted");
    };
    let uid = system::fresh_uid();
    // All but one are in the container.
    let mut outside = of_user(uid);
    outside.call("init1 0").unwrap();
    let _inside: Vec<_> = (1..limit)
        .map(|_| {
            let mut process = of_user(uid);
            container.add(process.pid);
            process.call("init1 0").unwrap();
            process
        })
        .collect();
    let (text, machine) = (Agent::unparsed(&["-x"]), Agent::with(&["-x"]));
    assert_eq!(outside.call("init1 0"), Err(libc::EMFILE));
    text.wait_for("the remedy", |lines| lines.len() == 4);
    machine.wait_for("the failure", |events| events.len() == 1);
    let id = &container.container.as_ref().unwrap()["id"];
    let name = format!("containerd:{}", &id.as_str().unwrap()[..12]);
    let many = limit - 1;
    let run = text.stop();
    let told = lines(&run);
    let expected = format!(
        "  {limit} of {limit} instances of {uid}: workload in {name}: {many} in {many} processes, \
         workload ({}) 1",
        outside.pid
    );
    assert_eq!(told[2], expected);
    let chief = format!("look at container {name} first, with {many} of these");
    assert!(
        told[3].contains(&chief) && told[3].contains("fs.inotify.max_user_instances"),
        "{}",
        told[3]
    );
    let failure = &machine.stop().events[0];
    let group = &failure["culprit_groups"][0];
    assert!(
        has(group, &json!({ "comm": "workload", "processes": many, "count": many, "shared": 0 })),
        "{failure}"
    );
    assert_eq!(group["container"]["id"], *id, "{failure}");
    assert_eq!(failure["culprits"].as_array().unwrap().len(), 5, "{failure}");
}

#[live_test]
fn nobody_is_to_blame_for_what_many_use_up() {
    let _machine = system::the_machine();
    let limit = system::number_in(MAX_INSTANCES);
    let uid = system::fresh_uid();
    let shares = [limit / 3, limit / 3, limit - 2 * (limit / 3)];
    let mut all: Vec<_> = shares
        .iter()
        .map(|share| {
            let mut process = of_user(uid);
            process.call(&format!("create {share}")).unwrap();
            process
        })
        .collect();
    let agent = Agent::unparsed(&["-x"]);
    assert_eq!(all[0].call("init1 0"), Err(libc::EMFILE));
    agent.wait_for("the remedy", |lines| lines.len() == 4);
    let run = agent.stop();
    let expected =
        "  remedy: raise fs.inotify.max_user_instances (`inotify-trace limits` recommends a value)";
    assert_eq!(lines(&run)[3], expected);
}

#[live_test]
fn failures_that_repeat_are_folded() {
    const TRIES: u64 = 400;
    let _machine = system::the_machine();
    let limit = system::number_in(MAX_INSTANCES);
    let mut process = of_user(system::fresh_uid());
    process.call(&format!("create {limit}")).unwrap();
    // Others of this machine may fail meanwhile.
    let pid = process.pid.to_string();
    let arguments = ["-x", "-p", &pid];
    let (text, machine) = (Agent::unparsed(&arguments), Agent::with(&arguments));
    assert_eq!(process.call(&format!("create_failing {TRIES}")), Ok(TRIES as i32));
    machine.wait_for("each failure", |events| events.len() as u64 == TRIES);
    let folded = |lines: &[Value]| {
        let lines = lines.iter().flat_map(Value::as_str);
        let count = |line: &str| {
            line.split_once(" more like this in ")?.0.split_once("... ")?.1.parse::<u64>().ok()
        };
        lines.flat_map(count).sum::<u64>()
    };
    let full = |lines: &[Value]| {
        lines.iter().flat_map(Value::as_str).filter(|it| it.contains("EMFILE")).count() as u64
    };
    text.wait_for("all to be counted", |lines| full(lines) + folded(lines) == TRIES);
    // How many are shown in full depends on the machine's speed: one, unless it takes seconds.
    let run = text.stop();
    let pid = format!(" {} ", process.pid);
    assert!(run.events.len() < 50, "{:#?}", run.events);
    let fold = lines(&run).into_iter().find(|line| line.contains("more like this")).unwrap();
    assert!(
        fold.contains("CREATE-FAIL") && fold.contains(&pid) && fold.contains(" workload "),
        "{fold}"
    );
    assert!(
        run.errors.contains(&format!("failed {TRIES};")),
        "the summary counts all: {}",
        run.errors
    );
}

#[live_test]
fn paths_of_failures_can_be_read() {
    let _machine = system::the_machine();
    let directory = system::directory();
    let agent = Agent::unparsed(&["-x"]);
    let mut process = of_user(system::fresh_uid());
    let fd = process.call("init1 0").unwrap();
    let path = directory.path().join("a-directory-that-is-not-there").join("settings.json");
    let mut thread = process.thread();
    thread.call(&format!("name {}", hex(b"a-thread"))).unwrap();
    let encoded = hex(path.to_str().unwrap().as_bytes());
    thread.call(&format!("watch {fd} {encoded} 2")).unwrap_err();
    agent.wait_for("the failure", |lines| lines.len() == 2);
    let run = agent.stop();
    let line = lines(&run)[1];
    let shown = line.rsplit_once(' ').unwrap().1.trim_start_matches('…');
    assert!(shown.len() > 20 && path.to_str().unwrap().ends_with(shown), "{line}");
}

/// The tracepoint backend does not see 32-bit programs create instances, and looks for them.
#[cfg(target_arch = "x86_64")]
#[live_test(each = backend)]
fn what_was_not_seen_is_looked_for() {
    const NAME: &str = "blame::what_was_not_seen_is_looked_for";
    if !inotify_trace_tests::compat::is_possible() {
        return system::skip(NAME, "the kernel takes no 32-bit system calls");
    }
    let _machine = system::the_machine();
    let limit = system::number_in(MAX_INSTANCES);
    let uid = system::fresh_uid();
    let (mut holder, mut victim) = (of_user(uid), of_user(uid));
    victim.call("init1 0").unwrap();
    let (text, machine) = (Agent::unparsed(&["-x"]), Agent::with(&["-x"]));
    let many = limit - 1;
    holder.call(&format!("compat_create {many}")).unwrap();
    assert_eq!(victim.call("init1 0"), Err(libc::EMFILE));
    machine.wait_for("the failure", |events| events.len() == 1);
    text.wait_for("the remedy", |lines| lines.len() == 4);
    let failure = &machine.stop().events[0];
    let expected = json!({ "pid": holder.pid, "comm": "workload", "count": many, "shared": 0 });
    assert!(has(&failure["culprits"][0], &expected), "{failure}");
    assert_eq!(failure["not_visible"], 0, "{failure}");
    let run = text.stop();
    let told = lines(&run);
    let (holder, victim) = (holder.pid, victim.pid);
    let expected = format!(
        "  {limit} of {limit} instances of {uid}: workload ({holder}) {many}, workload ({victim}) 1"
    );
    assert_eq!(told[2], expected);
    let chief = format!("remedy: look at workload ({holder}) first, with {many} of these");
    assert!(told[3].contains(&chief), "{}", told[3]);
}

#[live_test]
fn what_is_mostly_leaked_is_to_be_released() {
    const NAME: &str = "blame::what_is_mostly_leaked_is_to_be_released";
    let _machine = system::the_machine();
    let limit = system::number_in(MAX_INSTANCES);
    if limit > 10_000 {
        return system::skip(NAME, "the limit is too high");
    }
    let Some(ended) = Cgroup::new() else {
        return system::skip(NAME, "no cgroup v2 hierarchy is mounted");
    };
    let uid = system::fresh_uid();
    let agent = Agent::unparsed(&["-x"]);
    // Each holds too little to be to blame, and most of it is of a cgroup that is removed.
    let file = hex(ended.directory().join("cgroup.events").as_os_str().as_encoded_bytes());
    let mut processes: Vec<_> = (0..4).map(|_| of_user(uid)).collect();
    let mut leaked = 0;
    for number in 0..limit {
        let process = &mut processes[number as usize % 4];
        let fd = process.call("init1 0").unwrap();
        if number % 4 != 3 {
            process.call(&format!("watch {fd} {file} {}", libc::IN_MODIFY)).unwrap();
            leaked += 1;
        }
    }
    ended.remove();
    assert_eq!(processes[0].call("init1 0"), Err(libc::EMFILE));
    agent.wait_for("the remedy", |lines| lines.len() == 4);
    let run = agent.stop();
    let told = lines(&run);
    let remedy = format!(
        "  remedy: run `inotify-trace leaks` first, which says how to release {leaked} of these \
         that look leaked; to gain time, raise fs.inotify.max_user_instances (`inotify-trace \
         limits` recommends a value)"
    );
    assert_eq!(told[3], remedy);
}

#[live_test]
fn the_tool_s_own_commands_are_no_victims() {
    const NAME: &str = "blame::the_tool_s_own_commands_are_no_victims";
    let _machine = system::the_machine();
    let limit = system::number_in(MAX_INSTANCES);
    if limit > 10_000 {
        return system::skip(NAME, "the limit is too high");
    }
    let mut hog = Process::start();
    hog.call(&format!("open_files {}", limit + 100)).unwrap();
    let agent = Agent::with(&["-x"]);
    while hog.call("init1 0").is_ok() {}
    // It cannot create the instance by which it learns, and works all the same.
    let listing = inotify_trace_tests::Listing::by("process", &[]);
    assert!(listing.process(hog.pid).is_some());
    assert_eq!(hog.call("init1 0"), Err(libc::EMFILE));
    agent.wait_for("the failures", |events| events.len() >= 2);
    let run = agent.stop();
    assert!(run.events.iter().all(|event| event["pid"] == hog.pid), "{:#?}", run.events);
}
