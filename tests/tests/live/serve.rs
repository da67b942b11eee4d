//! `inotify-trace serve` on the running kernel: its metrics are the kernel's numbers, and other commands
//! that ask it say what they say without it.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use inotify_trace_tests::{Process, World, agent::binary, live_test, process::hex, system, wait};
use serde_json::{Value, json};

/// A running `serve`.
pub(crate) struct Served {
    pub(crate) child: Child,
    errors: BufReader<std::process::ChildStderr>,
    pub(crate) address: String,
    socket: PathBuf,
    _directory: tempfile::TempDir,
}

impl Served {
    pub(crate) fn start(options: &[&str]) -> Self {
        Self::by(Command::new(binary()), options)
    }

    /// The agent that a command starts.
    pub(crate) fn by(mut command: Command, options: &[&str]) -> Self {
        let directory = system::directory();
        let socket = directory.path().join("agent.sock");
        let mut child = command
            .args(["serve", "--listen", "127.0.0.1:0", "--socket"])
            .arg(&socket)
            .args(std::env::var("INOTIFY_TRACE_BACKEND").map(|name| format!("--backend={name}")))
            .args(options)
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut errors = BufReader::new(child.stderr.take().unwrap());
        let (mut line, mut said) = (String::new(), String::new());
        let address = loop {
            line.clear();
            assert!(errors.read_line(&mut line).unwrap() > 0, "serve ended: {said}");
            said += &line;
            if let Some(place) = line.strip_prefix("Metrics at http://") {
                break place.trim_end().trim_end_matches("/metrics").to_owned();
            }
        };
        let served = Self { child, errors, address, socket, _directory: directory };
        wait::until("it is ready", || served.get("/readyz").starts_with("HTTP/1.1 200"));
        served
    }

    fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// All series, with their labels as they are written.
    pub(crate) fn scrape(&self) -> BTreeMap<String, f64> {
        let answer = self.get("/metrics");
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("# EOF\n"), "{answer}");
        let lines = answer.lines().filter(|line| line.starts_with(['i', 'p']));
        let series = lines.map(|line| line.rsplit_once(' ').unwrap());
        series.map(|(name, value)| (name.to_owned(), value.parse().unwrap())).collect()
    }

    /// Waits until these series have these values.
    pub(crate) fn wait_for(&self, expected: &[(&str, f64)]) {
        let mut last = BTreeMap::new();
        let has_all = |last: &BTreeMap<String, f64>| {
            expected.iter().all(|(name, value)| last.get(*name) == Some(value))
        };
        wait::until(&format!("{expected:?}"), || {
            last = self.scrape();
            has_all(&last)
        });
    }

    /// What a command says that asks it, or that asks no agent.
    pub(crate) fn said(&self, arguments: &[&str], asks: bool) -> (Option<i32>, String) {
        let mut command = Command::new(binary());
        command.args(arguments);
        if asks {
            command.arg(format!("--agent={}", self.socket.display()));
        } else {
            command.arg("--no-agent");
        }
        let output = command.output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(errors.is_empty(), "{arguments:?}: {errors}");
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    }

    /// Kills it.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Ends it; it must leave nothing behind.
    pub(crate) fn stop(mut self) -> String {
        // SAFETY: the child has not been waited for, so its process id is valid.
        unsafe { libc::kill(self.child.id().cast_signed(), libc::SIGTERM) };
        let mut rest = String::new();
        self.errors.read_to_string(&mut rest).unwrap();
        assert_eq!(self.child.wait().unwrap().code(), Some(0), "{rest}");
        assert!(!self.socket.exists(), "the socket is left behind");
        rest
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // After `stop` there is none left to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The JSON of a process's row, of the user's entry, or whatever `pick` takes.
fn json_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[live_test(each = backend)]
fn metrics_are_the_kernel_s_numbers() {
    let _machine = system::the_machine();
    let served = Served::start(&["--program-stats"]);
    let before = served.scrape();
    let most = system::number_in("/proc/sys/fs/inotify/max_user_instances");
    let uid = system::fresh_uid();
    let mut process = Process::start();
    process.call(&format!("open_files {}", most + 1000)).unwrap();
    process.call(&format!("uid {uid}")).unwrap();
    // The quota is filled, and three more are refused for that.
    let mut made = 0;
    while process.call("init1 0").is_ok() {
        made += 1;
    }
    for _ in 0..2 {
        assert_eq!(process.call("init1 0"), Err(libc::EMFILE));
    }
    assert_eq!(made, most);
    // Another one has no descriptors left, and is refused for that.
    let mut other = Process::start();
    other.call("init1 0").unwrap();
    other.call("open_files 6").unwrap();
    while other.call("init1 0").is_ok() {}
    let user = format!("{{user=\"{uid}\",userns=\"initial\"}}");
    let failures =
        |cause: &str| format!("inotify_failures_total{{call=\"inotify_init\",cause=\"{cause}\"}}");
    let (instance, nofile) = (failures("instance_limit"), failures("rlimit_nofile"));
    served.wait_for(&[
        (&format!("inotify_instances_used{user}"), f64::from(most)),
        (&format!("inotify_instances_limit{user}"), f64::from(most)),
        (&format!("inotify_instances_not_visible{user}"), 0.0),
        (&instance, before[&instance] + 3.0),
        (&nofile, before[&nofile] + 1.0),
        ("inotify_sysctl_max_user_instances", f64::from(most)),
    ]);
    let now = served.scrape();
    let holders = now.iter().filter(|(name, _)| name.starts_with("inotify_holder_instances{"));
    let held: f64 = holders.map(|(_, value)| value).sum();
    assert!(held >= f64::from(most) + 3.0, "{held}");
    let pid = served.child.id();
    assert_eq!(now["process_max_fds"], system::max_descriptors(pid) as f64);
    let open = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count() as f64;
    assert!((now["process_open_fds"] - open).abs() <= 2.0, "{open}: {now:?}");
    assert!(now["inotify_trace_map_memory_bytes"] >= now["inotify_trace_ring_capacity_bytes"]);
    assert!(now["inotify_trace_ring_bytes"] < now["inotify_trace_ring_capacity_bytes"]);
    let sum = |family: &str| -> f64 {
        now.iter().filter(|(name, _)| name.starts_with(family)).map(|(_, count)| count).sum()
    };
    // Newer kernels skip a program that was interrupted by one that calls it too, and count that.
    let skipped = sum("inotify_trace_program_misses_total{");
    assert_eq!(now["inotify_trace_lost_total{what=\"runs\"}"], skipped, "{now:?}");
    assert_eq!(sum("inotify_trace_lost_total{"), skipped, "{now:?}");
    let runs = now.iter().filter(|(name, _)| name.starts_with("inotify_trace_program_runs_total{"));
    assert!(runs.map(|(_, count)| count).sum::<f64>() >= f64::from(most), "{now:?}");
    // Whoever has nothing is not charged, and no counter falls.
    drop(process);
    wait::until("the user has nothing", || {
        !served.scrape().contains_key(&format!("inotify_instances_used{user}"))
    });
    let after = served.scrape();
    for (name, value) in now.iter().filter(|(name, _)| name.contains("_total")) {
        assert!(after.get(name).is_none_or(|after| after >= value), "{name} falls from {value}");
    }
    served.stop();
}

/// The kernel takes the watches of an instance off the user's charge when it ends, and no record tells
/// how many.
#[live_test(each = backend)]
fn watches_that_end_with_their_instance_are_not_charged_any_more() {
    let _machine = system::the_machine();
    let recorded = system::directory();
    let served = Served::start(&["--record", recorded.path().to_str().unwrap()]);
    let uid = system::fresh_uid();
    let directory = system::directory();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let watching = |paths: usize| {
        let mut process = Process::of_user_with(uid, 0);
        let fd = process.call("init1 0").unwrap();
        for path in 0..paths {
            let path = directory.path().join(path.to_string());
            fs::create_dir_all(&path).unwrap();
            let path = hex(path.as_os_str().as_encoded_bytes());
            process.call(&format!("watch {fd} {path} {}", libc::IN_MODIFY)).unwrap();
        }
        process
    };
    let stays = watching(2);
    let ends = watching(40);
    let watches = format!("inotify_watches_used{{user=\"{uid}\",userns=\"initial\"}}");
    served.wait_for(&[(&watches, 42.0)]);
    drop(ends);
    served.wait_for(&[(&watches, 2.0)]);
    let directory = directory.path().join("0");
    fs::remove_dir(&directory).unwrap();
    served.wait_for(&[(&watches, 1.0)]);
    served.stop();
    drop(stays);
    let limits = Command::new(binary())
        .args(["limits", "-o", "json", "--recording"])
        .arg(recorded.path())
        .output()
        .unwrap();
    let limits = json_of(&String::from_utf8(limits.stdout).unwrap());
    let mut users = limits["users"].as_array().unwrap().iter();
    let user = users.find(|it| it["user"]["uid"] == uid).unwrap();
    assert_eq!((&user["used"], &user["watches_used"]), (&json!(1), &json!(1)));
}

#[live_test(each = kernel)]
fn the_agent_says_what_the_kernel_says() {
    let _machine = system::the_machine();
    let world = World::new();
    let mut before = world.subject();
    let directory = system::directory();
    let fd = before.create(0).unwrap();
    before.watch(fd, directory.path(), libc::IN_CREATE).unwrap();
    let served = Served::start(&[]);
    let mut after = world.subject();
    let fd = after.create(0).unwrap();
    after.watch(fd, directory.path(), libc::IN_CREATE).unwrap();
    after.watch(fd, "/etc", libc::IN_CREATE).unwrap();
    for arguments in [&["list", "-o", "json"][..], &["list", "-o", "json", "--watches"]] {
        let ours = |text: &str| -> Vec<Value> {
            let rows = json_of(text)["rows"].as_array().unwrap().clone();
            let is_ours =
                |row: &Value| [before.pid(), after.pid()].iter().any(|pid| row["pid"] == *pid);
            let mut rows: Vec<_> = rows.into_iter().filter(is_ours).collect();
            rows.iter_mut().for_each(|row| drop(row.as_object_mut().unwrap().remove("instance")));
            rows.sort_by_key(Value::to_string);
            rows
        };
        let asked = ours(&served.said(arguments, true).1);
        assert!(asked.len() >= 2, "{asked:?}");
        assert_eq!(asked, ours(&served.said(arguments, false).1), "{arguments:?}");
    }
    let user = |text: &str| {
        let users = json_of(text)["users"].as_array().unwrap().clone();
        let uid = before.actor.uid;
        users.into_iter().find(|user| user["user"]["uid"] == uid)
    };
    let limits = ["limits", "-o", "json"];
    let asked = user(&served.said(&limits, true).1);
    assert!(asked.is_some());
    assert_eq!(asked, user(&served.said(&limits, false).1));
    let check = Command::new(binary())
        .args(["check", "-o", "json"])
        .arg(format!("--agent={}", served.socket.display()))
        .output()
        .unwrap();
    let check = json_of(&String::from_utf8(check.stdout).unwrap());
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let findings = check["findings"].as_array().unwrap().iter();
    let backend = findings.clone().find(|it| it["subject"] == "backend").unwrap();
    assert!(backend["detail"].as_str().unwrap().contains(kernel.trim()), "{check}");
    let recording = findings.clone().find(|it| it["subject"] == "recording").unwrap();
    assert_eq!(recording["detail"], "not asked for: serve --record", "{check}");
    let leaks = |asks| served.said(&["leaks", "-o", "json", "--settle", "0s"], asks);
    assert_eq!(leaks(true).0, leaks(false).0);
    // The threads that speak to others may do nothing.
    for task in fs::read_dir(format!("/proc/{}/task", served.child.id())).unwrap().flatten() {
        let status = fs::read_to_string(task.path().join("status")).unwrap();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim().to_owned()
        };
        if ["http", "socket", "client"].contains(&field("Name:").as_str()) {
            assert_eq!(field("CapEff:"), "0000000000000000", "{}", field("Name:"));
        }
    }
    served.stop();
    before.exit();
    after.exit();
}

