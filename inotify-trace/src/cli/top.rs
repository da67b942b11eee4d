//! `inotify-trace top`: the machine on a full screen, live, from an agent or as recorded.

mod past;

use std::{
    future::poll_fn,
    io::{self, BufWriter, IsTerminal as _},
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use anyhow::bail;
use inotify_trace_model::{
    event::{BootTime, Event},
    feed::{Batch, Item},
    story::{Audience, Story},
    tracker::Tracker,
    verdict::Grace,
};
use tokio::{
    signal::unix::Signal,
    sync::mpsc::UnboundedReceiver,
    time::{Instant, sleep_until},
};

use self::past::Player;
use super::{
    agent::{AgentArgs, Events},
    choice::one_of,
    kernel::{KernelArgs, log_at},
    list,
    past::PastArgs,
    recordings::exit_code,
    say::say,
    session::{self, event_loop},
    units,
};
use crate::{
    feed::{Live, Options, Session, Wake},
    host::{self, privileges::Later},
    output::{self, Patient, UserNames},
    top::{Ask, Look, Machine, Running, Source, Teller, View, Wish, write_text},
};

/// The least time between samples of what is held.
const SECOND: Duration = Duration::from_secs(1);

#[derive(Debug, clap::Args)]
#[command(after_help = units::help(EXAMPLES, &[units::DURATION, units::TIME, units::SIZE]))]
#[command(mut_arg("recordings", |it| it.help(RECORDING)))]
pub(super) struct Args {
    /// View to begin with; with --once: the only one [default: containers; with --once: all]
    #[arg(long, value_parser = one_of::<View>(), value_name = "VIEW")]
    view: Option<View>,
    /// Print one text snapshot, and end, as without a terminal or with TERM=dumb
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    past: PastArgs,
    #[command(flatten)]
    agent: AgentArgs,
    #[command(flatten)]
    kernel: KernelArgs,
    #[command(flatten)]
    host: super::Host,
}

/// Other commands show several machines one after the other.
const RECORDING: &str = "Read this recording of one machine, a file or a directory of files, instead \
                         of the running system. Can be given more than once";

const EXAMPLES: &str = "\
Examples:
  sudo inotify-trace top                     the machine as it is, and how it changes
  sudo inotify-trace top --view users        begin with the users and their limits
  inotify-trace top --recording night.itrec --at 03:05    the same at a moment of a recording
  sudo inotify-trace top --agent             show what the agent of `serve` sees
  sudo inotify-trace top --once              print it once, for scripts
  sudo inotify-trace top --once --view failures --recording night.itrec

Keys: Tab for the next view, Enter for all about a row, ? for the others, q to quit.

Exit code: 0; 2 if the command failed, or if the agent that it showed is gone.";

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    args.host.locate()?;
    let has_screen = !args.once && has_screen();
    match (args.past.is_given(), has_screen) {
        (true, _) => {
            let mut player = Player::open(&args.past, args.kernel.memory.ceiling())?;
            let is_damaged = if has_screen {
                log_at(0);
                event_loop()?.block_on(play(args, &mut player))?;
                false
            } else {
                player.print(args.views())?
            };
            Ok(exit_code(is_damaged))
        }
        (false, true) => {
            log_at(0);
            event_loop()?.block_on(follow(args))
        }
        (false, false) => print(args),
    }
}

impl Args {
    /// The views of a snapshot.
    fn views(&self) -> &[View] {
        self.view.as_ref().map_or(&View::ALL, std::slice::from_ref)
    }

    fn start(
        &self,
        source: Source,
    ) -> anyhow::Result<(Running, crate::top::Screen, UnboundedReceiver<Ask>)> {
        let colours = output::Screen::of_stdout().colours;
        Running::start(self.view.unwrap_or_default(), source, Look::new(colours.are_there()))
    }
}

/// Whether there is a terminal that can move its cursor, and a keyboard.
fn has_screen() -> bool {
    let is_dumb = std::env::var_os("TERM").is_none_or(|it| it.is_empty() || it == "dumb");
    io::stdout().is_terminal() && io::stdin().is_terminal() && !is_dumb
}

/// Writes a moment as text.
fn write(machine: Machine, views: &[View], tracker: &Tracker, now: BootTime) -> anyhow::Result<()> {
    let scenes = Teller::new(machine, None).scenes(views, tracker, now);
    let mut out = BufWriter::new(Patient::stdout());
    Ok(write_text(&mut out, &scenes, output::Screen::of_stdout())?)
}

/// This machine.
fn here(source: Source, backend: String, grace: Grace) -> Machine {
    Machine {
        source,
        host: host::host_name(),
        backend,
        names: UserNames::from_map(host::users()),
        clock: host::clock(),
        grace,
        every: SECOND,
    }
}

/// Prints what exists now.
fn print(args: &Args) -> anyhow::Result<ExitCode> {
    let known = args.agent.state(args.host.is_default())?;
    let (source, backend) = match &known {
        Some(known) => (Source::Agent, known.header.backend.clone()),
        None => (Source::Live, String::new()),
    };
    let look = match known {
        Some(known) => list::Look::of_agent(known),
        None => list::look(false, false, &args.host.registry())?,
    };
    let machine = here(source, backend, Grace::at_once());
    write(machine, args.views(), &look.tracker, host::now())?;
    Ok(exit_code(look.is_elsewhere))
}

