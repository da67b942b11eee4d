//! The moments of a recording: one after the other, or any.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, bail};
use inotify_trace_model::{
    event::BootTime,
    feed::{Batch, Item},
    story::Story,
    verdict::Grace,
};
use tokio::{
    sync::mpsc::UnboundedReceiver,
    task::yield_now,
    time::{Instant, sleep_until},
};

use crate::{
    cli::{
        past::PastArgs,
        recordings::{open, tell, tell_of},
        units::{Coverage, Moment},
    },
    feed::{Recordings, Replay},
    output::{self, Patient, UserNames},
    recording::Header,
    top::{Ask, Machine, Screen, Source, Teller, View, write_text},
};

/// How often a recording that plays is shown.
const FRAME: Duration = Duration::from_millis(250);

/// Steps are no shorter than one in so many of the recording.
const STEPS: u32 = 200;

/// Samples are no more often than one in so many of the recording.
const SAMPLES: u32 = 480;

/// After so many items, look whether somebody waits for something else.
const ITEMS: usize = 64;

/// A recording, at a moment.
pub(super) struct Player {
    paths: Vec<PathBuf>,
    header: Header,
    coverage: Coverage,
    replay: Replay,
    /// What comes after the moment.
    held: Option<Item>,
    story: Story,
    ceiling: Option<usize>,
    /// The moment.
    now: BootTime,
    end: BootTime,
}

impl Player {
    /// Opens the run that was asked for.
    ///
    /// # Errors
    /// If it cannot be read, or if there are several machines.
    pub(super) fn open(args: &PastArgs, ceiling: Option<usize>) -> anyhow::Result<Self> {
        let paths = args.recordings.clone();
        if paths.iter().any(|path| path.as_os_str() == "-") {
            bail!("standard input cannot be read twice, as to go back: give a file");
        }
        let opened = open(&paths)?;
        let coverage = Coverage::of(&opened.runs)?;
        let (places, at) = coverage.chosen(args.at)?;
        let [place] = places[..] else {
            bail!("these are recordings of several machines: give those of one");
        };
        let replay = opened.runs.into_iter().nth(place).context("nothing was recorded")?;
        let header = replay.header().clone();
        let coverage = Coverage::of(std::slice::from_ref(&replay))?;
        let end = replay.end().time.max(header.started);
        let clock = header.clock();
        let now = at.map_or(end, |at| clock.boot_time(at)).min(end);
        let story = Story::without_verdicts(header.started).within(ceiling);
        Ok(Self { paths, header, coverage, replay, held: None, story, ceiling, now, end })
    }

    /// Whether it has no time at all.
    pub(super) fn is_empty(&self) -> bool {
        self.end == BootTime(0)
    }

    /// Reports what could not be read.
    pub(super) fn tell_of_problems(&self) -> anyhow::Result<()> {
        Ok(tell(self.replay.problems())?)
    }

    fn machine(&self) -> Machine {
        let every = Duration::from_secs(1).max(self.length() / SAMPLES);
        Machine {
            source: Source::Recording,
            host: self.header.host.clone(),
            backend: self.header.backend.clone(),
            names: UserNames::from_map(self.header.users.clone()),
            clock: self.header.clock(),
            grace: Grace::default(),
            every,
        }
    }

    fn length(&self) -> Duration {
        self.end.since(self.header.started)
    }

