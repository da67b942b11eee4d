//! Container images, without a daemon or a registry: an OCI archive of one static program for each
//! architecture. The same programs make the same bytes.
//!
//! The format is <https://github.com/opencontainers/image-spec>.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use flate2::{Compression, GzBuilder};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::agent;
use crate::step;
use crate::workspace::Workspace;

/// The type of an index of manifests.
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// Where the program is in the image.
const PROGRAM: &str = "usr/bin/inotify-trace";

/// Directories of the image: those on the way to the program, and those at which the DaemonSet or the
/// runtime mount something, since they may not make them in a root that is read-only.
const DIRECTORIES: [&str; 8] =
    ["usr", "usr/bin", "host", "run", "recordings", "proc", "sys", "dev"];

/// A program for an architecture.
#[derive(Clone, Debug)]
pub struct Program {
    architecture: String,
    file: PathBuf,
}

impl Program {
    /// A program for one of the architectures that images are made for.
    pub fn new(architecture: &str, file: &Path) -> Result<Self> {
        if !["amd64", "arm64"].contains(&architecture) {
            bail!("{architecture} is none of the architectures amd64 and arm64");
        }
        Ok(Self { architecture: architecture.to_owned(), file: file.to_owned() })
    }

    /// A program for this machine's architecture.
    pub fn of_this_machine(file: &Path) -> Result<Self> {
        Self::new(if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" }, file)
    }
}

impl FromStr for Program {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (architecture, file) = text.split_once('=').context("ARCH=FILE is expected")?;
        Self::new(architecture, Path::new(file))
    }
}

/// Writes the image of these programs, or of one that is built.
pub fn run(workspace: &Workspace, programs: Vec<Program>, out: &Path) -> Result<()> {
    let programs = if programs.is_empty() {
        vec![Program::of_this_machine(&agent::build(workspace, false)?)?]
    } else {
        programs
    };
    let digest = write(&programs, out)?;
    let size = fs::metadata(out)?.len().div_ceil(1 << 20);
    step::say(&format!("wrote {}: {size} MiB, {digest}", out.display()));
    Ok(())
}

/// Writes an image, and returns its digest: that of the index of architectures.
pub fn write(programs: &[Program], out: &Path) -> Result<String> {
    let mut archive = Archive::create(out)?;
    let mut manifests = Vec::new();
    for Program { architecture, file } in programs {
        let mut manifest = archive
            .manifest(architecture, file)
            .with_context(|| format!("cannot make an image of {}", file.display()))?;
        manifest["platform"] = json!({ "architecture": architecture, "os": "linux" });
        manifests.push(manifest);
    }
    let index = json!({
        "schemaVersion": 2,
        "mediaType": INDEX,
        "manifests": manifests,
        "annotations": labels(),
    });
    let mut index = archive.json_blob(INDEX, &index)?;
    let digest = index["digest"].as_str().unwrap_or_default().to_owned();
    let version = env!("CARGO_PKG_VERSION");
    index["annotations"] = json!({
        "org.opencontainers.image.ref.name": version,
        // What containerd names it when it is imported.
        "io.containerd.image.name": format!("localhost/inotify-trace:{version}"),
    });
    archive.finish(&json!({
        "schemaVersion": 2,
        "mediaType": INDEX,
        "manifests": [index],
    }))?;
    Ok(digest)
}

fn labels() -> Value {
    json!({
        "org.opencontainers.image.title": agent::NAME,
        "org.opencontainers.image.description":
            "Traces inotify instances, watches, failures and leaks to processes, containers and pods",
        "org.opencontainers.image.version": env!("CARGO_PKG_VERSION"),
        "org.opencontainers.image.licenses": env!("CARGO_PKG_LICENSE"),
        "org.opencontainers.image.source": env!("CARGO_PKG_REPOSITORY"),
        "org.opencontainers.image.documentation":
            concat!(env!("CARGO_PKG_REPOSITORY"), "/blob/main/docs/kubernetes.md"),
    })
}

/// An archive of an image's parts, by their digests.
struct Archive(tar::Builder<File>);

impl Archive {
    fn create(path: &Path) -> Result<Self> {
        let file =
            File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
        let mut archive = Self(tar::Builder::new(file));
        add(&mut archive.0, "oci-layout", 0o644, br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        Ok(archive)
    }

    /// Adds the parts of an image for an architecture, and returns what refers to it.
    fn manifest(&mut self, architecture: &str, file: &Path) -> Result<Value> {
        let layer = layer(&fs::read(file)?)?;
        let mut packed = GzBuilder::new().mtime(0).write(Vec::new(), Compression::best());
        packed.write_all(&layer)?;
        let packed = self.blob("application/vnd.oci.image.layer.v1.tar+gzip", &packed.finish()?)?;
        let config = json!({
            "architecture": architecture,
            "os": "linux",
            "config": {
                "Entrypoint": [format!("/{PROGRAM}")],
                "Cmd": ["serve"],
                "Env": ["PATH=/usr/bin"],
                "User": "0:0",
                "WorkingDir": "/",
                "Labels": labels(),
            },
            "rootfs": { "type": "layers", "diff_ids": [digest(&layer)] },
        });
        let config = self.json_blob("application/vnd.oci.image.config.v1+json", &config)?;
        let kind = "application/vnd.oci.image.manifest.v1+json";
        let manifest = json!({
            "schemaVersion": 2, "mediaType": kind, "config": config, "layers": [packed],
        });
        self.json_blob(kind, &manifest)
    }

    fn json_blob(&mut self, kind: &str, value: &Value) -> Result<Value> {
        self.blob(kind, value.to_string().as_bytes())
    }

    /// Adds a part, and returns what refers to it.
    fn blob(&mut self, kind: &str, bytes: &[u8]) -> Result<Value> {
        let digest = digest(bytes);
        let path = format!("blobs/{}", digest.replace(':', "/"));
        add(&mut self.0, &path, 0o644, bytes)?;
        Ok(json!({ "mediaType": kind, "digest": digest, "size": bytes.len() }))
    }

    fn finish(mut self, index: &Value) -> Result<()> {
        add(&mut self.0, "index.json", 0o644, index.to_string().as_bytes())?;
        self.0.into_inner()?.sync_all()?;
        Ok(())
    }
}

/// The only layer: the program, and directories.
fn layer(program: &[u8]) -> io::Result<Vec<u8>> {
    let mut layer = tar::Builder::new(Vec::new());
    for directory in DIRECTORIES {
        let mut header = header(0o755, 0);
        header.set_entry_type(tar::EntryType::Directory);
        layer.append_data(&mut header, format!("{directory}/"), io::empty())?;
    }
    add(&mut layer, PROGRAM, 0o755, program)?;
    layer.into_inner()
}

fn add<W: Write>(to: &mut tar::Builder<W>, path: &str, mode: u32, bytes: &[u8]) -> io::Result<()> {
    to.append_data(&mut header(mode, bytes.len() as u64), path, bytes)
}

/// Of root's, and of no time.
fn header(mode: u32, size: u64) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.set_mode(mode);
    header.set_size(size);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header
}

fn digest(bytes: &[u8]) -> String {
    let sum = Sha256::digest(bytes);
    let hex: String = sum.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}
