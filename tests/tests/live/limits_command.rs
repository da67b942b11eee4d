//! `inotify-trace limits` on the running kernel: usage of each user, rates, and notes about unknown
//! values. The tests of the command line cover the files that it reads and writes.

use std::{
    fs::{self, File},
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command, Output},
    thread,
    time::{Duration, Instant},
};

use inotify_trace_tests::{
    Agent, Process, World, agent::binary, listing::ROADS, live_test, system, wait,
};
use serde_json::{Value, json};

use crate::namespaces::{enter, limit};

/// The output and exit code of `limits`.
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

    /// Whether this user is listed as too close to a limit.
    fn is_over(&self, uid: u32) -> bool {
        self.report["over"].as_array().unwrap().iter().any(|user| user["uid"] == uid)
    }

    fn notes(&self) -> String {
        self.report["notes"].to_string()
    }
}

/// The entry of a user of the initial namespace.
fn user(report: &Value, uid: u32) -> &Value {
    let initial = system::INITIAL_USERNS;
    let users = report["users"].as_array().unwrap();
    let is_it = |it: &&Value| it["user"] == json!({ "uid": uid, "userns": initial });
    users.iter().find(is_it).unwrap_or_else(|| panic!("no {uid}: {report}"))
}

#[live_test]
fn a_user_s_share_is_told_and_answered_for() {
    let _machine = system::the_machine();
    let most = system::number_in("/proc/sys/fs/inotify/max_user_instances");
    // No other user of the machine is closer to the limit.
    let (used, uid) = (most * 98 / 100, system::fresh_uid());
    let _process = Process::of_user_with(uid, used);
    let share = used * 100 / most;
    for road in ROADS {
        let said = Said::to_root(&[road, &["--warn", &share.to_string()]].concat());
        let told = said.user(uid);
        assert_eq!((&told["used"], &told["limit"]), (&json!(used), &json!(most)));
        let percent = told["percent"].as_f64().unwrap();
        assert!((percent - 100.0 * f64::from(used) / f64::from(most)).abs() < 1e-9, "{percent}");
        assert_eq!((said.status, said.is_over(uid)), (Some(1), true), "{}", said.errors);
        assert_eq!((said.errors.as_str(), &said.report["warn_percent"]), ("", &json!(share)));
        let said = Said::to_root(&[road, &["--warn", &(share + 1).to_string()]].concat());
        assert_eq!((said.status, said.is_over(uid)), (Some(0), false), "{}", said.report["over"]);
    }
    // The default threshold is 80%.
    assert!(Said::to_root(&[]).is_over(uid));
    let output = Command::new(binary()).arg("limits").output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains(&format!("{uid} has used 80% or more of a limit.")), "{said}");
}

#[live_test]
fn as_a_plugin_of_nagios_it_has_four_exit_codes() {
    let _machine = system::the_machine();
    let most = system::number_in("/proc/sys/fs/inotify/max_user_instances");
    let uid = system::fresh_uid();
    let _process = Process::of_user_with(uid, most * 98 / 100);
    let said = |mut command: Command, options: &[&str]| {
        let output = command.args(["limits", "--nagios"]).args(options).output().unwrap();
        let line = String::from_utf8(output.stdout).unwrap();
        assert_eq!(line.lines().count(), 1, "{line}");
        (output.status.code(), line.split(" - ").next().unwrap().to_owned())
    };
    let root = || Command::new(binary());
    for (warning, critical, code, word) in
        [("99", "99", 0, "OK"), ("90", "99", 1, "WARNING"), ("50", "90", 2, "CRITICAL")]
    {
        let told = said(root(), &["--warning", warning, "--critical", critical]);
        assert_eq!(told, (Some(code), format!("INOTIFY {word}")));
    }
    let unknown = (Some(3), "INOTIFY UNKNOWN".to_owned());
    // What is wrong with the options is no news of the limits.
    for options in [&["--warning", "many"][..], &["--no-such-option"], &["-o", "json"]] {
        assert_eq!(said(root(), options), unknown, "{options:?}");
    }
    let directory = system::directory();
    let program = directory.path().join("inotify-trace");
    fs::copy(binary(), &program).unwrap();
    let mut command = Command::new(&program);
    command.uid(uid).current_dir("/");
    assert_eq!(said(command, &["--no-agent"]), unknown);
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
    let _process = Process::of_user_with(system::fresh_uid(), 3);
    let said = Said::by(command(), &[]);
    assert_eq!(said.status, Some(2), "whether it is fine is not known: {}", said.errors);
    for field in ["users", "over"] {
        assert_eq!(said.report.get(field), Some(&Value::Null), "nothing is guessed");
    }
    let live = system::number_in("/proc/sys/fs/inotify/max_user_instances");
    assert_eq!(said.report["sysctls"][0]["live"], live);
    assert!(
        said.report["recommendation"]["max_user_instances"]["value"].as_u64() >= Some(live.into())
    );
    assert!(said.errors.contains("no users' charges"), "{}", said.errors);
    assert!(said.notes().contains("may therefore be too low"), "{}", said.notes());
    assert!(said.errors.contains("near cannot be answered"), "{}", said.errors);
    let output = command().arg("limits").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(2));
    for words in ["is not known: see above", "fs.inotify.max_user_watches", "Recommended"] {
        assert!(text.contains(words), "{words}: {text}");
    }
    let output = command().args(["limits", "--watch", "1"]).output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(errors.contains("CAP_BPF") && errors.contains("sudo"), "{errors}");
}

