//! Descriptor tables of threads that do not share their process's, by the kernel's addresses.

use inotify_trace_common::Record;
use inotify_trace_model::{event::Table, numbered::ByNumber};

/// The most tables that are kept: programs choose how many there are.
const MOST: usize = 64 << 10;

/// The tables of threads that have one of their own. Nearly always there are none.
#[derive(Debug, Default)]
pub(super) struct OwnTables {
    /// By process and address of the table: the first thread that was seen with it.
    owners: ByNumber<(u32, u64), u32>,
}

impl OwnTables {
    /// The table of a record's task.
    pub(super) fn of(&mut self, record: &Record) -> Table {
        let key = (record.pid, record.files);
        if let Some(&owner) = self.owners.get(&key) {
            return Some(owner);
        }
        if record.has_own_table == 0 {
            return None;
        }
        // Without an address the thread was found in /proc.
        if record.files != 0 && self.owners.len() < MOST {
            self.owners.insert(key, record.tid);
        }
        Some(record.tid)
    }

    /// The table that a thread was the first to have.
    pub(super) fn owned_by(&self, pid: u32, tid: u32) -> Table {
        let mut owners = self.owners.iter();
        owners.find(|&(&(of, _), &owner)| of == pid && owner == tid).map(|_| tid)
    }

    /// The last thread with the record's table has ended.
    pub(super) fn end(&mut self, record: &Record) {
        self.owners.remove(&(record.pid, record.files));
    }

    /// The process has no such tables any more.
    pub(super) fn forget(&mut self, pid: u32) {
        if !self.owners.is_empty() {
            self.owners.retain(|&(of, _), _| of != pid);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A record of thread `tid` of process 7, with the table at `files`.
    fn record(tid: u32, files: u64, has_own_table: u32) -> Record {
        // SAFETY: a structure of numbers and arrays of them, for which zero is a value.
        let zero: Record = unsafe { std::mem::zeroed() };
        Record { pid: 7, tid, files, has_own_table, ..zero }
    }

    #[test]
    fn a_table_has_the_name_of_the_first_thread_seen_with_it() {
        let mut tables = OwnTables::default();
        assert_eq!(tables.of(&record(7, 0xa, 0)), None);
        assert_eq!(tables.of(&record(8, 0xb, 1)), Some(8));
        // Another thread shares it; the process's first thread has ended, so that the kernel
        // programs cannot compare any more.
        assert_eq!(tables.of(&record(9, 0xb, 0)), Some(8));
        assert_eq!(tables.owned_by(7, 8), Some(8));
        assert_eq!(tables.owned_by(7, 9), None);
        tables.end(&record(9, 0xb, 1));
        assert_eq!(tables.of(&record(10, 0xb, 1)), Some(10));
        tables.forget(7);
        assert_eq!(tables.of(&record(10, 0xb, 0)), None);
    }
}
