//! A recording that is sent somewhere as it happens, instead of into files: the same frames.

use std::io::{self, Write};

use bytes::BytesMut;
use inotify_trace_model::{
    event::{BootTime, Event, EventKind, Loss},
    feed::Batch,
    tracker::Part,
};

use super::{
    Header,
    encode::Encoder,
    frame::{Kind, MAGIC, Packer},
    wire,
};

/// Sends a recording. Each call sends all that it is given.
#[derive(Debug)]
pub struct Stream<W> {
    out: W,
    packer: Packer,
    frame: Encoder,
}

impl<W: Write> Stream<W> {
    /// Sends the header.
    ///
    /// # Errors
    /// If that cannot be sent, as for all methods.
    pub fn begin(out: W, header: &Header) -> io::Result<Self> {
        let mut stream = Self { out, packer: Packer::new()?, frame: Encoder::default() };
        let mut bytes = BytesMut::from(&MAGIC[..]);
        stream.packer.pack(Kind::Header, &header.to_wire(), &mut bytes)?;
        stream.out.write_all(&bytes)?;
        Ok(stream)
    }

    /// Sends the state at a moment.
    ///
    /// # Errors
    /// As above.
    pub fn state(&mut self, time: BootTime, parts: Vec<Part>) -> io::Result<()> {
        self.frame.restart();
        for part in parts {
            self.frame.part(part);
            if self.frame.is_full() {
                self.send()?;
            }
        }
        self.batch(Batch { time, judged: false, events: Vec::new() })
    }

    /// Sends a batch.
    ///
    /// # Errors
    /// As above.
    pub fn batch(&mut self, mut batch: Batch) -> io::Result<()> {
        loop {
            self.frame.batch(&mut batch);
            self.send()?;
            if batch.events.is_empty() {
                return Ok(());
            }
        }
    }

    /// Sends how many events are missing from here on.
    ///
    /// # Errors
    /// As above.
    pub fn lost(&mut self, time: BootTime, count: u64) -> io::Result<()> {
        let kind = EventKind::Lost { count, what: Loss::Unrecorded };
        let events = vec![Event { time, task: None, kind }];
        self.batch(Batch { time, judged: false, events })
    }

    /// Sends the end.
    ///
    /// # Errors
    /// As above.
    pub fn end(mut self, time: BootTime) -> io::Result<()> {
        let mut bytes = BytesMut::new();
        self.packer.pack(Kind::End, &wire::End { time: time.0, goes_on: false }, &mut bytes)?;
        self.out.write_all(&bytes)?;
        self.out.flush()
    }

    fn send(&mut self) -> io::Result<()> {
        let mut bytes = BytesMut::new();
        self.packer.pack(Kind::Frame, &self.frame.take(), &mut bytes)?;
        self.out.write_all(&bytes)
    }
}
