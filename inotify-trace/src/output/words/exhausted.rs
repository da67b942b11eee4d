//! A quota that is used up, in words.

use inotify_trace_model::findings::{Exhausted, Holder};

use crate::output::{UserNames, printable};

/// The quota that is used up and its holders, in one line without a newline.
pub(crate) fn used_up(exhausted: &Exhausted, names: &UserNames) -> String {
    let Exhausted { user, resource, used, limit, ref holders, others, unseen, .. } = *exhausted;
    let mut parts: Vec<_> =
        holders.iter().map(|(holder, count, shared)| share(holder, *count, *shared)).collect();
    if let (more @ 1.., count) = others {
        parts.push(format!("{more} more processes {count}"));
    }
    if unseen > 0 {
        parts.push(format!("not visible {unseen}"));
    }
    let name = names.payer(user);
    format!("{used} of {limit} {} of {name}: {}", resource.name(), parts.join(", "))
}

/// A process, the number it holds, and how many of these other processes hold too.
fn share(holder: &Holder, count: u32, shared: u32) -> String {
    let comm = holder.comm.map(|comm| printable(&comm.to_str()).into_owned());
    let served = holder.serves.as_ref().map(|it| format!(" of {}", super::served(it)));
    // Outside containers, the process alone is enough.
    let place = holder.place.as_deref().filter(|_| holder.is_in_container);
    let place = place.map(|name| format!(" in {}", printable(name))).unwrap_or_default();
    let shared = match shared {
        0 => String::new(),
        all if all == count => " shared".to_owned(),
        some => format!(", {some} of them shared"),
    };
    let (comm, served) = (comm.as_deref().unwrap_or("?"), served.unwrap_or_default());
    format!("{comm} ({}){served}{place} {count}{shared}", holder.pid)
}
