//! Users' own containers, from the files of rootless Podman, Docker, runc and crun. The owner decides
//! what is in these files and directories: a helper reads them, since a user's file system may never
//! answer, for a thread of its own, and only as far as it takes little time.

use std::{
    collections::{BTreeMap, BTreeSet},
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, Sender},
    time::{Duration, Instant},
};

use inotify_trace_model::identity::{Container, Names, Runtime};

use super::{asking::Asking, docker, is_component, podman, states::Form};
use crate::host::{
    helper::{Helper, Request},
    users,
};

/// Users' slices, and the manager below it to which a user's cgroups are left.
const SLICE: &str = "/user.slice/user-";
const MANAGER: &str = ".slice/user@";

/// The directory of users' runtime files, by user id.
const RUNTIME: &str = "run/user";

/// Directories of states below it.
const STATES: [(&str, Runtime, Form); 2] =
    [("crun", Runtime::Crun, Form::Crun), ("runc", Runtime::Runc, Form::Runc)];

/// The stores of Podman and Docker below a home directory.
const PODMAN: &str = ".local/share/containers/storage";
const DOCKER: &str = ".local/share/docker";

/// Podman's store of containers that are gone with the machine's next start, below the runtime files.
const TRANSIENT: &str = "containers";

/// The most bytes of a file: a list has a thousand bytes for each container.
const LONGEST: u64 = 1 << 20;

/// How long a user's file system may take for an answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// The most states of a user.
const MOST: usize = 512;

/// How long a look at the files of one user may take: what is not read by then is not known until the
/// next look. It keeps a user with large files from delaying the names of others.
const LONGEST_LOOK: Duration = Duration::from_millis(100);

/// The time between two looks, and how many times longer than the look before it is at least.
const PAUSE: Duration = Duration::from_millis(50);
const RATIO: u32 = 20;

/// The names of a user's container; the cgroup may not have been known to be one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfUser {
    /// The path of the cgroup in the question.
    pub cgroup: Box<str>,
    /// Its container, if the question did not name it and the user's files do.
    pub container: Option<Container>,
    /// The names; None if the user's files have none.
    pub names: Option<Names>,
}

/// A question about a user's cgroup.
#[derive(Debug)]
struct Question {
    uid: u32,
    cgroup: Box<str>,
    /// The container, if the path names one.
    container: Option<Container>,
}

/// The users of a machine.
#[derive(Debug)]
pub struct Users {
    root: PathBuf,
    worker: Option<Asking<Question, OfUser>>,
}

/// The user whose slice a cgroup is in.
#[must_use]
fn uid_of(cgroup: &str) -> Option<u32> {
    cgroup.strip_prefix(SLICE)?.split_once('.')?.0.parse().ok()
}

impl Users {
    /// The users of a machine whose files are below `root`.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), worker: None }
    }

    /// Whether only the user decides what is in a cgroup: root's files say nothing about it then.
    #[must_use]
    pub fn rule(cgroup: &str) -> bool {
        let rest = cgroup
            .strip_prefix(SLICE)
            .map(|it| it.trim_start_matches(|c: char| c.is_ascii_digit()));
        rest.is_some_and(|rest| rest.starts_with(MANAGER))
    }

    /// Asks for the container of a cgroup, or the names of one that the path names; returns whether
    /// there will be an answer.
    pub fn ask(&mut self, cgroup: &str, container: Option<&Container>) -> bool {
        let Some(uid) = uid_of(cgroup) else { return false };
        let is_here = container.is_none_or(|container| {
            let is_known = matches!(container.runtime, Some(Runtime::Podman | Runtime::Docker));
            is_known && container.outer.is_none() && is_component(&container.id)
        });
        if !is_here {
            return false;
        }
        if self.worker.is_none() {
            let root = self.root.clone();
            self.worker = Asking::start("users", move |asked, answer| run(&root, asked, answer));
        }
        let container = container.cloned();
        let question = Question { uid, cgroup: cgroup.into(), container };
        self.worker.as_mut().is_some_and(|worker| worker.ask(question))
    }

    /// Whether answers are outstanding.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.worker.as_ref().is_some_and(Asking::is_open)
    }

    /// An answer that has arrived.
    pub fn answer(&mut self) -> Option<OfUser> {
        self.worker.as_mut()?.answer()
    }

    /// Waits for the next answer, until `end`.
    pub fn wait(&mut self, end: Instant) -> Option<OfUser> {
        self.worker.as_mut()?.wait(end)
    }
}

/// Answers each of `questions`, until their sender is dropped.
fn run(root: &Path, questions: &Receiver<Question>, answer: &Sender<OfUser>) {
    let mut helper = Helper::with_rests(PATIENCE);
    while let Ok(first) = questions.recv() {
        let began = Instant::now();
        let mut by_user: BTreeMap<u32, Vec<Question>> = BTreeMap::new();
        for question in std::iter::once(first).chain(questions.try_iter()) {
            by_user.entry(question.uid).or_default().push(question);
        }
        for (uid, questions) in by_user {
            let mut reader = InTime::new(&mut helper, Instant::now() + LONGEST_LOOK);
            let mut user = User::new(root, uid, &mut reader);
            for Question { cgroup, container, .. } in questions {
                let (container, names) = match container {
                    Some(container) => (None, user.names(&container)),
                    None => user.state(&cgroup).unzip(),
                };
                if answer.send(OfUser { cgroup, container, names }).is_err() {
                    return;
                }
            }
            if reader.has_left_out {
                log::info!(
                    "user {uid}: reading the files of containers took too long; some are left out"
                );
            }
        }
        std::thread::sleep(PAUSE.max(RATIO * began.elapsed()).saturating_sub(began.elapsed()));
    }
}

