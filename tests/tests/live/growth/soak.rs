//! What takes minutes: growth by the usual thresholds, and ordinary load beside it, of which nothing
//! is said. Only the full tier runs it, which sets the variable.

use std::{
    collections::BTreeMap,
    process::{Child, Stdio},
    time::Instant,
};

use inotify_trace_tests::require_program;

use super::*;

/// A program of the load. It ends with this.
struct Load(Child);

impl Load {
    fn start(program: &Path, arguments: &[&str], directory: &Path) -> Self {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(directory);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().unwrap())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Watches a tree, and a file that is replaced all the time, as editors and servers do.
const NODE: &str = "
const fs = require('fs');
fs.watch('tree', { recursive: true }, () => {});
fs.watch('app.log', () => {});
setInterval(() => fs.watch('app.log', () => {}).close(), 500);
";

#[live_test]
fn ordinary_load_leads_to_no_verdict_and_leaks_beside_it_do() {
    let name = "growth::soak::ordinary_load_leads_to_no_verdict_and_leaks_beside_it_do";
    let Some(seconds) = system::soak() else {
        return system::skip(name, &system::without_soak());
    };
    let [tail, inotifywait, node] =
        [require_program!("tail"), require_program!("inotifywait"), require_program!("node")];
    let directory = system::directory();
    let path = directory.path();
    fs::write(path.join("app.log"), "").unwrap();
    for number in 0..500 {
        fs::create_dir_all(path.join(format!("tree/{}/{number}", number % 20))).unwrap();
    }
    let _machine = system::the_machine();
    let (agent, (_kept, file, recorder)) =
        (Agent::unparsed(&["leaks", "--watch", "-o", "json"]), recorder());
    // A name alone is no known bug's.
    let python = path.join("python3.13");
    fs::copy(workload(), &python).unwrap();
    let mut app = Process::start_as(&python, &[]);
    app.call(&format!("uid {}", system::fresh_uid())).unwrap();
    let (mut follower, mut supervisor) = (start(), start());
    let mut load = vec![
        Load::start(&tail, &["-F", "app.log"], path),
        Load::start(&inotifywait, &["-q", "-m", "-r", "tree"], path),
        Load::start(&node, &["-e", NODE], path),
    ];
    // Equal processes of one service, of which none ends.
    let Some(service) = Cgroup::new() else { return system::skip(name, "no cgroup v2") };
    let stray = |service: &Cgroup| {
        let mut process = Process::start();
        service.add(process.pid);
        watch(&mut process, path);
        process
    };
    let mut strays = vec![stray(&service)];
    let growing = supervisor.call("init1 0").unwrap();
    let (begun, mut round) = (Instant::now(), 0_u32);
    let is_told = |kind: &str, pid| {
        let events = agent.events();
        verdicts(&events, kind).iter().any(|it| it["pid"] == pid)
    };
    let (growing_pid, leaky_pid, stray_pid) = (supervisor.pid, app.pid, strays[0].pid);
    while begun.elapsed() < Duration::from_secs(seconds)
        || !is_told("growing", leaky_pid)
        || !is_told("watches-growing", growing_pid)
        || !is_told("piling-up", stray_pid)
    {
        assert!(begun.elapsed() < Duration::from_secs(seconds + 300), "{:?}", agent.events());
        round += 1;
        // One more watch, and none removed.
        let own = path.join(format!("conf-{round}"));
        fs::write(&own, "").unwrap();
        let own = hex(own.as_os_str().as_encoded_bytes());
        supervisor.call(&format!("watch {growing} {own} 2")).unwrap();
        if round % 20 == 0 && round < 2400 {
            // Ten made, nine closed.
            let made: Vec<_> = (0..10).map(|_| watch(&mut app, path)).collect();
            for fd in &made[1..] {
                app.call(&format!("close {fd}")).unwrap();
            }
        }
        if round % 70 == 0 && round < 2400 {
            strays.push(stray(&service));
        }
        if round % 130 == 0 && round < 4000 {
            let log = path.join(format!("{round}.log"));
            fs::write(&log, "").unwrap();
            watch(&mut follower, &log);
        }
        if round % 50 == 0 {
            // A log is rotated, a program starts and ends, and a build adds and removes directories.
            fs::rename(path.join("app.log"), path.join("app.log.1")).unwrap();
            fs::write(path.join("app.log"), "").unwrap();
            load.truncate(6);
            load.insert(3, Load::start(&tail, &["-f", "app.log"], path));
            let build = path.join("tree/build");
            let _ = fs::remove_dir_all(&build);
            for number in 0..30 {
                fs::create_dir_all(build.join(number.to_string())).unwrap();
            }
        }
        thread::sleep(Duration::from_millis(100));
    }
    let (run, _) = (agent.stop(), recorder.stop());
    let leaks: Vec<Value> =
        ["target-gone", "container-gone", "growing", "watches-growing", "piling-up"]
            .iter()
            .flat_map(|kind| verdicts(&run.events, kind))
            .collect();
    let ours = [growing_pid, leaky_pid, stray_pid].map(Value::from);
    let others: Vec<_> = leaks.iter().filter(|it| !ours.contains(&it["pid"])).collect();
    assert_eq!(others, [] as [&Value; 0]);
    assert!(leaks.iter().all(|it| it.get("pattern").is_none()), "{leaks:?}");
    let growing = about(&run, "watches-growing", growing_pid);
    let first = growing.first().unwrap();
    assert!(first["watches"].as_u64().unwrap() <= u64::from(round), "{first}");
    assert!(first["seconds_left"].is_u64(), "{first}");
    // The recording says the same of the run, by `replay` and by the report.
    let replayed = Command::new(binary()).args(["replay", "-o", "json", &file]).output().unwrap();
    let replayed = String::from_utf8(replayed.stdout).unwrap();
    let replayed: Vec<Value> =
        replayed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let replayed = replayed.iter().filter(|it| it["event"] == "verdict" && it["leak"] == true);
    assert_eq!(stories(replayed), stories(&leaks));
    let report = Command::new(binary()).args(["report", &file, "-f", "text"]).output().unwrap();
    let report = String::from_utf8(report.stdout).unwrap();
    for (pid, kind) in stories(&leaks).keys() {
        let its = match kind.as_str() {
            "piling-up" => format!("processes workload in {}", service.path),
            _ => format!("({pid})"),
        };
        let is_told = |line: &str| line.contains("LEAK ") && line.contains(&its);
        assert!(report.lines().any(is_told), "no {kind} of {pid} in: {report}");
    }
}

/// What does not depend on when it is told, by process and kind.
fn stories<'a>(
    verdicts: impl IntoIterator<Item = &'a Value>,
) -> BTreeMap<(u64, String), [Value; 4]> {
    let key =
        |it: &Value| (it["pid"].as_u64().unwrap(), it["verdict"].as_str().unwrap().to_owned());
    let facts = |it: &Value| ["comm", "uid", "pattern", "remedy"].map(|field| it[field].clone());
    verdicts.into_iter().map(|it| (key(it), facts(it))).collect()
}
