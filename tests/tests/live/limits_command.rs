//! `inotify-trace limits`: who is how close, how fast they get there, and what is not known. What
//! it reads from files and writes to them, the command line's tests look at.

use std::{
    fs,
    os::unix::process::CommandExt as _,
    process::{Command, Output},
    thread,
    time::{Duration, Instant},
};

use inotify_trace_tests::{
    Agent, Process, World, agent::binary, listing::ROADS, live_test, system,
};
use serde_json::{Value, json};

use crate::namespaces::{enter, limit};

/// What it said, and its exit code.
struct Said {
    report: Value,
    errors: String,
    status: Option<i32>,
}

impl Said {
    fn by(mut command: Command, arguments: &[&str]) -> Self {
        command.args(["limits", "-o", "json"]).args(arguments);
        let Output { status, stdout, stderr } = command.output().unwrap();
        let errors = String::from_utf8(stderr).unwrap();
        let report = serde_json::from_slice(&stdout);
        let report = report.unwrap_or_else(|error| panic!("no JSON: {error}: {errors}"));
        Self { report, errors, status: status.code() }
    }

    fn to_root(arguments: &[&str]) -> Self {
        Self::by(Command::new(binary()), arguments)
    }

    fn user(&self, uid: u32) -> &Value {
        user(&self.report, uid)
    }

    /// Whether this user counts as too close.
    fn is_over(&self, uid: u32) -> bool {
        self.report["over"].as_array().unwrap().contains(&json!(uid.to_string()))
    }

    fn notes(&self) -> String {
        self.report["notes"].to_string()
    }
}

/// What a report tells of a user of the initial namespace.
fn user(report: &Value, uid: u32) -> &Value {
    let name = uid.to_string();
    let users = report["users"].as_array().unwrap();
    users.iter().find(|user| user["user"] == name).unwrap_or_else(|| panic!("no {uid}: {report}"))
}

/// A process of a user who has nothing charged yet, with so many instances.
fn process_with(uid: u32, instances: u32) -> Process {
    let mut process = Process::start();
    process.call(&format!("open_files {}", instances + 1000)).unwrap();
    process.call(&format!("uid {uid}")).unwrap();
    for _ in 0..instances {
        process.call("init1 0").unwrap();
    }
    process
}

#[live_test]
fn a_user_s_share_is_told_and_answered_for() {
    let _machine = system::the_machine();
    let most = system::number_in("/proc/sys/fs/inotify/max_user_instances");
    // So close that nobody else on the machine is as close.
    let (used, uid) = (most * 98 / 100, system::fresh_uid());
    let _process = process_with(uid, used);
    let share = used * 100 / most;
    for road in ROADS {
        let said = Said::to_root(&[road, &["--warn", &share.to_string()]].concat());
        let told = &said.user(uid)["instances"];
        let percent = (used * 100).div_ceil(most);
        assert_eq!(told, &json!({ "used": used, "limit": most, "percent": percent }));
        assert_eq!((said.status, said.is_over(uid)), (Some(1), true), "{}", said.errors);
        assert_eq!((said.errors.as_str(), &said.report["warn_percent"]), ("", &json!(share)));
        let said = Said::to_root(&[road, &["--warn", &(share + 1).to_string()]].concat());
        assert_eq!((said.status, said.is_over(uid)), (Some(0), false), "{}", said.report["over"]);
    }
    // From 80% on without being asked.
    assert!(Said::to_root(&[]).is_over(uid));
    let output = Command::new(binary()).arg("limits").output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains(&format!("{uid} has used 80% or more of a limit.")), "{said}");
}

