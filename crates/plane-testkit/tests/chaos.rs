//! The chaos proxy does to real sockets what it says.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use plane_testkit::{ChaosConnection, ChaosProxy, Direction, Ending, Faults};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Both ends of one connection and the proxy between them.
struct Link {
    proxy: ChaosProxy,
    connection: ChaosConnection,
    client: TcpStream,
    server: TcpStream,
}

async fn link_with(to_server: Faults) -> Link {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let proxy = ChaosProxy::start(listener.local_addr().unwrap()).await.unwrap();
    proxy.set(Direction::ToServer, to_server);
    let client = TcpStream::connect(proxy.address()).await.unwrap();
    let (server, _) = listener.accept().await.unwrap();
    let connection = proxy.connection(0).await;
    Link { proxy, connection, client, server }
}

async fn read_exactly(stream: &mut TcpStream, bytes: usize) -> Vec<u8> {
    let mut read = vec![0; bytes];
    stream.read_exact(&mut read).await.unwrap();
    read
}

#[tokio::test]
async fn without_faults_bytes_and_ends_pass_both_ways() {
    let mut link = link_with(Faults::none()).await;
    link.client.write_all(b"question").await.unwrap();
    assert_eq!(read_exactly(&mut link.server, 8).await, b"question");
    link.client.shutdown().await.unwrap();
    assert_eq!(link.server.read(&mut [0; 8]).await.unwrap(), 0);
    link.server.write_all(b"answer").await.unwrap();
    assert_eq!(read_exactly(&mut link.client, 6).await, b"answer");
    drop(link.server);
    link.connection.ended().await;
    assert_eq!((link.proxy.bytes(Direction::ToServer), link.proxy.bytes(Direction::ToClient)), (8, 6));
    assert!(link.connection.is_ended());
}