/// Checks a reported rate: `created` instances in a time between `least` and `most`, and consistent
/// fields.
fn check_rate(told: &Value, created: u32, (least, most): (Duration, Duration)) {
    let number = |field: &str| told["rate"][field].as_f64().unwrap_or_else(|| panic!("{told}"));
    assert_eq!((number("created"), number("released")), (f64::from(created), 0.0), "{told}");
    let (seconds, per_minute) = (number("seconds"), number("per_minute"));
    // The measured time contains one that the test has measured, and lies within another, by the
    // same clock: a busy machine makes all of them longer.
    let (least, most) = (least.as_secs_f64() - 0.001, most.as_secs_f64() + 0.001);
    assert!((least..most).contains(&seconds), "{least} to {most} s: {told}");
    assert!((f64::from(created) / seconds * 60.0 / per_minute - 1.0).abs() < 0.001, "{told}");
    let level = |field: &str| told[field].as_f64().unwrap();
    let left = (level("limit") - level("used")) / per_minute * 60.0;
    assert!((number("seconds_left") / left - 1.0).abs() < 0.001, "{left} s: {told}");
}

fn parsed(line: &Value) -> Value {
    serde_json::from_str(line.as_str().unwrap()).unwrap()
}

#[live_test]
fn the_rate_is_the_truth_s() {
    let _machine = system::the_machine();
    let (uid, other) = (system::fresh_uid(), system::fresh_uid());
    let mut process = Process::of_user_with(uid, 2);
    let mut balanced = Process::of_user_with(other, 1);
    let before = Instant::now();
    let agent = Agent::unparsed(&["limits", "--watch", "-o", "json"]);
    let within = Instant::now();
    for _ in 0..5 {
        balanced.call("init1 0").unwrap();
        balanced.call("close 4").unwrap();
    }
    for _ in 0..20 {
        process.call("init1 0").unwrap();
    }
    // The agent's own measurement lies between these two times: see `check_rate`.
    let least = within.elapsed();
    let run = agent.stop();
    let most = before.elapsed();
    assert_eq!(run.events.len(), 1, "{:?}", run.events);
    let report = parsed(&run.events[0]);
    let told = user(&report, uid);
    check_rate(told, 20, (least, most));
    assert_eq!(told["used"], 22, "{told}");
    let told = user(&report, other);
    let rate = &told["rate"];
    assert_eq!((&rate["created"], &rate["released"]), (&json!(5), &json!(5)), "{told}");
    assert_eq!(rate["per_minute"], 0.0, "{told}");
    assert_eq!(rate.get("seconds_left"), None, "never: {told}");
    assert_eq!(told["used"], 1);
}

