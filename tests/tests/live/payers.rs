//! User namespaces whose owners pay: whose quota is used up, and which sysctl helps.

use std::process::Command;

use inotify_trace_tests::{
    Agent, Backend, Process,
    agent::{binary, has},
    live_test,
    process::hex,
    system::{self, Setting},
};
use serde_json::{Value, json};

use crate::nothing_lost;

const MAX_INSTANCES: &str = "/proc/sys/fs/inotify/max_user_instances";

/// A process in a user namespace that `owner` has made, as its root, which is user `base` outside:
/// a system container. None if the machine allows no user namespaces.
pub(crate) fn container(owner: u32, base: u32) -> Option<Process> {
    let mut process = Process::start();
    process.call("open_files 1000").unwrap();
    process.call(&format!("uid {owner}")).unwrap();
    namespace(&mut process, &format!("0 {base} 65536"))?;
    process.call("uid 0").unwrap();
    Some(process)
}

/// Moves a process of the initial namespace to a new user namespace.
fn namespace(process: &mut Process, map: &str) -> Option<()> {
    if process.call(&format!("unshare {}", libc::CLONE_NEWUSER)).is_err() {
        let test = std::thread::current().name().unwrap_or("a test").to_owned();
        system::skip(&test, "no user namespace can be made");
        return None;
    }
    std::fs::write(format!("/proc/{}/uid_map", process.pid), map).unwrap();
    // Only a group that is mapped can create a namespace below.
    std::fs::write(format!("/proc/{}/gid_map", process.pid), "0 0 1").unwrap();
    Some(())
}

/// Moves the root of a user namespace to a new one below, which it owns.
fn below(process: &mut Process) {
    process.call("dumpable").unwrap();
    process.call(&format!("unshare {}", libc::CLONE_NEWUSER)).unwrap();
    let maps = [("setgroups", "deny"), ("uid_map", "0 0 1"), ("gid_map", "0 0 1")];
    for (file, text) in maps {
        let path = hex(format!("/proc/self/{file}").as_bytes());
        process.call(&format!("write {path} {}", hex(text.as_bytes()))).unwrap();
    }
}

pub(crate) fn create(process: &mut Process, count: u32) {
    for _ in 0..count {
        process.call("init1 0").unwrap();
    }
}

pub(crate) fn set(process: &mut Process, sysctl: &str, value: u32) {
    let path = hex(format!("/proc/sys/user/{sysctl}").as_bytes());
    process.call(&format!("write {path} {}", hex(value.to_string().as_bytes()))).unwrap();
}

/// Who uses up the quota at the first refusal of a process, by process id.
fn culprits(events: &[Value], refused: u32) -> (Value, Vec<(u32, u64)>) {
    let event = events
        .iter()
        .find(|it| it["pid"] == refused && it["errno"].is_string())
        .unwrap_or_else(|| panic!("no refusal of {refused}"))
        .clone();
    let number = |value: &Value| value.as_u64().unwrap();
    let mut named: Vec<_> = event["culprits"]
        .as_array()
        .unwrap_or_else(|| panic!("{event}"))
        .iter()
        .map(|it| (u32::try_from(number(&it["pid"])).unwrap(), number(&it["count"])))
        .collect();
    named.sort_unstable();
    (event, named)
}

