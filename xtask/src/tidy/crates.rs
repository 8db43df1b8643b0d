//! What the crates may depend on, read from cargo.

use anyhow::{Context, Result};
use serde_json::Value;

use super::Source;
use crate::workspace::{cargo, output};

/// What each crate may use of the workspace, beside itself. A line is added here together with a crate.
const BELOW: [(&str, &[&str]); 8] = [
    ("plane-core", &[]),
    ("plane-tcp", &["plane-core"]),
    ("plane-nats", &["plane-core"]),
    ("plane-manager", &["plane-core", "plane-tcp", "plane-nats"]),
    ("plane-cli", &["plane-core", "plane-manager"]),
    ("plane-testkit", &["plane-core", "plane-tcp", "plane-nats"]),
    ("plane-bench", &["plane-core", "plane-tcp", "plane-nats", "plane-manager", "plane-testkit"]),
    ("xtask", &[]),
];

/// Tests may also use this.
const FOR_TESTS: &str = "plane-testkit";

pub(super) fn only_tcp_in_tcp(_: &[Source]) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for args in [&["-p", "plane-tcp"][..], &["-p", "plane-manager", "--no-default-features", "--features", "tcp"]] {
        let tree = tree(args)?;
        for (package, feature) in [("async-nats ", "nats"), ("rustls ", "tls")] {
            found.extend(tree.lines().filter(|line| line.starts_with(package)).map(|line| {
                let args = args.join(" ");
                format!("cargo tree {args} -e normal: {line}; put what needs it behind the feature `{feature}`")
            }));
        }
    }
    Ok(found)
}

pub(super) fn core_is_plain(_: &[Source]) -> Result<Vec<String>> {
    Ok(runtime_parts(&tree(&["-p", "plane-core", "-f", "{p} features: {f}"])?))
}

/// The crates that plane-core would be given, normal dependencies only, one a line.
fn tree(args: &[&str]) -> Result<String> {
    output(cargo().args(["tree", "--edges", "normal", "--prefix", "none"]).args(args))
}

fn runtime_parts(tree: &str) -> Vec<String> {
    let is_runtime = |feature: &&str| ["net", "rt", "rt-multi-thread", "process", "fs", "full"].contains(feature);
    tree.lines()
        .filter_map(|line| {
            let (package, features) = line.split_once(" features: ")?;
            let name = package.split(' ').next()?;
            let bad = match name {
                "mio" | "socket2" => Some(name),
                "tokio" => features.trim_end_matches(" (*)").split(',').find(is_runtime),
                _ => None,
            }?;
            Some(format!("plane-core depends on {package} ({bad}); sockets and tasks belong to the transports"))
        })
        .collect()
}

pub(super) fn downwards(_: &[Source]) -> Result<Vec<String>> {
    let metadata = output(cargo().args(["metadata", "--no-deps", "--format-version", "1"]))?;
    upward(&serde_json::from_str(&metadata).context("cargo metadata printed no JSON")?)
}

fn upward(metadata: &Value) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for package in array(metadata, "packages")? {
        let name = text(package, "name")?;
        let Some((_, below)) = BELOW.iter().find(|(known, _)| *known == name) else {
            found.push(format!("{name}: not in the table of xtask/src/tidy/crates.rs; say there what it may use"));
            continue;
        };
        for dependency in array(package, "dependencies")? {
            let used = text(dependency, "name")?;
            let is_ours = BELOW.iter().any(|(known, _)| *known == used);
            let for_tests = dependency["kind"] == "dev" && used == FOR_TESTS;
            if is_ours && used != name && !for_tests && !below.contains(&used) {
                found.push(format!("{name} depends on {used}; it may use only: {}", below.join(", ")));
            }
        }
    }
    Ok(found)
}

fn array<'a>(value: &'a Value, key: &str) -> Result<&'a Vec<Value>> {
    value[key].as_array().with_context(|| format!("cargo metadata has no list {key}"))
}

fn text<'a>(value: &'a Value, key: &str) -> Result<&'a str> {
    value[key].as_str().with_context(|| format!("cargo metadata has no text {key}"))
}

pub(super) fn take_lints(sources: &[Source]) -> Result<Vec<String>> {
    let manifests = sources.iter().filter(|source| source.path.ends_with("/Cargo.toml"));
    Ok(manifests
        .filter(|source| !source.text.contains("[workspace]") && !source.text.contains("[lints]\nworkspace = true"))
        .map(|source| format!("{}: add `[lints]` with `workspace = true`", source.path))
        .collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::source;
    use super::*;

    #[test]
    fn a_runtime_under_core_is_found() {
        let good = "plane-core v0.1.0 features: \ntokio v1.54.0 features: default,sync,time\n";
        assert_eq!(runtime_parts(good), Vec::<String>::new());
        for bad in ["tokio v1 features: net,sync", "tokio v1 features: sync,rt (*)", "mio v1 features: "] {
            assert_eq!(runtime_parts(bad).len(), 1, "{bad}");
        }
    }

    #[test]
    fn an_upward_dependency_is_found() {
        let package = |name, used, kind: Option<&str>| json!({"packages": [{"name": name, "dependencies": [{"name": used, "kind": kind}]}]});
        assert_eq!(upward(&package("plane-tcp", "plane-core", None)).unwrap(), Vec::<String>::new());
        assert_eq!(upward(&package("plane-tcp", "plane-testkit", Some("dev"))).unwrap(), Vec::<String>::new());
        assert_eq!(upward(&package("plane-tcp", "bytes", None)).unwrap(), Vec::<String>::new());
        for (name, used, kind) in [
            ("plane-core", "plane-tcp", None),
            ("plane-tcp", "plane-nats", Some("dev")),
            ("plane-tcp", "plane-testkit", None),
            ("plane-new", "bytes", None),
        ] {
            assert_eq!(upward(&package(name, used, kind)).unwrap().len(), 1, "{name} -> {used}");
        }
    }

    #[test]
    fn a_crate_without_the_lints_is_found() {
        let manifests = [
            source("crates/a/Cargo.toml", "[package]\n[lints]\nworkspace = true\n"),
            source("crates/b/Cargo.toml", "[package]\n"),
        ];
        assert_eq!(take_lints(&manifests).unwrap().len(), 1);
    }
}