#[tokio::test]
async fn a_megabyte_arrives_whole_in_pieces_of_any_size() {
    let sent: Vec<u8> = (0..1 << 20).map(|index: u32| index.to_le_bytes()[0] ^ index.to_le_bytes()[1]).collect();
    for piece in [7, 4_096, 1 << 20] {
        let link = link_with(Faults::in_pieces(piece)).await;
        let (mut client, mut server, expected) = (link.client, link.server, sent.clone());
        let writing = tokio::spawn(async move { client.write_all(&expected).await.map(|()| client) });
        assert!(read_exactly(&mut server, sent.len()).await == sent, "pieces of {piece}");
        writing.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_split_is_seen_as_two_reads() {
    // The delay keeps the system from putting the two writes together again.
    let faults = {
        let mut faults = Faults::split_at(3);
        faults.delay = Duration::from_millis(50);
        faults
    };
    let mut link = link_with(faults).await;
    link.client.write_all(b"abcdef").await.unwrap();
    let mut buffer = [0; 16];
    assert_eq!(link.server.read(&mut buffer).await.unwrap(), 3);
    assert_eq!(link.server.read(&mut buffer).await.unwrap(), 3);
}

#[tokio::test]
async fn a_black_hole_takes_bytes_and_gives_none() {
    let mut link = link_with(Faults::black_hole()).await;
    // More than sockets hold: it is read, not merely stuck.
    link.client.write_all(&vec![0; 32 << 20]).await.unwrap();
    link.client.write_all(b"x").await.unwrap();
    assert_eq!(link.connection.bytes(Direction::ToServer), 0);
    // The other direction is as before.
    link.server.write_all(b"still").await.unwrap();
    assert_eq!(read_exactly(&mut link.client, 5).await, b"still");
    assert!(!link.connection.is_ended());
}

#[tokio::test]
async fn half_open_keeps_sockets_and_bytes_until_it_is_lifted() {
    let mut link = link_with(Faults::none()).await;
    link.connection.set_both(Faults::half_open());
    link.client.write_all(b"waits").await.unwrap();
    drop(link.server);
    let read = tokio::time::timeout(Duration::from_millis(100), link.client.read(&mut [0; 1])).await;
    assert!(read.is_err(), "the client saw something: {read:?}");
    assert_eq!((link.connection.bytes(Direction::ToServer), link.connection.is_ended()), (0, false));
    link.connection.set_both(Faults::none());
    assert_eq!(link.client.read(&mut [0; 1]).await.unwrap(), 0);
    drop(link.client);
    link.connection.ended().await;
}

#[tokio::test]
async fn a_stall_in_the_middle_loses_nothing() {
    let mut link = link_with(Faults::none()).await;
    link.client.write_all(b"one").await.unwrap();
    assert_eq!(link.connection.forwarded(Direction::ToServer, 3).await, 3);
    link.proxy.set(Direction::ToServer, Faults::half_open());
    link.client.write_all(b"two").await.unwrap();
    link.proxy.set(Direction::ToServer, Faults::none());
    assert_eq!(read_exactly(&mut link.server, 6).await, b"onetwo");
}

#[tokio::test]
async fn a_reset_is_a_reset_on_both_sides() {
    let mut link = link_with(Faults::half_open()).await;
    link.connection.end(Ending::Reset);
    link.connection.ended().await;
    for stream in [&mut link.client, &mut link.server] {
        assert_eq!(stream.read(&mut [0; 1]).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    }
}

#[tokio::test]
async fn a_close_is_an_orderly_end_after_exactly_so_many_bytes() {
    let mut link = link_with(Faults::ending_after(5, Ending::Close)).await;
    link.client.write_all(b"hello and more").await.unwrap();
    let mut read = Vec::new();
    link.server.read_to_end(&mut read).await.unwrap();
    assert_eq!(read, b"hello");
    link.connection.ended().await;
}

#[tokio::test]
async fn a_reset_after_bytes_lets_exactly_those_through() {
    let link = link_with(Faults::ending_after(5, Ending::Reset)).await;
    let mut client = link.client;
    client.write_all(b"hello and more").await.unwrap();
    link.connection.ended().await;
    assert_eq!(link.connection.bytes(Direction::ToServer), 5);
    assert_eq!(client.read(&mut [0; 1]).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn one_bit_is_turned_and_no_other() {
    let mut faults = Faults::corrupted_at(2);
    faults.pieces = NonZeroUsize::new(1);
    let mut link = link_with(faults).await;
    link.client.write_all(b"aaaa").await.unwrap();
    assert_eq!(read_exactly(&mut link.server, 4).await, b"aa`a");
}

#[tokio::test]
async fn time_faults_take_time_and_can_be_lifted() {
    let mut link = link_with(Faults::delayed(Duration::from_millis(80))).await;
    let started = Instant::now();
    link.client.write_all(b"late").await.unwrap();
    assert_eq!(read_exactly(&mut link.server, 4).await, b"late");
    assert!(started.elapsed() >= Duration::from_millis(80));

    link.proxy.set(Direction::ToServer, Faults::throttled(1_000));
    let started = Instant::now();
    link.client.write_all(&[0; 200]).await.unwrap();
    read_exactly(&mut link.server, 200).await;
    assert!(started.elapsed() >= Duration::from_millis(200));

    link.proxy.set(Direction::ToServer, Faults::delayed(Duration::from_secs(3_600)));
    link.client.write_all(b"never?").await.unwrap();
    link.proxy.set(Direction::ToServer, Faults::none());
    assert_eq!(read_exactly(&mut link.server, 6).await, b"never?");
}

#[tokio::test]
async fn faults_of_one_connection_leave_the_others_alone() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let proxy = ChaosProxy::start(listener.local_addr().unwrap()).await.unwrap();
    let mut ends = Vec::new();
    for number in 0..2 {
        let client = TcpStream::connect(proxy.address()).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        ends.push((client, server, proxy.connection(number).await));
    }
    ends[0].2.set_both(Faults::half_open());
    for (client, ..) in &mut ends {
        client.write_all(b"hi").await.unwrap();
    }
    assert_eq!(read_exactly(&mut ends[1].1, 2).await, b"hi");
    assert_eq!(ends[0].2.bytes(Direction::ToServer), 0);
}

#[tokio::test]
async fn an_unreachable_server_resets_and_a_new_one_is_reached() {
    let gone: SocketAddr = {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        listener.local_addr().unwrap()
    };
    let proxy = ChaosProxy::start(gone).await.unwrap();
    let mut client = TcpStream::connect(proxy.address()).await.unwrap();
    proxy.connection(0).await.ended().await;
    assert_eq!(client.read(&mut [0; 1]).await.unwrap_err().kind(), ErrorKind::ConnectionReset);

    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    proxy.set_upstream(listener.local_addr().unwrap());
    let mut client = TcpStream::connect(proxy.address()).await.unwrap();
    let (mut server, _) = listener.accept().await.unwrap();
    client.write_all(b"again").await.unwrap();
    assert_eq!(read_exactly(&mut server, 5).await, b"again");
}

#[tokio::test]
async fn dropping_the_proxy_resets_what_is_open() {
    let mut link = link_with(Faults::none()).await;
    let connection = link.connection.clone();
    drop(link.proxy);
    connection.ended().await;
    assert_eq!(link.client.read(&mut [0; 1]).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
}
