//! What is committed, and where.

use std::collections::BTreeSet;

use super::{Source, lines_where};

const TOP_LEVEL: [&str; 19] = [
    ".cargo",
    ".ci",
    ".config",
    ".editorconfig",
    ".gitattributes",
    ".github",
    ".gitignore",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "clippy.toml",
    "crates",
    "docs",
    "rustfmt.toml",
    "scripts",
];

/// Paths that exist on one machine only. What follows is a name, so that prose about such folders is allowed.
const PRIVATE: [&str; 4] = ["/home/", "/Users/", "/root/", "C:\\Users\\"];

pub(super) fn top_level(sources: &[Source]) -> Vec<String> {
    let entries: BTreeSet<&str> = sources.iter().filter_map(|source| source.path.split('/').next()).collect();
    let strange = entries.into_iter().filter(|entry| !TOP_LEVEL.contains(entry) && *entry != "xtask");
    strange.map(|entry| format!("{entry}: move it under crates/, docs/, scripts/ or xtask/")).collect()
}

pub(super) fn private_paths(sources: &[Source]) -> Vec<String> {
    let looked_at = sources.iter().filter(|source| !source.is_tidy());
    looked_at.flat_map(|source| lines_where(source, has_private_path)).collect()
}

fn has_private_path(line: &str) -> bool {
    PRIVATE.iter().any(|private| {
        line.match_indices(private).any(|(at, _)| {
            let starts_a_path = !line[..at].ends_with(|c: char| c.is_alphanumeric() || "._-/}".contains(c));
            let goes_on = line[at + private.len()..].starts_with(|c: char| c.is_alphanumeric() || c == '.');
            starts_a_path && goes_on
        })
    })
}

#[cfg(test)]
mod tests {
    use super::super::source;
    use super::*;

    #[test]
    fn a_stray_file_at_the_top_is_found() {
        let sources = ["README.md", "crates/a/src/lib.rs", "xtask/src/main.rs"].map(|path| source(path, ""));
        assert_eq!(top_level(&sources), Vec::<String>::new());
        assert_eq!(top_level(&[source("notes.txt", ""), source("fuzz/a.rs", "")]).len(), 2);
    }

    #[test]
    fn private_paths_are_found() {
        for line in ["cd /home/ann/src", "\"/root/x\"", "`/Users/ann`"] {
            assert!(has_private_path(line), "{line}");
        }
        for line in ["https://example.org/home/ann", "~/.cargo", "the folder /home/ of a machine", "/workers/1"] {
            assert!(!has_private_path(line), "{line}");
        }
    }
}
