//! A cluster of NATS servers that has lost most of them.

use std::time::Duration;

use plane_core::{Delivery, ErrorKind, Request, Response, handler_fn};
use plane_testkit::nats::{NatsServer as Nats, NatsServerOptions};

use crate::world::{Worker, call, client, config, in_time, store};

fn cluster_of(name: usize, listen: &str, routes: &[u16]) -> String {
    let routes: Vec<_> = routes.iter().map(|port| format!("\"nats://127.0.0.1:{port}\"")).collect();
    let routes = routes.join(", ");
    format!(
        "server_name: member{name}\ncluster {{ name: test, listen: \"127.0.0.1:{listen}\", routes: [ {routes} ] }}\n"
    )
}

/// Three servers that store together. Each must know the places of all before JetStream starts, and picks its own first.
async fn cluster() -> Vec<Nats> {
    let alone = |name| {
        let configuration = format!("jetstream: false\n{}", cluster_of(name, "-1", &[]));
        Nats::with(NatsServerOptions { configuration, ..NatsServerOptions::default() })
    };
    let mut members: Vec<_> = (0..3).map(alone).collect();
    let mut ports = Vec::new();
    for member in &members {
        ports.push(in_time(member.cluster_port()).await);
    }
    for (name, member) in members.iter_mut().enumerate() {
        member.restart_with_configuration(&cluster_of(name, &ports[name].to_string(), &ports));
    }
    members
}

/// Threat E20: with one server of three, nothing can be stored. A call says so, typed, at once as soon as that server knows,
/// and works again when the others are back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_quorum_a_call_is_unavailable() {
    let mut members = cluster().await;
    let limit = Duration::from_secs(3);
    let config = config(&members[0], store().replicas(3).unwrap()).request_timeout(limit).unwrap();
    let caller = client(&config);
    let typed = [ErrorKind::Unavailable, ErrorKind::DeadlineExceeded, ErrorKind::ResourceExhausted];
    // Nobody has been elected yet.
    let worker = in_time(async {
        loop {
            let echo = handler_fn(|request: Request, _| async { Ok(Response::new(request.body)) });
            let worker = Worker::start(&config).await;
            match worker.try_with("echo", echo).await {
                Ok(worker) => return worker,
                Err(error) => assert!(typed.contains(&error.kind()), "{error:?}"),
            }
        }
    })
    .await;
    assert_eq!(in_time(call(&caller, "echo", "stored thrice")).await.unwrap(), "stored thrice");
    members[1].kill();
    members[2].kill();
    in_time(async {
        loop {
            let error = call(&caller, "echo", "too few").await.unwrap_err();
            assert!(typed.contains(&error.kind()), "{error:?}");
            if error.kind() == ErrorKind::Unavailable {
                assert_ne!(error.delivery(), Delivery::Executed);
                break;
            }
        }
    })
    .await;
    members[1].restart();
    members[2].restart();
    in_time(async {
        while let Err(error) = call(&caller, "echo", "again").await {
            assert!(typed.contains(&error.kind()), "{error:?}");
        }
    })
    .await;
    drop(worker);
}
