//! The agent with exactly the capabilities that it says it needs, with each of them missing, and
//! what it keeps while it runs.

use std::{
    fs,
    os::unix::process::CommandExt as _,
    process::{Command, Output, Stdio},
};

use inotify_trace_tests::{Agent, Process, agent::binary, live_test, system};

use crate::serve::Served;

/// The number (include/uapi/linux/capability.h) and the name of each.
const NEEDED: [(u32, &str); 4] =
    [(2, "CAP_DAC_READ_SEARCH"), (19, "CAP_SYS_PTRACE"), (38, "CAP_PERFMON"), (39, "CAP_BPF")];

/// For an agent that creates files, in directories that may be another user's.
const CAP_DAC_OVERRIDE: u32 = 1;

/// What Debian's kernels demand beside them to open perf events, with their
/// `kernel.perf_event_paranoid` of 3: all backends need these on 5.10, and later kernels none for fentry.
fn demanded() -> Option<u32> {
    const CAP_SYS_ADMIN: u32 = 21;
    let paranoid = fs::read_to_string("/proc/sys/kernel/perf_event_paranoid").unwrap_or_default();
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let is_strict = paranoid.trim().parse().is_ok_and(|paranoid: i32| paranoid > 2);
    let by_perf = std::env::var("INOTIFY_TRACE_BACKEND").is_ok_and(|backend| backend != "fentry");
    (is_strict && (by_perf || release.starts_with("5."))).then_some(CAP_SYS_ADMIN)
}

/// Runs an agent that has these capabilities.
fn run(capabilities: &[u32], arguments: &[&str]) -> Output {
    let mut command = limited(capabilities);
    command.args(arguments).stdin(Stdio::null());
    command.output().expect("the agent must start")
}

/// An agent that has these capabilities, and no others.
fn limited(capabilities: &[u32]) -> Command {
    let kept = capabilities.to_vec();
    let mut command = Command::new(binary());
    let limit = move || {
        // Root's programs get whatever the bounding set allows (capabilities(7)).
        for capability in 0..64 {
            if !kept.contains(&capability) {
                // SAFETY: the call takes no pointers. It fails for numbers that are none.
                unsafe { libc::prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(capability)) };
            }
        }
        // Before Linux 5.11, maps are locked memory: a service sets LimitMEMLOCK=infinity.
        let all = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
        // It fails where root may not, and matters only there.
        // SAFETY: `all` is valid for reads.
        unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const all) };
        Ok(())
    };
    // SAFETY: it makes system calls only, and allocates nothing.
    unsafe { command.pre_exec(limit) };
    command
}