#[live_test]
fn a_report_is_made_by_itself_when_the_time_is_over() {
    let _machine = system::the_machine();
    let uid = system::fresh_uid();
    let _process = Process::of_user_with(uid, 2);
    let said = Said::to_root(&["--watch", "0.5"]);
    assert_eq!(said.status, Some(0), "{}", said.errors);
    assert_eq!(user(&said.report, uid)["used"], 2);
}

#[live_test]
fn several_reports_are_made_until_it_is_stopped() {
    const EACH: u32 = 5;
    let _machine = system::the_machine();
    let uid = system::fresh_uid();
    let mut process = Process::of_user_with(uid, 1);
    let before = Instant::now();
    let agent = Agent::unparsed(&["limits", "--watch", "--interval", "0.2", "-o", "json"]);
    let within = Instant::now();
    for round in 1..=3 {
        for _ in 0..EACH {
            process.call("init1 0").unwrap();
        }
        // As above: around the agent's own measurement.
        let least = within.elapsed();
        let knows = |line: &Value| user(&parsed(line), uid)["rate"]["created"] == round * EACH;
        agent.wait_for("a report knows of them", |lines| lines.iter().any(knows));
        let most = before.elapsed();
        let report = agent.events().into_iter().find(knows).unwrap();
        check_rate(user(&parsed(&report), uid), round * EACH, (least, most));
    }
    // As above.
    let (least, until_then) = (within.elapsed(), agent.events().len());
    let run = agent.stop();
    let reports: Vec<_> = run.events.iter().map(parsed).collect();
    assert!(reports.len() > until_then, "one more at the end");
    let last = user(reports.last().unwrap(), uid);
    check_rate(last, 3 * EACH, (least, before.elapsed()));
    let of_each = |field: &str| -> Vec<f64> {
        let rates = reports.iter().map(|it| user(it, uid)["rate"][field].as_f64());
        rates.map(Option::unwrap_or_default).collect()
    };
    assert!(of_each("seconds").is_sorted() && of_each("created").is_sorted(), "since the start");
}

#[live_test]
fn people_see_what_changed_and_the_whole_report_once() {
    let _machine = system::the_machine();
    let uid = system::fresh_uid();
    let mut process = Process::of_user_with(uid, 1);
    let agent = Agent::unparsed(&["limits", "--watch", "--interval", "0.1"]);
    let used = |line: &Value| {
        let line = line.as_str().unwrap_or_default();
        let mut words = line.split_whitespace();
        (words.next() == Some(uid.to_string().as_str())).then(|| words.next().map(str::to_owned))?
    };
    for count in ["1", "2"] {
        let is_shown = |line: &Value| used(line).as_deref() == Some(count);
        agent.wait_for("the use of the limit", |lines| lines.iter().any(is_shown));
        process.call("init1 0").unwrap();
    }
    let run = agent.stop();
    let is_whole = |line: &&Value| line.as_str().is_some_and(|it| it.starts_with("Recommended"));
    assert_eq!(run.events.iter().filter(is_whole).count(), 1, "{:?}", run.events);
}

#[live_test]
fn a_report_that_is_late_counts_what_happened_meanwhile() {
    // The interval between reports; no check depends on it.
    const INTERVAL: Duration = Duration::from_millis(500);
    let _machine = system::the_machine();
    let (uid, directory) = (system::fresh_uid(), system::directory());
    let mut process = Process::of_user_with(uid, 1);
    // Output in a file is complete: no part of it is in a pipe.
    let [out, errors] = ["out", "errors"].map(|name| directory.path().join(name));
    let interval = INTERVAL.as_secs_f64().to_string();
    let mut command = Command::new(binary());
    command.args(["limits", "--watch", "--interval", &interval, "-o", "json"]);
    command.stdout(File::create(&out).unwrap()).stderr(File::create(&errors).unwrap());
    let agent = Killed(command.spawn().unwrap());
    let written = |path: &Path| fs::read_to_string(path).unwrap();
    let reports = || written(&out).matches('\n').count();
    wait::until(&format!("a report: {}", written(&errors)), || reports() > 0);
    // As on a machine too busy to run the agent when its next report is due. The agent must not be
    // stopped while it reports.
    wait::until("it stands still while it waits", || {
        agent.signal(libc::SIGSTOP);
        wait::until("it stands still", || agent.stands_still());
        agent.waits() || {
            agent.signal(libc::SIGCONT);
            false
        }
    });
    let before = reports();
    for _ in 0..20 {
        process.call("init1 0").unwrap();
    }
    // The next report must be overdue; a longer sleep does no harm.
    thread::sleep(INTERVAL * 3);
    agent.signal(libc::SIGCONT);
    wait::until("another report", || reports() > before);
    let late: Value = serde_json::from_str(written(&out).lines().nth(before).unwrap()).unwrap();
    let told = user(&late, uid);
    assert!(told["rate"].is_object(), "nothing was counted: {told}");
    assert_eq!((&told["rate"]["created"], &told["used"]), (&json!(20), &json!(21)));
}

