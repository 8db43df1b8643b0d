//! `cargo xtask tidy`: the invariants of ARCHITECTURE.md that a program can check.
//!
//! - `crates`: what the crates may depend on, read from cargo.
//! - `rust`: what Rust files may say.
//! - `files`: what is committed, and where.
//! - `links`: what the documents point at.
//! - `evidence`: the tests that documents name.

mod crates;
mod evidence;
mod files;
mod links;
mod rust;

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::workspace;

/// A committed file that is text.
#[derive(Debug)]
struct Source {
    /// From the root, with slashes.
    path: String,
    text: String,
}

impl Source {
    fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Whether it is made of checks like these, which name what they look for.
    fn is_tidy(&self) -> bool {
        self.path.starts_with("xtask/src/tidy/")
    }

    fn is_under(&self, folders: &[&str]) -> bool {
        folders.iter().any(|folder| self.path.starts_with(folder))
    }
}

struct Check {
    /// The invariant, as ARCHITECTURE.md has it.
    holds: &'static str,
    run: fn(&[Source]) -> Result<Vec<String>>,
}

const CHECKS: &[Check] = &[
    Check {
        holds: "plane-tcp and plane-manager with `tcp` alone compile no NATS code and no TLS",
        run: crates::only_tcp_in_tcp,
    },
    Check { holds: "plane-core has no sockets and no runtime", run: crates::core_is_plain },
    Check { holds: "crates depend downwards only", run: crates::downwards },
    Check { holds: "every crate takes the workspace's lints", run: crates::take_lints },
    Check { holds: "plane-core opens no socket and spawns no task", run: |s| Ok(rust::core_is_plain(s)) },
    Check { holds: "the environment is read in one place", run: |s| Ok(rust::environment(s)) },
    Check { holds: "no wall clock measures a call", run: |s| Ok(rust::wall_clock(s)) },
    Check { holds: "nothing is unbounded", run: |s| Ok(rust::unbounded(s)) },
    Check { holds: "no Rust file is over 500 lines", run: |s| Ok(rust::long_files(s)) },
    Check { holds: "the top level holds only what belongs there", run: |s| Ok(files::top_level(s)) },
    Check { holds: "no file names a home or work directory", run: |s| Ok(files::private_paths(s)) },
    Check { holds: "links between documents lead somewhere", run: |s| Ok(links::relative(s)) },
    Check { holds: "each case names a test that is there", run: |s| Ok(evidence::cases(s)) },
    Check { holds: "each threat names a test that is there, and none is open", run: |s| Ok(evidence::threats(s)) },
    Check { holds: "each limit names a test that is there", run: |s| Ok(evidence::limits(s)) },
];

/// Runs every check and shows everything that was found.
pub(crate) fn run() -> Result<()> {
    let sources = read(workspace::files()?)?;
    let mut broken = 0;
    for check in CHECKS {
        let found = (check.run)(&sources).with_context(|| format!("cannot check that {}", check.holds))?;
        println!("tidy: {} {}", if found.is_empty() { "ok    " } else { "BROKEN" }, check.holds);
        for finding in &found {
            println!("        {finding}");
        }
        broken += usize::from(!found.is_empty());
    }
    if broken > 0 {
        bail!("{broken} of {} invariants are broken, see above and ARCHITECTURE.md", CHECKS.len());
    }
    Ok(())
}

fn read(paths: Vec<PathBuf>) -> Result<Vec<Source>> {
    let mut sources = Vec::new();
    for path in paths {
        let bytes = std::fs::read(workspace::root().join(&path)).with_context(|| format!("cannot read {path:?}"))?;
        // What is no text has no lines to look at; its place still counts.
        let text = String::from_utf8(bytes).unwrap_or_default();
        sources.push(Source { path: path.to_string_lossy().replace('\\', "/"), text });
    }
    Ok(sources)
}

/// `path:line: text` for each line that `is_bad`.
fn lines_where(source: &Source, is_bad: impl Fn(&str) -> bool) -> impl Iterator<Item = String> {
    source.text.lines().enumerate().filter(move |(_, line)| is_bad(line)).map(|(index, line)| {
        let shown: String = line.trim().chars().take(80).collect();
        format!("{}:{}: {shown}", source.path, index + 1)
    })
}

#[cfg(test)]
fn source(path: &str, text: &str) -> Source {
    Source { path: path.to_owned(), text: text.to_owned() }
}
