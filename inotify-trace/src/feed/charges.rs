//! The kernel's charges of users.

use std::collections::BTreeSet;

use inotify_trace_common::ABSENT;
use inotify_trace_model::{
    event::{Event, InstanceId},
    tracker::User,
};

use super::intake::Intake;
use crate::kernel::{InstanceAddress, KernelError};

/// Asks for the charges of every user who is charged for a known instance.
pub(super) fn ask(intake: &mut Intake, events: &mut Vec<Event>) -> Result<(), KernelError> {
    ask_for(intake, events, |_, _| true)
}

/// The same for instances that became known after `newest`.
pub(super) fn ask_since(
    intake: &mut Intake,
    newest: InstanceId,
    events: &mut Vec<Event>,
) -> Result<(), KernelError> {
    ask_for(intake, events, |instance, _| instance > newest)
}

/// The same for users in user namespaces: an event has only the count that binds, so that those at
/// other levels grow old.
pub(super) fn refresh(intake: &mut Intake, events: &mut Vec<Event>) -> Result<(), KernelError> {
    ask_for(intake, events, |_, address| address.userns != User::INITIAL)
}

fn ask_for(
    intake: &mut Intake,
    events: &mut Vec<Event>,
    is_asked: impl Fn(InstanceId, &InstanceAddress) -> bool,
) -> Result<(), KernelError> {
    let asked = intake.known.addresses.iter().filter(|(id, address)| is_asked(**id, address));
    let payers: BTreeSet<_> = asked.map(|(_, address)| (address.payer, address.uid)).collect();
    for (payer, uid) in payers {
        if payer != 0 && uid != ABSENT {
            intake.programs.ask().charged(payer, uid)?;
            intake.drain_all(events);
        }
    }
    Ok(())
}
