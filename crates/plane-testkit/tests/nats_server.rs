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
