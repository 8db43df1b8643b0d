//! What Rust files may say.

use super::{Source, lines_where};

/// Where the environment may be read: the one place of the libraries, the programs, and what is for development.
const READS_ENVIRONMENT: [&str; 7] = [
    "crates/plane-manager/src/config",
    "crates/plane-cli/",
    "crates/plane-testkit/",
    "crates/plane-bench/",
    "crates/plane-fuzz/",
    "crates/plane-tcp/src/simulation/",
    "xtask/",
];

const LONGEST: usize = 500;

fn rust_files(sources: &[Source]) -> impl Iterator<Item = &Source> {
    sources.iter().filter(|source| source.is_rust() && !source.is_tidy())
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with("//")
}

fn lines_with(source: &Source, needles: &[&str]) -> Vec<String> {
    lines_where(source, |line| !is_comment(line) && needles.iter().any(|needle| line.contains(needle))).collect()
}

pub(super) fn core_is_plain(sources: &[Source]) -> Vec<String> {
    const NEEDLES: [&str; 5] = ["tokio::spawn", "thread::spawn", "tokio::net", "std::net::Tcp", "std::os::unix::net"];
    rust_files(sources)
        .filter(|source| source.is_under(&["crates/plane-core/src/"]))
        .flat_map(|source| lines_with(&before_tests(source), &NEEDLES))
        .collect()
}

/// The part of a file that is compiled into the library: unit tests stand at the end.
fn before_tests(source: &Source) -> Source {
    let end = source.text.find("\n#[cfg(test)]\nmod tests").unwrap_or(source.text.len());
    Source { path: source.path.clone(), text: source.text[..end].to_owned() }
}

pub(super) fn environment(sources: &[Source]) -> Vec<String> {
    const NEEDLES: [&str; 5] = ["env::var", "env::set_var", "envy::", "env::temp_dir", "env::home_dir"];
    rust_files(sources)
        .filter(|source| !source.is_under(&READS_ENVIRONMENT) && !source.path.contains("/tests/"))
        .flat_map(|source| lines_with(source, &NEEDLES))
        .map(|line| format!("{line}  (only plane-manager/src/config reads the environment; take a config struct)"))
        .collect()
}

/// Durations travel and a monotonic clock measures them: what a wall clock says differs between hosts and jumps. Only what
/// is about dates may ask it: certificates, and what a store says of its messages.
pub(super) fn wall_clock(sources: &[Source]) -> Vec<String> {
    const ABOUT_DATES: [&str; 4] = [
        "crates/plane-tcp/src/tls/",
        "crates/plane-nats/src/durable/",
        "crates/plane-nats/src/server/worker.rs",
        "crates/plane-nats/src/server/micro.rs",
    ];
    let carries_calls = ["crates/plane-core/src/", "crates/plane-tcp/src/", "crates/plane-nats/src/"];
    rust_files(sources)
        .filter(|source| source.is_under(&carries_calls) && !source.is_under(&ABOUT_DATES))
        .flat_map(|source| lines_with(source, &["SystemTime"]))
        .collect()
}

pub(super) fn unbounded(sources: &[Source]) -> Vec<String> {
    const NEEDLES: [&str; 5] =
        ["unbounded_channel", "UnboundedSender", "channel::unbounded", "flume::unbounded", "std::sync::mpsc::channel("];
    rust_files(sources).flat_map(|source| lines_with(source, &NEEDLES)).collect()
}

pub(super) fn long_files(sources: &[Source]) -> Vec<String> {
    rust_files(sources)
        .map(|source| (source, source.text.lines().count()))
        .filter(|(_, lines)| *lines > LONGEST)
        .map(|(source, lines)| format!("{}: {lines} lines; split it by concept", source.path))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::source;
    use super::*;

    #[test]
    fn the_environment_is_read_in_its_place_only() {
        let reads = "let x = std::env::var(\"X\");";
        let good = ["crates/plane-manager/src/config/env.rs", "crates/plane-tcp/tests/a.rs", "xtask/src/main.rs"];
        assert_eq!(environment(&good.map(|path| source(path, reads))), Vec::<String>::new());
        assert_eq!(environment(&[source("crates/plane-tcp/src/config.rs", reads)]).len(), 1);
        assert_eq!(environment(&[source("crates/plane-tcp/src/config.rs", "// no env::var here")]).len(), 0);
    }

    #[test]
    fn core_spawns_only_in_tests() {
        let in_tests = "fn f() {}\n#[cfg(test)]\nmod tests {\n tokio::spawn(x); }";
        assert_eq!(core_is_plain(&[source("crates/plane-core/src/a.rs", in_tests)]).len(), 0);
        assert_eq!(core_is_plain(&[source("crates/plane-core/src/a.rs", "tokio::spawn(x)")]).len(), 1);
    }

    #[test]
    fn a_wall_clock_is_found_where_calls_are_carried() {
        let asks = "use std::time::SystemTime;";
        assert_eq!(wall_clock(&[source("crates/plane-tcp/src/driver.rs", asks)]).len(), 1);
        let good = ["crates/plane-tcp/src/tls/files.rs", "crates/plane-manager/src/a.rs"];
        assert_eq!(wall_clock(&good.map(|path| source(path, asks))), Vec::<String>::new());
    }

    #[test]
    fn unbounded_and_long_are_found() {
        assert_eq!(unbounded(&[source("a.rs", "mpsc::unbounded_channel()")]).len(), 1);
        assert_eq!(long_files(&[source("a.rs", &"x\n".repeat(500))]).len(), 0);
        assert_eq!(long_files(&[source("a.rs", &"x\n".repeat(501))]).len(), 1);
    }
}
