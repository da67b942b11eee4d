//! A containerd of the test's own, with pods created through its CRI socket.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use inotify_trace_tests::{
    cgroup,
    leftovers::{self, Leftover},
    system,
    wait::Wait,
};
use prost::Message;
use serde_json::json;
use tonic::{Request, client::Grpc, codegen::http::uri::PathAndQuery, transport::Channel};
use tonic_prost::ProstCodec;

/// The image of all containers: a busybox, with a name that no registry has.
pub const IMAGE: &str = "localhost/inotify-trace-test:1";

/// The fields of `runtime.v1` (api.proto of cri-api) that a pod needs.
pub mod api {
    use super::Message;

    #[derive(Clone, PartialEq, Message)]
    pub struct Empty {}

    #[derive(Clone, PartialEq, Message)]
    pub struct Metadata {
        #[prost(string, tag = "1")]
        pub name: String,
        #[prost(string, tag = "2")]
        pub uid: String,
        #[prost(string, tag = "3")]
        pub namespace: String,
    }

    #[derive(Clone, PartialEq, Message)]
    pub struct Name {
        #[prost(string, tag = "1")]
        pub name: String,
    }

    /// The value of POD is 0, that of NODE is 2.
    #[derive(Clone, PartialEq, Message)]
    pub struct Namespaces {
        #[prost(int32, tag = "1")]
        pub network: i32,
        #[prost(int32, tag = "2")]
        pub pid: i32,
    }