/// The commands to try: what a kernel demands shows in the telling ones, and the others make the
/// same calls.
fn commands<'a>(
    test: &str,
    telling: &[&'a [&'a str]],
    others: &[&'a [&'a str]],
) -> Vec<&'a [&'a str]> {
    if system::is_emulated() {
        system::skip(test, &format!("without {others:?}, whose starts take long under emulation"));
        return telling.to_vec();
    }
    [telling, others].concat()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[live_test(each = kernel)]
fn the_capabilities_that_it_names_are_enough_for_every_command() {
    let all: Vec<_> = NEEDED.iter().map(|(number, _)| *number).chain(demanded()).collect();
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("a.itrec");
    let file = file.to_str().expect("a path without oddities");
    let telling = [
        &["check"][..],
        &["list", "--watches"],
        &["list", "--walk-proc"],
        &["record", "-d", "500ms", "-o", file],
    ];
    let others = [
        &["limits"][..],
        &["leaks"],
        &["trace", "-d", "500ms"],
        &["limits", "--watch", "500ms"],
        &["leaks", "--watch", "500ms"],
    ];
    let test = "privileges::the_capabilities_that_it_names_are_enough_for_every_command";
    for arguments in commands(test, &telling, &others) {
        let output = run(&all, arguments);
        let (out, errors) = (text(&output.stdout), text(&output.stderr));
        // 1 is an answer: a limit that is nearly reached, or a leak.
        assert!(matches!(output.status.code(), Some(0 | 1)), "{arguments:?}: {out}{errors}");
        assert!(!errors.contains("CAP_") && !errors.contains("missing"), "{arguments:?}: {errors}");
        if *arguments == ["check"] {
            let line = out.lines().find(|line| line.starts_with("privileges"));
            let line = line.expect("a line about privileges");
            assert!(line.contains(" ok "), "{line}");
            assert!(NEEDED.iter().all(|(_, name)| line.contains(name)), "{line}");
        }
    }
}

/// As the unit and the DaemonSet run it.
#[live_test(each = backend)]
fn serve_has_the_kernel_s_numbers_with_the_capabilities_that_it_names() {
    let _machine = system::the_machine();
    let all: Vec<_> = NEEDED.iter().map(|(number, _)| *number).chain(demanded()).collect();
    let allowed = all.iter().fold(0_u64, |all, number| all | 1 << number);
    let served = Served::by(limited(&all), &[]);
    let status = fs::read_to_string(format!("/proc/{}/status", served.child.id()));
    let status = status.expect("it runs");
    for set in ["CapBnd:", "CapPrm:", "CapEff:"] {
        let has = status.lines().find_map(|line| line.strip_prefix(set)).expect("a line");
        let has = u64::from_str_radix(has.trim(), 16).expect("a number");
        assert_eq!(has & !allowed, 0, "{set} {has:x}");
    }
    // What the kernel has refused says how many there are, and how many there may be.
    let most = system::number_in("/proc/sys/fs/inotify/max_user_instances");
    let uid = system::fresh_uid();
    let failures = "inotify_failures_total{call=\"inotify_init\",cause=\"instance_limit\"}";
    let before = served.scrape()[failures];
    let mut process = Process::start();
    process.call(&format!("open_files {}", most + 1000)).expect("root may");
    process.call(&format!("uid {uid}")).expect("root may");
    let mut made = 0;
    while process.call("init1 0").is_ok() {
        made += 1;
    }
    assert_eq!(made, most);
    let user = format!("{{user=\"{uid}\",userns=\"initial\"}}");
    served.wait_for(&[
        (&format!("inotify_instances_used{user}"), f64::from(most)),
        (&format!("inotify_instances_limit{user}"), f64::from(most)),
        (&format!("inotify_instances_not_visible{user}"), 0.0),
        (failures, before + 1.0),
    ]);
    let errors = served.stop();
    assert!(!errors.contains("CAP_") && !errors.contains("missing"), "{errors}");
}

#[live_test(each = kernel)]
fn a_missing_capability_is_named_by_every_command() {
    const TEST: &str = "privileges::a_missing_capability_is_named_by_every_command";
    if demanded().is_some() {
        system::skip(TEST, "this kernel demands CAP_SYS_ADMIN, which takes the place of others");
        return;
    }
    for (missing, name) in NEEDED {
        let rest: Vec<_> =
            NEEDED.iter().map(|(number, _)| *number).filter(|it| *it != missing).collect();
        let is_vital = matches!(name, "CAP_BPF" | "CAP_PERFMON");
        for arguments in commands(
            TEST,
            &[&["check"], &["list"], &["leaks"]],
            &[&["limits"], &["trace", "-d", "1s"]],
        ) {
            let output = run(&rest, arguments);
            let (out, errors) = (text(&output.stdout), text(&output.stderr));
            let told = if *arguments == ["check"] { &out } else { &errors };
            assert!(told.contains(name), "{name}, {arguments:?}: {out}{errors}");
            // `list` answers what it can from /proc; `limits` cannot tell whether all is well.
            let is_refused = is_vital && *arguments != ["list"];
            let is_failure = output.status.code() == Some(2);
            assert_eq!(is_failure, is_refused, "{name}, {arguments:?}: {out}{errors}");
        }
    }
}

#[live_test(each = kernel)]
fn a_running_agent_keeps_only_what_it_needs() {
    let needed = NEEDED.iter().fold(0_u64, |all, (number, _)| all | 1 << number);
    // Both kinds start threads: for questions to runtimes, and for the recording.
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("a.itrec");
    let file = file.to_str().expect("a path without oddities");
    for (arguments, more) in [(&[][..], 0), (&["--record", file], 1 << CAP_DAC_OVERRIDE)] {
        let agent = Agent::with(arguments);
        let tasks = fs::read_dir(format!("/proc/{}/task", agent.pid())).expect("it runs");
        for task in tasks {
            let status = task.expect("it runs").path().join("status");
            let status = fs::read_to_string(status).expect("it runs");
            let of = |key: &str| {
                let mut lines = status.lines().filter_map(|line| line.split_once(':'));
                let value = lines.find(|(name, _)| *name == key).map(|(_, value)| value.trim());
                u64::from_str_radix(value.unwrap_or_default(), 16).expect("a number")
            };
            for set in ["CapEff", "CapPrm", "CapInh"] {
                let excess = of(set) & !(needed | more);
                assert_eq!(excess, 0, "{set} {excess:x}, {arguments:?}: {status}");
            }
            assert_eq!(of("NoNewPrivs"), 1, "{status}");
        }
        let _ = agent.stop();
    }
}
