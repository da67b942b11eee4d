//! The bill of materials of a release, checked with the format's own schema.

use std::{collections::BTreeSet, fs, path::Path};

use inotify_trace_tests::agent::binary;
use serde_json::{Value, json};

use crate::{answer, python};

/// The name and version of each crate of a registry whose code is in a program: the compiler writes
/// the paths of sources into it, `registry/src/REGISTRY/NAME-VERSION/...`.
fn crates_in(program: &[u8]) -> BTreeSet<String> {
    let is_of_a_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.+".contains(byte);
    let (mut parts, mut found) = (program.split(|byte| *byte == b'/'), BTreeSet::new());
    while let Some(part) = parts.next() {
        if part != b"registry" || parts.next() != Some(b"src") {
            continue;
        }
        let name = parts.nth(1).unwrap_or_default().iter().take_while(|it| is_of_a_name(it));
        found.insert(name.map(|byte| char::from(*byte)).collect());
    }
    found
}

fn bill() -> Value {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    xtask::programs::host()
        .and_then(|host| xtask::sbom::bill(&workspace, &host))
        .expect("a bill of materials")
}

#[test]
fn each_crate_in_the_agent_is_on_the_bill() {
    let bill = bill();
    let components = bill["components"].as_array().expect("components");
    let listed: BTreeSet<_> = components
        .iter()
        .filter(|it| it["scope"] == "required")
        .map(|it| [&it["name"], &it["version"]].map(|it| it.as_str().expect("text")).join("-"))
        .collect();
    let inside = crates_in(&fs::read(binary()).expect("the agent"));
    assert!(inside.len() > 20, "{inside:?}");
    assert_eq!(inside.difference(&listed).collect::<Vec<_>>(), [] as [&String; 0]);
    // Each has its licence, and its checksum unless it is the project's own.
    for component in components {
        let is_own = component["name"].as_str().is_some_and(|it| it.starts_with("inotify-trace"));
        assert!(component["licenses"][0]["expression"].is_string(), "{component}");
        assert_eq!(component["hashes"].is_null(), is_own, "{component}");
    }
    assert!(listed.iter().any(|it| it.starts_with("aya-ebpf-")), "the kernel programs: {listed:?}");
    let is_on = |name: &str| components.iter().any(|it| it["name"] == name);
    assert!(!is_on("proptest"), "only tests use it");
    assert_eq!(bill["metadata"]["component"]["name"], "inotify-trace");
}

#[test]
fn the_bill_is_valid() {
    const PROGRAM: &str = "
import json, sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
validator = JsonStrictValidator(SchemaVersion.V1_5)
bills = json.load(sys.stdin)
print(json.dumps([str(validator.validate_str(json.dumps(bill)) or '') for bill in bills]))
";
    let Some(python) = python("sbom::the_bill_is_valid") else { return };
    let bill = bill();
    let mut invalid = bill.clone();
    invalid["components"][0]["licenses"][0]["expression"] = json!(1);
    let answer = answer(&python, PROGRAM, Path::new("/"), &json!([bill, invalid]));
    assert_eq!(answer[0], "", "of the bill");
    assert_ne!(answer[1], "", "of one that is not valid");
}
