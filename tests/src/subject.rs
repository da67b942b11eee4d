//! A process under test: it executes steps, and the test notes the expected events of each.

use std::{os::unix::ffi::OsStrExt as _, path::Path};

use serde_json::json;

use crate::{
    actor::{Actor, errno_name, mask_names, target},
    cgroup::Cgroup,
    expected::ANY,
    process::{Answer, Process, hex},
    system::{self, boot_ns},
    world::{Descriptor, Ledger, Way, World, object},
};

/// A process under test, or a thread of one.
#[derive(Debug)]
pub struct Subject {
    /// The process, for steps without expected events.
    pub process: Process,
    /// The expected task of its events.
    pub actor: Actor,
    /// The user who is charged for its instances.
    pub payer: usize,
    pub(crate) world: World,
}

impl Subject {
    /// Process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid
    }

    /// Executes a command and notes its expected events.
    fn step<T>(
        &mut self,
        act: impl FnOnce(&mut Process) -> T,
        note: impl FnOnce(&mut Ledger, &Actor, &T, (u64, u64)),
    ) -> T {
        let before = boot_ns();
        let result = act(&mut self.process);
        let time = (before, boot_ns());
        note(&mut self.world.0.borrow_mut(), &self.actor, &result, time);
        result
    }

    fn table<'a>(
        ledger: &'a mut Ledger,
        actor: &Actor,
    ) -> &'a mut std::collections::BTreeMap<i32, Descriptor> {
        ledger.holders.insert(actor.pid);
        ledger.tables.entry(actor.pid).or_default()
    }

    /// inotify_init1(2).
    ///
    /// # Errors
    /// The errno, if the kernel refused.
    pub fn create(&mut self, flags: i32) -> Answer {
        self.create_by(&format!("init1 {flags}"), flags)
    }

    /// inotify_init(2), which has no flags.
    ///
    /// # Errors
    /// The errno, if the kernel refused.
    pub fn create_legacy(&mut self) -> Answer {
        self.create_by("init", 0)
    }

    fn create_by(&mut self, command: &str, flags: i32) -> Answer {
        let payer = self.payer;
        let new = Descriptor::new(0, flags & libc::IN_CLOEXEC != 0, flags & libc::IN_NONBLOCK != 0);
        self.step(
            |process| process.call(command),
            |ledger, actor, result, time| match *result {
                Ok(fd) => {
                    let instance = ledger.begin(payer, time);
                    let mut fields = actor.fields("create");
                    fields.extend(ledger.instances_quota(payer));
                    fields.extend(object(json!({ "fd": fd, "flags": new.flags() })));
                    Self::table(ledger, actor).insert(fd, Descriptor { instance, ..new });
                    ledger.expect(fields, Some(instance), time);
                }
                Err(errno) => {
                    let mut fields = actor.fields("create-failed");
                    fields.extend(ledger.instances_quota(payer));
                    let (errno, flags) = (errno_name(errno), new.flags());
                    fields.extend(object(json!({ "errno": errno, "flags": flags })));
                    if errno == "EMFILE" {
                        let full = fields.get("used") == fields.get("limit");
                        let limit = if full { "inotify-instances" } else { "rlimit-nofile" };
                        fields.insert("limit_hit".to_owned(), json!(limit));
                        let files = system::max_descriptors(actor.pid);
                        fields.insert("files_limit".to_owned(), json!(files));
                        if !full {
                            fields.insert("files_used".to_owned(), json!(files));
                        }
                        // The agent reports culprits at most once a second.
                        fields.insert("culprits".to_owned(), json!(ANY));
                        fields.insert("not_visible".to_owned(), json!(ANY));
                    }
                    ledger.expect(fields, None, time);
                }
            },
        )
    }

    /// inotify_add_watch(2).
    ///
    /// # Errors
    /// The errno, if the kernel refused.
    pub fn watch(&mut self, fd: i32, path: impl AsRef<Path>, mask: u32) -> Answer {
        let path = path.as_ref();
        let names = mask_names(mask);
        self.step(
            |process| {
                process.call(&format!("watch {fd} {} {mask}", hex(path.as_os_str().as_bytes())))
            },
            |ledger, actor, result, time| {
                let instance = Self::table(ledger, actor).get(&fd).map(|it| it.instance);
                let said = path.to_string_lossy();
                let mut fields = object(json!({ "path": said, "mask": names }));
                match (*result, instance) {
                    (Ok(wd), Some(instance)) => {
                        fields.extend(target(path));
                        ledger.add_watch(instance, wd, fields.clone());
                        fields.extend(object(json!({ "fd": fd, "wd": wd })));
                        fields.extend(actor.fields("watch"));
                    }
                    (Ok(_), None) => panic!("{fd} is no instance, and was watched with"),
                    (Err(errno), _) => {
                        fields.extend(object(json!({ "fd": fd, "errno": errno_name(errno) })));
                        if errno == libc::ENOSPC {
                            fields.insert("culprits".to_owned(), json!(ANY));
                            fields.insert("not_visible".to_owned(), json!(ANY));
                            fields.insert("limit_hit".to_owned(), json!("inotify-watches"));
                        }
                        fields.extend(actor.fields("watch-failed"));
                    }
                }
                fields.extend(instance.map(|it| ledger.watches_quota(it)).unwrap_or_default());
                ledger.expect(fields, instance, time);
            },
        )
    }

    /// inotify_rm_watch(2).
    pub fn unwatch(&mut self, fd: i32, wd: i32) {
        self.step(
            |process| {
                process.call(&format!("unwatch {fd} {wd}")).expect("a watch of this instance")
            },
            |ledger, actor, _, time| {
                let instance = Self::table(ledger, actor)[&fd].instance;
                ledger.remove_watch(instance, wd);
                let mut fields = actor.fields("unwatch");
                fields.extend(ledger.watches_quota(instance));
                fields.extend(object(json!({ "fd": fd, "wd": wd })));
                ledger.expect(fields, Some(instance), time);
            },
        );
    }

    /// unlink(2) of a watched file that is open nowhere, which removes the watch.
    pub fn remove_watched(&mut self, path: &Path, fd: i32, wd: i32) {
        self.step(
            |process| {
                let path = hex(path.as_os_str().as_bytes());
                process.call(&format!("remove {path}")).expect("a file that may be removed")
            },
            |ledger, actor, _, time| {
                let instance = Self::table(ledger, actor)[&fd].instance;
                ledger.remove_watch(instance, wd);
                let mut fields = actor.fields("unwatch");
                fields.extend(ledger.watches_quota(instance));
                fields.extend(object(json!({ "wd": wd, "how": "vanished" })));
                ledger.expect(fields, Some(instance), time);
            },
        );
    }

    /// close(2).
    pub fn close(&mut self, fd: i32) {
        self.close_as(fd, Way::Close);
    }

    /// close(2) by a process that the agent cannot know as a holder of the instance.
    pub fn close_unseen(&mut self, fd: i32) {
        self.close_as(fd, Way::Unseen);
    }

    /// Closes through io_uring. False if the kernel does not have or allow it.
    pub fn uring_close(&mut self, fd: i32) -> bool {
        const UNAVAILABLE: [i32; 3] = [libc::ENOSYS, libc::EPERM, libc::EINVAL];
        self.step(
            |process| match process.call(&format!("uring_close {fd}")) {
                Ok(_) => true,
                Err(errno) if UNAVAILABLE.contains(&errno) => false,
                Err(errno) => panic!("closing through io_uring: {errno}"),
            },
            |ledger, actor, &done, time| {
                if done {
                    Self::closed(ledger, actor, fd, Way::Unseen, time);
                }
            },
        )
    }

    fn close_as(&mut self, fd: i32, way: Way) {
        self.step(
            |process| process.call(&format!("close {fd}")).expect("an open descriptor"),
            |ledger, actor, _, time| Self::closed(ledger, actor, fd, way, time),
        );
    }

    fn closed(ledger: &mut Ledger, actor: &Actor, fd: i32, way: Way, time: (u64, u64)) {
        if let Some(descriptor) = Self::table(ledger, actor).remove(&fd) {
            ledger.leave(actor, fd, descriptor.instance, way, time);
        }
    }

    /// dup(2).
    pub fn dup(&mut self, fd: i32) -> i32 {
        self.step(
            |process| process.call(&format!("dup {fd}")).expect("an open descriptor"),
            |ledger, actor, &new, _| Self::copied(ledger, actor, fd, new, false),
        )
    }

    fn copied(ledger: &mut Ledger, actor: &Actor, old: i32, new: i32, cloexec: bool) {
        if let Some(&descriptor) = Self::table(ledger, actor).get(&old) {
            ledger.refer(descriptor.instance);
            Self::table(ledger, actor).insert(new, Descriptor { cloexec, ..descriptor });
        }
    }

    /// dup2(2), or dup3(2) if there are flags.
    pub fn dup_over(&mut self, old: i32, new: i32, flags: Option<i32>) {
        let command = match flags {
            None => format!("dup2 {old} {new}"),
            Some(flags) => format!("dup3 {old} {new} {flags}"),
        };
        self.step(
            |process| process.call(&command).expect("an open descriptor"),
            |ledger, actor, _, time| {
                if old != new {
                    Self::closed(ledger, actor, new, Way::Close, time);
                    let cloexec = flags.is_some_and(|flags| flags & libc::O_CLOEXEC != 0);
                    Self::copied(ledger, actor, old, new, cloexec);
                }
            },
        );
    }

    /// close_range(2) without flags.
    pub fn close_range(&mut self, first: i32, last: u32) {
        self.step(
            |process| process.call(&format!("close_range {first} {last} 0")).expect("a range"),
            |ledger, actor, _, time| {
                let last = i32::try_from(last).unwrap_or(i32::MAX);
                let mut fields = actor.fields("range-close");
                fields.extend(object(json!({ "first": first, "last": last })));
                ledger.expect(fields, None, time);
                let table = Self::table(ledger, actor);
                let closed: Vec<_> = table.range(first..=last).map(|(&fd, _)| fd).collect();
                let since = ledger.expected_so_far();
                for fd in closed {
                    Self::closed(ledger, actor, fd, Way::Range, time);
                }
                ledger.blur_used(since);
            },
        );
    }

    /// fork(2).
    pub fn fork(&mut self) -> Self {
        self.try_fork(|process| Ok(process.fork())).expect("fork")
    }

    /// fork(2), with a chosen process id for the child.
    ///
    /// # Errors
    /// The errno, if the kernel refused.
    pub fn fork_as(&mut self, pid: u32) -> Result<Self, i32> {
        self.try_fork(|process| process.fork_as(pid))
    }

    fn try_fork(
        &mut self,
        fork: impl FnOnce(&mut Process) -> Result<Process, i32>,
    ) -> Result<Self, i32> {
        let payer = self.payer;
        let child = self.step(fork, |ledger, actor, child, time| {
            let Ok(child) = child else { return };
            if ledger.holders.contains(&actor.pid) {
                let mut fields = actor.fields("fork");
                fields.insert("child".to_owned(), json!(child.pid));
                ledger.expect(fields, None, time);
                ledger.holders.insert(child.pid);
            }
            let table = ledger.tables.get(&actor.pid).cloned().unwrap_or_default();
            for descriptor in table.values() {
                ledger.refer(descriptor.instance);
            }
            ledger.tables.insert(child.pid, table);
        })?;
        let actor = Actor { pid: child.pid, tid: child.tid, ..self.actor.clone() };
        Ok(self.world.adopt(child, actor, payer))
    }

    /// pidfd_getfd(2): copies a descriptor of another process.
    pub fn copy_of(&mut self, other: &Self, fd: i32) -> i32 {
        let instance = other.instance(fd);
        self.step(
            |process| process.call(&format!("getfd {} {fd}", other.pid())).expect("root may copy"),
            |ledger, actor, &copy, _| {
                ledger.refer(instance);
                let descriptor = Descriptor::new(instance, true, false);
                Self::table(ledger, actor).insert(copy, descriptor);
            },
        )
    }

    /// Changes to a user without charges. Existing instances remain charged to the old user.
    pub fn become_another(&mut self) {
        let uid = system::fresh_uid();
        self.process.call(&format!("uid {uid}")).expect("root may become anyone");
        self.pays_as(uid);
    }

    /// Changes the effective user to one without charges; the real user remains root.
    pub fn act_as_another(&mut self) {
        let uid = system::fresh_uid();
        self.process.call(&format!("euid {uid}")).expect("root may act as anyone");
        self.pays_as(uid);
    }

    fn pays_as(&mut self, uid: u32) {
        self.actor.uid = uid;
        self.world.update(&self.actor);
        self.payer = self.world.payer(uid, system::user_namespace(std::process::id()), 0);
    }

    /// Starts another thread.
    pub fn thread(&mut self) -> Self {
        let thread = self.process.thread();
        let actor = Actor { tid: thread.tid, ..self.actor.clone() };
        Self { process: thread, world: self.world.clone(), actor, payer: self.payer }
    }

    /// execve(2) of the same program, which the kernel then calls `exe`.
    pub fn exec(&mut self) {
        self.actor.comm = "exe".to_owned();
        self.world.update(&self.actor);
        self.step(
            |process| process.call("exec executed").expect("the program can be executed"),
            |ledger, actor, _, time| {
                if !ledger.holders.contains(&actor.pid) {
                    return;
                }
                let table = Self::table(ledger, actor);
                let (lost, kept): (Vec<_>, Vec<_>) =
                    table.clone().into_iter().partition(|(_, it)| it.cloexec);
                table.retain(|_, it| !it.cloexec);
                let mut fields = actor.fields("exec");
                let kept: Vec<_> = kept.into_iter().map(|(fd, _)| fd).collect();
                fields.insert("kept".to_owned(), json!(kept));
                ledger.expect(fields, None, time);
                if kept.is_empty() {
                    ledger.holders.remove(&actor.pid);
                }
                let since = ledger.expected_so_far();
                for (fd, descriptor) in &lost {
                    ledger.leave(actor, *fd, descriptor.instance, Way::Exec, time);
                }
                if lost.len() > 1 {
                    ledger.blur_used(since);
                }
            },
        );
    }

    /// Exits without closing anything, and waits for the process.
    pub fn exit(&mut self) {
        self.end(|process| process.tell("exit 0"));
    }

    /// Sends SIGKILL, and waits for the process.
    pub fn kill(&mut self) {
        self.end(|process| process.signal(libc::SIGKILL));
    }

    /// Exits a child of another process, `parent`, which waits for it: the test itself cannot.
    pub fn exit_under(&mut self, parent: &mut Self) {
        let command = format!("wait {}", self.pid());
        self.end(|process| {
            process.tell("exit 0");
            parent.process.call(&command).expect("a child of that process");
        });
    }

    fn end(&mut self, how: impl FnOnce(&mut Process)) {
        self.step(
            |process| {
                how(process);
                process.join();
            },
            |ledger, actor, (), time| {
                let table = ledger.tables.remove(&actor.pid).unwrap_or_default();
                if !ledger.holders.remove(&actor.pid) {
                    return;
                }
                ledger.expect(actor.fields("exit"), None, time);
                let since = ledger.expected_so_far();
                for (fd, descriptor) in &table {
                    ledger.leave(actor, *fd, descriptor.instance, Way::Exit, time);
                }
                if table.len() > 1 {
                    ledger.blur_used(since);
                }
            },
        );
    }

    /// Sends a descriptor through a socket. The message holds a reference until it is received.
    pub fn send(&mut self, socket: i32, fd: i32) {
        self.step(
            |process| process.call(&format!("send {socket} {fd}")).expect("a connected socket"),
            |ledger, actor, _, _| {
                let instance = Self::table(ledger, actor)[&fd].instance;
                ledger.refer(instance);
            },
        );
    }

    /// Receives a descriptor that `sender` had as `sent`.
    pub fn receive(&mut self, socket: i32, instance: usize) -> i32 {
        self.step(
            |process| process.call(&format!("receive {socket}")).expect("a descriptor is there"),
            |ledger, actor, &fd, _| {
                let descriptor = Descriptor::new(instance, false, false);
                ledger.tables.entry(actor.pid).or_default().insert(fd, descriptor);
            },
        )
    }

    /// Drops a reference that is no descriptor, at some time after `since`.
    pub fn reference_gone(&mut self, instance: usize, since: u64) {
        self.step(
            |_| (),
            |ledger, actor, (), (_, now)| {
                ledger.leave(actor, 0, instance, Way::Unseen, (since, now));
            },
        );
    }

    /// Adds a reference that is no descriptor: a system call in progress.
    pub fn reference(&mut self, instance: usize) {
        self.world.0.borrow_mut().refer(instance);
    }

    /// The test's number of a descriptor's instance.
    #[must_use]
    pub fn instance(&self, fd: i32) -> usize {
        self.world.0.borrow().tables[&self.actor.pid][&fd].instance
    }

    /// Moves the process into a cgroup.
    pub fn move_to(&mut self, cgroup: &Cgroup) {
        cgroup.add(self.pid());
        self.actor.cgroup = Some((cgroup.path.clone(), cgroup.id));
        self.actor.container.clone_from(&cgroup.container);
        self.world.update(&self.actor);
    }
}