#[live_test]
fn without_privileges_it_tells_what_it_can() {
    let _machine = system::the_machine();
    let directory = system::directory();
    let program = directory.path().join("inotify-trace");
    fs::copy(binary(), &program).unwrap();
    let uid = system::fresh_uid();
    let command = || {
        let mut command = Command::new(&program);
        command.uid(uid).current_dir("/");
        command
    };
    let _process = process_with(system::fresh_uid(), 3);
    let said = Said::by(command(), &[]);
    assert_eq!(said.status, Some(0), "{}", said.errors);
    assert_eq!(said.report.get("users"), None, "nothing is guessed");
    let live = system::number_in("/proc/sys/fs/inotify/max_user_instances");
    assert_eq!(said.report["sysctls"][0]["live"], live);
    assert!(said.report["recommendation"]["instances"]["value"].as_u64() >= Some(live.into()));
    assert!(said.errors.contains("Who is charged"), "{}", said.errors);
    assert!(said.notes().contains("may therefore be too low"), "{}", said.notes());
    // A check must not pass because nobody could look.
    let said = Said::by(command(), &["--warn", "100"]);
    assert_eq!(said.status, Some(2));
    assert!(said.errors.contains("--warn cannot be answered"), "{}", said.errors);
    let output = command().arg("limits").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0));
    for words in ["is not known: see above", "fs.inotify.max_user_watches", "Recommended"] {
        assert!(text.contains(words), "{words}: {text}");
    }
    let output = command().args(["limits", "--watch", "1"]).output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(errors.contains("CAP_BPF") && errors.contains("sudo"), "{errors}");
}

