//! The binary as a shell sees it.

use std::process::{Command, Output};

/// Runs `plane` in an environment without variables of the plane.
fn plane(args: &[&str], vars: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_plane"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("DYN_")) {
        command.env_remove(name);
    }
    command.env_remove("RUST_LOG").args(args).envs(vars.iter().copied()).output().unwrap()
}

/// Runs it, expects this exit code and one message that names the thing.
fn refused(args: &[&str], vars: &[(&str, &str)], exit: i32, names: &str) {
    let output = plane(args, vars);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(exit), "{args:?}: {stderr}");
    assert!(output.stdout.is_empty());
    assert!(stderr.contains(names), "{args:?}: {stderr}");
    assert!(!stderr.contains("panicked") && !stderr.contains("backtrace"), "{stderr}");
}

#[test]
fn help_has_an_example_for_each_thing() {
    let output = plane(&["--help"], &[]);
    let help = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success());
    for wanted in ["plane worker", "plane frontend", "curl", "Exit codes", "DYN_REQUEST_PLANE"] {
        assert!(help.contains(wanted), "{wanted}");
    }
    for command in ["frontend", "worker", "call", "store"] {
        assert!(plane(&[command, "--help"], &[]).status.success());
    }
}

#[test]
fn a_bad_flag_is_named() {
    for (args, names) in [
        (&["worker"][..], "--model"),
        (&["worker", "--model", "", "--engine", "echo"], "--model"),
        (&["worker", "--model", "m", "--engine", "gpt"], "gpt"),
        (&["worker", "--model", "m", "--engine", "openai"], "--upstream"),
        (&["worker", "--model", "m", "--engine", "openai", "--upstream", "nowhere"], "nowhere"),
        (&["worker", "--model", "m", "--engine", "mock", "--batch", "0"], "--batch"),
        (&["worker", "--model", "m", "--engine", "echo", "--token-delay", "soon"], "soon"),
        (&["worker", "--model", "m", "--engine", "echo", "--endpoint", "a.b"], "a.b"),
        (&["frontend", "--http-port", "99999"], "--http-port"),
        (&["frontend", "--request-timeout", "0"], "--request-timeout"),
        (&["frontend", "--body-limit", "big"], "--body-limit"),
        (&["frontend", "--log-level", "a=b=c"], "--log-level"),
        (&["call", "a.b.c", "no json"], "JSON"),
        (&["call", "a.b.c", "{}", "--header", "novalue"], "--header"),
        (&["call", "a.b.c", "{}", "--instance", "xyz"], "xyz"),
        (&["call", "a.b.c", "{}", "--request-plane", "pigeon"], "Invalid request plane mode"),
    ] {
        refused(args, &[("DYN_DISCOVERY_BACKEND", "mem")], 2, names);
    }
}

#[test]
fn a_bad_variable_is_named() {
    let call = ["call", "a.b.c", "{}"];
    refused(&call, &[("DYN_REQUEST_PLANE", "pigeon")], 2, "Invalid request plane mode");
    refused(&call, &[("DYN_TCP_POOL_SIZE", "many")], 2, "DYN_TCP_POOL_SIZE");
    refused(&call, &[("DYN_NATS_DELIVERY", "jetstream")], 2, "DYN_REQUEST_PLANE=nats");
    refused(&call, &[("DYN_DISCOVERY_DIR", "/proc/none")], 2, "DYN_DISCOVERY_DIR");
    refused(&call, &[("RUST_LOG", "a=b=c")], 2, "RUST_LOG");
}

#[test]
fn a_call_to_nobody_is_unavailable() {
    let vars = [("DYN_DISCOVERY_BACKEND", "mem"), ("DYN_TCP_REQUEST_TIMEOUT", "50ms")];
    refused(&["call", "a.b.c", "{}"], &vars, 3, "a.b.c");
}

#[test]
fn a_port_in_use_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    refused(&["frontend", "--http-port", &port], &[("DYN_DISCOVERY_BACKEND", "mem")], 2, &port);
    let vars = [("DYN_DISCOVERY_BACKEND", "mem"), ("DYN_TCP_RPC_HOST", "127.0.0.1"), ("DYN_TCP_RPC_PORT", &port)];
    refused(&["worker", "--model", "m", "--engine", "mock"], &vars, 2, "DYN_TCP_RPC_PORT");
}
