//! Names of pods in kubelet's directories of logs, for containers whose runtime left none: containerd
//! 1.4 writes neither the pod's name nor its namespace into its bundles. Only names of entries are
//! read, and nothing is followed.

use std::{collections::HashMap, ffi::OsString, path::Path};

use inotify_trace_model::identity::{Container, Names};

use super::files::{self, Changed};

/// `POD_NAMESPACE_CONTAINER-ID.log` for each container
/// (<https://github.com/kubernetes/kubernetes/blob/master/pkg/kubelet/kuberuntime/legacy.go>).
const CONTAINERS: &str = "var/log/containers";

/// `NAMESPACE_POD_UID` for each pod.
const PODS: &str = "var/log/pods";

/// The most entries of a directory that are read: kubelet keeps those of some hundred pods.
const MOST: usize = 16 << 10;

/// The directories, as they were read last.
#[derive(Debug, Default)]
pub(super) struct Logs {
    containers: Kept,
    pods: Kept,
}

/// The names in a directory, by id or uid.
#[derive(Debug, Default)]
struct Kept {
    changed: Changed,
    names: HashMap<Box<str>, Names>,
}

impl Logs {
    /// The names of a container, or of its pod.
    pub(super) fn find(&mut self, root: &Path, container: &Container) -> Names {
        let own = self.containers.find(root, CONTAINERS, &container.id, of_file);
        let of_pod = container.pod.as_ref().filter(|_| own.is_none()).and_then(|uid| {
            self.pods.find(root, PODS, uid.as_str(), |name| pod_of_directory(name.to_str()?))
        });
        own.or(of_pod).unwrap_or_default()
    }
}

impl Kept {
    fn find(
        &mut self,
        root: &Path,
        directory: &str,
        key: &str,
        parse: impl Fn(&OsString) -> Option<(Box<str>, Names)>,
    ) -> Option<Names> {
        let path = root.join(directory);
        let changed = Changed::of(&path);
        if !changed.is_as(&self.changed) {
            self.changed = changed;
            let names = files::names(&path, MOST, |_| true);
            if names.len() == MOST {
                log::info!(
                    "{}: of more than {MOST} entries, the others are left out",
                    path.display()
                );
            }
            self.names = names.iter().filter_map(parse).collect();
        }
        self.names.get(key).cloned()
    }
}

/// The container of a file of logs: its id, and its names.
fn of_file(name: &OsString) -> Option<(Box<str>, Names)> {
    let (names, id) = name.to_str()?.strip_suffix(".log")?.rsplit_once('-')?;
    let mut parts = names.split('_');
    let [pod, namespace, name] = [parts.next()?, parts.next()?, parts.next()?];
    let are_names = [pod, namespace, name].into_iter().all(is_name) && parts.next().is_none();
    let names = Names { name: Some(name.to_owned()), ..of_pod(namespace, pod) };
    (are_names && is_id(id)).then(|| (id.into(), names))
}

/// The pod of a directory of logs, by the directory's name: its uid, and its names.
pub(super) fn pod_of_directory(name: &str) -> Option<(Box<str>, Names)> {
    let mut parts = name.split('_');
    let [namespace, pod, uid] = [parts.next()?, parts.next()?, parts.next()?];
    let are_names = [namespace, pod, uid].into_iter().all(is_name) && parts.next().is_none();
    are_names.then(|| (uid.into(), of_pod(namespace, pod)))
}

fn of_pod(namespace: &str, pod: &str) -> Names {
    let (namespace, pod_name) = (Some(namespace.to_owned()), Some(pod.to_owned()));
    Names { namespace, pod_name, ..Names::default() }
}

fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|it| matches!(it, b'0'..=b'9' | b'a'..=b'f'))
}

/// Whether a text may be a name in Kubernetes (RFC 1123); a uid is one, too.
fn is_name(text: &str) -> bool {
    let is_part = |it: u8| matches!(it, b'0'..=b'9' | b'a'..=b'z' | b'-' | b'.');
    !text.is_empty() && text.len() <= 253 && text.bytes().all(is_part)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    const UID: &str = "1e597579-417e-482f-bf65-5fe170c3aebd";

    fn container(pod: Option<&str>) -> Container {
        let pod = pod.map(|it| it.to_owned().into());
        Container { runtime: None, id: "4f".repeat(32), pod, qos: None, outer: None }
    }

    /// What is known, and the new names after each change.
    #[test]
    fn kubelet_s_logs_name_containers_and_pods() {
        let root = tempfile::tempdir().unwrap();
        let mut logs = Logs::default();
        let mut shown = |pod| logs.find(root.path(), &container(pod)).display();
        assert_eq!(shown(Some(UID)), None);
        let pods = root.path().join(PODS);
        fs::create_dir_all(pods.join(format!("prod_shop-5d8f_{UID}"))).unwrap();
        assert_eq!((shown(Some(UID)).as_deref(), shown(None)), (Some("prod/shop-5d8f"), None));
        // The link leads nowhere, and is not followed.
        let containers = root.path().join(CONTAINERS);
        fs::create_dir_all(&containers).unwrap();
        let id = "4f".repeat(32);
        symlink("/nowhere", containers.join(format!("shop-5d8f_prod_web-1-{id}.log"))).unwrap();
        for pod in [None, Some(UID)] {
            assert_eq!(shown(pod).as_deref(), Some("prod/shop-5d8f/web-1"));
        }
    }

    #[test]
    fn what_kubelet_did_not_name_is_no_name() {
        let id = "4f".repeat(32);
        for name in [
            format!("shop_prod-{id}.log"),
            format!("a_b_c_d-{id}.log"),
            format!("Shop_prod_web-{id}.log"),
            format!("shop_prod_we\u{1b}b-{id}.log"),
            format!("_prod_web-{id}.log"),
            "shop_prod_web-4f4f.log".to_owned(),
            format!("shop_prod_web-{id}"),
        ] {
            assert_eq!(of_file(&name.clone().into()), None, "{name}");
        }
        for name in ["1e597579", "prod_shop", "prod_shop_1_2", "prod_../shop_1", "prod__1"] {
            assert_eq!(pod_of_directory(name), None, "{name}");
        }
    }
}