/// Makes an instance, or one less, in every step of so long; how many are made a minute in truth.
fn steadily(process: &mut Process, step: Duration, until: impl Fn() -> bool) -> f64 {
    let (start, mut made) = (Instant::now(), 0_u32);
    while !until() {
        made += 1;
        process.call("init1 0").unwrap();
        let next = start + step * made;
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    f64::from(made) / start.elapsed().as_secs_f64() * 60.0
}

/// What it says of the rate must be near the truth, and everything in it must fit together.
fn check_rate(told: &Value, truth: f64) {
    let number = |field: &str| told["rate"][field].as_f64().unwrap_or_else(|| panic!("{told}"));
    let per_minute = number("per_minute");
    assert!((per_minute / truth - 1.0).abs() < 0.3, "{truth} a minute: {told}");
    let more = number("created") - number("released");
    assert!((more / number("seconds") * 60.0 / per_minute - 1.0).abs() < 0.001, "{told}");
    let level = |field: &str| told["instances"][field].as_f64().unwrap();
    let left = (level("limit") - level("used")) / per_minute * 60.0;
    assert!((number("seconds_left") / left - 1.0).abs() < 0.001, "{left} s: {told}");
}

#[live_test]
fn the_rate_is_the_truth_s() {
    let _machine = system::the_machine();
    let (uid, other) = (system::fresh_uid(), system::fresh_uid());
    let mut process = process_with(uid, 2);
    let mut balanced = process_with(other, 1);
    let agent = Agent::unparsed(&["limits", "--watch", "2", "-o", "json"]);
    for _ in 0..5 {
        balanced.call("init1 0").unwrap();
        balanced.call("close 4").unwrap();
    }
    // As many as the test asks for end before the agent does, or the rate is of what came before.
    let truth = steadily(&mut process, Duration::from_millis(100), || !agent.events().is_empty());
    let run = agent.join();
    let report: Value = serde_json::from_str(run.events[0].as_str().unwrap()).unwrap();
    let told = user(&report, uid);
    check_rate(told, truth);
    assert_eq!(told["rate"]["released"], 0, "{told}");
    let told = user(&report, other);
    let rate = &told["rate"];
    assert_eq!((&rate["created"], &rate["released"]), (&json!(5), &json!(5)), "{told}");
    assert_eq!(rate["per_minute"], 0.0, "{told}");
    assert_eq!(rate.get("seconds_left"), None, "never: {told}");
    assert_eq!(told["instances"]["used"], 1);
    // The agent's own instances are none of anybody's business.
    let seconds = rate["seconds"].as_f64().unwrap();
    assert!((2.0..4.0).contains(&seconds), "{seconds}");
}

#[live_test]
fn several_reports_are_made_until_it_is_stopped() {
    let _machine = system::the_machine();
    let uid = system::fresh_uid();
    let mut process = process_with(uid, 1);
    let agent = Agent::unparsed(&["limits", "--watch", "--interval", "0.7", "-o", "json"]);
    let step = Duration::from_millis(50);
    let truth = steadily(&mut process, step, || agent.events().len() >= 3);
    let run = agent.stop();
    let parse = |line: &Value| serde_json::from_str::<Value>(line.as_str().unwrap()).unwrap();
    let reports: Vec<_> = run.events.iter().map(parse).collect();
    // One more at the end.
    assert!(reports.len() >= 4, "{}", reports.len());
    for report in &reports[..3] {
        check_rate(user(report, uid), truth);
    }
    let of_each = |field: &str| -> Vec<f64> {
        reports.iter().map(|it| user(it, uid)["rate"][field].as_f64().unwrap()).collect()
    };
    assert!(of_each("seconds").is_sorted() && of_each("created").is_sorted(), "since the start");
}

#[live_test]
fn a_report_that_is_late_counts_what_happened_meanwhile() {
    const INTERVAL: Duration = Duration::from_millis(500);
    let _machine = system::the_machine();
    let uid = system::fresh_uid();
    let mut process = process_with(uid, 1);
    let interval = INTERVAL.as_secs_f64().to_string();
    let agent = Agent::unparsed(&["limits", "--watch", "--interval", &interval, "-o", "json"]);
    agent.wait_for("a report", |lines| !lines.is_empty());
    // As on a machine that is too busy to let it run when its next report is due.
    agent.signal(libc::SIGSTOP);
    for _ in 0..20 {
        process.call("init1 0").unwrap();
    }
    thread::sleep(INTERVAL * 3);
    let before = agent.events().len();
    agent.signal(libc::SIGCONT);
    agent.wait_for("another report", |lines| lines.len() > before);
    let run = agent.stop();
    let late: Value = serde_json::from_str(run.events[before].as_str().unwrap()).unwrap();
    let told = user(&late, uid);
    assert!(told["rate"].is_object(), "nothing was counted: {told}");
    assert_eq!((&told["rate"]["created"], &told["instances"]["used"]), (&json!(20), &json!(21)));
}

#[live_test]
fn the_agent_s_own_instance_is_in_nobody_s_rate() {
    let _machine = system::the_machine();
    // Others on this machine may make instances as root while this runs, but not every time.
    let disturbed = |_: &i32| {
        let said = Said::to_root(&["--watch", "0.5"]);
        let users = said.report["users"].as_array().unwrap();
        let root = users.iter().find(|it| it["uid"] == 0 && it["rate"].is_object())?;
        Some(root["rate"].clone())
    };
    let rates: Vec<_> = (0..5).map_while(|run| disturbed(&run)).collect();
    assert!(rates.len() < 5, "in each run: {rates:?}");
}

#[live_test]
fn the_namespace_whose_limit_binds_is_named() {
    let _machine = system::the_machine();
    let world = World::new();
    let mut subject = world.subject();
    let uid = subject.actor.uid;
    if !enter(&mut subject, &format!("0 {uid} 1")) {
        return;
    }
    for _ in 0..3 {
        subject.create(0).unwrap();
    }
    let inside = format!("{uid}@userns:{}", system::user_namespace(subject.pid()));
    let said = Said::to_root(&[]);
    let level = |name: &str| {
        let users = said.report["users"].as_array().unwrap();
        let user = users.iter().find(|it| it["user"] == name).unwrap();
        (user["instances"]["used"].clone(), user["limit_level"].clone(), user["payers"].clone())
    };
    assert_eq!(level(&inside), (json!(3), json!(1), json!([uid.to_string()])));
    assert_eq!(level(&uid.to_string()), (json!(3), json!(0), json!([])));
    let note = format!("the limit of {uid} binds: raise that one");
    assert!(said.notes().contains(&note), "{note}: {}", said.notes());
    // Lowered below what the host allows.
    limit(&mut subject, "max_inotify_instances", 3);
    let said = Said::to_root(&["--warn", "100"]);
    assert_eq!(said.status, Some(1));
    assert_eq!(said.report["over"], json!([inside]));
    let note = format!("{inside} pays in a user namespace of its own");
    assert!(said.notes().contains(&note), "{note}: {}", said.notes());
    assert!(said.notes().contains("Its own limit (3, "), "{}", said.notes());
}
