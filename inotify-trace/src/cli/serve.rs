//! `inotify-trace serve`: the agent that watches all the time.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, bail};
use clap::FromArgMatches as _;
use inotify_trace_model::{story::Story, verdict::Grace};

use super::{
    Host,
    kernel::{KernelArgs, log_at},
    recorder::{Recording, header},
    say::say,
    session::{self, event_loop},
    settings::Settings,
    units::{self, total_size},
};
use crate::{
    feed::{Options, Wake},
    host::{self, privileges::Later},
    kernel::measure_programs,
    limits::files::Root,
    output::Patient,
    recording::{Header, Rotation, Store},
    serve::{
        Listen, Shared,
        export::Exports,
        http,
        metrics::{Metrics, Sources},
        protocol::SOCKET,
        socket::Socket,
        systemd::Systemd,
    },
};

/// How often a recording begins a new file.
const HOUR: Duration = Duration::from_secs(3600);

/// The most bytes of a recording.
const RECORD_MAX_TOTAL: u64 = 1 << 30;

/// The longest time from an event until it is on disk.
const FLUSH: Duration = Duration::from_secs(1);

/// The ceiling of the state. With all else that docs/security.md counts, it fits into the 128 MB that the unit
/// and the DaemonSet allow.
const MEMORY: &str = "64M";

#[derive(Debug, clap::Args)]
#[command(after_help = units::help(EXAMPLES, &[units::SIZE]))]
#[command(mut_arg("memory", |it| it.default_value(MEMORY)))]
pub(super) struct Args {
    /// Where to serve metrics and health by HTTP: an address and a port, unix:PATH, or fd://N for a
    /// socket that is passed [default: the first that systemd passes, or else 127.0.0.1:20866]
    #[arg(long, value_name = "WHERE")]
    listen: Option<Listen>,
    /// Where other commands ask this agent, instead of loading kernel programs
    #[arg(long, value_name = "PATH", default_value = SOCKET)]
    socket: PathBuf,
    /// Let this group ask, too, by its name or number [default: only root]
    #[arg(long, value_name = "GROUP")]
    socket_group: Option<String>,
    /// Let no other command ask
    #[arg(long)]
    no_socket: bool,
    /// Record all events to files in this directory, a new one each hour, or when one has an eighth
    /// of --record-max-total
    #[arg(long, value_name = "DIR")]
    record: Option<PathBuf>,
    /// Keep the recorded files below this size together; the oldest are deleted [default: 1G]
    #[arg(long, value_name = "SIZE", value_parser = total_size)]
    record_max_total: Option<u64>,
    /// Write all events as Parquet into this directory, a file for each hour, as `export --partition`
    /// does. A file gets its name when its hour is over: kill -9 loses the open hour
    #[arg(long, value_name = "DIR")]
    export: Option<PathBuf>,
    /// Have the kernel measure the run time of BPF programs, of all programs on this machine; needs
    /// CAP_SYS_ADMIN at start
    #[arg(long)]
    program_stats: bool,
    /// Pretend to lose this many events every ten seconds, to try what becomes of that
    #[arg(long, value_name = "N", hide = true)]
    simulate_loss: Option<u64>,
    /// Take settings from this file [default: /etc/inotify-trace.toml if it is there]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print the settings and where each comes from, as such a file, and end
    #[arg(long)]
    print_config: bool,
    #[command(flatten)]
    kernel: KernelArgs,
    #[command(flatten)]
    host: Host,
    /// Log more, also about the kernel programs; -vv for everything
    #[arg(short, long, action = clap::ArgAction::Count)]
    verbose: u8,
}

const EXAMPLES: &str = "\
Examples:
  sudo inotify-trace serve                       metrics at http://127.0.0.1:20866/metrics
  sudo inotify-trace serve --listen 0.0.0.0:20866    for a Prometheus on another machine
  sudo inotify-trace serve --record /var/lib/inotify-trace/    and record all events, 1G at most
  sudo inotify-trace serve --socket-group adm    let members of adm ask it
  curl http://127.0.0.1:20866/readyz             whether it sees everything yet
  inotify-trace serve --print-config             its settings, and where each comes from
  inotify-trace list --agent                     ask it, in milliseconds

Each option that --print-config shows has a variable, such as INOTIFY_TRACE_LISTEN, and a key in
/etc/inotify-trace.toml, such as `listen = \"0.0.0.0:20866\"`. The option counts before the variable,
and that before the file; INOTIFY_TRACE_CONFIG names another file.

docs/metrics.md lists the metrics. Whoever can connect to --listen can read them; they have names of
pods, containers, units and users, and no paths. systemd is told when it is ready, and its watchdog
that it runs. SIGTERM ends it, and completes the recording.";

pub(super) fn run(given: &Args) -> anyhow::Result<ExitCode> {
    let settings = Settings::of(given.config.as_deref())?;
    let matches = settings.below(std::env::args_os())?;
    if given.print_config {
        Patient::stdout_to_the_end().write_all(settings.shown(&matches).as_bytes())?;
        return Ok(ExitCode::SUCCESS);
    }
    let args = Args::from_arg_matches(&matches)?;
    log_at(args.verbose);
    event_loop()?.block_on(serve(&args))
}

