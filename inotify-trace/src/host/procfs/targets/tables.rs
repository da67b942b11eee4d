//! The mounts that processes see, each table read once: containers choose how long they are, and how
//! many watches ask for them.

use std::{collections::HashMap, fs::File, io::Read as _, rc::Rc};

use super::{
    mount::{Place, places},
    opened::identity,
};

/// The most bytes that are read of a table: ten times those of a node with thousands of mounts.
const LONGEST: u64 = 16 << 20;

/// The most mounts that are kept, of all tables together.
const MOST: usize = 1 << 17;

/// What a process sees: its mount namespace and its root directory, both by device and inode number.
/// None where that cannot be read.
pub(super) type View = [Option<(u32, u64)>; 2];

/// The mounts in a view, by device.
#[derive(Debug, Default)]
pub(super) struct Table {
    places: HashMap<u32, Vec<Place>>,
    /// Whether there are more.
    pub(super) is_cut: bool,
}

impl Table {
    fn read(process: &str) -> Self {
        let mut text = Vec::new();
        let file = File::open(format!("{process}/mountinfo"));
        // What was read before a failure counts.
        let _ = file.and_then(|file| file.take(LONGEST).read_to_end(&mut text));
        let mut by_dev: HashMap<u32, Vec<Place>> = HashMap::new();
        for (dev, place) in places(&text) {
            by_dev.entry(dev).or_default().push(place);
        }
        Self { places: by_dev, is_cut: text.len() as u64 == LONGEST }
    }

    /// The mounts of the file system on a device (major << 20 | minor).
    pub(super) fn of(&self, dev: u32) -> &[Place] {
        self.places.get(&dev).map(Vec::as_slice).unwrap_or_default()
    }

    fn len(&self) -> usize {
        self.places.values().map(Vec::len).sum()
    }
}

/// The tables that were asked for.
#[derive(Debug, Default)]
pub(super) struct Tables {
    own: Option<(View, Rc<Table>)>,
    /// That of the process that was asked about last.
    last: Option<(u32, View)>,
    others: HashMap<View, Rc<Table>>,
    /// The mounts in them.
    kept: usize,
}

impl Tables {
    /// What this process sees.
    pub(super) fn own(&mut self) -> (View, Rc<Table>) {
        let read = || (view("/proc/self"), Rc::new(Table::read("/proc/self")));
        self.own.get_or_insert_with(read).clone()
    }

    /// What a process sees.
    pub(super) fn view(&mut self, pid: u32) -> View {
        match self.last {
            Some((last, view)) if last == pid => view,
            _ => self.last.insert((pid, view(&format!("/proc/{pid}")))).1,
        }
    }

    /// The mounts that a process with this view sees.
    pub(super) fn of(&mut self, view: View, pid: u32) -> Rc<Table> {
        let (own, table) = self.own();
        if view == own {
            return table;
        }
        if let Some(table) = self.others.get(&view) {
            return Rc::clone(table);
        }
        let table = Rc::new(Table::read(&format!("/proc/{pid}")));
        self.kept += table.len();
        if self.kept > MOST {
            self.others.clear();
            self.kept = table.len();
        }
        self.others.insert(view, Rc::clone(&table));
        table
    }
}

fn view(process: &str) -> View {
    ["ns/mnt", "root"].map(|link| identity(format!("{process}/{link}")).map(|it| it.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_with_the_same_view_share_a_table() {
        let mut tables = Tables::default();
        let (view, own) = tables.own();
        assert!(own.len() > 0);
        let pid = std::process::id();
        assert_eq!(tables.view(pid), view);
        assert!(Rc::ptr_eq(&own, &tables.of(view, pid)));
        // Another one is read once.
        let other = [None, view[1]];
        let first = tables.of(other, pid);
        assert!(!Rc::ptr_eq(&own, &first) && first.len() == own.len());
        assert!(Rc::ptr_eq(&first, &tables.of(other, u32::MAX)));
    }
}
