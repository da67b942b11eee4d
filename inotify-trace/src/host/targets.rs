//! Paths of watch targets. Helpers look them up: file systems of containers may not answer.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::{Duration, Instant},
};

use inotify_trace_model::event::Silence;

use super::{
    helper::{AT_ONCE, Helper, OF_CONTAINERS, OF_EVENTS, OF_ROOT, Place, Request},
    procfs::{SEARCH, WatchInfo},
    root::on_machine,
};

/// The place of a watched file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whereabouts {
    /// Its path.
    Path(String),
    /// It was removed, and had this path, if that is known.
    Gone(Option<String>),
    /// Not known; the reason, if it is the file system's.
    Unknown(Option<Silence>),
}

/// A file by device and inode number.
type File = (u32, u64);

/// A place, and whether it was left out for lack of time.
type Found = Result<(Place, bool), Silence>;

/// Finds paths.
#[derive(Debug)]
pub struct Targets {
    /// For the machine's own file systems.
    own: Side,
    /// For those that only containers see: if one does not answer, the machine's still do.
    foreign: Side,
    /// For the arguments of processes.
    arguments: Helper,
    left_out: usize,
}

#[derive(Debug)]
struct Side {
    is_foreign: bool,
    helper: Helper,
    /// File systems that did not answer.
    silent: HashSet<u32>,
    /// Files whose place is not known, each with a process that watches it.
    unknown: BTreeMap<File, u32>,
}

impl Default for Targets {
    fn default() -> Self {
        Self {
            own: Side::new(false),
            foreign: Side::new(true),
            arguments: Helper::with_rests(OF_EVENTS),
            left_out: 0,
        }
    }
}

impl Targets {
    /// The current places of these watches' targets, as seen from this process or, for file systems
    /// mounted only there, from the mount namespace of `holder`.
    pub fn find(&mut self, watches: &[WatchInfo], holder: u32) -> Vec<Whereabouts> {
        let watches = watches.iter().collect::<Vec<_>>();
        let mut found = self.own.find(&watches, holder);
        for (place, _) in found.iter_mut().flatten() {
            if let Place::Path(path) | Place::Gone(Some(path)) = place {
                *path = on_machine(std::mem::take(path));
            }
        }
        let is_foreign = |found: &Found| matches!(found, Ok((Place::Foreign, _)));
        let places = (0..found.len()).filter(|&at| is_foreign(&found[at])).collect::<Vec<_>>();
        let watches = places.iter().map(|&at| watches[at]).collect::<Vec<_>>();
        for (at, foreign) in places.into_iter().zip(self.foreign.find(&watches, holder)) {
            found[at] = foreign;
        }
        found.into_iter().map(|found| self.whereabouts(found)).collect()
    }

    fn whereabouts(&mut self, found: Found) -> Whereabouts {
        let (place, is_left_out) = match found {
            Ok(found) => found,
            Err(silence) => return Whereabouts::Unknown(Some(silence)),
        };
        self.left_out += usize::from(is_left_out);
        match place {
            Place::Path(path) => Whereabouts::Path(path),
            Place::Gone(path) => Whereabouts::Gone(path),
            Place::Unknown | Place::Foreign => Whereabouts::Unknown(None),
            Place::NotAsked => Whereabouts::Unknown(Some(Silence::NotAsked)),
        }
    }

    /// The number of watches that were not, or not wholly, looked up for lack of time.
    #[must_use]
    pub fn left_out(&self) -> usize {
        self.left_out
    }

    /// The paths of files whose place was not known, by device and inode number, or why there is none
    /// if that is due to the file system. Looks through directories, and not for long: some files may be
    /// left.
    pub fn search(&mut self) -> HashMap<File, Result<String, Silence>> {
        let end = Instant::now() + SEARCH;
        let mut all = HashMap::new();
        for side in [&mut self.own, &mut self.foreign] {
            side.search(&mut self.arguments, end, &mut all);
        }
        all
    }
}

impl Side {
    fn new(is_foreign: bool) -> Self {
        let helper = Helper::new(if is_foreign { OF_CONTAINERS } else { OF_ROOT });
        Self { is_foreign, helper, silent: HashSet::new(), unknown: BTreeMap::new() }
    }

    fn find(&mut self, watches: &[&WatchInfo], holder: u32) -> Vec<Found> {
        let mut all = Vec::with_capacity(watches.len());
        for mut left in watches.chunks(AT_ONCE) {
            while !left.is_empty() {
                let found = self.find_some(left, holder);
                left = &left[found.len()..];
                all.extend(found);
            }
        }
        all
    }

    /// Finds the targets of the first of these watches, or of several.
    fn find_some(&mut self, watches: &[&WatchInfo], holder: u32) -> Vec<Found> {
        let Self { is_foreign, helper, silent, unknown } = self;
        let is_silent = |watch: &&&WatchInfo| silent.contains(&watch.dev);
        let mut all = vec![Err(Silence::NoAnswer); watches.iter().take_while(is_silent).count()];
        if !all.is_empty() {
            return all;
        }
        let request = |watch: &&WatchInfo| {
            let (watch, is_foreign) = ((*watch).clone(), *is_foreign);
            Request::Find { watch, holder, is_foreign }
        };
        let asked = watches.iter().take_while(|watch| !is_silent(watch));
        let requests = asked.map(request).collect::<Vec<_>>();
        for (watch, found) in watches.iter().zip(helper.ask_all(&requests, Duration::ZERO)) {
            match found {
                Ok((Place::Unknown, _)) => {
                    unknown.insert((watch.dev, watch.inode), holder);
                }
                Err(Silence::NoAnswer) => _ = silent.insert(watch.dev),
                _ => {}
            }
            all.push(found);
        }
        all
    }

    fn search(
        &mut self,
        helper: &mut Helper,
        end: Instant,
        all: &mut HashMap<File, Result<String, Silence>>,
    ) {
        let mut by_dev: BTreeMap<u32, Vec<(u64, u32)>> = BTreeMap::new();
        for ((dev, inode), holder) in std::mem::take(&mut self.unknown) {
            by_dev.entry(dev).or_default().push((inode, holder));
        }
        let mut arguments = BTreeMap::new();
        // One at a time: if a file system does not answer, the others' paths are not lost.
        for (dev, files) in by_dev {
            // As in the request: one process for all files of a file system.
            let Some(&(_, holder)) = files.first() else { continue };
            let arguments = arguments.entry(holder).or_insert_with(|| {
                let request = Request::Arguments(holder);
                let given = helper.ask::<Option<Vec<String>>>(&request, Duration::ZERO);
                given.ok().flatten().unwrap_or_default()
            });
            let left = end.saturating_duration_since(Instant::now());
            let inodes: Vec<_> = files.iter().map(|&(inode, _)| inode).collect();
            let request = Request::Search {
                dev,
                inodes: inodes.clone(),
                holder,
                arguments: arguments.clone(),
                millis: u64::try_from(left.as_millis()).unwrap_or_default(),
                is_foreign: self.is_foreign,
            };
            match self.helper.ask::<Vec<(u64, String)>>(&request, left) {
                Ok(found) => {
                    let seen = |path| if self.is_foreign { path } else { on_machine(path) };
                    let path = |(inode, path)| ((dev, inode), Ok(seen(path)));
                    all.extend(found.into_iter().map(path));
                }
                Err(silence) => {
                    all.extend(inodes.into_iter().map(|inode| ((dev, inode), Err(silence))));
                }
            }
        }
    }
}
