//! A quota that is used up, in words.

use inotify_trace_model::{
    event::Comm,
    findings::{Exhausted, Holder, NamedChief, NamedShare},
    usage::Place,
};

use crate::output::{UserNames, printable};

/// The quota that is used up and its holders, in one line without a newline.
pub(crate) fn used_up(exhausted: &Exhausted, names: &UserNames) -> String {
    let Exhausted { user, resource, used, limit, ref shares, others, unseen, .. } = *exhausted;
    let mut parts: Vec<_> = shares.iter().map(share).collect();
    if let (more @ 1.., count) = others {
        let processes = if more == 1 { "process" } else { "processes" };
        parts.push(format!("{more} more {processes} {count}"));
    }
    if unseen > 0 {
        parts.push(format!("not visible {unseen}"));
    }
    let name = names.payer(user);
    format!("{used} of {limit} {} of {name}: {}", resource.name(), parts.join(", "))
}

/// What to do about a quota that is used up.
pub(crate) fn remedy_for(exhausted: &Exhausted) -> String {
    let raise = super::remedy(exhausted.remedy());
    let first = match &exhausted.chief {
        None => None,
        Some(NamedChief::Container(name, count)) => {
            Some((format!("container {}", printable(name)), *count))
        }
        Some(NamedChief::Share(named)) => Some((who(named), named.share.count)),
    };
    let leaked = exhausted.leaked;
    match first {
        // Nobody is to be looked at first, as with the shims of many pods.
        None if exhausted.is_mostly_leaked() => format!(
            "run `inotify-trace leaks` first, which says how to release {leaked} of these that look \
             leaked; to gain time, {raise}"
        ),
        None => raise.into_owned(),
        Some((who, count)) if exhausted.is_mostly_leaked() => format!(
            "look at {who} first, with {count} of these: `inotify-trace leaks` says how to release \
             the {leaked} that look leaked; to gain time, {raise}"
        ),
        Some((who, count)) => format!(
            "look at {who} first, with {count} of these (`inotify-trace leaks` shows leaks), or \
             {raise}"
        ),
    }
}

/// The processes of a share, the number they hold, and how many of these other processes hold too.
fn share(named: &NamedShare) -> String {
    let NamedShare { share, holder, .. } = named;
    let shared = match share.shared {
        0 => String::new(),
        all if all == share.count => " shared".to_owned(),
        some => format!(", {some} of them shared"),
    };
    let count = share.count;
    match (holder, &share.place) {
        (None, Place::Container(_) | Place::Cgroup(_)) => {
            format!("{}: {count}{shared} in {} processes", who(named), share.pids.len())
        }
        _ => format!("{} {count}{shared}", who(named)),
    }
}

/// The processes of a share.
fn who(named: &NamedShare) -> String {
    let NamedShare { share, holder, place } = named;
    if let Some(holder) = holder {
        return process(holder);
    }
    let comm = name(share.comm);
    match share.place {
        Place::Container(_) | Place::Cgroup(_) => {
            let place = place.as_ref().map(|name| format!(" in {}", printable(name)));
            format!("{comm}{}", place.unwrap_or_default())
        }
        Place::Several(places) => format!("{comm} in {places} places"),
        Place::Pods(pods) => format!("{comm} in {pods} pods"),
        Place::Containers(containers) => format!("{comm} in {containers} containers"),
        Place::Shims => format!("{comm} in {} processes", share.pids.len()),
    }
}

fn process(holder: &Holder) -> String {
    let served = holder.serves.as_ref().map(|it| format!(" of {}", super::served(it)));
    // Outside containers, the process alone is enough.
    let place = holder.place.as_deref().filter(|_| holder.is_in_container);
    let place = place.map(|name| format!(" in {}", printable(name))).unwrap_or_default();
    format!("{} ({}){}{place}", name(holder.comm), holder.pid, served.unwrap_or_default())
}

fn name(comm: Option<Comm>) -> String {
    comm.map_or_else(|| "?".to_owned(), |comm| printable(&comm.to_str()).into_owned())
}
