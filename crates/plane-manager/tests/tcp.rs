//! Serving and calling through managers that are set up as programs are, over TCP and a directory.
#![cfg(feature = "tcp")]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use plane_core::{
    Address, Context, Delivery, EndpointId, ErrorKind, Handler, Health, Request, Response, Transport, handler_fn,
};
use plane_manager::{Config, EndpointClient, NetworkManager, Strictness};

fn endpoint() -> EndpointId {
    "test.backend.generate".parse().unwrap()
}

/// A manager as `from_env_strict` makes it of these variables.
fn manager(vars: &[(&str, &str)]) -> NetworkManager {
    let vars = vars.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let config = Config::from_vars(vars, Strictness::Strict).unwrap();
    NetworkManager::builder().config(config).build().unwrap()
}

/// The variables of a process that shares this directory and stays on this machine.
fn local(directory: &Path) -> [(&str, &str); 2] {
    [("DYN_TCP_RPC_HOST", "127.0.0.1"), ("DYN_DISCOVERY_DIR", directory.to_str().unwrap())]
}

fn named(name: &'static str) -> impl Handler {
    handler_fn(move |_: Request, _: Context| async move { Ok(Response::new(name)) })
}

async fn answer(client: &EndpointClient) -> String {
    let message = client.call("x").await.unwrap().message().await.unwrap();
    String::from_utf8(message.to_vec()).unwrap()
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(5)
}

#[tokio::test]
async fn a_call_between_two_managers() {
    let directory = tempfile::tempdir().unwrap();
    let (worker, frontend) = (manager(&local(directory.path())), manager(&local(directory.path())));
    let service = worker.serve(endpoint(), named("a")).await.unwrap();
    assert!(matches!(service.instance().address, Address::Tcp { .. }));
    assert_eq!(answer(&frontend.client(endpoint())).await, "a");
    assert_eq!((frontend.mode(), worker.health(), frontend.health()), (Transport::Tcp, Health::Ready, Health::Ready));
    assert!(frontend.stats().server.is_none());
    assert_eq!(service.shutdown(soon()).await.aborted, 0);
    frontend.discovery().watch(&endpoint()).wait_for(|instances| instances.is_empty()).await.unwrap();
}

#[tokio::test]
async fn one_server_for_all_endpoints() {
    let directory = tempfile::tempdir().unwrap();
    let manager = manager(&local(directory.path()));
    let serve = |n: usize| manager.serve(format!("test.backend.e{n}").parse().unwrap(), named("a"));
    let (a, b) = tokio::join!(serve(1), serve(2));
    assert_eq!(a.unwrap().instance().address, b.unwrap().instance().address);
}

#[tokio::test]
async fn a_port_in_use_names_the_variable_and_the_port() {
    let directory = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let [host, place] = local(directory.path());
    let manager = manager(&[host, place, ("DYN_TCP_RPC_PORT", &port)]);
    let error = manager.serve(endpoint(), named("a")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.message().contains("DYN_TCP_RPC_PORT") && error.message().contains(&port), "{error}");
    // The next try starts the server, once the port is free.
    drop(taken);
    let service = manager.serve(endpoint(), named("a")).await.unwrap();
    assert_eq!(service.instance().address.to_string(), format!("tcp://127.0.0.1:{port}"));
}

#[tokio::test]
async fn an_interface_that_is_not_there_is_refused_with_those_that_are() {
    let directory = tempfile::tempdir().unwrap();
    let [_, place] = local(directory.path());
    let manager = manager(&[("DYN_TCP_RPC_HOST", "no-such-interface"), place]);
    let error = manager.serve(endpoint(), named("a")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert!(error.message().contains("DYN_TCP_RPC_HOST"), "{error}");
}

/// Case A18: what a wildcard advertises can be called.
#[tokio::test]
async fn wildcards_advertise_an_address_that_can_be_called() {
    for host in ["0.0.0.0", "::", "::1"] {
        let directory = tempfile::tempdir().unwrap();
        let [_, place] = local(directory.path());
        let manager = manager(&[("DYN_TCP_RPC_HOST", host), place]);
        let service = manager.serve(endpoint(), named("a")).await.unwrap();
        let Address::Tcp { host, .. } = &service.instance().address else { panic!("not TCP") };
        assert!(!host.parse::<std::net::IpAddr>().unwrap().is_unspecified());
        assert_eq!(answer(&manager.client(endpoint())).await, "a");
    }
}

#[tokio::test]
async fn a_static_list_needs_no_directory() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port().to_string();
    drop(free);
    for id in ["", "#1f"] {
        let list = format!("{}=tcp://127.0.0.1:{port}{id}", endpoint());
        let vars = [
            ("DYN_DISCOVERY_BACKEND", "static"),
            ("DYN_STATIC_INSTANCES", &list),
            ("DYN_TCP_RPC_HOST", "127.0.0.1"),
            ("DYN_TCP_RPC_PORT", &port),
        ];
        let (worker, frontend) = (manager(&vars), manager(&vars));
        let service = worker.serve(endpoint(), named("a")).await.unwrap();
        assert_eq!(service.instance().id.get() == 0x1f, id == "#1f");
        assert_eq!(answer(&frontend.client(endpoint())).await, "a");
        drop(service);
        assert_eq!(worker.drain(soon()).await.aborted, 0);
    }
}

