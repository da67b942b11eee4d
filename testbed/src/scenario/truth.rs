//! The content of /proc in the machine, as recorded by its script.

use anyhow::{Context, Result};

/// One fact per line, whose first word is its kind.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Truth {
    pub containerd: String,
    pub pods: Vec<Pod>,
    /// The pod whose app ends at once; its backend is `instant`.
    pub instant: Option<Pod>,
    /// The quota at the time of the `leaks` command.
    pub quota: Quota,
    pub churn: Option<Churn>,
}

/// Root's instances, and their limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quota {
    pub used: u64,
    pub limit: u64,
}

/// Created and removed pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Churn {
    pub pods: usize,
    pub containers: usize,
    /// The exit status of `leaks --watch`.
    pub status: i32,
}

/// The pod of one backend.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Pod {
    pub backend: String,
    pub name: String,
    /// The process that runs its containers.
    pub shim: u64,
    /// How long after the end of a container its instance counts as leaked, in nanoseconds.
    pub grace: u64,
    /// The quota when only the first container was left.
    pub quota: Quota,
    /// The exit status of `leaks --watch`.
    pub status: i32,
    /// Its inotify descriptors: before the first restart, and after each.
    pub counts: Vec<usize>,
    /// At the end.
    pub descriptors: Vec<Descriptor>,
}

/// An inotify descriptor, with the kernel's data on its watches.
#[derive(Debug, PartialEq, Eq)]
pub struct Descriptor {
    pub watches: usize,
    /// Watches whose inode belongs to no file any more.
    pub gone: usize,
}

impl Truth {
    pub fn parse(text: &str) -> Result<Self> {
        let mut truth = Self::default();
        for line in text.lines() {
            truth.take(line).with_context(|| format!("it makes no sense that {line:?}"))?;
        }
        Ok(truth)
    }

    /// None if the line is not as the script would write it.
    fn take(&mut self, line: &str) -> Option<()> {
        let words: Vec<_> = line.split_whitespace().collect();
        match *words.as_slice() {
            ["containerd", version] => self.containerd = version.to_owned(),
            ["pod", backend, shim, grace, name] => self.pods.push(Pod {
                backend: backend.to_owned(),
                name: name.to_owned(),
                shim: shim.parse().ok()?,
                grace: grace.parse::<u64>().ok()? * 1_000_000_000,
                ..Pod::default()
            }),
            ["instant", shim, grace, name] => {
                self.instant = Some(Pod {
                    backend: "instant".to_owned(),
                    name: name.to_owned(),
                    shim: shim.parse().ok()?,
                    grace: grace.parse::<u64>().ok()? * 1_000_000_000,
                    ..Pod::default()
                });
            }
            ["settled", backend, count] => {
                *self.pod(backend)?.counts.last_mut()? = count.parse().ok()?;
            }
            ["used", when, used, limit] => {
                let quota = Quota { used: used.parse().ok()?, limit: limit.parse().ok()? };
                match when {
                    "leaks" => self.quota = quota,
                    backend => self.pod(backend)?.quota = quota,
                }
            }
            ["watched", backend, status] => self.pod(backend)?.status = status.parse().ok()?,
            ["churn", pods, containers, status] => {
                self.churn = Some(Churn {
                    pods: pods.parse().ok()?,
                    containers: containers.parse().ok()?,
                    status: status.parse().ok()?,
                });
            }
            ["restart", backend, number, count] => {
                let pod = self.pod(backend)?;
                // A missing line would shift the meaning of the lines after it.
                (number.parse() == Ok(pod.counts.len())).then_some(())?;
                pod.counts.push(count.parse().ok()?);
            }
            ["fd", backend, _, watches, gone] => {
                let (watches, gone) = (watches.parse().ok()?, gone.parse().ok()?);
                self.pod(backend)?.descriptors.push(Descriptor { watches, gone });
            }
            // For people.
            ["fdinfo" | "kernel", ..] => {}
            _ => return None,
        }
        Some(())
    }

    fn pod(&mut self, backend: &str) -> Option<&mut Pod> {
        self.pods.iter_mut().chain(&mut self.instant).find(|pod| pod.backend == backend)
    }
}

impl Pod {
    pub fn restarts(&self) -> usize {
        self.counts.len().saturating_sub(1)
    }

    /// How many more instances the shim has than before the first restart.
    pub fn leaked(&self) -> Option<usize> {
        self.counts.last()?.checked_sub(*self.counts.first()?)
    }

    /// How many watches each instance has that can get no more events.
    pub fn watches_of_deaf(&self) -> Vec<usize> {
        let deaf = self.descriptors.iter().filter(|it| it.watches == it.gone);
        deaf.map(|it| it.watches).collect()
    }

    /// The number of the shim's instances that can get no more events: none of their watched files
    /// is left.
    pub fn deaf(&self) -> usize {
        self.descriptors.iter().filter(|descriptor| descriptor.watches == descriptor.gone).count()
    }
}

#[cfg(test)]
mod tests {
    use super::{Churn, Quota, Truth};

    const LEAK: &str = "\
kernel 5.10.0-32-cloud-amd64
containerd 1.4.13~ds1
pod fentry 154 5 crashing-fentry
restart fentry 0 1
restart fentry 1 2
restart fentry 2 3
fd fentry 12 1 0
fdinfo fentry 12 wd:1 ino:126 sdev:16 mask:2
fd fentry 15 1 1
fd fentry 16 0 0
used fentry 9 128
watched fentry 1
pod kprobe 498 5 crashing-kprobe
restart kprobe 0 1
used leaks 17 128
";

    #[test]
    fn more_instances_than_before_are_leaked() {
        let truth = Truth::parse(LEAK).unwrap();
        assert_eq!(truth.containerd, "1.4.13~ds1");
        let pod = &truth.pods[0];
        assert_eq!((pod.shim, pod.restarts(), pod.leaked()), (154, 2, Some(2)));
        assert_eq!((&*pod.name, pod.grace, pod.status), ("crashing-fentry", 5_000_000_000, 1));
        assert_eq!(pod.quota, Quota { used: 9, limit: 128 });
        assert_eq!(truth.quota, Quota { used: 17, limit: 128 });
        // One whose watch is on nothing, and one that the kernel has left without a watch.
        assert_eq!(pod.deaf(), 2);
        assert_eq!((truth.pods[1].restarts(), truth.pods[1].leaked()), (0, Some(0)));
    }

    #[test]
    fn what_came_and_went_is_counted() {
        let truth = Truth::parse("containerd 1.7.24~ds1\nchurn 12 34 0\n").unwrap();
        assert_eq!(truth.churn, Some(Churn { pods: 12, containers: 34, status: 0 }));
    }

    #[test]
    fn what_is_not_understood_is_no_truth() {
        for line in ["restart fentry 4 3", "restart perf 0 1", "fd fentry 12", "oops"] {
            let error = Truth::parse(&format!("{LEAK}{line}\n")).unwrap_err().to_string();
            assert!(error.contains(line), "{error}");
        }
    }
}
