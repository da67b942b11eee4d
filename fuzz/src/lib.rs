//! What both targets do with a file: all that `replay` and what builds on it would.

use std::io;

use inotify_trace::{
    output::{Json, Text, UserNames, Width},
    recording::Reader,
};
use inotify_trace_model::{
    clock::Timestamps,
    story::{Audience as _, Story},
    tracker::Tracker,
    verdict::Grace,
};

/// Replays a file; panics where that goes wrong in a way that no file may cause.
pub fn replay(bytes: &[u8]) {
    let mut reader = match Reader::new(bytes) {
        Ok(reader) => reader,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    let header = reader.header();
    let clock = header.clock();
    let _ = clock.utc(header.started);
    let users = UserNames::from_map(header.users.clone());
    let mut story = Story::new(header.started, Grace::default());
    let text =
        Text::new(io::sink(), clock.clone(), users, Timestamps::Iso, Width::Columns(80).into());
    let mut shown = (Json::new(io::sink(), clock), text);
    let mut before = reader.offset();
    loop {
        let item = match reader.next_item() {
            Ok(Some(item)) => item,
            Ok(None) => break,
            Err(error) => {
                assert!(!error.to_string().is_empty());
                // What comes after the damage is read as well.
                continue;
            }
        };
        assert!(before <= reader.offset() && reader.offset() <= bytes.len() as u64);
        before = reader.offset();
        story.take(item, &mut shown).expect("nothing is written");
    }
    shown.0.end(story.tracker(), story.now()).expect("nothing is written");
    // A recorder that took over here would write a state that can be read.
    let mut again = Tracker::new();
    story.tracker().parts().into_iter().for_each(|part| again.restore(part));
}
