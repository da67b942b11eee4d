//! The kernel's charges of users.

use std::collections::BTreeSet;

use inotify_trace_common::{ABSENT, Kind};
use inotify_trace_model::event::{Charge, Event, EventKind, Quota};

use super::{intake::Intake, now, reader::Answers};
use crate::kernel::KernelError;

/// The deepest nesting of user namespaces (`create_user_ns` in `kernel/user_namespace.c`).
const DEEPEST: u32 = 32;

/// Asks for the charges of every user who is charged for a known instance.
pub(super) fn ask(intake: &mut Intake, events: &mut Vec<Event>) -> Result<(), KernelError> {
    let addresses = intake.known.addresses.values();
    let payers: BTreeSet<_> = addresses.map(|address| (address.payer, address.uid)).collect();
    for (payer, uid) in payers {
        if payer == 0 || uid == ABSENT {
            continue;
        }
        let mut charges = Vec::new();
        for level in 0..DEEPEST {
            intake.programs.ask().charged(payer, uid, level)?;
            intake.drain_all(events);
            let Some(charge) = charge(&std::mem::take(&mut intake.answers)) else { break };
            charges.push(charge);
        }
        if !charges.is_empty() {
            events.push(now(EventKind::Charged { charges: charges.into() }));
        }
    }
    Ok(())
}

/// The charge of one level; None if there is no such level, or the counters are gone.
fn charge(answers: &Answers) -> Option<Charge> {
    let of = |kind| answers.iter().find(|answer| answer.0 == kind).and_then(|answer| answer.1);
    let (instances, watches) = (of(Kind::InstancesCharged), of(Kind::WatchesCharged));
    let Quota { uid, userns, .. } = instances.or(watches)?;
    Some(Charge { uid, userns, instances, watches })
}