/// A child that is killed with its test.
struct Killed(Child);

impl Killed {
    fn signal(&self, signal: i32) {
        // SAFETY: the child has not been waited for, so its process id is valid.
        let result = unsafe { libc::kill(self.0.id().cast_signed(), signal) };
        assert_eq!(result, 0, "kill: {}", std::io::Error::last_os_error());
    }

    /// Whether the agent waits for events or the next report.
    fn waits(&self) -> bool {
        #[cfg(target_arch = "x86_64")]
        const CALLS: [i64; 2] = [libc::SYS_epoll_wait, libc::SYS_epoll_pwait];
        #[cfg(not(target_arch = "x86_64"))]
        const CALLS: [i64; 1] = [libc::SYS_epoll_pwait];
        let call = fs::read_to_string(format!("/proc/{}/syscall", self.0.id())).unwrap();
        let number = call.split(' ').next().and_then(|it| it.trim().parse().ok());
        number.is_some_and(|it| CALLS.contains(&it))
    }

    /// Whether each thread is stopped.
    fn stands_still(&self) -> bool {
        let threads = fs::read_dir(format!("/proc/{}/task", self.0.id())).unwrap();
        threads.flatten().all(|thread| {
            let status = fs::read_to_string(thread.path().join("status")).unwrap_or_default();
            status.lines().any(|line| line.starts_with("State:\tT"))
        })
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        // The agent may have exited by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[live_test]
fn the_agent_s_own_instance_is_in_nobody_s_rate() {
    let _machine = system::the_machine();
    // Other processes of root may create instances during a run, but not during each run.
    let disturbed = |_: &i32| {
        let said = Said::to_root(&["--watch", "0.5"]);
        let users = said.report["users"].as_array().unwrap();
        let root = users.iter().find(|it| it["user"]["uid"] == 0 && it["rate"].is_object())?;
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
    let userns = system::user_namespace(subject.pid());
    let inside = json!({ "uid": uid, "userns": userns });
    let outside = json!({ "uid": uid, "userns": system::INITIAL_USERNS });
    let said = Said::to_root(&[]);
    let level = |wanted: &Value| {
        let users = said.report["users"].as_array().unwrap();
        let user = users.iter().find(|it| it["user"] == *wanted).unwrap();
        (user["used"].clone(), user["limit_level"].clone(), user["payers"].clone())
    };
    assert_eq!(level(&inside), (json!(3), json!(1), json!([outside])));
    assert_eq!(level(&outside), (json!(3), json!(0), json!([])));
    let note = format!("the limit of {uid} binds, which has room now");
    assert!(said.notes().contains(&note), "{note}: {}", said.notes());
    let note = format!("the limit of {uid} binds: raise that one");
    let said = Said::to_root(&["--warn", "1"]);
    assert!(said.notes().contains(&note), "{note}: {}", said.notes());
    // Below the limit of the host.
    limit(&mut subject, "max_inotify_instances", 3);
    let said = Said::to_root(&["--warn", "100"]);
    assert_eq!(said.status, Some(1));
    assert_eq!(said.report["over"], json!([inside]));
    let note = format!("{uid}@userns:{userns} pays in a user namespace of its own");
    assert!(said.notes().contains(&note), "{note}: {}", said.notes());
    assert!(said.notes().contains("Its own limit (3, "), "{}", said.notes());
}