    #[derive(Clone, PartialEq, Message)]
    pub struct Security {
        #[prost(message, optional, tag = "1")]
        pub namespaces: Option<Namespaces>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub struct LinuxPod {
        #[prost(string, tag = "1")]
        pub cgroup_parent: String,
        #[prost(message, optional, tag = "2")]
        pub security: Option<Security>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub struct Pod {
        #[prost(message, optional, tag = "1")]
        pub metadata: Option<Metadata>,
        #[prost(string, tag = "3")]
        pub log_directory: String,
        #[prost(message, optional, tag = "8")]
        pub linux: Option<LinuxPod>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub struct RunPod {
        #[prost(message, optional, tag = "1")]
        pub config: Option<Pod>,
    }

    /// Also the request to remove a pod or start a container, and the response to creating them.
    #[derive(Clone, PartialEq, Message)]
    pub struct Id {
        #[prost(string, tag = "1")]
        pub id: String,
    }

    #[derive(Clone, PartialEq, Message)]
    pub struct Mount {
        #[prost(string, tag = "1")]
        pub inside: String,
        #[prost(string, tag = "2")]
        pub outside: String,
        #[prost(bool, tag = "3")]
        pub is_readonly: bool,
        /// The value of HOST_TO_CONTAINER is 1.
        #[prost(int32, tag = "5")]
        pub propagation: i32,
    }

    #[derive(Clone, PartialEq, Message)]
    pub struct Variable {
        #[prost(string, tag = "1")]
        pub name: String,
        #[prost(string, tag = "2")]
        pub value: String,
    }

    #[derive(Clone, PartialEq, Message)]
    pub struct Capabilities {
        #[prost(string, repeated, tag = "1")]
        pub add: Vec<String>,
        #[prost(string, repeated, tag = "2")]
        pub drop: Vec<String>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub struct User {
        #[prost(int64, tag = "1")]
        pub id: i64,
    }

    #[derive(Clone, PartialEq, Message)]
    pub struct ContainerSecurity {
        #[prost(message, optional, tag = "1")]
        pub capabilities: Option<Capabilities>,
        #[prost(message, optional, tag = "3")]
        pub namespaces: Option<Namespaces>,
        #[prost(message, optional, tag = "5")]
        pub user: Option<User>,
        #[prost(bool, tag = "7")]
        pub is_root_readonly: bool,
        #[prost(bool, tag = "11")]
        pub no_new_privileges: bool,
        #[prost(string, repeated, tag = "13")]
        pub masked: Vec<String>,
        #[prost(string, repeated, tag = "14")]
        pub readonly: Vec<String>,
        /// The value of RuntimeDefault is 0.
        #[prost(message, optional, tag = "15")]
        pub seccomp: Option<Empty>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub struct LinuxContainer {
        #[prost(message, optional, tag = "2")]
        pub security: Option<ContainerSecurity>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub struct Exec {
        #[prost(string, tag = "1")]
        pub id: String,
        #[prost(string, repeated, tag = "2")]
        pub command: Vec<String>,
        /// Seconds.
        #[prost(int64, tag = "3")]
        pub timeout: i64,
    }

    #[derive(Clone, PartialEq, Message)]
    pub struct Executed {
        #[prost(bytes = "vec", tag = "1")]
        pub output: Vec<u8>,
        #[prost(bytes = "vec", tag = "2")]
        pub errors: Vec<u8>,
        #[prost(int32, tag = "3")]
        pub code: i32,
    }

    #[derive(Clone, PartialEq, Message)]
    pub struct Container {
        #[prost(message, optional, tag = "1")]
        pub metadata: Option<Name>,
        #[prost(message, optional, tag = "2")]
        pub image: Option<Name>,
        #[prost(string, repeated, tag = "3")]
        pub command: Vec<String>,
        #[prost(string, repeated, tag = "4")]
        pub arguments: Vec<String>,
        #[prost(message, repeated, tag = "6")]
        pub environment: Vec<Variable>,
        #[prost(message, repeated, tag = "7")]
        pub mounts: Vec<Mount>,
        #[prost(string, tag = "11")]
        pub log: String,
        #[prost(message, optional, tag = "15")]
        pub linux: Option<LinuxContainer>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub struct CreateContainer {
        #[prost(string, tag = "1")]
        pub pod: String,
        #[prost(message, optional, tag = "2")]
        pub config: Option<Container>,
        #[prost(message, optional, tag = "3")]
        pub pod_config: Option<Pod>,
    }
}

/// A running containerd. Stopped on drop, with all its pods.
pub struct Containerd {
    child: Child,
    directory: tempfile::TempDir,
    runtime: tokio::runtime::Runtime,
    grpc: Option<Grpc<Channel>>,
    pods: Vec<String>,
}

/// A pod.
#[derive(Clone)]
pub struct Pod {
    pub id: String,
    config: api::Pod,
}

/// The path of a statically linked busybox.
pub fn static_busybox() -> Option<PathBuf> {
    let path = system::which("busybox")?;
    // A dynamically linked binary names its loader in its first bytes.
    let head = fs::read(&path).ok()?.into_iter().take(4096).collect::<Vec<_>>();
    let is_static = !head.windows(9).any(|part| part == b"ld-linux-");
    is_static.then_some(path)
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

impl Containerd {
    /// Starts containerd, and imports the image.
    pub fn start(busybox: &Path) -> Self {
        let directory = tempfile::Builder::new().prefix("itct").tempdir().unwrap();
        let root = directory.path();
        leftovers::note(Leftover::Processes(root));
        let config = format!(
            "version = 2\nroot = \"{root}/root\"\nstate = \"{root}/state\"\n\
             [grpc]\naddress = \"{root}/sock\"\n\
             [plugins.\"io.containerd.internal.v1.opt\"]\npath = \"{root}/opt\"\n\
             [plugins.\"io.containerd.grpc.v1.cri\"]\nsandbox_image = \"{IMAGE}\"\n\
             disable_apparmor = true\nrestrict_oom_score_adj = true\n\
             [plugins.\"io.containerd.grpc.v1.cri\".containerd]\nsnapshotter = \"native\"\n\
             [plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc]\n\
             runtime_type = \"io.containerd.runc.v2\"\n",
            root = root.display()
        );
        fs::write(root.join("config.toml"), config).unwrap();
        let log = fs::File::create(root.join("log.txt")).unwrap();
        // Mounts of the machine are shared with containers only where they are shared at all.
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "shared", "containerd", "--config"]);
        command.arg(root.join("config.toml")).stdin(Stdio::null());
        let child = command.stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mut containerd = Self { child, directory, runtime, grpc: None, pods: Vec::new() };
        containerd.connect();
        containerd.import(busybox);
        containerd
    }

    /// The path of the CRI socket.
    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("sock")
    }

    /// What a container wrote, by the name of its log.
    pub fn log_of(&self, name: &str) -> String {
        fs::read_to_string(self.directory.path().join(name)).unwrap_or_default()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log.txt")).unwrap_or_default()
    }

    fn connect(&mut self) {
        let uri = format!("unix://{}", self.socket().display());
        let wait = Wait::begin();
        loop {
            let endpoint = tonic::transport::Endpoint::from_shared(uri.clone()).unwrap();
            if let Ok(channel) = self.runtime.block_on(endpoint.connect()) {
                self.grpc = Some(Grpc::new(channel));
                let version = self.call::<_, api::Empty>("Version", api::Empty {});
                if version.is_ok() {
                    return;
                }
            }
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "containerd: {}", self.log());
            wait.look_again(|| format!("containerd: {}", self.log()));
        }
    }

    fn call<Q, A>(&mut self, method: &str, question: Q) -> Result<A, tonic::Status>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let path = format!("/runtime.v1.RuntimeService/{method}");
        let path = PathAndQuery::from_maybe_shared(path).unwrap();
        let grpc = self.grpc.as_mut().unwrap();
        self.runtime.block_on(async {
            grpc.ready().await.map_err(|error| tonic::Status::unavailable(error.to_string()))?;
            let codec = ProstCodec::<Q, A>::default();
            Ok(grpc.unary(Request::new(question), path, codec).await?.into_inner())
        })
    }

    /// Imports an image in the format of `docker save`.
    fn import(&self, busybox: &Path) {
        let image = self.directory.path().join("image");
        for directory in ["layer/bin", "layer/etc", "layer/usr"] {
            fs::create_dir_all(image.join(directory)).unwrap();
        }
        fs::copy(busybox, image.join("layer/bin/busybox")).unwrap();
        fs::write(image.join("layer/etc/log"), "").unwrap();
        let tar = |directory: &str, archive: &str, members: &[&str]| {
            let mut command = Command::new("tar");
            command.current_dir(image.join(directory)).arg("-cf").arg(image.join(archive));
            run(command.args(members));
        };
        tar("layer", "layer.tar", &["."]);
        let sum = run(Command::new("sha256sum").arg(image.join("layer.tar")));
        let layer = format!("sha256:{}", &sum[..64]);
        let arch = if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" };
        let config = json!({
            "architecture": arch, "os": "linux",
            "config": { "Cmd": ["/bin/busybox", "sleep", "100000"] },
            "rootfs": { "type": "layers", "diff_ids": [layer] },
        });
        let manifest =
            json!([{ "Config": "config.json", "RepoTags": [IMAGE], "Layers": ["layer.tar"] }]);
        fs::write(image.join("config.json"), config.to_string()).unwrap();
        fs::write(image.join("manifest.json"), manifest.to_string()).unwrap();
        tar(".", "image.tar", &["manifest.json", "config.json", "layer.tar"]);
        self.import_archive(&image.join("image.tar"));
    }

    /// Imports an image.
    pub fn import_archive(&self, archive: &Path) {
        let mut ctr = Command::new("ctr");
        ctr.arg("--address").arg(self.socket()).args(["--namespace", "k8s.io", "images", "import"]);
        run(ctr.args(["--snapshotter", "native"]).arg(archive));
    }

    /// Starts a pod in the host's network, below a cgroup.
    pub fn pod(&mut self, name: &str, namespace: &str, uid: &str, parent: &str) -> Pod {
        self.pod_in((name, namespace, uid), parent, api::Namespaces { network: 2, pid: 0 })
    }

    /// Starts a pod of this name, namespace and uid in namespaces of the machine.
    pub fn pod_in(
        &mut self,
        (name, namespace, uid): (&str, &str, &str),
        parent: &str,
        namespaces: api::Namespaces,
    ) -> Pod {
        let metadata = api::Metadata {
            name: name.to_owned(),
            uid: uid.to_owned(),
            namespace: namespace.to_owned(),
        };
        let linux = api::LinuxPod {
            cgroup_parent: parent.to_owned(),
            security: Some(api::Security { namespaces: Some(namespaces) }),
        };
        let log_directory = self.directory.path().to_str().unwrap().to_owned();
        let config = api::Pod { metadata: Some(metadata), log_directory, linux: Some(linux) };
        let question = api::RunPod { config: Some(config.clone()) };
        let mount = cgroup::mount_point().expect("the caller has looked");
        leftovers::note(Leftover::Cgroup(&mount.join(parent.trim_start_matches('/'))));
        let answer: Result<api::Id, _> = self.call("RunPodSandbox", question);
        let id = answer.unwrap_or_else(|error| panic!("{error}\n{}", self.log())).id;
        self.pods.push(id.clone());
        Pod { id, config }
    }

    /// Starts a container in a pod, with the machine's programs. Returns its id.
    pub fn container(&mut self, pod: &Pod, name: &str, command: &[&str]) -> String {
        let named = |name: &str| Some(api::Name { name: name.to_owned() });
        let here = ["/usr", "/lib", "/lib64"].into_iter().filter(|it| Path::new(it).exists());
        let mounts = here.map(|it| api::Mount {
            inside: it.to_owned(),
            outside: fs::canonicalize(it).unwrap().to_str().unwrap().to_owned(),
            is_readonly: true,
            propagation: 0,
        });
        let config = api::Container {
            metadata: named(name),
            image: named(IMAGE),
            command: command.iter().map(|&word| word.to_owned()).collect(),
            mounts: mounts.collect(),
            ..api::Container::default()
        };
        self.start_container(pod, config)
    }

    /// Starts a container in a pod. Returns its id.
    pub fn start_container(&mut self, pod: &Pod, config: api::Container) -> String {
        let question = api::CreateContainer {
            pod: pod.id.clone(),
            config: Some(config),
            pod_config: Some(pod.config.clone()),
        };
        let answer: Result<api::Id, _> = self.call("CreateContainer", question);
        let id = answer.unwrap_or_else(|error| panic!("{error}\n{}", self.log())).id;
        let started: Result<api::Empty, _> =
            self.call("StartContainer", api::Id { id: id.clone() });
        started.unwrap_or_else(|error| panic!("{error}\n{}", self.log()));
        id
    }

    /// Runs a command in a container; returns its output, its errors and its exit code.
    pub fn exec(&mut self, id: &str, command: &[&str]) -> (String, String, i32) {
        let command = command.iter().map(|&word| word.to_owned()).collect();
        let question = api::Exec { id: id.to_owned(), command, timeout: 60 };
        let answer: Result<api::Executed, _> = self.call("ExecSync", question);
        let answer = answer.unwrap_or_else(|error| panic!("{error}\n{}", self.log()));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (text(&answer.output), text(&answer.errors), answer.code)
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        for id in std::mem::take(&mut self.pods) {
            for method in ["StopPodSandbox", "RemovePodSandbox"] {
                // The test may be failing already, for a better reason.
                let _ = self.call::<_, api::Empty>(method, api::Id { id: id.clone() });
            }
        }
        let pid = libc::pid_t::try_from(self.child.id()).unwrap();
        // SAFETY: the child has not been waited for, so its process id is valid.
        unsafe { libc::kill(pid, libc::SIGTERM) };
        let _ = self.child.wait();
    }
}
