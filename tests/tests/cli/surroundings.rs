//! Surroundings in which the agent cannot work as usual.

use std::{
    os::unix::process::CommandExt as _,
    process::{Command, Output},
};

use inotify_trace_tests::{agent::binary, require_root, system};

use crate::{refuses, text};

/// Runs a command after a shell has run `before`.
fn after(before: &str, arguments: &[&str]) -> Output {
    let script = format!("{before} && exec \"$@\"");
    let mut command = Command::new("sh");
    command.args(["-c", &script, "sh"]).arg(binary()).args(arguments);
    command.env_remove("RUST_MIN_STACK").output().expect("a shell must start")
}

/// The commands that look at the machine.
const LIVE: [&[&str]; 5] =
    [&["list"], &["limits"], &["leaks"], &["-d", "1s"], &["limits", "--watch", "1s"]];

#[test]
fn too_few_descriptors_are_named() {
    let _machine = system::the_machine();
    for most in [10, 20, 30, 40, 127] {
        let most = most.to_string();
        for command in LIVE {
            let output = after(&format!("ulimit -n {most}"), command);
            refuses(
                &output,
                &[&format!("only {most} files may be open"), "RLIMIT_NOFILE", "ulimit -n"],
            );
        }
        let check = after(&format!("ulimit -n {most}"), &["check"]);
        assert_eq!(check.status.code(), Some(2));
        assert!(text(&check.stdout).contains("RLIMIT_NOFILE"), "{}", text(&check.stdout));
    }
}

#[test]
fn a_low_soft_limit_is_raised() {
    require_root!();
    let _machine = system::the_machine();
    let output = after("ulimit -S -n 16", &["list"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(text(&output.stderr), "");
}

#[test]
fn a_small_stack_aborts_nothing() {
    let _machine = system::the_machine();
    for stack in [64, 256] {
        // The soft limit is raised, and the hard one by root with CAP_SYS_RESOURCE.
        let output = after(&format!("ulimit -S -s {stack}"), &["--help"]);
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
        let output = after(&format!("ulimit -s {stack}"), &["--help"]);
        if output.status.code() != Some(0) {
            let limit = format!("the stack may have only {stack} KiB");
            refuses(&output, &[&limit, "RLIMIT_STACK", "ulimit -s"]);
        }
    }
    if system::is_root() {
        let output = after("ulimit -S -s 256", &["-d", "1s"]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    }
}

#[test]
fn threads_have_their_stack_whatever_the_environment_says() {
    require_root!();
    let _machine = system::the_machine();
    let directory = system::directory();
    let recording = directory.path().join("recording.itrec");
    let recording = recording.to_str().unwrap();
    for command in [&["list"][..], &["record", "-d", "1s", "-o", recording]] {
        let output =
            Command::new(binary()).args(command).env("RUST_MIN_STACK", "4096").output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{command:?}: {}", text(&output.stderr));
    }
}

/// Runs a command with other namespaces.
fn unshared(flags: i32, script: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh"]).arg(binary()).args(arguments);
    let unshare = move || {
        // SAFETY: the call takes no pointer.
        let result = unsafe { libc::unshare(flags) };
        if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
    };
    // SAFETY: between fork and exec there is one system call, which takes no pointer.
    unsafe { command.pre_exec(unshare) };
    command.output().expect("a shell must start")
}

#[test]
fn a_missing_proc_is_named() {
    require_root!();
    let _machine = system::the_machine();
    let script = "mount --make-rprivate / && mount -t tmpfs none /proc && exec \"$@\"";
    for command in LIVE {
        let output = unshared(libc::CLONE_NEWNS, script, command);
        refuses(&output, &["/proc cannot be read", "mount -t proc proc /proc"]);
    }
    let check = unshared(libc::CLONE_NEWNS, script, &["check"]);
    assert_eq!(check.status.code(), Some(2));
    assert!(text(&check.stdout).contains("/proc cannot be read"), "{}", text(&check.stdout));
}

#[test]
fn a_pid_namespace_is_named() {
    require_root!();
    let _machine = system::the_machine();
    let flags = libc::CLONE_NEWNS | libc::CLONE_NEWPID;
    // The shell's only child is the first process of the new namespace, which ends with it.
    let script = "sh -c 'mount --make-rprivate / && mount -t proc proc /proc && exec \"$@\"' \
        sh \"$@\"; exit $?";
    let words = ["PID namespace", "hostPID: true", "--pid=host"];
    for command in [&["leaks"][..], &["-d", "1s"], &["limits", "--watch", "1s"]] {
        refuses(&unshared(flags, script, command), &words);
    }
    // What the processes in there hold can be listed all the same, and is not the machine's.
    let list = unshared(flags, script, &["list"]);
    assert_eq!(list.status.code(), Some(2));
    for words in words.into_iter().chain(["not those of the machine"]) {
        assert!(text(&list.stderr).contains(words), "{}", text(&list.stderr));
    }
    let check = unshared(flags, script, &["check"]);
    assert_eq!(check.status.code(), Some(2), "{}", text(&check.stdout));
    assert!(text(&check.stdout).contains("PID namespace"), "{}", text(&check.stdout));
}

/// Has the kernel refuse openat2, as systemd's `RestrictSUIDSGID=` does.
fn without_openat2() -> std::io::Result<()> {
    let error = libc::SECCOMP_RET_ERRNO | libc::ENOSYS.cast_unsigned();
    let number = u32::try_from(libc::SYS_openat2).map_err(std::io::Error::other)?;
    let code = |code: u32| u16::try_from(code).unwrap_or_default();
    let step = |it, k, jt, jf| libc::sock_filter { code: code(it), jt, jf, k };
    let filter = [
        // The number of the system call is the first field of `struct seccomp_data`.
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, number, 0, 1),
        step(libc::BPF_RET | libc::BPF_K, error, 0, 0),
        step(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW, 0, 0),
    ];
    let program = libc::sock_fprog { len: 4, filter: filter.as_ptr().cast_mut() };
    // SAFETY: the filter lives on, and the kernel copies it.
    let is_set = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
            && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) == 0
    };
    if is_set { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

#[test]
fn check_says_that_openat2_is_refused() {
    let _machine = system::the_machine();
    let check = |is_refused: bool| {
        let mut command = Command::new(binary());
        command.arg("check");
        if is_refused {
            // SAFETY: between fork and exec there are two system calls, and nothing is allocated.
            unsafe { command.pre_exec(without_openat2) };
        }
        let output = command.output().expect("the agent must start");
        let out = text(&output.stdout).split_whitespace().collect::<Vec<_>>().join(" ");
        (output.status.code(), out)
    };
    let (usual, refused) = (check(false), check(true));
    assert!(usual.1.contains("files ok openat2"), "{}", usual.1);
    assert!(refused.1.contains("files limited openat2 is refused"), "{}", refused.1);
    assert!(refused.1.contains("RestrictSUIDSGID="), "{}", refused.1);
    assert_eq!(usual.0, refused.0, "tracing works as well as with it: {}", refused.1);
}
