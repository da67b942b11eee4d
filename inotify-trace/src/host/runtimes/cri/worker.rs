//! The thread that asks.

use std::{
    collections::{HashMap, HashSet},
    io,
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, Sender},
    time::{Duration, Instant},
};

use tonic::transport::Endpoint;

use super::{
    super::{Answer, Container, CriCounts, Names, Runtime},
    api::{self, Client},
};
use crate::threads;

/// The time limit for a runtime to answer all open questions.
pub(super) const LIMIT: Duration = Duration::from_secs(2);

/// The shortest time between two questions: a runtime knows a container some time after its cgroup
/// was created.
const PAUSE: Duration = Duration::from_millis(500);

/// The pause after a runtime has not answered.
const REST: Duration = Duration::from_secs(10);

/// Answers each of `questions`, until their sender is dropped.
pub(super) fn run(
    sockets: Vec<PathBuf>,
    counts: &CriCounts,
    questions: &Receiver<Container>,
    answer: &Sender<Answer>,
) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .thread_stack_size(threads::STACK)
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            log::info!("no container runtime can be asked for names: {error}");
            return;
        }
    };
    let mut those: Vec<_> = sockets.into_iter().map(Asked::new).collect();
    while let Ok(first) = questions.recv() {
        let began = Instant::now();
        let mut open: HashSet<_> = std::iter::once(first).chain(questions.try_iter()).collect();
        for asked in &mut those {
            if open.is_empty() {
                break;
            }
            for known in runtime.block_on(asked.ask(&open, counts)) {
                open.remove(&known.asked);
                if answer.send(known).is_err() {
                    return;
                }
            }
        }
        for asked in open {
            if answer.send(Answer { asked, names: None, runtime: None }).is_err() {
                return;
            }
        }
        std::thread::sleep(PAUSE.saturating_sub(began.elapsed()));
    }
}

/// A runtime behind a socket.
struct Asked {
    socket: PathBuf,
    /// Whether its name was logged.
    is_greeted: bool,
    /// The end of its pause.
    rests: Option<Instant>,
}

/// The list of a runtime's containers.
struct Said {
    version: api::VersionResponse,
    containers: HashMap<String, api::Container>,
    sandboxes: HashMap<String, api::PodSandbox>,
    client: Client,
}

impl Asked {
    fn new(socket: PathBuf) -> Self {
        Self { socket, is_greeted: false, rests: None }
    }

    /// Answers for those of the wanted containers that it knows. Errors leave containers unnamed.
    async fn ask(&mut self, wanted: &HashSet<Container>, counts: &CriCounts) -> Vec<Answer> {
        if self.rests.is_some_and(|until| Instant::now() < until) || !self.socket.exists() {
            return Vec::new();
        }
        let mut known = Vec::new();
        let asking = self.look(wanted, &mut known);
        let result = tokio::time::timeout(LIMIT, asking).await;
        let failure = match result {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some(format!("no answer within {} s", LIMIT.as_secs())),
        };
        counts.requests.add(1);
        counts.errors.add(failure.is_some().into());
        if let Some(why) = failure {
            log::info!("{} was asked for containers' names: {why}", self.socket.display());
            self.rests = Some(Instant::now() + REST);
        }
        known
    }

    async fn look(
        &mut self,
        wanted: &HashSet<Container>,
        known: &mut Vec<Answer>,
    ) -> Result<(), Box<dyn std::error::Error>> {
        let mut said = Said::by(&self.socket).await?;
        let api::VersionResponse { runtime_name, runtime_version } = &said.version;
        if !std::mem::replace(&mut self.is_greeted, true) {
            let socket = self.socket.display();
            log::info!("{socket}: {runtime_name} {runtime_version} is asked for containers' names");
        }
        let runtime = match runtime_name.as_str() {
            "containerd" => Some(Runtime::Containerd),
            "cri-o" => Some(Runtime::CriO),
            "docker" => Some(Runtime::Docker),
            _ => None,
        };
        for asked in wanted {
            let Some(mut names) = said.names(&asked.id) else { continue };
            if !names.is_sandbox {
                // The list has the image as given at creation, which may be a digest.
                let status = said.client.status(&asked.id).await;
                let image = status.ok().and_then(|it| it.status?.image);
                names.image = image.and_then(|it| text(&it.image)).or(names.image);
            }
            let runtime = runtime.filter(|_| asked.runtime.is_none());
            let names = Some(names.bounded());
            known.push(Answer { asked: asked.clone(), names, runtime });
        }
        Ok(())
    }
}

impl Said {
    async fn by(socket: &Path) -> Result<Self, Box<dyn std::error::Error>> {
        let path = socket.to_str().ok_or_else(|| io::Error::other("not a path in UTF-8"))?;
        let endpoint = Endpoint::from_shared(format!("unix://{path}"))?;
        let mut client = Client::new(endpoint.connect().await?);
        let version = client.version().await?;
        let containers = client.containers().await?.containers.into_iter();
        let sandboxes = client.sandboxes().await?.items.into_iter();
        Ok(Self {
            version,
            containers: containers.map(|it| (it.id.clone(), it)).collect(),
            sandboxes: sandboxes.map(|it| (it.id.clone(), it)).collect(),
            client,
        })
    }

    fn names(&self, id: &str) -> Option<Names> {
        let container = self.containers.get(id);
        let sandbox = self.sandboxes.get(container.map_or(id, |it| &it.pod_sandbox_id));
        let pod = sandbox.and_then(|it| it.metadata.as_ref());
        let label = |key: &str| container.and_then(|it| text(it.labels.get(key)?));
        if container.is_none() && pod.is_none() {
            return None;
        }
        Some(Names {
            name: container.and_then(|it| text(&it.metadata.as_ref()?.name)),
            pod_name: pod.and_then(|it| text(&it.name)).or_else(|| label("io.kubernetes.pod.name")),
            namespace: pod
                .and_then(|it| text(&it.namespace))
                .or_else(|| label("io.kubernetes.pod.namespace")),
            image: container.and_then(|it| text(&it.image.as_ref()?.image)),
            is_sandbox: container.is_none(),
        })
    }
}

/// None for a field that is not set, which is empty.
fn text(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}