    /// Prints the moment, and returns whether a part could not be read.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(super) fn print(&mut self, views: &[View]) -> anyhow::Result<bool> {
        let mut teller = Teller::new(self.machine(), None);
        while self.step(self.now, &mut teller)? {}
        tell_of(&self.replay)?;
        let scenes = teller.scenes(views, self.story.tracker(), self.now);
        let mut out = std::io::BufWriter::new(Patient::stdout());
        write_text(&mut out, &scenes, output::Screen::of_stdout())?;
        Ok(!self.replay.problems().is_empty())
    }

    /// Shows what is asked for, until nobody asks any more.
    ///
    /// # Errors
    /// If the recording cannot be opened again.
    pub(super) async fn run(
        &mut self,
        mut asks: UnboundedReceiver<Ask>,
        screen: Screen,
    ) -> anyhow::Result<()> {
        let mut teller = Teller::new(self.machine(), Some(screen));
        let mut is_read = false;
        // When the frame was shown that plays, and its moment.
        let mut playing: Option<(Instant, BootTime)> = None;
        loop {
            let frame = playing.is_some().then(|| Instant::now() + FRAME);
            let ask = tokio::select! {
                biased;
                ask = asks.recv() => match ask {
                    None => return Ok(()),
                    Some(ask) => Some(ask),
                },
                () = sleep_until(frame.unwrap_or_else(Instant::now)), if frame.is_some() => None,
            };
            let is_frame = ask.is_none();
            let target = match ask {
                None => playing.map(|(began, from)| after(from, began.elapsed())),
                Some(Ask::Show(wish)) => {
                    playing = match (wish.is_paused, playing) {
                        (true, _) => None,
                        (false, Some(since)) => Some(since),
                        (false, None) => Some((Instant::now(), self.now)),
                    };
                    teller.ask(wish, self.story.tracker(), self.now);
                    (!is_read).then_some(self.now)
                }
                Some(Ask::Step { is_forward: true }) => Some(after(self.now, self.stride())),
                Some(Ask::Step { is_forward: false }) => {
                    let stride = u64::try_from(self.stride().as_nanos()).unwrap_or(u64::MAX);
                    Some(BootTime(self.now.0.saturating_sub(stride)))
                }
                Some(Ask::Jump(text)) => match self.moment(&text) {
                    Ok(moment) => Some(moment),
                    Err(why) => {
                        teller.say(why);
                        None
                    }
                },
            };
            if let Some(target) = target {
                let target = target.clamp(self.header.started, self.end);
                if !self.go(target, &mut teller, &asks).await? {
                    return Ok(());
                }
                is_read = true;
                teller.turn();
                if is_frame && target == self.end {
                    teller.say("this is the end of the recording".to_owned());
                    playing = None;
                } else if !is_frame && playing.is_some() {
                    // It goes on from there.
                    playing = Some((Instant::now(), target));
                }
            }
            teller.show(self.story.tracker(), self.now);
        }
    }

    /// How far a step goes.
    fn stride(&self) -> Duration {
        let seconds = [1, 10, 60, 600, 3600].map(Duration::from_secs);
        let enough = |it: &Duration| *it * STEPS >= self.length();
        seconds.into_iter().find(enough).unwrap_or(Duration::from_secs(86_400))
    }

    /// A time that was typed.
    fn moment(&self, text: &str) -> Result<BootTime, String> {
        let moment: Moment = text.trim().parse().map_err(|error| format!("{text}: {error}"))?;
        let time = self.coverage.moment(moment).map_err(|error| format!("{error:#}"))?;
        Ok(self.header.clock().boot_time(time))
    }

    /// Goes to a moment. Returns whether somebody still waits for it.
    async fn go(
        &mut self,
        to: BootTime,
        teller: &mut Teller,
        asks: &UnboundedReceiver<Ask>,
    ) -> anyhow::Result<bool> {
        if to < self.story.now() {
            self.begin_again()?;
            teller.forget();
        }
        let mut items = 0;
        while self.step(to, teller)? {
            items += 1;
            if items % ITEMS == 0 {
                yield_now().await;
                if asks.is_closed() {
                    return Ok(false);
                }
            }
        }
        self.now = to;
        Ok(true)
    }

    fn begin_again(&mut self) -> anyhow::Result<()> {
        let runs = Recordings::open(&self.paths).runs;
        let again = runs.into_iter().find(|run| run.header().run == self.header.run);
        self.replay = again.context("the recording is gone")?;
        self.held = None;
        self.story = Story::without_verdicts(self.header.started).within(self.ceiling);
        Ok(())
    }

    /// Tells one item, or the part of a batch until `to`. Returns whether there may be more before it.
    fn step(&mut self, to: BootTime, teller: &mut Teller) -> std::io::Result<bool> {
        let Some(item) = self.held.take().or_else(|| self.replay.next_item()) else {
            return Ok(false);
        };
        let item = match item {
            Item::Batch(mut batch) if batch.time > to => {
                // The events of a batch have different times.
                let is_later = |event: &inotify_trace_model::event::Event| event.time > to;
                let first = batch.events.iter().position(is_later).unwrap_or(batch.events.len());
                let later = batch.events.split_off(first);
                let events = std::mem::replace(&mut batch.events, later);
                self.held = Some(Item::Batch(batch));
                if events.is_empty() {
                    return Ok(false);
                }
                Item::Batch(Batch { time: to, judged: false, events })
            }
            Item::End(time) if time > to => {
                self.held = Some(Item::End(time));
                return Ok(false);
            }
            item => item,
        };
        self.story.take(item, teller)?;
        Ok(true)
    }
}

fn after(time: BootTime, duration: Duration) -> BootTime {
    BootTime(time.0.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
}
