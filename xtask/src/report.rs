//! Sections of reports that commands write, each between two lines with its name; text around them is kept.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::nats;
use crate::workspace::{output, root};

/// Puts a section into a report, whose path is given from the root.
pub(crate) fn put(report: &str, name: &str, section: &str) -> Result<()> {
    let path = root().join(report);
    let before = std::fs::read_to_string(&path).with_context(|| format!("cannot read {report}"))?;
    std::fs::write(&path, replace(&before, report, name, section)?)
        .with_context(|| format!("cannot write {report}"))?;
    println!("{report}: the section \"{name}\" is new");
    Ok(())
}

/// The text with what stands between the marks of this name replaced.
pub(crate) fn replace(text: &str, report: &str, name: &str, section: &str) -> Result<String> {
    let (begin, end) = (format!("<!-- begin {name} -->"), format!("<!-- end {name} -->"));
    let (before, rest) = text.split_once(&begin).with_context(|| format!("{report} has no line {begin}"))?;
    let (_, after) = rest.split_once(&end).with_context(|| format!("{report} has no line {end}"))?;
    ensure!(!after.contains(&begin), "{report} has the line {begin} twice");
    Ok(format!("{before}{begin}\n{section}\n{end}{after}"))
}

/// What the numbers depend on, in one line.
pub(crate) fn machine(nats: bool) -> Result<String> {
    let rustc = output(Command::new("rustc").arg("--version"))?;
    let kernel = output(Command::new("uname").arg("-srm"))?;
    let commit = output(Command::new("git").current_dir(root()).args(["rev-parse", "--short", "HEAD"]))?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let cpu = cpu_name(Path::new("/proc/cpuinfo")).unwrap_or_else(|| "unknown processor".to_owned());
    let broker = if nats { output(Command::new(nats::server()?).arg("--version"))? } else { String::new() };
    let parts = [kernel.trim(), rustc.trim(), broker.trim()].into_iter().filter(|part| !part.is_empty());
    let parts = parts.collect::<Vec<_>>().join("; ");
    Ok(format!("{cpu}, {cores} cores, {parts}; commit {}.", commit.trim()))
}

/// How busy the machine was before the run, because that is in the numbers as well.
pub(crate) fn load_average() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    match load.split_whitespace().next() {
        Some(minute) => format!("Load average before the run: {minute}."),
        None => "Load average before the run: unknown.".to_owned(),
    }
}

fn cpu_name(cpuinfo: &Path) -> Option<String> {
    let text = std::fs::read_to_string(cpuinfo).ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    line.split_once(": ").map(|(_, name)| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_stands_between_the_marks_is_replaced() {
        let text = "a\n<!-- begin x -->\nold\n<!-- end x -->\nb\n";
        let once = replace(text, "r", "x", "new").unwrap();
        assert_eq!(once, "a\n<!-- begin x -->\nnew\n<!-- end x -->\nb\n");
        assert_eq!(replace(&once, "r", "x", "new").unwrap(), once);
        assert!(replace(text, "r", "y", "new").is_err());
    }
}
