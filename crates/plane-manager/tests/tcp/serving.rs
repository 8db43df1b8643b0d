//! What is served, and where it listens.

use plane_core::{Address, Delivery, ErrorKind, Health, Transport};

use crate::place::{answer, endpoint, local, manager, named, soon};

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

/// A port that was free a moment ago.
fn free_port() -> String {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    free.local_addr().unwrap().port().to_string()
}

/// The variables of a process on this port that knows this list.
fn listed<'a>(port: &'a str, list: &'a str) -> [(&'a str, &'a str); 4] {
    [
        ("DYN_DISCOVERY_BACKEND", "static"),
        ("DYN_STATIC_INSTANCES", list),
        ("DYN_TCP_RPC_HOST", "127.0.0.1"),
        ("DYN_TCP_RPC_PORT", port),
    ]
}

#[tokio::test]
async fn a_static_list_needs_no_directory() {
    for id in ["", "#1f"] {
        let port = free_port();
        let list = format!("{}=tcp://127.0.0.1:{port}{id}", endpoint());
        let (worker, frontend) = (manager(&listed(&port, &list)), manager(&listed(&port, &list)));
        let service = worker.serve(endpoint(), named("a")).await.unwrap();
        assert_eq!(service.instance().id.get() == 0x1f, id == "#1f");
        assert_eq!(answer(&frontend.client(endpoint())).await, "a");
        assert_eq!(worker.drain(soon()).await.aborted, 0);
    }
}

#[tokio::test]
async fn services_that_share_a_listed_address_stand_in_for_each_other() {
    let port = free_port();
    let list = format!("{}=tcp://127.0.0.1:{port}", endpoint());
    let manager = manager(&listed(&port, &list));
    let client = manager.client(endpoint());
    let a = manager.serve(endpoint(), named("a")).await.unwrap();
    let _b = manager.serve(endpoint(), named("b")).await.unwrap();
    assert_eq!(client.instances().len(), 1);
    assert!(client.call("x").await.is_ok());
    drop(a);
    assert_eq!(answer(&client).await, "b");
}

#[tokio::test]
async fn each_listed_instance_is_served_once() {
    let (port, endpoint) = (free_port(), endpoint());
    let list = format!("{endpoint}=tcp://127.0.0.1:{port}#1,{endpoint}=tcp://127.0.0.1:{port}#2");
    let manager = manager(&listed(&port, &list));
    let client = manager.client(endpoint.clone());
    let a = manager.serve(endpoint.clone(), named("a")).await.unwrap();
    let b = manager.serve(endpoint.clone(), named("b")).await.unwrap();
    assert_eq!(answer(&client.direct(a.instance().id)).await, "a");
    assert_eq!(answer(&client.direct(b.instance().id)).await, "b");
    let error = manager.serve(endpoint.clone(), named("c")).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::AlreadyExists, Delivery::NotSent));
    assert!(error.message().contains("DYN_STATIC_INSTANCES"), "{error}");
    let id = a.instance().id;
    drop(a);
    let c = manager.serve(endpoint, named("c")).await.unwrap();
    assert_eq!((c.instance().id, answer(&client.direct(id)).await), (id, "c".to_owned()));
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