#[live_test]
fn a_trace_of_the_agent_shows_events_until_it_ends() {
    let _machine = system::the_machine();
    let recorded = system::directory();
    let served = Served::start(&["--record", recorded.path().to_str().unwrap()]);
    let mut process = Process::start();
    let mut trace = Command::new(binary())
        .args(["trace", "-o", "json", "-e", "create,found", "-p", &process.pid.to_string()])
        .arg(format!("--agent={}", served.socket.display()))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(trace.stdout.take().unwrap()).lines();
    // It does not say when it begins: events come until it shows one.
    let pid = process.pid;
    let is_over = Arc::new(AtomicBool::new(false));
    let its = Arc::clone(&is_over);
    let creator = std::thread::spawn(move || {
        while !its.load(Ordering::SeqCst) {
            let fd = process.call("init1 0").unwrap();
            process.call(&format!("close {fd}")).unwrap();
        }
    });
    let event: Value = json_of(&lines.next().unwrap().unwrap());
    assert_eq!((&event["event"], &event["pid"]), (&json!("create"), &json!(pid)), "{event}");
    is_over.store(true, Ordering::SeqCst);
    creator.join().unwrap();
    let rest = served.stop();
    assert!(rest.contains("Recorded "), "{rest}");
    assert!(lines.all(|line| line.is_ok()));
    assert_eq!(trace.wait().unwrap().code(), Some(0));
    let mut errors = String::new();
    trace.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    assert!(errors.contains("the agent has ended"), "{errors}");
    let files = fs::read_dir(recorded.path()).unwrap().flatten();
    let names: Vec<_> = files.map(|it| it.file_name().to_string_lossy().into_owned()).collect();
    assert!(names.len() == 1 && names[0].ends_with(".itrec"), "{names:?}");
}