/// The report on a recording, with all white space as single spaces.
fn report(recording: &str) -> String {
    let output = Command::new(binary()).args(["report", recording, "-f", "text"]).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{errors}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Containers of one owner use up the owner's quota: one from before the trace, one made later, one
/// three namespaces deep, and one whose first instance is refused.
#[live_test(each = backend)]
fn containers_use_up_the_quota_of_their_owner() {
    let _machine = system::the_machine();
    let limit = system::number_in(MAX_INSTANCES);
    if limit > 900 {
        system::skip("containers_use_up_the_quota_of_their_owner", "the limit is too high");
        return;
    }
    let (owner, base) = (system::fresh_uid(), system::fresh_uid());
    let Some(mut before) = container(owner, base) else { return };
    create(&mut before, limit - 78);
    let directory = system::directory();
    let recording = directory.path().join("run.itrec");
    let recording = recording.to_str().unwrap();
    let agent = Agent::with(&["--record", recording]);
    let mut later = container(owner, base).unwrap();
    create(&mut later, 50);
    let mut deep = container(owner, base).unwrap();
    below(&mut deep);
    below(&mut deep);
    create(&mut deep, 27);
    let mut last = container(owner, base).unwrap();
    create(&mut last, 1);
    let mut refused = container(owner, base).unwrap();
    assert_eq!(refused.call("init1 0"), Err(libc::EMFILE));
    let initial = system::INITIAL_USERNS;
    agent.wait_for_event(&json!({
        "event": "create-failed", "pid": refused.pid, "limit_hit": "inotify-instances",
        "used": limit, "limit": limit, "charged_uid": base,
        "charged_userns": system::user_namespace(refused.pid), "limit_level": 1,
        "payer_uid": owner, "payer_userns": initial,
    }));
    agent.wait_for_event(&json!({
        "event": "create", "pid": deep.pid, "charged_userns": system::user_namespace(deep.pid),
        "limit_level": 3, "payer_uid": owner, "payer_userns": initial, "limit": limit,
    }));
    let mut expected =
        [(before.pid, u64::from(limit - 78)), (later.pid, 50), (deep.pid, 27), (last.pid, 1)];
    expected.sort_unstable();
    // What ends later is no part of it. Whether the counts can still be read then depends on which is
    // first, the agent or the end of the namespace.
    let (gone, pid) = (expected.len(), later.pid);
    drop(later);
    agent.wait_for("the instances of one end", |events| {
        let of_it = json!({ "event": "release", "pid": pid });
        events.iter().filter(|it| has(it, &of_it)).count() >= 50
    });
    let run = agent.stop();
    let (event, named) = culprits(&run.events, refused.pid);
    assert_eq!((&named[..], gone), (&expected[..], 4), "{event}");
    assert_eq!(event["not_visible"], 0, "{event}");
    nothing_lost(&run);
    // The recording knows the same.
    let text = report(recording);
    for fact in [
        format!("{owner} ran out of inotify instances at"),
        "Used up, as of".to_owned(),
        format!("{limit} of {limit} instances of {owner}:"),
        format!("{owner}: at most {limit} of {limit} instances"),
    ] {
        assert!(text.contains(&fact), "no {fact:?} in: {text}");
    }
    for wrong in ["not visible", &format!("instances of {base}"), "user.max_inotify"] {
        assert!(!text.contains(wrong), "{wrong:?} in: {text}");
    }
    drop((before, deep, last, refused));
}

/// As `unshare -r` does for a user without privileges: a namespace in which only that user exists.
pub(crate) fn of_one_user(uid: u32) -> Option<Process> {
    let mut process = Process::start();
    process.call("open_files 1000").unwrap();
    process.call(&format!("uid {uid}")).unwrap();
    process.call("dumpable").unwrap();
    if process.call(&format!("unshare {}", libc::CLONE_NEWUSER)).is_err() {
        let test = std::thread::current().name().unwrap_or("a test").to_owned();
        system::skip(&test, "no user namespace can be made");
        return None;
    }
    for (file, text) in [("setgroups", "deny".to_owned()), ("uid_map", format!("0 {uid} 1"))] {
        let path = hex(format!("/proc/self/{file}").as_bytes());
        process.call(&format!("write {path} {}", hex(text.as_bytes()))).unwrap();
    }
    Some(process)
}

/// A namespace that a user makes without privileges has no limit of its own: the user pays as before.
#[live_test(each = kernel)]
fn a_user_pays_for_a_namespace_made_without_privileges() {
    let _machine = system::the_machine();
    let limit = system::number_in(MAX_INSTANCES);
    if limit > 900 {
        system::skip(
            "a_user_pays_for_a_namespace_made_without_privileges",
            "the limit is too high",
        );
        return;
    }
    let uid = system::fresh_uid();
    let (machine, text) = (Agent::with(&["-x"]), Agent::unparsed(&["-x"]));
    let Some(mut inside) = of_one_user(uid) else { return };
    let mut outside = Process::start();
    outside.call(&format!("uid {uid}")).unwrap();
    create(&mut outside, 20);
    create(&mut inside, limit - 20);
    assert_eq!(inside.call("init1 0"), Err(libc::EMFILE));
    machine.wait_for_event(&json!({
        "event": "create-failed", "pid": inside.pid, "limit_hit": "inotify-instances",
        "used": limit, "limit": limit, "charged_uid": uid,
        "charged_userns": system::user_namespace(inside.pid), "limit_level": 1,
        "payer_uid": uid, "payer_userns": system::INITIAL_USERNS, "not_visible": 0,
    }));
    let run = machine.stop();
    let (event, named) = culprits(&run.events, inside.pid);
    let mut expected = [(inside.pid, u64::from(limit - 20)), (outside.pid, 20)];
    expected.sort_unstable();
    assert_eq!(named, expected, "{event}");
    let remedy = remedy_after(&text, inside.pid);
    let raise = "raise fs.inotify.max_user_instances (`inotify-trace limits` recommends a value)";
    assert!(remedy.contains(raise), "{remedy}");
    let who = format!(
        "  {limit} of {limit} instances of {uid}: workload ({}) {}, workload ({}) 20",
        inside.pid,
        limit - 20,
        outside.pid
    );
    let lines = text.events();
    let lines: Vec<_> = lines.iter().filter_map(Value::as_str).collect();
    assert!(lines.contains(&&*who), "no {who:?} in {lines:#?}");
    nothing_lost(&run);
}

/// Two namespaces share the limit of watches of the one that both are in.
#[live_test(each = kernel)]
fn namespaces_share_the_watches_of_the_one_between() {
    const LIMIT: u32 = 12;
    let _machine = system::the_machine();
    let directory = system::directory();
    let (owner, base) = (system::fresh_uid(), system::fresh_uid());
    let Some(mut outer) = container(owner, base) else { return };
    set(&mut outer, "max_inotify_watches", LIMIT);
    let between = system::user_namespace(outer.pid);
    let watch = |process: &mut Process, number: u32| {
        let path = directory.path().join(number.to_string());
        std::fs::create_dir_all(&path).unwrap();
        let path = hex(path.to_str().unwrap().as_bytes());
        process.call(&format!("watch 3 {path} {}", libc::IN_CREATE))
    };
    let mut inside = || {
        let mut process = outer.fork();
        below(&mut process);
        process.call("init1 0").unwrap();
        process
    };
    let mut one = inside();
    for number in 0..7 {
        watch(&mut one, number).unwrap();
    }
    let agent = Agent::with(&[]);
    let mut two = inside();
    for number in 0..5 {
        watch(&mut two, number).unwrap();
    }
    assert_eq!(watch(&mut two, 9), Err(libc::ENOSPC));
    agent.wait_for_event(&json!({
        "event": "watch-failed", "pid": two.pid, "limit_hit": "inotify-watches", "used": LIMIT,
        "limit": LIMIT, "charged_userns": system::user_namespace(two.pid), "limit_level": 1,
        "payer_uid": base, "payer_userns": between,
    }));
    let run = agent.stop();
    let (event, named) = culprits(&run.events, two.pid);
    let mut expected = [(one.pid, 7), (two.pid, 5)];
    expected.sort_unstable();
    assert_eq!((&named[..], &event["not_visible"]), (&expected[..], &json!(0)), "{event}");
    nothing_lost(&run);
}

/// The remedy after a refusal of this process.
fn remedy_after(agent: &Agent, pid: u32) -> String {
    let is_it = |line: &Value| line.as_str().is_some_and(|it| it.contains(&format!(" {pid} ")));
    let find = |lines: &[Value]| {
        let at = lines.iter().position(|it| is_it(it) && it.to_string().contains("-FAIL"))?;
        let after = lines[at + 1..].iter().filter_map(Value::as_str);
        after.take(3).find(|it| it.trim_start().starts_with("remedy: ")).map(str::to_owned)
    };
    agent.wait_for("a remedy", |lines| find(lines).is_some());
    find(&agent.events()).unwrap()
}

#[live_test]
fn the_remedy_for_a_namespace_s_own_limit_helps() {
    let _machine = system::the_machine();
    let agent = Agent::unparsed(&["trace"]);
    let Some(mut process) = container(system::fresh_uid(), system::fresh_uid()) else { return };
    set(&mut process, "max_inotify_watches", 1);
    process.call("init1 0").unwrap();
    let mut watch =
        |path: &str| process.call(&format!("watch 3 {} {}", hex(path.as_bytes()), libc::IN_CREATE));
    watch("/").unwrap();
    assert_eq!(watch("/tmp"), Err(libc::ENOSPC));
    let remedy = remedy_after(&agent, process.pid);
    let pid = process.pid;
    let command = format!("nsenter -t {pid} -U sysctl -w user.max_inotify_watches=N");
    assert!(remedy.contains(&format!("`{command}`")), "{remedy}");
    assert!(!remedy.contains("fs.inotify"), "{remedy}");
    let words = command.replace("=N", "=2");
    let mut words = words.split(' ');
    let status = Command::new(words.next().unwrap()).args(words).status();
    if !status.as_ref().is_ok_and(|it| it.success()) {
        let name = "the_remedy_for_a_namespace_s_own_limit_helps";
        system::skip(name, &format!("nsenter or sysctl does not work: {status:?}"));
        return;
    }
    let path = hex(b"/tmp");
    process.call(&format!("watch 3 {path} {}", libc::IN_CREATE)).unwrap();
}

#[live_test]
fn the_remedy_for_a_lack_of_descriptors_is_no_sysctl() {
    let _machine = system::the_machine();
    let agent = Agent::unparsed(&["trace"]);
    let mut process = Process::start();
    // More than one word of the kernel's bits, and not a whole number of them.
    process.call("open_files 4200").unwrap();
    for _ in 3..4200 {
        process.call("dup 0").unwrap();
    }
    assert_eq!(process.call("init1 0"), Err(libc::EMFILE));
    let remedy = remedy_after(&agent, process.pid);
    let words = ["LimitNOFILE=".to_owned(), format!("prlimit --pid={} ", process.pid)];
    assert!(words.iter().all(|it| remedy.contains(it)), "{remedy}");
    let says = format!("  4200 of 4200 descriptors of workload ({})", process.pid);
    let lines = agent.events();
    let lines: Vec<_> = lines.iter().filter_map(Value::as_str).collect();
    assert!(lines.iter().any(|it| it.contains(&says)), "{lines:#?}");
}

/// The agent can open no file either. The limit is the whole machine's: one that is virtual does no
/// harm.
#[live_test(each = kernel)]
fn a_machine_without_files_is_no_lack_of_instances() {
    let _machine = system::the_machine();
    if !system::is_emulated() {
        let why = "it would take all files from other programs of this machine";
        return system::skip("a_machine_without_files_is_no_lack_of_instances", why);
    }
    let (agent, text) = (Agent::with(&["-x"]), Agent::unparsed(&["-x"]));
    let mut process = Process::start();
    process.call(&format!("uid {}", system::fresh_uid())).unwrap();
    let most = Setting::exactly("/proc/sys/fs/file-max", 1);
    assert_eq!(process.call("init1 0"), Err(libc::ENFILE));
    let failed = json!({
        "event": "create-failed", "pid": process.pid, "errno": "ENFILE", "limit_hit": "file-max",
        "files_limit": 1,
    });
    agent.wait_for_event(&failed);
    let remedy = remedy_after(&text, process.pid);
    drop(most);
    assert!(remedy.contains("raise fs.file-max"), "{remedy}");
    // Of the machine, and not of the process.
    let events = agent.events();
    let event = events.iter().find(|it| has(it, &failed)).unwrap();
    assert!(event["files_used"].as_u64() > Some(8), "{event}");
    process.call("init1 0").unwrap();
}

/// A seccomp filter refuses calls that the kernel would allow: no limit is to blame.
#[live_test]
fn a_filter_s_refusal_is_no_limit() {
    let _machine = system::the_machine();
    let agent = Agent::with(&[]);
    if agent.backend() != Backend::Tracepoints {
        system::skip("a_filter_s_refusal_is_no_limit", "only tracepoints see refused calls");
        return;
    }
    for (errno, fields) in [
        (libc::EMFILE, json!({ "errno": "EMFILE", "limit_hit": "neither" })),
        (libc::ENOSYS, json!({ "errno": "ENOSYS" })),
        (libc::EPERM, json!({ "errno": "EPERM" })),
    ] {
        let mut process = Process::start();
        process.call("init1 0").unwrap();
        process.call(&format!("seccomp {} {errno}", libc::SYS_inotify_init1)).unwrap();
        assert_eq!(process.call("init1 0"), Err(errno));
        let failed = json!({ "event": "create-failed", "pid": process.pid });
        agent.wait_for_event(&failed);
        let events = agent.events();
        let event = events.iter().find(|it| has(it, &failed)).unwrap();
        assert!(has(event, &fields), "{event}");
        let is_at_limit = fields.get("limit_hit").is_some();
        assert_eq!(event.get("limit_hit").is_some(), is_at_limit, "{event}");
        assert!(event.get("culprits").is_none() && event.get("files_used").is_none(), "{event}");
    }
}
