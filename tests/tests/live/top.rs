//! `top` in a real terminal: each view, and the shell as it was afterwards.

use std::{
    fs,
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use inotify_trace_tests::{Process, agent::binary, live_test, process::hex, system, wait};
use tempfile::TempDir;

/// A shell in a terminal of its own.
struct Terminal(TempDir);

impl Terminal {
    /// None without tmux, after saying so.
    fn start(test: &str) -> Option<Self> {
        if system::which("tmux").is_none() {
            system::skip(test, "tmux is not installed");
            return None;
        }
        let terminal = Self(system::directory());
        let shell = "PS1='ready> ' exec sh";
        terminal.tmux(&["new-session", "-d", "-x", "100", "-y", "30", shell]);
        terminal.wait_for("ready>");
        Some(terminal)
    }

    fn tmux(&self, arguments: &[&str]) -> String {
        let mut tmux = Command::new("tmux");
        tmux.args(["-f", "/dev/null", "-S"]).arg(self.0.path().join("tmux"));
        let output = tmux.args(arguments).env_remove("TMUX").output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn keys(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat());
    }

    fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    fn wait_for(&self, text: &str) {
        let wait = wait::Wait::begin();
        while !self.screen().contains(text) {
            wait.look_again(|| format!("{text} is not on the screen:\n{}", self.screen()));
        }
    }

    /// Starts it, and returns its process.
    fn top(&self, arguments: &str) -> u32 {
        let number = self.0.path().join("pid");
        // Not there before the process is.
        let _ = fs::remove_file(&number);
        let (program, place) = (binary(), number.display().to_string());
        let program = program.display();
        let backend = std::env::var("INOTIFY_TRACE_BACKEND")
            .ok()
            .filter(|_| arguments.is_empty())
            .map(|name| format!("--backend={name}"))
            .unwrap_or_default();
        let line = format!(
            "clear; sh -c 'echo $$ > {place}; exec {program} top {arguments} {backend}'; echo code=$?"
        );
        self.keys(&[&line, "Enter"]);
        self.wait_for("1 Containers");
        fs::read_to_string(number).unwrap().trim().parse().unwrap()
    }

    /// Waits for the shell, whose terminal must be as it was.
    fn is_given_back(&self, code: u8) {
        self.wait_for(&format!("code={code}"));
        assert!(!self.screen().contains("1 Containers"), "{}", self.screen());
        // Typed text shows, lines end, and the cursor is there.
        self.keys(&["echo typed-$((1 + 1))", "Enter"]);
        self.wait_for("echo typed-$((1 + 1))");
        self.wait_for("\ntyped-2");
        let flags = self.tmux(&["display-message", "-p", "#{cursor_flag} #{alternate_on}"]);
        assert_eq!(flags.trim(), "1 0");
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.tmux(&["kill-server"]);
    }
}

#[live_test]
fn each_view_shows_what_happens_and_the_terminal_is_given_back() {
    let _machine = system::the_machine();
    let name = "top::each_view_shows_what_happens_and_the_terminal_is_given_back";
    let Some(terminal) = Terminal::start(name) else { return };
    let folder = system::directory();
    let watched = folder.path().join("watched-file");
    fs::write(&watched, "").unwrap();
    let uid = system::fresh_uid();
    let pid = terminal.top("");

    // A user at the limit, who is refused one more.
    let mut holder = Process::of_user_with(uid, 0);
    let mut held = 0;
    while holder.call("init1 0").is_ok() {
        held += 1;
    }
    let mut other = Process::start();
    let fd = other.call("init1 0").unwrap();
    let path = hex(watched.as_os_str().as_encoded_bytes());
    other.call(&format!("watch {fd} {path} {}", libc::IN_MODIFY)).unwrap();

    terminal.keys(&["3"]);
    terminal.wait_for(&format!("{held} of {held}"));
    terminal.keys(&["4"]);
    terminal.wait_for("EMFILE: inotify inst");
    terminal.keys(&["Enter"]);
    terminal.wait_for("do: ");
    terminal.keys(&["2"]);
    terminal.keys(&["/", &other.pid.to_string(), "Enter"]);
    terminal.wait_for("1 of 1");
    terminal.keys(&["w"]);
    terminal.wait_for("watched-file");
    terminal.keys(&["Escape"]);
    terminal.keys(&["Tab"]);
    terminal.wait_for("WATCHES-USED");
    terminal.keys(&["5"]);
    terminal.wait_for("FINDING");
    terminal.keys(&["1"]);
    terminal.wait_for("HELD-IN");
    // A smaller terminal has fewer columns, and gets them back.
    terminal.tmux(&["resize-window", "-x", "50", "-y", "14"]);
    let wait = wait::Wait::begin();
    let is_small = |screen: &str| screen.contains("1 Containers") && !screen.contains("HELD-IN");
    while !is_small(&terminal.screen()) {
        wait.look_again(|| terminal.screen());
    }
    terminal.tmux(&["resize-window", "-x", "100", "-y", "30"]);
    terminal.wait_for("HELD-IN");
    terminal.keys(&["?"]);
    terminal.wait_for("Shift-Tab");
    terminal.keys(&["q"]);
    terminal.is_given_back(0);
    assert!(!Path::new(&format!("/proc/{pid}")).exists());

    let pid = terminal.top("");
    let status = Command::new("kill").arg(pid.to_string()).status().unwrap();
    assert!(status.success());
    terminal.is_given_back(0);
    terminal.top("");
    terminal.keys(&["C-c"]);
    terminal.is_given_back(0);
}

#[live_test]
fn the_same_is_shown_of_an_agent_until_it_is_gone_and_of_a_recording() {
    let _machine = system::the_machine();
    let name = "top::the_same_is_shown_of_an_agent_until_it_is_gone_and_of_a_recording";
    let Some(terminal) = Terminal::start(name) else { return };
    let folder = system::directory();
    let socket = folder.path().join("agent.sock");
    let recordings = folder.path().join("recordings");
    let mut agent = Command::new(binary())
        .args(["serve", "--listen", "127.0.0.1:0", "--socket"])
        .arg(&socket)
        .arg("--record")
        .arg(&recordings)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait::until("the agent answers", || {
        let mut list = Command::new(binary());
        list.arg("list").arg(format!("--agent={}", socket.display()));
        list.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success()
    });
    terminal.top(&format!("--agent={} --view processes", socket.display()));
    let mut holder = Process::start();
    holder.call("init1 0").unwrap();
    terminal.wait_for(&format!("{}  workload", holder.pid));
    terminal.keys(&["Space"]);
    terminal.wait_for("paused");
    terminal.keys(&["Space"]);
    wait::until("it is recorded", || {
        let mut list = Command::new(binary());
        list.arg("list").arg("--recording").arg(&recordings).stderr(Stdio::null());
        let told = list.output().unwrap().stdout;
        String::from_utf8_lossy(&told).contains(&holder.pid.to_string())
    });
    agent.kill().unwrap();
    agent.wait().unwrap();
    terminal.is_given_back(2);

    terminal.top(&format!("--recording {} --view processes", recordings.display()));
    terminal.wait_for(&format!("{}  workload", holder.pid));
    // It was not there at the beginning.
    terminal.keys(&["j", "+0", "Enter"]);
    let wait = wait::Wait::begin();
    while terminal.screen().contains(&format!("{}  workload", holder.pid)) {
        wait.look_again(|| terminal.screen());
    }
    terminal.keys(&["Space"]);
    terminal.wait_for(&format!("{}  workload", holder.pid));
    terminal.keys(&["q"]);
    terminal.is_given_back(0);
}

// A console of a machine may tell nothing about its cursor.
#[live_test]
fn a_terminal_that_answers_nothing_is_no_hindrance() {
    let _machine = system::the_machine();
    let name = "top::a_terminal_that_answers_nothing_is_no_hindrance";
    if system::which("script").is_none() {
        return system::skip(name, "script is not installed");
    }
    let directory = system::directory();
    let shown = directory.path().join("shown");
    let mut script = Command::new("script")
        .args(["--quiet", "--flush", "--return", "--command"])
        .arg(format!("stty rows 24 cols 80; {} top --no-agent", binary().display()))
        .arg(&shown)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let wait = wait::Wait::begin();
    let text = || String::from_utf8_lossy(&fs::read(&shown).unwrap_or_default()).into_owned();
    while !text().contains("Containers") {
        assert!(script.try_wait().unwrap().is_none(), "it ended: {}", text());
        wait.look_again(text);
    }
    script.stdin.take().unwrap().write_all(b"q").unwrap();
    assert_eq!(script.wait().unwrap().code(), Some(0), "{}", text());
}
