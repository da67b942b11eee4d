//! A real browser, controlled through pipes (`--remote-debugging-pipe`): no port, no driver.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Write as _},
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::process::CommandExt as _,
    },
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
};

use inotify_trace_tests::{system, wait::Wait};
use serde_json::{Value, json};

/// Debian's package, and other browsers with the same options.
const PROGRAMS: [&str; 4] =
    ["chromium-headless-shell", "chromium", "chromium-browser", "google-chrome"];

/// A browser with one page.
pub struct Browser {
    child: Child,
    commands: File,
    messages: Receiver<Value>,
    /// Messages of the page that are no replies.
    events: Vec<Value>,
    session: Option<String>,
    next: u64,
    _profile: tempfile::TempDir,
}

impl Browser {
    /// Starts a browser; without one, prints the reason and returns None.
    pub fn start(test: &str) -> Option<Self> {
        let Some(program) = PROGRAMS.iter().find_map(|it| system::which(it)) else {
            system::skip(test, "no chromium-headless-shell is installed: `cargo xtask setup` does");
            return None;
        };
        let profile = tempfile::tempdir().unwrap();
        let (theirs_in, ours_out) = pipe();
        let (ours_in, theirs_out) = pipe();
        let mut command = Command::new(program);
        command
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
            .args(["--remote-debugging-pipe", "--no-first-run", "--disable-background-networking"])
            .args(["--hide-scrollbars", "--force-color-profile=srgb"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let fds = (theirs_in.as_raw_fd(), theirs_out.as_raw_fd());
        let place = move || {
            // Moves both to free numbers first: one may have the other's number.
            // SAFETY: these system calls take only numbers.
            let moved = unsafe {
                (libc::fcntl(fds.0, libc::F_DUPFD, 10), libc::fcntl(fds.1, libc::F_DUPFD, 10))
            };
            // SAFETY: as above.
            let result = unsafe { (libc::dup2(moved.0, 3), libc::dup2(moved.1, 4)) };
            if result == (3, 4) { Ok(()) } else { Err(std::io::Error::last_os_error()) }
        };
        // SAFETY: only system calls are made between fork and exec.
        unsafe { command.pre_exec(place) };
        let child = command.spawn().expect("the browser must start");
        drop((theirs_in, theirs_out));
        let (sender, messages) = channel();
        thread::spawn(move || {
            for message in BufReader::new(File::from(ours_in)).split(0) {
                let Ok(message) = message else { return };
                let message = serde_json::from_slice(&message).expect("JSON from the browser");
                if sender.send(message).is_err() {
                    return;
                }
            }
        });
        let mut browser = Self {
            child,
            commands: File::from(ours_out),
            messages,
            events: Vec::new(),
            session: None,
            next: 1,
            _profile: profile,
        };
        let target = browser.call("Target.createTarget", json!({ "url": "about:blank" }));
        let target = json!({ "targetId": target["targetId"], "flatten": true });
        let session = browser.call("Target.attachToTarget", target);
        browser.session = session["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Network", "Log"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        Some(browser)
    }

    /// Calls a method and waits for its result.
    pub fn call(&mut self, method: &str, params: Value) -> Value {
        let id = self.next;
        self.next += 1;
        let mut message = json!({ "id": id, "method": method, "params": params });
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        self.commands.write_all(format!("{message}\0").as_bytes()).expect("the browser listens");
        let mut answer = self.wait(method, |message| message["id"] == id);
        assert!(answer.get("error").is_none(), "{method}: {answer}");
        answer["result"].take()
    }

    /// Opens a file, and waits until the page is loaded.
    pub fn open(&mut self, path: &Path) {
        self.events.clear();
        self.call("Page.navigate", json!({ "url": format!("file://{}", path.display()) }));
        self.wait("load", |message| message["method"] == "Page.loadEventFired");
    }

    /// Evaluates an expression in the page.
    pub fn eval(&mut self, expression: &str) -> Value {
        let params = json!({ "expression": expression, "returnByValue": true });
        let mut answer = self.call("Runtime.evaluate", params);
        assert!(answer.get("exceptionDetails").is_none(), "{expression}: {answer}");
        answer["result"]["value"].take()
    }

    pub fn size(&mut self, width: u32, height: u32) {
        self.call(
            "Emulation.setDeviceMetricsOverride",
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500 }),
        );
    }

    pub fn scheme(&mut self, scheme: &str) {
        let feature = json!({ "name": "prefers-color-scheme", "value": scheme });
        self.call("Emulation.setEmulatedMedia", json!({ "features": [feature] }));
    }

    pub fn scripts(&mut self, are_on: bool) {
        self.call("Emulation.setScriptExecutionDisabled", json!({ "value": !are_on }));
    }

    /// A screenshot of the whole page, as PNG.
    pub fn screenshot(&mut self) -> Vec<u8> {
        let params = json!({ "format": "png", "captureBeyondViewport": true });
        let answer = self.call("Page.captureScreenshot", params);
        base64(answer["data"].as_str().expect("a picture"))
    }

    /// All problems of the page since it was opened: errors, and network requests.
    pub fn complaints(&self, page: &Path) -> Vec<&Value> {
        let url = format!("file://{}", page.display());
        let is_bad = |event: &&Value| match event["method"].as_str() {
            Some("Network.requestWillBeSent") => event["params"]["request"]["url"] != url,
            Some("Runtime.exceptionThrown" | "Log.entryAdded") => true,
            Some("Runtime.consoleAPICalled") => true,
            _ => false,
        };
        self.events.iter().filter(is_bad).collect()
    }

    fn wait(&mut self, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        let wait = Wait::begin();
        loop {
            if let Some(at) = self.events.iter().position(&is_it) {
                return self.events.remove(at);
            }
            match self.messages.recv_timeout(wait.left()) {
                Ok(message) => self.events.push(message),
                Err(error) => panic!("no answer of the browser to {what}: {error}"),
            }
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The browser may have exited by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn pipe() -> (OwnedFd, OwnedFd) {
    let (read, write) = std::io::pipe().unwrap();
    (read.into(), write.into())
}

/// Decodes base64 (RFC 4648), in which the browser sends screenshots.
fn base64(text: &str) -> Vec<u8> {
    let value = |byte: u8| match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    for four in text.trim_end_matches('=').as_bytes().chunks(4) {
        let bits = four.iter().fold(0_u32, |bits, &byte| bits << 6 | u32::from(value(byte)));
        let bits = bits << (6 * (4 - four.len()));
        bytes.extend(bits.to_be_bytes()[1..four.len()].iter());
    }
    bytes
}