async fn serve(args: &Args) -> anyhow::Result<ExitCode> {
    args.host.locate()?;
    let (shared, mut asked) = Shared::new();
    let shared = Arc::new(shared);
    // What cannot work fails before anything is attached.
    let store = args.store()?;
    let socket = args.socket()?;
    let listen = match &args.listen {
        Some(listen) => listen.clone(),
        None => Listen::usual().context("the sockets that systemd passes")?,
    };
    let listener = listen.open().with_context(|| format!("cannot listen at {listen}"))?;
    let place = listener.place(&listen);
    http::serve(listener, Arc::clone(&shared)).context("cannot start to serve HTTP")?;
    // Held until the end.
    let _measured = args.program_stats.then(measure_programs).transpose().context(
        "--program-stats: the kernel does not measure the run time of programs; it needs \
         CAP_SYS_ADMIN for that",
    )?;
    let mut session = session::start(args.options(), None)?;
    session.add(Box::new(move |context| {
        asked.poll_recv(context).map(|asked| asked.map_or(Wake::Ended, |()| Wake::Asked))
    }));
    if let Some(count) = args.simulate_loss {
        session.simulate_loss(count);
    }
    let clock = host::clock();
    let story = Story::new(host::now(), Grace::default());
    let mut story = story.within(args.kernel.memory.ceiling());
    let recording = match store {
        Some(store) => Some(Recording::start(store, FLUSH, &session, &args.host, &clock)?),
        None => None,
    };
    let exports = match args.export.as_deref() {
        Some(directory) => Some(export(directory, header(&session, &args.host, &clock))?),
        None => None,
    };
    let root = Root::new(&args.host.root());
    let mut sources = Sources::new(session.live(), root, &clock, args.program_stats);
    sources.recording = recording.as_ref().map(Recording::progress);
    sources.export = exports.as_ref().map(Exports::progress);
    let metrics = Metrics::new(Arc::clone(&shared), sources);
    // What clients of the socket learn of this machine. `why` tells where the recording is, also if
    // the command line does not say.
    let mut header = header(&session, &args.host, &clock);
    if let Some(directory) = &args.record {
        header.command.push(format!("--record={}", directory.display()));
    }
    // The file is removed at the end.
    let (clients, _file) =
        match socket.map(|it| it.serve(header, Arc::clone(&shared))).transpose()? {
            Some((clients, file)) => (Some(clients), Some(file)),
            None => (None, None),
        };
    // The recording takes the events out: it comes last.
    let mut audience = (Systemd::default(), (metrics, (clients, (exports, recording))));
    let told = session
        .run(&mut story, &mut audience, |session, story, (systemd, _)| {
            session::greet(session, story.tracker())?;
            say(format_args!("Metrics at {place}/metrics"))?;
            shared.set_unready(None);
            systemd.ready(story.tracker());
            Ok(())
        })
        .await;
    Systemd::stopping();
    shared.set_unready(Some("it ends".to_owned()));
    let (_, (_, (_, (exports, recording)))) = audience;
    if let Some(exports) = exports {
        exports.finish(story.tracker(), story.now())?;
    }
    if let Some(recording) = recording {
        recording.finish()?;
    }
    told?;
    Ok(ExitCode::SUCCESS)
}

impl Args {
    fn options(&self) -> Options {
        Options {
            kernel: self.kernel.settings(self.verbose),
            registry: self.host.registry(),
            // `list --watches` asks for them.
            find_paths: true,
            later: if self.record.is_some() || self.export.is_some() {
                Later::WriteFiles
            } else {
                Later::Nothing
            },
        }
    }

    /// Where to record, if it is to.
    fn store(&self) -> anyhow::Result<Option<Store>> {
        let Some(path) = &self.record else {
            if self.record_max_total.is_some() {
                bail!("--record-max-total goes with --record");
            }
            return Ok(None);
        };
        if path.exists() && !path.is_dir() {
            bail!("--record {}: this is a file, and a directory is needed", path.display());
        }
        let max_total = Some(self.record_max_total.unwrap_or(RECORD_MAX_TOTAL));
        let rotation = Rotation { time: Some(HOUR), max_total, ..Rotation::default() };
        // A slash at the end says that it is a directory.
        Ok(Some(Store::new(&path.join(""), rotation)?))
    }

    /// The socket of the agent, unless there is to be none.
    fn socket(&self) -> anyhow::Result<Option<Socket>> {
        if self.no_socket {
            if let Some(group) = &self.socket_group {
                bail!("--socket-group {group} needs the socket, and --no-socket does without");
            }
            return Ok(None);
        }
        let group = self.socket_group.as_deref().map(group).transpose()?;
        Socket::open(&self.socket, group).map(Some).with_context(|| {
            format!(
                "cannot listen at {}; --socket names another place, and --no-socket does without",
                self.socket.display()
            )
        })
    }
}

/// Begins to export.
fn export(directory: &Path, header: Header) -> anyhow::Result<Exports> {
    let say = Box::new(|message: &str| {
        // If standard error is closed, the metrics tell of it.
        let _ = say(format_args!("inotify-trace: {message}"));
    });
    Exports::start(directory, header, say)
        .with_context(|| format!("--export {}", directory.display()))
}

/// The number of a group, by its name or number.
fn group(text: &str) -> anyhow::Result<u32> {
    let file = std::fs::read_to_string("/etc/group").unwrap_or_default();
    let mut lines = file.lines().map(|line| line.split(':'));
    let named = lines.find_map(|mut fields| {
        fields.next().filter(|name| *name == text)?;
        fields.nth(1)?.parse().ok()
    });
    named
        .or_else(|| text.parse().ok())
        .with_context(|| format!("--socket-group {text}: there is no such group in /etc/group"))
}