/// Shows this machine until the person quits, or a signal comes.
async fn follow(args: &Args) -> anyhow::Result<ExitCode> {
    if let Some(events) = args.agent.events(args.host.is_default())? {
        follow_agent(args, events).await?;
        return Ok(ExitCode::SUCCESS);
    }
    let options = Options {
        kernel: args.kernel.settings(0),
        registry: args.host.registry(),
        find_paths: true,
        later: Later::Nothing,
    };
    let mut session = session::start(options, None)?;
    say_what_is_not_seen(session.live())?;
    let backend = session.live().backend().map_or_else(String::new, |it| it.to_string());
    let mut story = Story::without_verdicts(host::now()).within(args.kernel.memory.ceiling());
    let (running, screen, asks) = args.start(Source::Live)?;
    let teller = Teller::new(here(Source::Live, backend, Grace::default()), Some(screen));
    let mut audience = Asked { teller, wish: Arc::default() };
    hear(&mut session, asks, Arc::clone(&audience.wish));
    let told = session.run(&mut story, &mut audience, |_, _, _| Ok(())).await;
    let ended = running.end();
    told?;
    ended?;
    Ok(ExitCode::SUCCESS)
}

fn say_what_is_not_seen(live: &Live) -> io::Result<()> {
    session::warn_of_missing_capabilities()?;
    session::warn_of_left_out(live.left_out())?;
    live.unseen().iter().try_for_each(|it| say(format_args!("Not seen on this kernel: {it}.")))
}

/// Wakes the session for what is asked.
fn hear(session: &mut Session, mut asks: UnboundedReceiver<Ask>, wish: Arc<Mutex<Option<Wish>>>) {
    session.add(Box::new(move |context| {
        asks.poll_recv(context).map(|ask| match ask {
            None => Wake::Ended,
            Some(Ask::Show(new)) => {
                *wish.lock().unwrap_or_else(PoisonError::into_inner) = Some(new);
                Wake::Asked
            }
            // There are no other times.
            Some(Ask::Step { .. } | Ask::Jump(_)) => Wake::Due,
        })
    }));
}

/// A teller that learns of wishes between batches.
struct Asked {
    teller: Teller,
    wish: Arc<Mutex<Option<Wish>>>,
}

impl Audience for Asked {
    type Error = io::Error;

    fn restarted(&mut self, tracker: &Tracker, next: &Batch) -> io::Result<()> {
        self.teller.restarted(tracker, next)
    }

    fn event(&mut self, event: &Event, tracker: &Tracker) -> io::Result<()> {
        self.teller.event(event, tracker)
    }

    fn due(&self) -> Option<BootTime> {
        self.teller.due()
    }

    fn moment(&mut self, tracker: &Tracker, now: BootTime) -> io::Result<()> {
        self.teller.moment(tracker, now)
    }

    fn batch(&mut self, batch: &mut Batch, tracker: &Tracker) -> io::Result<()> {
        let wish = self.wish.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(wish) = wish {
            self.teller.ask(wish, tracker, batch.time);
        }
        self.teller.batch(batch, tracker)
    }
}

/// What happens while a screen is shown.
enum Next {
    Signal,
    Asked(Option<Ask>),
    Item(Item),
    Time,
}

/// Shows what an agent sees.
async fn follow_agent(args: &Args, mut events: Events) -> anyhow::Result<()> {
    let header = events.header.clone();
    let mut signals = session::catch_signals()?;
    let mut story = Story::without_verdicts(header.started).within(args.kernel.memory.ceiling());
    let (running, screen, mut asks) = args.start(Source::Agent)?;
    let machine = here(Source::Agent, header.backend, Grace::default());
    let mut teller = Teller::new(machine, Some(screen));
    let told = loop {
        let due = teller.due().map(|due| Instant::now() + due.since(host::now()));
        let next = tokio::select! {
            biased;
            () = signalled(&mut signals) => Next::Signal,
            ask = asks.recv() => Next::Asked(ask),
            item = events.next() => match item {
                Ok(item) => Next::Item(item),
                Err(error) => break Err(error),
            },
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => Next::Time,
        };
        match next {
            Next::Signal | Next::Asked(None) => break Ok(()),
            Next::Asked(Some(Ask::Show(wish))) => {
                teller.ask(wish, story.tracker(), host::now());
            }
            Next::Asked(Some(_)) => {}
            Next::Item(item) => {
                let is_last = matches!(item, Item::End(_));
                story.take(item, &mut teller)?;
                if is_last {
                    break Err(anyhow::anyhow!("the agent has ended, or cut this off"));
                }
            }
            Next::Time => teller.moment(story.tracker(), host::now())?,
        }
        teller.show(story.tracker(), host::now());
    };
    let ended = running.end();
    told?;
    ended
}

/// Waits for a signal.
async fn signalled(signals: &mut [Signal]) {
    poll_fn(|context: &mut Context<'_>| {
        let mut all = signals.iter_mut().map(|it| it.poll_recv(context).map(drop));
        all.find(Poll::is_ready).unwrap_or(Poll::Pending)
    })
    .await;
}

/// Shows a recording.
async fn play(args: &Args, player: &mut Player) -> anyhow::Result<()> {
    let mut signals = session::catch_signals()?;
    // What is damaged is said on a usual screen.
    let (running, screen, asks) = args.start(Source::Recording)?;
    let played = tokio::select! {
        biased;
        () = signalled(&mut signals) => Ok(()),
        played = player.run(asks, screen) => played,
    };
    let ended = running.end();
    player.tell_of_problems()?;
    played?;
    if player.is_empty() {
        bail!("nothing was recorded");
    }
    ended
}