/// Case A13: two managers with different settings in one process.
#[tokio::test]
async fn two_managers_with_their_own_settings() {
    let directory = tempfile::tempdir().unwrap();
    let [host, place] = local(directory.path());
    let small = manager(&[host, place, ("DYN_TCP_MAX_MESSAGE_SIZE", "4")]);
    let large = manager(&[host, place]);
    let _service = large.serve(endpoint(), named("a")).await.unwrap();
    let error = small.client(endpoint()).call("12345").await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::MessageTooLarge, Delivery::NotSent));
    assert!(large.client(endpoint()).call("12345").await.is_ok());
}

/// Case C13 of the threats: one of two workers drains under load, and no caller notices.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_under_load_fails_no_call() {
    let directory = tempfile::tempdir().unwrap();
    let frontend = manager(&local(directory.path()));
    let (staying, leaving) = (manager(&local(directory.path())), manager(&local(directory.path())));
    let _staying = staying.serve(endpoint(), named("a")).await.unwrap();
    let _leaving = leaving.serve(endpoint(), named("b")).await.unwrap();
    let client = frontend.client(endpoint());
    let mut watch = frontend.discovery().watch(&endpoint());
    watch.wait_for(|instances| instances.len() == 2).await.unwrap();
    let callers: Vec<_> = (0..8)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move {
                for _ in 0..500 {
                    answer(&client).await;
                }
            })
        })
        .collect();
    // In the middle of it: both have answered.
    while client.call("x").await.unwrap().message().await.unwrap() != "b" {}
    assert_eq!(leaving.drain(soon()).await.aborted, 0);
    for caller in callers {
        caller.await.unwrap();
    }
    assert_eq!(staying.stats().server.unwrap().failed, 0);
}

/// Not a test of its own: the process that `a_killed_worker_is_replaced` starts and kills. It serves from its working
/// directory until its standard input ends.
#[ignore = "a process that another test starts"]
#[tokio::test]
async fn a_worker_process() {
    let manager = manager(&local(&std::env::current_dir().unwrap()));
    let pid = std::process::id().to_string();
    let metadata = BTreeMap::from([("pid".to_owned(), pid.clone())]);
    let handler = handler_fn(move |_, _| {
        let pid = pid.clone();
        async move { Ok(Response::new(pid)) }
    });
    let _service = manager.serve_with_metadata(endpoint(), metadata, handler).await.unwrap();
    let ended = || std::io::Read::read_to_end(&mut std::io::stdin(), &mut Vec::new());
    tokio::task::spawn_blocking(ended).await.unwrap().unwrap();
}

fn start_worker(directory: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--ignored", "--nocapture", "a_worker_process"])
        .current_dir(directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

#[tokio::test]
async fn a_killed_worker_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let frontend = manager(&local(directory.path()));
    let client = frontend.client(endpoint());
    let mut first = start_worker(directory.path());
    assert_eq!(answer(&client).await, first.id().to_string());
    let mut second = start_worker(directory.path());
    let mut watch = frontend.discovery().watch(&endpoint());
    watch.wait_for(|instances| instances.len() == 2).await.unwrap();
    first.kill().unwrap();
    first.wait().unwrap();
    // From the first call on: what cannot be dialled was not sent, and goes to the other one. A call on the connection
    // that broke may fail, if this side had not noticed.
    let mut unnoticed = 0;
    for _ in 0..20 {
        match client.call("x").await {
            Ok(response) => assert_eq!(response.message().await.unwrap(), second.id().to_string()),
            Err(error) => {
                assert_eq!(error.delivery(), Delivery::Unknown, "{error:?}");
                unnoticed += 1;
            }
        }
    }
    assert!(unnoticed <= 1, "{unnoticed}");
    watch.wait_for(|instances| instances.len() == 1).await.unwrap();
    drop(second.stdin.take());
    assert!(second.wait().unwrap().success());
}
