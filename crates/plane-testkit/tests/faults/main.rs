//! What is thrown at real servers, callers and processes (docs/threats.md, parts B and C), and what must come of it.
//!
//! Each case is a process of its own; `faults --list` names them, `cargo xtask chaos` runs them in their long form.
//!
//! # Layout
//! - `handlers`: what can be called.
//! - `world`: a server, a caller straight to it, and a caller behind a proxy that does harm.
//! - `worker`: a server that is a process of its own.
//! - `list`: which cases there are.
//! - `peers`, `processes`, `network`: who or what is gone, frozen or slow.
//! - `system`: what the operating system runs out of.
//! - `load`, `failing`: callers that are greedy, handlers that fail.
//! - `time`: deadlines, and clocks that differ.

mod handlers;

mod world;

mod worker;

mod peers;

mod processes;

mod network;

mod system;

mod load;

mod failing;

mod time;

mod list;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == worker::FLAG) {
        return worker::run(&arguments[1..]);
    }
    plane_testkit::fault::run(list::CASES, arguments)
}
