//! Compares `list` with the expected listing, after each step and with each way to find instances.

mod holders;
mod hostile;
mod others;
mod served;
mod targets;
mod unprivileged;
mod users;

use inotify_trace_tests::{Subject, World, system};

/// Forty instances with a watch each. A process created them as user A and holds them as user B,
/// with four children and a duplicate: 201 descriptors in five processes.
struct Forty {
    world: World,
    /// User A.
    payer: usize,
    parent: Subject,
    children: Vec<Subject>,
    _directory: tempfile::TempDir,
}

impl Forty {
    const INSTANCES: u32 = 40;
    const CHILDREN: usize = 4;

    fn new() -> Self {
        let (world, directory) = (World::new(), system::directory());
        let mut parent = world.subject_of_root();
        parent.act_as_another();
        let payer = parent.payer;
        for _ in 0..Self::INSTANCES {
            let fd = parent.create(0).unwrap();
            parent.watch(fd, directory.path(), libc::IN_CREATE).unwrap();
        }
        parent.process.call("euid 0").unwrap();
        parent.become_another();
        let mut children: Vec<_> = (0..Self::CHILDREN).map(|_| parent.fork()).collect();
        children[0].dup(3);
        Self { world, payer, parent, children, _directory: directory }
    }

    fn pids(&self) -> Vec<u32> {
        let children = self.children.iter().map(Subject::pid);
        children.chain([self.parent.pid()]).collect()
    }
}
