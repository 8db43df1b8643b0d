//! Holds docs/troubleshooting.md to what is printed: each message of it is provoked, and each provocation is in it.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};

use plane_core::{Context, Request, Response, handler_fn};
use plane_manager::{Config, NetworkManager, Service, Strictness};
use plane_testkit::nats::{NatsServer, NatsServerOptions};
use plane_testkit::{Authority, CertificateFiles};
use tokio::runtime::Runtime;

const TEXT: &str = include_str!("../../../docs/troubleshooting.md");

/// The messages of the document.
fn documented() -> Vec<&'static str> {
    let blocks = TEXT.split("```").skip(1).step_by(2);
    blocks.filter_map(|block| block.strip_prefix("text\n")).map(str::trim_end).collect()
}

/// Whether a line is this message, in which `<...>` is anything.
fn is(line: &str, message: &str) -> bool {
    let mut literals = message.split('<').map(|part| part.split_once('>').map_or(part, |(_, literal)| literal));
    let Some(mut rest) = literals.next().and_then(|first| line.strip_prefix(first)) else { return false };
    for literal in literals {
        let Some(at) = rest.find(literal) else { return false };
        rest = &rest[at + literal.len()..];
    }
    rest.is_empty() || message.ends_with('>')
}

const WORKER: &[&str] = &["worker", "--model", "m", "--engine", "echo"];
const CALL: &[&str] = &["call", "a.b.c", "{}"];

