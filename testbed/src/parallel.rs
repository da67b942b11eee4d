//! Doing several things at a time, as far as processors and memory carry.

use std::fs;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// Something to do, once.
pub struct Job<'a> {
    /// About how long it takes: the longest goes first.
    pub seconds: u32,
    /// In MiB.
    pub memory: u64,
    pub work: Box<dyn FnOnce() + Send + 'a>,
}

impl<'a> Job<'a> {
    pub fn new(seconds: u32, memory: u32, work: impl FnOnce() + Send + 'a) -> Self {
        Self { seconds, memory: memory.into(), work: Box::new(work) }
    }
}

/// Does all jobs, as many at a time as fit into memory, and one more than there are processors: a
/// virtual machine has one processor, which a test leaves idle for a third of its time while the
/// kernel waits for readers to be done before it detaches a program.
pub fn run(jobs: Vec<Job<'_>>) {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    run_within(jobs, processors + 1, available_memory());
}

fn run_within(mut jobs: Vec<Job<'_>>, workers: usize, memory: u64) {
    // The last one is taken first.
    jobs.sort_by_key(|job| job.seconds);
    let queue =
        Queue { state: Mutex::new(State { jobs, memory, running: 0 }), ended: Condvar::new() };
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some(job) = queue.take() {
                    let memory = job.memory;
                    (job.work)();
                    queue.give_back(memory);
                }
            });
        }
    });
}

struct Queue<'a> {
    state: Mutex<State<'a>>,
    ended: Condvar,
}

struct State<'a> {
    jobs: Vec<Job<'a>>,
    /// The memory left, in MiB.
    memory: u64,
    running: usize,
}

impl<'a> Queue<'a> {
    /// The longest job that fits into memory, once there is one; None if no job is left.
    fn take(&self) -> Option<Job<'a>> {
        let mut state = self.lock();
        loop {
            if state.jobs.is_empty() {
                return None;
            }
            let left = state.memory;
            // A job that needs more memory than the machine has runs alone.
            let fits = |job: &Job<'_>| job.memory <= left || state.running == 0;
            if let Some(index) = state.jobs.iter().rposition(fits) {
                let job = state.jobs.remove(index);
                state.memory = state.memory.saturating_sub(job.memory);
                state.running += 1;
                return Some(job);
            }
            state = self.ended.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn give_back(&self, memory: u64) {
        let mut state = self.lock();
        state.memory += memory;
        state.running -= 1;
        self.ended.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State<'a>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The memory for jobs in MiB, without the part that is kept for the rest of the machine.
fn available_memory() -> u64 {
    const REST: u64 = 512;
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.map_or(0, |kib| (kib >> 10).saturating_sub(REST))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::{Job, run_within};

    #[test]
    fn the_longest_goes_first() {
        let done = Mutex::new(Vec::new());
        let job = |seconds| {
            let done = &done;
            Job::new(seconds, 0, move || done.lock().unwrap().push(seconds))
        };
        run_within(vec![job(2), job(3), job(1)], 1, 0);
        assert_eq!(*done.lock().unwrap(), [3, 2, 1]);
    }

    #[test]
    fn jobs_share_the_memory_there_is() {
        let (used, most, done) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
        let job = |memory: u32| {
            let (used, most, done) = (&used, &most, &done);
            Job::new(memory, memory, move || {
                let now = used.fetch_add(memory.into(), Ordering::SeqCst) + u64::from(memory);
                most.fetch_max(now, Ordering::SeqCst);
                std::thread::yield_now();
                used.fetch_sub(memory.into(), Ordering::SeqCst);
                done.fetch_add(1, Ordering::SeqCst);
            })
        };
        run_within((0..200).map(|number| job(number % 4)).collect(), 4, 4);
        assert!(most.into_inner() <= 4);
        assert_eq!(done.into_inner(), 200);
        // More than there is, alone.
        let done = Mutex::new(0);
        run_within(vec![Job::new(1, 9, || *done.lock().unwrap() += 1)], 4, 4);
        assert_eq!(done.into_inner().unwrap(), 1);
    }
}
