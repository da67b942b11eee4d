//! Users' own containers, from the files of rootless Podman, Docker, runc and crun. The owner decides
//! what is in these files and directories: they are read in a thread of their own, since a user's
//! file system may never answer, and only as far as it takes little time.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, Sender},
    time::{Duration, Instant},
};

use inotify_trace_model::identity::{Container, Names, Runtime};

use super::{
    asking::Asking,
    docker,
    files::{self, Below},
    is_component, podman,
    states::Form,
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

/// The most bytes of passwd(5).
const LONGEST_PASSWD: u64 = 4 << 20;

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
    while let Ok(first) = questions.recv() {
        let began = Instant::now();
        let mut by_user: BTreeMap<u32, Vec<Question>> = BTreeMap::new();
        for question in std::iter::once(first).chain(questions.try_iter()) {
            by_user.entry(question.uid).or_default().push(question);
        }
        for (uid, questions) in by_user {
            let mut user = User::new(root, uid, Instant::now() + LONGEST_LOOK);
            for Question { cgroup, container, .. } in questions {
                let (container, names) = match container {
                    Some(container) => (None, user.names(&container)),
                    None => user.state(&cgroup).unzip(),
                };
                if answer.send(OfUser { cgroup, container, names }).is_err() {
                    return;
                }
            }
            if user.has_left_out {
                log::info!(
                    "user {uid}: reading the files of containers took too long; some are left out"
                );
            }
        }
        std::thread::sleep(PAUSE.max(RATIO * began.elapsed()).saturating_sub(began.elapsed()));
    }
}

/// Containers by cgroup.
type States = BTreeMap<String, (Container, Names)>;

/// A user's files, as they are now.
struct User<'a> {
    root: &'a Path,
    uid: u32,
    /// Until when files are read, and whether some were not.
    end: Instant,
    has_left_out: bool,
    /// The directories, once one of them is wanted.
    home: Option<Option<Below>>,
    runtime: Option<Below>,
    states: Option<States>,
}

impl<'a> User<'a> {
    fn new(root: &'a Path, uid: u32, end: Instant) -> Self {
        let runtime = Below::open(&root.join(RUNTIME).join(uid.to_string()));
        Self { root, uid, end, has_left_out: false, home: None, runtime, states: None }
    }

    fn names(&mut self, container: &Container) -> Option<Names> {
        let Self { root, uid, end, has_left_out, home, runtime, .. } = self;
        let (root, uid) = (*root, *uid);
        let home = home.get_or_insert_with(|| Below::open(&self::home(root, uid)?)).as_ref();
        let mut read_in = |place: Option<&Below>, path: &str| {
            let has_time = Instant::now() < *end;
            *has_left_out |= !has_time;
            place.filter(|_| has_time)?.read(path, LONGEST)
        };
        let id = container.id.as_str();
        let names = match container.runtime? {
            Runtime::Podman => {
                let mut names = |place, store: &str| {
                    podman::names_below(|list| read_in(place, &format!("{store}/{list}")), id)
                };
                names(home, PODMAN).or_else(|| names(runtime.as_ref(), TRANSIENT))
            }
            Runtime::Docker => {
                docker::names_in(&read_in(home, &format!("{DOCKER}/{}", docker::note(id)))?)
            }
            _ => None,
        };
        // A user has no pods of Kubernetes.
        let Names { name, image, .. } = names?;
        Names { name, image, ..Names::default() }.bounded().or_none()
    }

    /// The container of a cgroup by runc's and crun's states.
    fn state(&mut self, cgroup: &str) -> Option<(Container, Names)> {
        let Self { uid, end, has_left_out, .. } = self;
        let runtime = self.runtime.as_ref()?;
        let states = self.states.get_or_insert_with(|| {
            let (states, is_whole) = states(runtime, *uid, *end);
            *has_left_out |= !is_whole;
            states
        });
        states.get(cgroup).cloned()
    }
}

/// A user's containers by cgroup, but those of cgroups that several states claim; and whether all
/// states were read until `end`.
fn states(runtime: &Below, uid: u32, end: Instant) -> (States, bool) {
    let (mut states, mut claimed) = (BTreeMap::new(), BTreeSet::new());
    let mut is_whole = true;
    for (place, runtime_name, form) in STATES {
        for id in runtime.names(place, MOST) {
            is_whole = Instant::now() < end;
            if !is_whole {
                break;
            }
            let text = runtime.read(&format!("{place}/{id}/{}", form.file()), LONGEST);
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
    (states, is_whole)
}

/// A user's home directory by passwd(5), below `root`. Directory services are not asked: that could
/// wait for a network that is down.
fn home(root: &Path, uid: u32) -> Option<PathBuf> {
    let text = files::read(&root.join("etc/passwd"), LONGEST_PASSWD)?;
    let home = text.lines().find_map(|line| {
        let mut fields = line.split(':').skip(2);
        let is_it = fields.next()?.parse() == Ok(uid);
        fields.nth(2).filter(|_| is_it)
    })?;
    Some(root.join(home.strip_prefix('/')?))
}

#[cfg(test)]
mod tests;
