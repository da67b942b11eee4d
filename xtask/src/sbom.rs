//! The bill of materials of a release: each crate in the agent and its kernel programs, as CycloneDX.
//!
//! cargo's tree says which crates those are, since only it resolves features as a build does; its
//! metadata and the lock file describe them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::agent;
use crate::environment;
use crate::kernel;
use crate::programs;
use crate::step;
use crate::workspace::Workspace;

/// The file's name; the extension is the format's own.
pub const FILE: &str = "inotify-trace.cdx.json";

/// A crate's name and version.
type Crate = (String, String);

/// Writes the bill to `output`, or else below the target directory, and returns its path.
pub fn run(workspace: &Workspace, output: Option<PathBuf>) -> Result<PathBuf> {
    let path = output.unwrap_or_else(|| workspace.target.join(FILE));
    write(workspace, &programs::host()?, &path)?;
    step::say(&format!("wrote the bill of materials, {}", path.display()));
    Ok(path)
}

/// Writes the bill of what is built for `target`.
pub fn write(workspace: &Workspace, target: &str, path: &Path) -> Result<()> {
    let text = format!("{:#}\n", bill(&workspace.root, target)?);
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// The bill of the workspace at `root`, built for `target`. The same sources lead to the same bill.
pub fn bill(root: &Path, target: &str) -> Result<Value> {
    let mut command = cargo(root, "metadata");
    command.args(["--format-version", "1", "--filter-platform", target]);
    let metadata: Value = serde_json::from_str(&step::output_of(&mut command)?)?;
    let packages: HashMap<Crate, &Value> =
        list(&metadata["packages"]).iter().map(|package| (named(package), package)).collect();
    let linked = tree(root, target, "normal,no-proc-macro")?;
    let checksums = checksums(root)?;
    let (mut application, mut components) = (Value::Null, Vec::new());
    let all = tree(root, target, "normal,build")?;
    for name in &all {
        let package = packages.get(name).with_context(|| {
            format!("cargo metadata has no {} {}, which cargo tree has", name.0, name.1)
        })?;
        let mut component = component(package, checksums.get(name));
        if name.0 == agent::NAME {
            component["type"] = json!("application");
            application = component;
            continue;
        }
        // What only builds the others is not passed on.
        let scope = if linked.contains(name) { "required" } else { "excluded" };
        component["scope"] = json!(scope);
        components.push(component);
    }
    Ok(json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": { "component": application },
        "components": components,
        "dependencies": dependencies(&metadata, &packages, &all),
    }))
}

/// A crate in the program, and where its sources are.
pub struct Linked {
    /// Its name and version.
    pub name: String,
    /// Where its manifest is.
    pub directory: PathBuf,
}

/// The crates from elsewhere that are linked into what is built for `target`.
pub fn linked(root: &Path, target: &str) -> Result<Vec<Linked>> {
    let mut command = cargo(root, "metadata");
    command.args(["--format-version", "1", "--filter-platform", target]);
    let metadata: Value = serde_json::from_str(&step::output_of(&mut command)?)?;
    let linked = tree(root, target, "normal,no-proc-macro")?;
    let mut found = Vec::new();
    for package in list(&metadata["packages"]) {
        let (name, version) = named(package);
        let manifest = Path::new(package["manifest_path"].as_str().unwrap_or_default());
        let is_own = package["source"].is_null();
        if let Some(directory) = manifest.parent()
            && !is_own
            && linked.contains(&(name.clone(), version.clone()))
        {
            let name = format!("{name} {version}");
            found.push(Linked { name, directory: directory.to_path_buf() });
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

/// A cargo command that resolves the workspace as its lock file has it.
fn cargo(root: &Path, subcommand: &str) -> Command {
    let mut command = environment::cargo();
    command.current_dir(root).args([subcommand, "--locked"]);
    command
}

/// The crates of the agent and the kernel programs, along these kinds of dependencies.
fn tree(root: &Path, target: &str, edges: &str) -> Result<BTreeSet<Crate>> {
    let mut command = cargo(root, "tree");
    command.args(["--package", agent::NAME, "--package", kernel::PACKAGE, "--target", target]);
    command.args(["--edges", edges, "--prefix", "none", "--no-dedupe", "--format", "{p}"]);
    let tree = step::output_of(&mut command)?;
    let lines = tree.lines().filter_map(|line| {
        let mut words = line.split(' ');
        let name = words.next()?;
        Some((name.to_owned(), words.next()?.strip_prefix('v')?.to_owned()))
    });
    Ok(lines.collect())
}

/// The checksums of the crates that come from a registry.
fn checksums(root: &Path) -> Result<HashMap<Crate, String>> {
    let path = root.join("Cargo.lock");
    let text =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let packages = text.split("[[package]]").skip(1).filter_map(|package| {
        let field = |name: &str| {
            let value = package.lines().find_map(|line| line.strip_prefix(name))?;
            Some(value.strip_prefix(" = \"")?.strip_suffix('"')?.to_owned())
        };
        Some(((field("name")?, field("version")?), field("checksum")?))
    });
    Ok(packages.collect())
}

fn component(package: &Value, checksum: Option<&String>) -> Value {
    let mut component = json!({
        "type": "library",
        "bom-ref": purl(package),
        "name": package["name"],
        "version": package["version"],
        "purl": purl(package),
    });
    if let Some(license) = package["license"].as_str() {
        // Cargo once wrote a slash for OR, which SPDX does not know.
        let expression = license.replace(" / ", " OR ").replace('/', " OR ");
        component["licenses"] = json!([{ "expression": expression }]);
    }
    if let Some(description) = package["description"].as_str() {
        component["description"] =
            json!(description.split_whitespace().collect::<Vec<_>>().join(" "));
    }
    if let Some(url) = package["repository"].as_str() {
        component["externalReferences"] = json!([{ "type": "vcs", "url": url }]);
    }
    if let Some(checksum) = checksum {
        component["hashes"] = json!([{ "alg": "SHA-256", "content": checksum }]);
    }
    component
}

/// The name of a crate in all such lists (package URL).
fn purl(package: &Value) -> String {
    let (name, version) = named(package);
    format!("pkg:cargo/{name}@{}", version.replace('+', "%2B"))
}

fn dependencies(
    metadata: &Value,
    packages: &HashMap<Crate, &Value>,
    all: &BTreeSet<Crate>,
) -> Vec<Value> {
    let listed: BTreeMap<&str, String> = all
        .iter()
        .filter_map(|name| packages.get(name))
        .filter_map(|package| Some((package["id"].as_str()?, purl(package))))
        .collect();
    let mut found: BTreeMap<&String, BTreeSet<&String>> = BTreeMap::new();
    for node in list(&metadata["resolve"]["nodes"]) {
        let Some(of) = node["id"].as_str().and_then(|id| listed.get(id)) else { continue };
        let is_used = |kinds: &Value| list(kinds).iter().any(|kind| kind["kind"] != "dev");
        let on = list(&node["deps"])
            .iter()
            .filter(|on| is_used(&on["dep_kinds"]))
            .filter_map(|on| listed.get(on["pkg"].as_str()?));
        found.insert(of, on.collect());
    }
    found.into_iter().map(|(of, on)| json!({ "ref": of, "dependsOn": on })).collect()
}

fn named(package: &Value) -> Crate {
    let text = |field: &str| package[field].as_str().unwrap_or_default().to_owned();
    (text("name"), text("version"))
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}
