//! What both targets do with a file: all that `replay` and what builds on it would.

use std::io;

use inotify_trace_model::{event::BootTime, clock::Timestamps, feed::Item, tracker::Tracker, verdict::{Grace, Watcher}};
use inotify_trace::{output::{Json, Sink as _, Text, Width}, recording::Reader};

/// Replays a file; panics where that goes wrong in a way that no file may cause.
pub fn replay(bytes: &[u8]) {
    let mut reader = match Reader::new(bytes) {
        Ok(reader) => reader,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    let clock = reader.header().clock();
    let _ = clock.utc(reader.header().started);
    let mut json = Json::new(io::sink(), clock.clone());
    let mut text = Text::new(io::sink(), clock, UserNames::from_map(reader.header().users.clone()), Timestamps::Iso, Width::Columns(80), false);
    let mut tracker = Tracker::new();
    let mut watcher = Watcher::new(Grace::default());
    let mut before = reader.offset();
    loop {
        let item = match reader.next_item() {
            Ok(Some(item)) => item,
            Ok(None) => break,
            Err(error) => {
                assert!(!error.to_string().is_empty());
                break;
            }
        };
        assert!(before <= reader.offset() && reader.offset() <= bytes.len() as u64);
        before = reader.offset();
        match item {
            Item::Restart => tracker.forget(),
            Item::Part(part) => tracker.restore(part),
            Item::End(_) => {}
            Item::Batch(batch) => {
                for event in &batch.events {
                    tracker.apply(event);
                    json.show(event, &tracker).expect("nothing is written");
                    text.show(event, &tracker).expect("nothing is written");
                }
                if batch.judged {
                    judge(&mut watcher, &tracker, batch.time, &mut json);
                }
            }
        }
    }
    let parts = tracker.parts();
    json.summarise(&tracker.summary()).expect("nothing is written");
    // A recorder that took over here would write a state that can be read.
    let mut again = Tracker::new();
    parts.into_iter().for_each(|part| again.restore(part));
}

fn judge(watcher: &mut Watcher, tracker: &Tracker, time: BootTime, json: &mut Json<io::Sink>) {
    for verdict in watcher.reached(tracker, time) {
        json.judge(&verdict, tracker, time).expect("nothing is written");
    }
}
