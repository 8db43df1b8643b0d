//! The NATS server that tests start.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;

use plane_testkit::nats::{NatsServer, NatsServerOptions};

/// The first line that the server says to a client.
fn greeting(server: &NatsServer) -> String {
    let stream = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    line
}

#[test]
fn it_is_ready_when_made_and_gone_when_dropped() {
    let server = NatsServer::with(NatsServerOptions { max_payload: Some(4_096), ..NatsServerOptions::default() });
    let line = greeting(&server);
    assert!(line.starts_with("INFO {") && line.contains("\"max_payload\":4096"), "{line}");
    assert!(line.contains("\"jetstream\":true"), "{line}");
    let port = server.port();
    drop(server);
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
}

/// Threat E29: whichever server the tests are run with, it is one that docs/nats.md supports.
#[test]
fn it_is_of_a_version_that_is_supported() {
    let line = greeting(&NatsServer::start());
    let (_, rest) = line.split_once("\"version\":\"").unwrap();
    let numbers: Vec<u32> = rest.split(['.', '"', '-']).map_while(|number| number.parse().ok()).collect();
    assert!(numbers.len() == 3 && numbers >= vec![2, 10, 0], "{line}");
}

#[test]
fn it_comes_back_at_the_same_port_after_every_kind_of_end() {
    let mut server = NatsServer::start();
    let port = server.port();
    server.stop();
    server.restart();
    server.kill();
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    server.restart_with_max_payload(8_192);
    assert_eq!(server.port(), port);
    server.freeze();
    server.thaw();
    assert!(greeting(&server).contains("\"max_payload\":8192"));
    // Frozen, it must still go with its test.
    server.freeze();
}