/// Reads what is below a directory that a user controls.
trait Reader {
    /// The text of a file.
    fn read(&mut self, below: &Path, path: &str) -> Option<String>;

    /// The names of the entries of a directory.
    fn names(&mut self, below: &Path, path: &str) -> Vec<String>;
}

impl Reader for Helper {
    fn read(&mut self, below: &Path, path: &str) -> Option<String> {
        let below = below.as_os_str().as_bytes().into();
        let request = Request::Read { below, path: path.to_owned(), most: LONGEST };
        self.ask::<Option<String>>(&request, Duration::ZERO).ok()?
    }

    fn names(&mut self, below: &Path, path: &str) -> Vec<String> {
        let below = below.as_os_str().as_bytes().into();
        let request = Request::Names { below, path: path.to_owned(), most: MOST };
        self.ask(&request, Duration::ZERO).unwrap_or_default()
    }
}

/// Reads as long as there is time.
struct InTime<'a, R> {
    reader: &'a mut R,
    end: Instant,
    /// Whether something was not read.
    has_left_out: bool,
}

impl<'a, R: Reader> InTime<'a, R> {
    fn new(reader: &'a mut R, end: Instant) -> Self {
        Self { reader, end, has_left_out: false }
    }

    fn in_time(&mut self) -> Option<&mut R> {
        let has_time = Instant::now() < self.end;
        self.has_left_out |= !has_time;
        has_time.then_some(self.reader)
    }
}

impl<R: Reader> Reader for InTime<'_, R> {
    fn read(&mut self, below: &Path, path: &str) -> Option<String> {
        self.in_time()?.read(below, path)
    }

    fn names(&mut self, below: &Path, path: &str) -> Vec<String> {
        self.in_time().map(|it| it.names(below, path)).unwrap_or_default()
    }
}

/// A user's files, as they are now.
struct User<'a, R> {
    reader: &'a mut R,
    uid: u32,
    home: Option<PathBuf>,
    runtime: PathBuf,
    /// Once they are wanted.
    states: Option<BTreeMap<String, (Container, Names)>>,
}

impl<'a, R: Reader> User<'a, R> {
    fn new(root: &Path, uid: u32, reader: &'a mut R) -> Self {
        let runtime = root.join(RUNTIME).join(uid.to_string());
        Self { reader, uid, home: home(root, uid), runtime, states: None }
    }

    fn names(&mut self, container: &Container) -> Option<Names> {
        let Self { reader, home, runtime, .. } = self;
        let id = container.id.as_str();
        let names = match container.runtime? {
            Runtime::Podman => {
                let at_home = |list: &str| reader.read(home.as_ref()?, &format!("{PODMAN}/{list}"));
                podman::names_below(at_home, id).or_else(|| {
                    let read = |list: &str| reader.read(runtime, &format!("{TRANSIENT}/{list}"));
                    podman::names_below(read, id)
                })
            }
            Runtime::Docker => {
                let note = format!("{DOCKER}/{}", docker::note(id));
                docker::names_in(&reader.read(home.as_ref()?, &note)?)
            }
            _ => None,
        };
        // A user has no pods of Kubernetes.
        let Names { name, image, .. } = names?;
        Names { name, image, ..Names::default() }.bounded().or_none()
    }

    /// The container of a cgroup by runc's and crun's states.
    fn state(&mut self, cgroup: &str) -> Option<(Container, Names)> {
        let Self { reader, runtime, uid, states, .. } = self;
        let states = states.get_or_insert_with(|| self::states(*reader, runtime, *uid));
        states.get(cgroup).cloned()
    }
}

/// A user's containers by cgroup, but those of cgroups that several states claim.
fn states(
    reader: &mut impl Reader,
    runtime: &Path,
    uid: u32,
) -> BTreeMap<String, (Container, Names)> {
    let (mut states, mut claimed) = (BTreeMap::new(), BTreeSet::new());
    for (place, runtime_name, form) in STATES {
        for id in reader.names(runtime, place) {
            let text = reader.read(runtime, &format!("{place}/{id}/{}", form.file()));
            let Some(parsed) = text.and_then(|text| form.parse(&text)) else { continue };
            // They count for the user's own cgroups only.
            let Some(cgroup) = parsed.cgroup.filter(|it| uid_of(it) == Some(uid)) else { continue };
            let container = Container {
                runtime: Some(runtime_name),
                id: id.clone(),
                pod: None,
                qos: None,
                outer: None,
            };
            let names = parsed.names.unwrap_or_default();
            // The user chose the id as the name.
            let name = names.name.or(Some(id));
            let names = Names { name, image: names.image, ..Names::default() }.bounded();
            if states.insert(cgroup.clone(), (container, names)).is_some() {
                claimed.insert(cgroup);
            }
        }
    }
    states.retain(|cgroup, _| !claimed.contains(cgroup));
    states
}

/// A user's home directory by passwd(5), below `root`. Directory services are not asked: that could
/// wait for a network that is down.
fn home(root: &Path, uid: u32) -> Option<PathBuf> {
    let passwd = users::passwd(root).ok()?;
    let text = String::from_utf8_lossy(&passwd);
    let home = text.lines().find_map(|line| {
        let mut fields = line.split(':').skip(2);
        let is_it = fields.next()?.parse() == Ok(uid);
        fields.nth(2).filter(|_| is_it)
    })?;
    Some(root.join(home.strip_prefix('/')?))
}

#[cfg(test)]
mod tests;
