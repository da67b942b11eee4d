//! What the agent costs the kernel, and how near it is to losing events.

use std::{
    fs, io,
    os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd},
};

use super::{
    misses::{self, Figures},
    window::Window,
};
use aya::{
    Ebpf,
    maps::{Map, MapData},
};

/// The command that makes the kernel count the runs of BPF programs and their time, until its
/// descriptor is closed: `BPF_ENABLE_STATS` of `enum bpf_cmd` (Linux 5.8).
const ENABLE_STATS: libc::c_long = 32;

/// Measures kernel programs that are attached. It does not keep them attached.
#[derive(Debug)]
pub struct Meter {
    ring: Option<Positions>,
    capacity: u64,
    map_memory: u64,
    programs: Vec<(String, OwnedFd)>,
}

impl Meter {
    pub(super) fn new(ebpf: &Ebpf, ring: BorrowedFd<'_>, capacity: u32) -> Self {
        let programs = ebpf.programs().filter_map(|(name, program)| {
            let fd = program.fd().ok()?.as_fd().try_clone_to_owned().ok()?;
            Some((name.to_owned(), fd))
        });
        let maps = ebpf.maps().filter_map(|(_, map)| descriptor(map));
        Self {
            ring: Positions::map(ring)
                .inspect_err(|error| log::info!("how full the ring buffer is is unknown: {error}"))
                .ok(),
            capacity: capacity.into(),
            // Before Linux 6.4 a map has the size of its keys and values, of which a ring buffer has none.
            map_memory: maps.filter_map(memory_of).sum::<u64>()
                + memory_of(ring).unwrap_or_default().max(capacity.into()),
            programs: programs.collect(),
        }
    }

    /// The bytes that wait in the ring buffer; None if that cannot be read.
    #[must_use]
    pub fn ring(&self) -> Option<u64> {
        self.ring.as_ref().map(Positions::waiting)
    }

    /// The size of the ring buffer in bytes.
    #[must_use]
    pub fn ring_capacity(&self) -> u64 {
        self.capacity
    }

    /// The bytes of kernel memory that all maps take.
    #[must_use]
    pub fn map_memory(&self) -> u64 {
        self.map_memory
    }

    /// What the kernel counts of each program.
    pub fn programs(&self) -> impl Iterator<Item = (&str, Figures)> {
        let all = self.programs.iter();
        all.filter_map(|(name, fd)| Some((name.as_str(), misses::figures(fd.as_fd())?)))
    }
}

/// Makes the kernel measure the run time of all BPF programs while the descriptor is open, which costs
/// each run some 20 ns.
///
/// # Errors
/// Without CAP_SYS_ADMIN.
pub fn measure_programs() -> io::Result<OwnedFd> {
    use std::os::fd::FromRawFd as _;
    let run_time = 0_u32;
    // SAFETY: the kernel reads as many bytes as it is told there are.
    let fd = unsafe {
        libc::syscall(libc::SYS_bpf, ENABLE_STATS, &raw const run_time, size_of_val(&run_time))
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    let fd = i32::try_from(fd).map_err(io::Error::other)?;
    // SAFETY: the kernel has just opened it for this call.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn descriptor(map: &Map) -> Option<BorrowedFd<'_>> {
    let of = |map: &MapData| -> i32 { map.fd().as_fd().as_raw_fd() };
    let fd = match map {
        Map::Array(it) | Map::HashMap(it) | Map::LruHashMap(it) | Map::PerCpuArray(it) => of(it),
        Map::PerCpuHashMap(it) | Map::RingBuf(it) | Map::Unsupported(it) => of(it),
        _ => return None,
    };
    // SAFETY: it is the map's, which outlives the result.
    Some(unsafe { BorrowedFd::borrow_raw(fd) })
}

/// The memory of a map, as its descriptor tells.
fn memory_of(map: BorrowedFd<'_>) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/self/fdinfo/{}", map.as_raw_fd())).ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix("memlock:"))?;
    value.trim().parse().ok()
}

/// The positions of reader and writers in a ring buffer: a page each (`kernel/bpf/ringbuf.c`).
#[derive(Debug)]
struct Positions {
    consumer: Window,
    producer: Window,
}

impl Positions {
    fn map(ring: BorrowedFd<'_>) -> io::Result<Self> {
        let page = rustix::param::page_size() as u64;
        let [consumer, producer] = [0, page].map(|offset| Window::read_only(ring, offset, 1));
        Ok(Self { consumer: consumer?, producer: producer? })
    }

    fn waiting(&self) -> u64 {
        // The reader is this process, and its position is read first: what waits is never less than
        // nothing.
        let consumer = self.consumer.get();
        self.producer.get().wrapping_sub(consumer)
    }
}
