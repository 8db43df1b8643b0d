//! What is served and called, and when NATS is connected.

use std::net::TcpListener;

use plane_core::{Address, Delivery, ErrorKind, Health, Transport};
use plane_testkit::nats::{NatsServer, NatsServerOptions};
use plane_testkit::{Authority, CertificateFiles};

use crate::place::{Place, answer, endpoint, manager, named, soon};

#[tokio::test]
async fn a_call_between_two_managers() {
    let place = Place::new();
    let (worker, frontend) = (place.manager("nats"), place.manager("nats"));
    let service = worker.serve(endpoint(), named("a")).await.unwrap();
    assert!(matches!(service.instance().address, Address::Nats(_)));
    assert_eq!(answer(&frontend.client(endpoint())).await, "a");
    assert_eq!((frontend.mode(), worker.health(), frontend.health()), (Transport::Nats, Health::Ready, Health::Ready));
    assert_eq!(frontend.stats().clients[0].0, Transport::Nats);
    assert_eq!(service.shutdown(soon()).await.aborted, 0);
    frontend.discovery().watch(&endpoint()).wait_for(|instances| instances.is_empty()).await.unwrap();
}

#[tokio::test]
async fn each_instance_is_called_in_turn_and_by_its_id() {
    let place = Place::new();
    let workers = [place.manager("nats"), place.manager("nats")];
    let a = workers[0].serve(endpoint(), named("a")).await.unwrap();
    let b = workers[1].serve(endpoint(), named("b")).await.unwrap();
    let frontend = place.manager("nats");
    let client = frontend.client(endpoint());
    frontend.discovery().watch(&endpoint()).wait_for(|instances| instances.len() == 2).await.unwrap();
    for (service, name) in [(&a, "a"), (&b, "b")] {
        assert_eq!(answer(&client.direct(service.instance().id)).await, name);
    }
}

#[tokio::test]
async fn a_static_list_names_the_prefix_that_all_servers_share() {
    let place = Place::new();
    let url = place.nats.url();
    let vars = |list| {
        let all = [("DYN_REQUEST_PLANE", "nats"), ("NATS_SERVER", &*url), ("DYN_DISCOVERY_BACKEND", "static")];
        [&all[..], &[("DYN_STATIC_INSTANCES", list)]].concat()
    };
    let any = vars("test.backend.generate=nats://plane");
    let worker = manager(&any);
    let _service = worker.serve(endpoint(), named("any")).await.unwrap();
    assert_eq!(answer(&manager(&any).client(endpoint())).await, "any");
    let listed = vars("test.backend.generate=nats://plane#1f");
    let worker = manager(&listed);
    let service = worker.serve(endpoint(), named("1f")).await.unwrap();
    assert_eq!(service.instance().id.get(), 0x1f);
    assert_eq!(answer(&manager(&listed).client(endpoint())).await, "1f");
}

/// A deployment over TCP that needs nothing from NATS never opens a connection to it, though it knows where it is.
#[tokio::test]
async fn tcp_never_connects_to_nats() {
    let place = Place::new();
    let trap = TcpListener::bind("127.0.0.1:0").unwrap();
    trap.set_nonblocking(true).unwrap();
    let url = format!("nats://{}", trap.local_addr().unwrap());
    let tcp = || place.with("tcp", &[("NATS_SERVER", &url)]);
    let (worker, frontend) = (tcp(), tcp());
    let service = worker.serve(endpoint(), named("a")).await.unwrap();
    assert_eq!(answer(&frontend.client(endpoint())).await, "a");
    assert_eq!(frontend.stats().clients.len(), 1);
    assert_eq!((worker.health(), frontend.health()), (Health::Ready, Health::Ready));
    drop(service);
    worker.drain(soon()).await;
    frontend.drain(soon()).await;
    assert_eq!(trap.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
}

#[tokio::test]
async fn without_a_server_the_error_says_where_it_was_looked_for() {
    let place = Place::new();
    // Bound and let go: nobody listens there.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let worker = place.with("nats", &[("NATS_SERVER", &format!("nats://ann:hunter2@127.0.0.1:{port}"))]);
    let error = worker.serve(endpoint(), named("a")).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Unavailable, Delivery::NotSent));
    let said = error.message();
    assert!(said.contains(&port.to_string()) && said.contains("NATS_SERVER") && !said.contains("hunter2"), "{error}");
}

/// Threat E28: TLS on one side only, or signed by an unknown authority: whoever is told to have it does not start without it,
/// nobody is told of such a worker, and a caller's first call says why.
#[tokio::test]
async fn a_worker_that_needs_tls_does_not_start_without_it() {
    let place = Place::new();
    let (authority, other) = (Authority::new(), Authority::new());
    let CertificateFiles { certificate, key } = authority.sign("127.0.0.1");
    let configuration = format!("tls {{ cert_file: {certificate:?}, key_file: {key:?} }}\n");
    let encrypted = NatsServer::with(NatsServerOptions { configuration, ..NatsServerOptions::default() });
    let (trusted, strange) = (authority.roots(), other.roots());
    let [trusted, strange] = [&trusted, &strange].map(|path| path.to_str().unwrap());
    let (plain, encrypted) = (place.nats.url(), encrypted.url());
    for (url, roots, kind, variable) in [
        (&plain, trusted, ErrorKind::Unavailable, "NATS_TLS_REQUIRED"),
        (&encrypted, strange, ErrorKind::Unauthenticated, "NATS_TLS_CA"),
    ] {
        let vars = [("NATS_SERVER", &**url), ("NATS_TLS_REQUIRED", "true"), ("NATS_TLS_CA", roots)];
        let error = place.with("nats", &vars).serve(endpoint(), named("a")).await.unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (kind, Delivery::NotSent), "{error:?}");
        assert!(error.message().contains(variable), "{error}");
    }
    let vars = [("NATS_SERVER", &*encrypted), ("NATS_TLS_REQUIRED", "true"), ("NATS_TLS_CA", trusted)];
    let worker = place.with("nats", &vars);
    let service = worker.serve(endpoint(), named("a")).await.unwrap();
    let frontend = place.with("nats", &vars);
    let instances =
        frontend.discovery().watch(&endpoint()).wait_for(|instances| !instances.is_empty()).await.unwrap().clone();
    assert_eq!(instances.iter().map(|instance| instance.id).collect::<Vec<_>>(), [service.instance().id]);
    assert_eq!(answer(&frontend.client(endpoint())).await, "a");
    let careless = place.with("nats", &[("NATS_SERVER", &*encrypted)]);
    let error = careless.client(endpoint()).call("x").await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Unauthenticated, Delivery::NotSent), "{error:?}");
}