/// What `plane` says before it ends, which it must do by itself.
fn said(directory: &Path, args: &[&str], vars: &[(&str, &str)]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_plane"));
    let ours = |name: &str| name.starts_with("DYN_") || name.starts_with("NATS_");
    for (name, _) in std::env::vars_os().filter(|(name, _)| ours(&name.to_string_lossy())) {
        command.env_remove(name);
    }
    command.env("XDG_RUNTIME_DIR", directory).env("DYN_TCP_RPC_HOST", "127.0.0.1").args(args);
    let output = command.envs(vars.iter().copied()).stdin(Stdio::null()).output().unwrap();
    assert!(!output.status.success(), "{args:?} {vars:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Servers of `a.b.c` in this process, each set up by variables of its own.
struct Servers {
    runtime: Runtime,
    services: Vec<Service>,
}

impl Servers {
    /// Where one with these variables listens.
    fn start(&mut self, vars: &[(&str, &Path)]) -> String {
        let own = [("DYN_TCP_RPC_HOST", Path::new("127.0.0.1")), ("DYN_DISCOVERY_BACKEND", Path::new("mem"))];
        let vars = own.iter().chain(vars).map(|(name, value)| ((*name).to_owned(), value.to_str().unwrap().to_owned()));
        let config = Config::from_vars(vars, Strictness::Strict).unwrap();
        let manager = NetworkManager::builder().config(config).build().unwrap();
        let echo = handler_fn(|request: Request, _: Context| async move { Ok(Response::new(request.body)) });
        let service = self.runtime.block_on(manager.serve("a.b.c".parse().unwrap(), echo)).unwrap();
        let address = service.instance().address.to_string();
        self.services.push(service);
        address.split_once("://").unwrap().1.to_owned()
    }
}

/// What is said of TLS, which is the last part of the document.
fn said_of_tls(directory: &Path) -> Vec<String> {
    let (authority, other) = (Authority::new(), Authority::new());
    let (ca, missing) = (authority.roots(), directory.join("missing.pem"));
    let good = authority.sign("127.0.0.1");
    let expired = authority.sign_expired("127.0.0.1");
    let mut servers = Servers { runtime: Runtime::new().unwrap(), services: Vec::new() };
    let of = |files: &CertificateFiles| [files.certificate.clone(), files.key.clone()];
    let [certificate, key] = of(&good);
    let own = [("DYN_TCP_TLS_CERT", &*certificate), ("DYN_TCP_TLS_KEY", &*key)];
    let [late, late_key] = of(&expired);
    let plain = servers.start(&[]);
    let tls = servers.start(&own);
    let closed = servers.start(&[&own[..], &[("DYN_TCP_TLS_CLIENT_CA", &*ca)]].concat());
    let expired = servers.start(&[("DYN_TCP_TLS_CERT", &*late), ("DYN_TCP_TLS_KEY", &*late_key)]);
    let [stranger, stranger_key] = of(&other.sign("stranger"));
    let say = |args: &[&str], vars: &[(&str, &Path)]| {
        let vars: Vec<_> = vars.iter().map(|(name, value)| (*name, value.to_str().unwrap())).collect();
        said(directory, args, &vars)
    };
    let call = |address: &str, vars: &[(&str, &Path)]| {
        let list = format!("a.b.c={address}");
        let found = [("DYN_DISCOVERY_BACKEND", Path::new("static")), ("DYN_STATIC_INSTANCES", Path::new(&list))];
        say(CALL, &[&found[..], vars].concat())
    };
    let [as_tcp, as_tls] = ["tcp", "tls"].map(|scheme| move |place: &str| format!("{scheme}://{place}"));
    let (trust, distrust, required) =
        (("DYN_TCP_TLS_CA", &*ca), ("DYN_TCP_TLS_CA", &*other.roots()), ("DYN_TCP_TLS_REQUIRED", Path::new("true")));
    let name = ("DYN_TCP_TLS_SERVER_NAME", Path::new("workers.internal"));
    let strange = [trust, ("DYN_TCP_TLS_CERT", &*stranger), ("DYN_TCP_TLS_KEY", &*stranger_key)];
    vec![
        say(WORKER, &[("DYN_TCP_TLS_CA", &*missing)]),
        say(WORKER, &[("DYN_TCP_TLS_CERT", &*certificate), ("DYN_TCP_TLS_KEY", &*stranger_key)]),
        say(WORKER, &[required]),
        call(&as_tcp(&tls), &[trust]),
        call(&as_tls(&plain), &[trust]),
        call(&as_tls(&tls), &[]),
        call(&as_tcp(&plain), &[trust, required]),
        call(&as_tls(&tls), &[distrust]),
        call(&as_tls(&tls), &[trust, name]),
        call(&as_tls(&expired), &[trust]),
        call(&as_tls(&closed), &[trust]),
        call(&as_tls(&closed), &strange),
    ]
}

#[test]
fn every_message_is_what_is_printed() {
    let directory = tempfile::tempdir().unwrap();
    let configuration = "authorization { user: ann, password: secret }\n".to_owned();
    let nats = NatsServer::with(NatsServerOptions { configuration, ..NatsServerOptions::default() });
    let bare = NatsServer::with(NatsServerOptions { without_jetstream: true, ..NatsServerOptions::default() });
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken_port = taken.local_addr().unwrap().port().to_string();
    let free_port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let nowhere = format!("nats://127.0.0.1:{free_port}");
    let (ann, stranger) = (format!("nats://ann:secret@127.0.0.1:{}", nats.port()), nats.url());
    let on_nats = |server| [("DYN_REQUEST_PLANE", "nats"), ("NATS_SERVER", server)];
    let listed = |list| [("DYN_DISCOVERY_BACKEND", "static"), ("DYN_STATIC_INSTANCES", list)];
    let stored = ("DYN_NATS_DELIVERY", "jetstream");
    let (at_free, at_nats) =
        (format!("a.b.c=tcp://127.0.0.1:{free_port}"), format!("a.b.c=tcp://127.0.0.1:{}", bare.port()));
    let (prefix, small) = ("a.b.c=nats://plane", ("DYN_NATS_STORE_MAX_BYTES", "8MiB"));
    let say = |args: &[&str], vars: &[&[(&str, &str)]]| said(directory.path(), args, &vars.concat());
    // The store that the next one finds with another limit.
    let made = Command::new(env!("CARGO_BIN_EXE_plane"))
        .args(["store", "stats"])
        .envs([&on_nats(&ann)[..], &[stored, small]].concat())
        .output();
    assert!(made.unwrap().status.success());
    let provoked = [
        say(WORKER, &[&[("DYN_REQUEST_PLANE", "tpc")]]),
        say(WORKER, &[&[("DYN_TCP_RPC_PORT", &taken_port)]]),
        say(WORKER, &[&[("DYN_TCP_RPC_HOST", "no-such-interface")]]),
        say(WORKER, &[&on_nats(&nowhere)]),
        say(WORKER, &[&on_nats(&stranger)]),
        say(WORKER, &[&on_nats(&ann), &[("NATS_TLS_REQUIRED", "true")]]),
        say(WORKER, &[&[stored]]),
        say(WORKER, &[&on_nats(&bare.url()), &[stored]]),
        say(WORKER, &[&on_nats(&ann), &[stored, ("DYN_NATS_STORE_MAX_BYTES", "9MiB")]]),
        say(WORKER, &[&[("DYN_DISCOVERY_BACKEND", "nats"), ("NATS_SERVER", &bare.url())]]),
        say(&["frontend", "--http-port", "0"], &[&on_nats(&ann), &[stored]]),
        say(CALL, &[&[("DYN_TCP_REQUEST_TIMEOUT", "50ms")]]),
        say(CALL, &[&listed(prefix)]),
        say(CALL, &[&listed(&at_nats)]),
        say(CALL, &[&listed(&at_free)]),
        say(CALL, &[&on_nats(&ann), &listed(prefix)]),
        say(CALL, &[&listed(&at_free), &[("DYN_TCP_MAX_MESSAGE_SIZE", "1")]]),
        say(CALL, &[&on_nats(&ann), &listed(prefix), &[("DYN_NATS_MAX_MESSAGE_SIZE", "1")]]),
    ];
    let provoked = [provoked.to_vec(), said_of_tls(directory.path())].concat();
    let messages = documented();
    assert_eq!(provoked.len(), messages.len());
    for (said, message) in provoked.iter().zip(messages) {
        let line = said.lines().last().unwrap_or_default();
        assert!(is(line, message), "\n  printed:    {line}\n  documented: {message}");
    }
}

#[test]
fn a_message_is_told_from_another() {
    assert!(is("error: no x at 1 s", "error: no <thing> at <time>") && is("a b", "a b"));
    assert!(!is("error: no x", "error: no <thing> at <time>") && !is("a b c", "a b"));
}
