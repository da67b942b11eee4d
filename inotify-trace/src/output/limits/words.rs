//! Phrases.

use std::time::Duration;

use crate::limits::{
    Assignment, Floor, INSTANCE_BYTES, Pods, PodsFrom, Sizing, Sysctl, WATCH_BYTES,
};

pub(super) fn place(assignment: &Assignment) -> String {
    let alias = assignment.alias.as_ref().map(|alias| format!(" ({alias}, the same)"));
    assignment.place() + &alias.unwrap_or_default()
}

/// The reasoning behind a value.
pub(super) fn reasoning(sizing: &Sizing) -> String {
    let enough = enough(sizing);
    match sizing.until_released {
        Some(value) => format!("{enough}. Until the leaked ones are released, {value} gains time"),
        None => enough,
    }
}

/// Why a value is enough.
fn enough(sizing: &Sizing) -> String {
    let Sizing { per_pod, in_pods, pods_seen, elsewhere, others, needed, with_headroom, .. } =
        sizing;
    let leaked = match sizing.leaked {
        0 => String::new(),
        leaked => format!(" ({leaked} leaked ones left out: see `inotify-trace leaks`)"),
    };
    let sum = match sizing.pods {
        _ if sizing.most.saturating_sub(sizing.leaked) == *needed && *needed > 0 => {
            format!("{} used at most in the time seen{leaked}", sizing.most)
        }
        None => format!("{needed} in use{leaked}"),
        Some(Pods { count, from }) => {
            let from = match from {
                PodsFrom::Asked => "--pods",
                PodsFrom::Kubelet => "kubelet's maxPods",
                PodsFrom::Default => "kubelet's default",
            };
            let seen = format!("{pods_seen} pods and containers seen");
            let basis = match (sizing.is_assumed, pods_seen) {
                (true, 0) => "assumed".to_owned(),
                (true, _) => format!("assumed; {in_pods} in {seen}"),
                (false, _) => format!("the median of {seen}"),
            };
            let pods = if in_pods > &(per_pod * pods_seen) {
                let more = count - pods_seen;
                format!("{in_pods} in {seen} + {per_pod} a pod x {more} more ({from})")
            } else {
                format!("{per_pod} a pod ({basis}) x {count} pods ({from})")
            };
            let assumed = if others > elsewhere { " (assumed)" } else { "" };
            format!("{pods} + {others} others{assumed}{leaked} = {needed}")
        }
    };
    let raise = format!("{sum}; x 1.5 for headroom = {with_headroom}");
    if sizing.value != sizing.floor.value() || sizing.value < *with_headroom {
        return format!("{raise}; the next power of two");
    }
    let value = sizing.value;
    match sizing.floor {
        Floor { live: Some(live), configured } if live == value => match configured {
            Some(file) if file < value => format!(
                "{raise}; {value} is live, and is enough, but a file sets {file}: the next boot \
                 or `sysctl --system` loads that"
            ),
            _ => format!("{raise}; {value} is set, and is enough"),
        },
        Floor { live: Some(live), .. } => format!(
            "{raise}; a file sets {value}, which is enough, but {live} is live: `sysctl -w \
             {}={value}` sets it now",
            sizing.sysctl.key()
        ),
        Floor { live: None, .. } => format!("{raise}; a file sets {value}, which is enough"),
    }
}

/// The memory that a value can cost.
pub(super) fn memory(sizing: &Sizing) -> String {
    let (each, basis) = match sizing.sysctl {
        Sysctl::Instances => {
            (INSTANCE_BYTES, "an instance, measured as 0.9 KiB on Linux 6.18, x86-64")
        }
        _ => (
            WATCH_BYTES,
            "a watch, as the kernel itself reckons, most of it the inode that it keeps in memory",
        ),
    };
    format!(
        "can take up to {} of kernel memory, if all are in use (estimated: {each} bytes {basis})",
        bytes(sizing.memory)
    )
}

/// Bytes in a unit that leaves few digits.
pub(super) fn bytes(bytes: u64) -> String {
    match bytes {
        0..0x10_0000 => format!("{} KiB", bytes.div_ceil(1 << 10)),
        0x10_0000..0x1_0000_0000 => format!("{} MiB", bytes.div_ceil(1 << 20)),
        _ => format!("{} GiB", bytes.div_ceil(1 << 30)),
    }
}

/// A time in a unit that leaves few digits.
pub(super) fn time(left: Duration) -> String {
    let seconds = left.as_secs();
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86400),
    }
}
