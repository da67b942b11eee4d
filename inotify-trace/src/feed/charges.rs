//! The kernel's charges of users.

use std::collections::BTreeSet;

use inotify_trace_common::ABSENT;
use inotify_trace_model::{
    event::{Charge, Event, EventKind, InstanceId},
    resource::Resource,
    tracker::{Tracker, User},
};

use super::intake::Intake;
use crate::kernel::KernelError;

/// How many answers wait in the ring buffer at most: each takes less than a kilobyte and a half.
const AT_ONCE: usize = 16;

/// Asks for the charges of every user who is charged for a known instance.
pub(super) fn ask(intake: &mut Intake, events: &mut Vec<Event>) -> Result<(), KernelError> {
    ask_for(intake, events, |_| true)
}

/// The same for instances that became known after `newest`.
pub(super) fn ask_since(
    intake: &mut Intake,
    newest: InstanceId,
    events: &mut Vec<Event>,
) -> Result<(), KernelError> {
    ask_for(intake, events, |instance| instance > newest)
}

/// Asks for what has become different since `tracker` knew it: no record tells that the watches of an
/// instance ended with it, that a limit was set, or what is charged at other levels of user namespaces
/// than the one that binds.
pub(super) fn refresh(
    intake: &mut Intake,
    tracker: &Tracker,
    events: &mut Vec<Event>,
) -> Result<(), KernelError> {
    let mut new = Vec::new();
    let asked = ask(intake, &mut new);
    // The state is older than what has come since.
    if !events.iter().chain(&new).any(|event| event.kind.quota().is_some()) {
        new.retain(|event| is_news(&event.kind, tracker));
    }
    events.append(&mut new);
    asked
}

/// Whether the charges of an event are not those that are known; true for other events.
fn is_news(event: &EventKind, tracker: &Tracker) -> bool {
    let EventKind::Charged { charges } = event else { return true };
    let is_known = |charge: &Charge| {
        let account = tracker.users().get(User::from(*charge));
        Resource::ALL.iter().all(|&it| match account {
            Some(account) => account.own(it) == charge.of(it),
            // Its last instance is gone, and with it what was known of it.
            None => charge.of(it).is_none_or(|level| level.used == 0),
        })
    };
    !charges.iter().all(is_known)
}

fn ask_for(
    intake: &mut Intake,
    events: &mut Vec<Event>,
    is_asked: impl Fn(InstanceId) -> bool,
) -> Result<(), KernelError> {
    let asked = intake.known.addresses.iter().filter(|(id, _)| is_asked(**id));
    let payers: BTreeSet<_> = asked.map(|(_, address)| (address.payer, address.uid)).collect();
    let payers: Vec<_> =
        payers.into_iter().filter(|&(payer, uid)| payer != 0 && uid != ABSENT).collect();
    for some in payers.chunks(AT_ONCE) {
        for &(payer, uid) in some {
            intake.programs.ask().charged(payer, uid)?;
        }
        intake.drain_all(events);
    }
    Ok(())
}
