//! Each row of the table of docs/configuration.md, with good and bad values.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::*;

const MIB: usize = 1024 * 1024;

fn read_as(strictness: Strictness, vars: &[(&str, &str)]) -> Result<Config, InvalidConfig> {
    let vars = vars.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::from_vars(vars, strictness)
}

fn read(vars: &[(&str, &str)]) -> Result<Config, InvalidConfig> {
    read_as(Strictness::Strict, vars)
}

fn tcp(name: &str, value: &str) -> TcpSettings {
    read(&[(name, value)]).unwrap().tcp
}

/// Each of these values is refused, naming the variable and the value.
#[track_caller]
fn refused(name: &str, values: &[&str]) {
    for value in values {
        let error = read(&[(name, value)]).expect_err(value);
        let [problem] = error.problems() else { panic!("{error}") };
        assert_eq!((problem.variable(), problem.value()), (name, *value));
        assert!(!problem.accepted().is_empty());
    }
}

#[test]
fn an_empty_environment_gives_the_defaults() {
    let config = read(&[]).unwrap();
    assert_eq!(config, Config::default());
    assert_eq!(config.mode, Transport::Tcp);
    let expected = TcpSettings {
        host: RpcHost::Auto,
        port: 0,
        max_message_size: 32 * MIB,
        shrink_message_size: 8 * MIB,
        request_timeout: Duration::from_secs(10),
        pool_size: 50,
        connect_timeout: Duration::from_secs(3),
        channel_buffer: 100,
        tls: TcpTls::default(),
    };
    assert_eq!(config.tcp, expected);
}

#[test]
fn an_empty_value_is_unset() {
    let vars: Vec<(&str, &str)> = names::KNOWN.iter().map(|name| (*name, " ")).collect();
    assert_eq!(read(&vars).unwrap(), Config::default());
}

#[test]
fn request_plane() {
    for (value, mode) in [("tcp", Transport::Tcp), ("TCP", Transport::Tcp), ("Nats", Transport::Nats)] {
        assert_eq!(read(&[(REQUEST_PLANE, value)]).unwrap().mode, mode);
    }
    refused(REQUEST_PLANE, &["tpc", "mem", "http", "tcp,nats"]);
}

#[test]
fn an_invalid_mode_is_a_warning_for_a_library_and_an_error_for_a_program() {
    let vars = [(REQUEST_PLANE, "tpc")];
    let config = read_as(Strictness::Lenient, &vars).unwrap();
    assert_eq!(config.mode, Transport::Tcp);
    assert_eq!(config.warnings, [ConfigWarning::InvalidMode { value: "tpc".to_owned() }]);
    let text = config.warnings[0].to_string();
    assert!(text.contains("tpc") && text.contains("tcp") && text.contains("nats"), "{text}");
    // The one text that is promised: architecture.md, "Configuration".
    let error = read_as(Strictness::Strict, &vars).unwrap_err().to_string();
    assert!(error.contains("Invalid request plane mode"), "{error}");
}

#[test]
fn tcp_rpc_host() {
    let address = |text: &str| RpcHost::Address(text.parse().unwrap());
    for (value, host) in [
        ("10.0.0.1", address("10.0.0.1")),
        ("0.0.0.0", address("0.0.0.0")),
        ("::", address("::")),
        ("[::1]", address("::1")),
        ("eth0", RpcHost::Interface("eth0".to_owned())),
    ] {
        assert_eq!(tcp(names::TCP_RPC_HOST, value).host, host);
    }
    refused(names::TCP_RPC_HOST, &["10.0.0.256", "10.0.0.1:9000", "http://x", "a b"]);
}

#[test]
fn tcp_rpc_port() {
    assert_eq!(tcp(names::TCP_RPC_PORT, "9000").port, 9000);
    assert_eq!(tcp(names::TCP_RPC_PORT, "0").port, 0);
    refused(names::TCP_RPC_PORT, &["99999", "-1", "http", "90.5"]);
}

#[test]
fn tcp_max_message_size() {
    for (value, bytes) in [("1", 1), ("33554432", 32 * MIB), ("64MiB", 64 * MIB), ("64mb", 64_000_000), ("1g", 1 << 30)]
    {
        assert_eq!(tcp(names::TCP_MAX_MESSAGE_SIZE, value).max_message_size, bytes);
    }
    refused(names::TCP_MAX_MESSAGE_SIZE, &["0", "many", "-1", "2GiB", "1.5MiB", "99999999999999999999"]);
}

#[test]
fn tcp_shrink_message_size() {
    assert_eq!(tcp(names::TCP_SHRINK_MESSAGE_SIZE, "0").shrink_message_size, 0);
    assert_eq!(tcp(names::TCP_SHRINK_MESSAGE_SIZE, "32MiB").shrink_message_size, 32 * MIB);
    refused(names::TCP_SHRINK_MESSAGE_SIZE, &["33MiB", "some", "-1"]);
    // The default follows a lower maximum; an explicit value above it is refused.
    assert_eq!(tcp(names::TCP_MAX_MESSAGE_SIZE, "1MiB").shrink_message_size, MIB);
    let error = read(&[(names::TCP_MAX_MESSAGE_SIZE, "1MiB"), (names::TCP_SHRINK_MESSAGE_SIZE, "2MiB")]).unwrap_err();
    assert_eq!(error.problems()[0].variable(), names::TCP_SHRINK_MESSAGE_SIZE);
}

#[test]
fn tcp_timeouts() {
    for (value, millis) in
        [("10", 10_000), ("0.5", 500), ("500ms", 500), ("3S", 3_000), ("2m", 120_000), ("1h", 3_600_000)]
    {
        let expected = Duration::from_millis(millis);
        assert_eq!(tcp(names::TCP_REQUEST_TIMEOUT, value).request_timeout, expected);
        assert_eq!(tcp(names::TCP_CONNECT_TIMEOUT, value).connect_timeout, expected);
    }
    for name in [names::TCP_REQUEST_TIMEOUT, names::TCP_CONNECT_TIMEOUT] {
        refused(name, &["0", "-1", "soon", "2h", "0.0001", "10 apples", "18446744073709551615"]);
    }
}

#[test]
fn tcp_pool_size_and_channel_buffer() {
    assert_eq!(tcp(names::TCP_POOL_SIZE, "1").pool_size, 1);
    assert_eq!(tcp(names::TCP_POOL_SIZE, "10000").pool_size, 10_000);
    refused(names::TCP_POOL_SIZE, &["0", "10001", "-1", "few"]);
    assert_eq!(tcp(names::TCP_CHANNEL_BUFFER, "1").channel_buffer, 1);
    assert_eq!(tcp(names::TCP_CHANNEL_BUFFER, "1000000").channel_buffer, 1_000_000);
    refused(names::TCP_CHANNEL_BUFFER, &["0", "1000001", "1k"]);
}

/// What the variables accept, the transport accepts, to both ends of each range.
#[cfg(feature = "tcp")]
#[test]
fn the_transport_takes_what_is_accepted() {
    let lowest = [
        (names::TCP_MAX_MESSAGE_SIZE, "1"),
        (names::TCP_SHRINK_MESSAGE_SIZE, "0"),
        (names::TCP_REQUEST_TIMEOUT, "1ms"),
        (names::TCP_CONNECT_TIMEOUT, "1ms"),
        (names::TCP_POOL_SIZE, "1"),
        (names::TCP_CHANNEL_BUFFER, "1"),
    ];
    let highest = [
        (names::TCP_MAX_MESSAGE_SIZE, "1GiB"),
        (names::TCP_SHRINK_MESSAGE_SIZE, "1GiB"),
        (names::TCP_REQUEST_TIMEOUT, "1h"),
        (names::TCP_CONNECT_TIMEOUT, "1h"),
        (names::TCP_POOL_SIZE, "10000"),
        (names::TCP_CHANNEL_BUFFER, "1000000"),
    ];
    for vars in [&[][..], &lowest, &highest] {
        let settings = read(vars).unwrap().tcp;
        settings.client_config().unwrap();
        settings.server_config(([127, 0, 0, 1], 0).into(), None).unwrap();
    }
    let by_hand = TcpSettings { pool_size: 0, ..TcpSettings::default() };
    assert_eq!(by_hand.client_config().unwrap_err().kind(), plane_core::ErrorKind::InvalidArgument);
}

#[cfg(feature = "tcp")]
#[test]
fn the_defaults_are_those_of_the_transport() {
    assert_eq!(TcpSettings::default().client_config().unwrap(), plane_tcp::ClientConfig::default());
}

fn nats(vars: &[(&str, &str)]) -> NatsSettings {
    read(vars).unwrap().nats
}

#[test]
fn nats_server() {
    for (value, servers) in [
        ("nats://10.0.0.1:4222", &["nats://10.0.0.1:4222"][..]),
        ("localhost", &["nats://localhost"]),
        ("a:4222, tls://b ,nats://[::1]:4223,", &["nats://a:4222", "tls://b", "nats://[::1]:4223"]),
        ("nats://ann:secret@host:1", &["nats://ann:secret@host:1"]),
    ] {
        assert_eq!(nats(&[(NATS_SERVER, value)]).servers, servers);
    }
    refused(
        NATS_SERVER,
        &["http://h:1", "nats://", "nats://h:0", "nats://h:port", "h:70000", "a b", "nats://h/x", ",", "[::1"],
    );
}

#[test]
fn nats_credentials() {
    let credentials = |vars| nats(vars).credentials;
    let user = [(names::NATS_AUTH_USERNAME, "ann"), (names::NATS_AUTH_PASSWORD, "secret")];
    let expected = NatsCredentials::UserPassword { user: "ann".to_owned(), password: "secret".to_owned() };
    assert_eq!(credentials(&user), expected);
    assert_eq!(credentials(&[(names::NATS_AUTH_TOKEN, "t")]), NatsCredentials::Token("t".to_owned()));
    assert_eq!(credentials(&[(names::NATS_AUTH_NKEY, "SU")]), NatsCredentials::Nkey("SU".to_owned()));
    let file = [(names::NATS_AUTH_CREDENTIALS_FILE, "/etc/nats.creds")];
    assert_eq!(credentials(&file), NatsCredentials::File("/etc/nats.creds".into()));
    refused(names::NATS_AUTH_CREDENTIALS_FILE, &["nats.creds"]);
    let alone = read(&[(names::NATS_AUTH_USERNAME, "ann")]).unwrap_err();
    assert_eq!(alone.problems()[0].variable(), names::NATS_AUTH_USERNAME);
    // Which one counts would be a guess.
    let error = read(&[user[0], user[1], (names::NATS_AUTH_TOKEN, "t")]).unwrap_err();
    assert_eq!(error.problems()[0].variable(), names::NATS_AUTH_TOKEN);
}

#[test]
fn nats_secrets_are_not_shown() {
    let secret = "hunter2";
    for vars in [
        &[(names::NATS_AUTH_PASSWORD, secret)][..],
        &[(names::NATS_AUTH_TOKEN, secret), (names::NATS_AUTH_NKEY, secret)],
        &[(NATS_SERVER, "nats://ann:hunter2@h:0, ann:hunter2@h:0")],
    ] {
        let error = read(vars).unwrap_err();
        assert!(!format!("{error} {error:?}").contains(secret), "{error}");
    }
    for vars in [(names::NATS_AUTH_TOKEN, secret), (NATS_SERVER, "nats://ann:hunter2@h:1")] {
        let config = read(&[vars]).unwrap();
        assert!(!format!("{config:?}").contains(secret));
    }
}

#[test]
fn nats_tls() {
    let vars = [
        (names::NATS_TLS_REQUIRED, "True"),
        (names::NATS_TLS_CA, "/ca.pem"),
        (names::NATS_TLS_CERT, "/c.pem"),
        (names::NATS_TLS_KEY, "/k.pem"),
    ];
    let identity = Some(("/c.pem".into(), "/k.pem".into()));
    assert_eq!(nats(&vars).tls, NatsTls { required: true, ca: Some("/ca.pem".into()), identity });
    refused(names::NATS_TLS_REQUIRED, &["maybe", "2"]);
    refused(names::NATS_TLS_CA, &["ca.pem"]);
    for name in [names::NATS_TLS_CERT, names::NATS_TLS_KEY] {
        assert_eq!(read(&[(name, "/alone.pem")]).unwrap_err().problems()[0].variable(), name);
    }
}

#[test]
fn nats_subjects_and_limits() {
    assert_eq!(nats(&[(names::NATS_PREFIX, "team-a.plane")]).prefix, "team-a.plane");
    assert_eq!(nats(&[(names::NATS_INBOX_PREFIX, "_INBOX_ann")]).inbox_prefix, "_INBOX_ann");
    for name in [names::NATS_PREFIX, names::NATS_INBOX_PREFIX] {
        refused(name, &["a.*", ">", "a..b", ".a", "a b", "$SYS", "a.b.c.d.e.f.g.h.i"]);
    }
    assert_eq!(nats(&[(names::NATS_MAX_MESSAGE_SIZE, "64MiB")]).max_message_size, 64 * MIB);
    refused(names::NATS_MAX_MESSAGE_SIZE, &["0", "65MiB", "big"]);
    assert!(!nats(&[(names::NATS_CHUNKING, "off")]).chunking);
    refused(names::NATS_CHUNKING, &["sometimes"]);
    assert_eq!(nats(&[(names::NATS_REQUEST_TIMEOUT, "500ms")]).request_timeout, Duration::from_millis(500));
    assert_eq!(nats(&[(names::NATS_CONNECT_TIMEOUT, "1")]).connect_timeout, Duration::from_secs(1));
    for name in [names::NATS_REQUEST_TIMEOUT, names::NATS_CONNECT_TIMEOUT] {
        refused(name, &["0", "soon", "2h"]);
    }
}

#[test]
fn nats_delivery() {
    assert_eq!(nats(&[(names::NATS_DELIVERY, "Core")]).store, None);
    assert_eq!(nats(&[(names::NATS_DELIVERY, "JetStream")]).store, Some(StoreSettings::default()));
    refused(names::NATS_DELIVERY, &["durable", "jetstream,core"]);
    let stored = |vars: &[(&str, &str)]| nats(&[&[(names::NATS_DELIVERY, "jetstream")], vars].concat()).store.unwrap();
    assert_eq!(stored(&[(names::NATS_STORE_MAX_BYTES, "2TiB")]).max_bytes, 2 << 40);
    assert_eq!(stored(&[(names::NATS_STORE_MAX_AGE, "12h")]).max_age, Duration::from_secs(43_200));
    assert_eq!(stored(&[(names::NATS_STORE_REPLICAS, "3")]).replicas, 3);
    assert_eq!(stored(&[(names::NATS_DUPLICATE_WINDOW, "10m")]).duplicate_window, Duration::from_secs(600));
    // The default follows a lower age.
    assert_eq!(stored(&[(names::NATS_STORE_MAX_AGE, "60")]).duplicate_window, Duration::from_secs(60));
    assert_eq!(stored(&[(names::NATS_MAX_ATTEMPTS, "1")]).max_attempts, 1);
    assert_eq!(stored(&[(names::NATS_RETRY_DELAY, "50ms")]).retry_delay, Duration::from_millis(50));
    refused(names::NATS_STORE_MAX_BYTES, &["1", "2000TiB", "lots"]);
    refused(names::NATS_STORE_MAX_AGE, &["0", "400d", "old"]);
    refused(names::NATS_STORE_REPLICAS, &["0", "6", "two"]);
    refused(names::NATS_DUPLICATE_WINDOW, &["0", "8d"]);
    refused(names::NATS_MAX_ATTEMPTS, &["0", "1001"]);
    refused(names::NATS_RETRY_DELAY, &["0", "1h"]);
    let unused =
        ConfigWarning::Unused { variable: names::NATS_MAX_ATTEMPTS, unless: names::NATS_DELIVERY, needed: "jetstream" };
    assert_eq!(read(&[(names::NATS_MAX_ATTEMPTS, "1")]).unwrap().warnings, [unused]);
}

/// What the variables accept, the transport accepts.
#[cfg(feature = "nats")]
#[test]
fn nats_takes_what_is_accepted() {
    let all = [
        (NATS_SERVER, "a:4222,tls://ann:x@b,nats://[::1]:4223"),
        (names::NATS_AUTH_TOKEN, "t"),
        (names::NATS_PREFIX, "a.B_c-1"),
        (names::NATS_INBOX_PREFIX, "a.b.c.d.e.f.g.h"),
        (names::NATS_MAX_MESSAGE_SIZE, "64MiB"),
        (names::NATS_REQUEST_TIMEOUT, "1ms"),
        (names::NATS_CONNECT_TIMEOUT, "1ms"),
    ];
    nats(&all).nats_config().unwrap();
    nats(&[(names::NATS_MAX_MESSAGE_SIZE, "1")]).nats_config().unwrap();
    let lowest = ["jetstream", "1MiB", "1s", "1", "1s", "1", "1ms"];
    let highest = ["jetstream", "1024TiB", "366d", "5", "366d", "1000", "20m"];
    for values in [lowest, highest] {
        let names = [
            names::NATS_DELIVERY,
            names::NATS_STORE_MAX_BYTES,
            names::NATS_STORE_MAX_AGE,
            names::NATS_STORE_REPLICAS,
            names::NATS_DUPLICATE_WINDOW,
            names::NATS_MAX_ATTEMPTS,
            names::NATS_RETRY_DELAY,
        ];
        let vars: Vec<(&str, &str)> = names.into_iter().zip(values).collect();
        nats(&vars).nats_config().unwrap();
    }
    let stored = nats(&[(names::NATS_DELIVERY, "jetstream")]).nats_config().unwrap();
    let defaults = plane_nats::NatsDelivery::JetStream(plane_nats::StoreConfig::default());
    assert_eq!(stored, plane_nats::NatsConfig::default().delivery(defaults));
    assert_eq!(NatsSettings::default().nats_config().unwrap(), plane_nats::NatsConfig::default());
    let by_hand = NatsSettings { prefix: "a b".to_owned(), ..NatsSettings::default() };
    assert_eq!(by_hand.nats_config().unwrap_err().kind(), plane_core::ErrorKind::InvalidArgument);
}

#[test]
fn discovery_backend() {
    assert_eq!(read(&[(names::DISCOVERY_BACKEND, "MEM")]).unwrap().discovery, DiscoveryConfig::Mem);
    let vars = [(names::DISCOVERY_BACKEND, "File"), (DISCOVERY_DIR, "/some/where")];
    let expected = DiscoveryConfig::File { directory: PathBuf::from("/some/where"), private: false };
    assert_eq!(read(&vars).unwrap().discovery, expected);
    let expected = DiscoveryConfig::Nats { bucket: None, ttl: Duration::from_secs(10) };
    assert_eq!(read(&[(names::DISCOVERY_BACKEND, "Nats")]).unwrap().discovery, expected);
    refused(names::DISCOVERY_BACKEND, &["etcd", "files"]);
    // A list is needed.
    refused(names::DISCOVERY_BACKEND, &["static"]);
}

#[test]
fn discovery_on_nats() {
    let vars =
        [(names::DISCOVERY_BACKEND, "nats"), (names::NATS_BUCKET, "My_bucket-1"), (names::NATS_INSTANCE_TTL, "1500ms")];
    let expected = DiscoveryConfig::Nats { bucket: Some("My_bucket-1".to_owned()), ttl: Duration::from_millis(1_500) };
    assert_eq!(read(&vars).unwrap().discovery, expected);
    refused(names::NATS_BUCKET, &["a.b", "a b", "*", "a/b"]);
    refused(names::NATS_INSTANCE_TTL, &["499ms", "61m", "soon", "0"]);
}

#[test]
fn discovery_dir() {
    let directory_of = |vars: &[(&str, &str)]| match read(vars).unwrap().discovery {
        DiscoveryConfig::File { directory, private } => (directory, private),
        other => panic!("{other:?}"),
    };
    assert_eq!(directory_of(&[(DISCOVERY_DIR, "/a/b")]), ("/a/b".into(), false));
    let runtime = tempfile::tempdir().unwrap();
    let (directory, private) = directory_of(&[("XDG_RUNTIME_DIR", runtime.path().to_str().unwrap())]);
    assert_eq!((directory.as_path(), private), (runtime.path().join("plane").as_path(), true));
    for absent in ["/does/not/exist", "relative", ""] {
        let (directory, private) = directory_of(&[("XDG_RUNTIME_DIR", absent)]);
        assert_eq!((directory.parent(), private), (Some(Path::new(&std::env::temp_dir())), true));
    }
    refused(DISCOVERY_DIR, &["relative/path", "."]);
}

#[test]
fn static_instances() {
    let list = "a.b.c=tcp://10.0.0.1:9000#1f, a.b.d=unix:///run/x.sock ,a.b.c=tcp://[::1]:9000,";
    let vars = [(names::DISCOVERY_BACKEND, "static"), (names::STATIC_INSTANCES, list)];
    let DiscoveryConfig::Static(list) = read(&vars).unwrap().discovery else { panic!("not static") };
    let shown: Vec<String> = list
        .iter()
        .map(|entry| format!("{} {} {:?}", entry.endpoint, entry.address, entry.id.map(|id| id.get())))
        .collect();
    assert_eq!(
        shown,
        ["a.b.c tcp://10.0.0.1:9000 Some(31)", "a.b.d unix:///run/x.sock None", "a.b.c tcp://[::1]:9000 None"]
    );
    refused(
        names::STATIC_INSTANCES,
        &[
            "a.b.c",
            "a.b=tcp://h:1",
            "a.b.c=h:1",
            "a.b.c=tcp://h:1#0",
            "a.b.c=tcp://h:1#xyz",
            ",",
            "a.b.c=tcp://h:1;a.b.d=tcp://h:2",
        ],
    );
}

#[test]
fn a_variable_of_another_backend_is_a_warning() {
    let vars = [
        (names::STATIC_INSTANCES, "a.b.c=tcp://h:1"),
        (DISCOVERY_DIR, "/a"),
        (names::NATS_BUCKET, "b"),
        (names::NATS_INSTANCE_TTL, "1"),
        (names::DISCOVERY_BACKEND, "mem"),
    ];
    let unused = |variable, needed| ConfigWarning::Unused { variable, unless: names::DISCOVERY_BACKEND, needed };
    let expected = [
        unused(names::STATIC_INSTANCES, "static"),
        unused(DISCOVERY_DIR, "file"),
        unused(names::NATS_BUCKET, "nats"),
        unused(names::NATS_INSTANCE_TTL, "nats"),
    ];
    assert_eq!(read(&vars).unwrap().warnings, expected);
}

#[test]
fn every_bad_value_is_reported_at_once() {
    let vars = [
        (REQUEST_PLANE, "tpc"),
        (names::TCP_RPC_PORT, "99999"),
        (names::TCP_MAX_MESSAGE_SIZE, "many"),
        (names::TCP_POOL_SIZE, "0"),
        (names::DISCOVERY_BACKEND, "etcd"),
        (names::TCP_CONNECT_TIMEOUT, "5"),
    ];
    let error = read(&vars).unwrap_err();
    let named: Vec<&str> = error.problems().iter().map(ConfigProblem::variable).collect();
    assert_eq!(
        named,
        [
            REQUEST_PLANE,
            names::TCP_MAX_MESSAGE_SIZE,
            names::TCP_RPC_PORT,
            names::TCP_POOL_SIZE,
            names::DISCOVERY_BACKEND
        ]
    );
    let text = error.to_string();
    assert!(named.iter().all(|name| text.contains(name)), "{text}");
}

#[test]
fn an_unknown_name_is_a_warning_with_the_nearest_one() {
    for (name, nearest) in [
        ("DYN_TCP_POOLSIZE", names::TCP_POOL_SIZE),
        ("DYN_TCP_PORT", names::TCP_RPC_PORT),
        ("DYN_TCP_MAX_MESAGE_SIZE", names::TCP_MAX_MESSAGE_SIZE),
        ("DYN_NATS_MAX_MESSAGE", names::NATS_MAX_MESSAGE_SIZE),
    ] {
        let expected = ConfigWarning::UnknownVariable { name: name.to_owned(), nearest };
        assert_eq!(read(&[(name, "1")]).unwrap().warnings, [expected]);
    }
    assert_eq!(read(&[("DYN_OTHER", "1"), ("PATH", "/bin"), ("dyn_tcp_pool_size", "x")]).unwrap(), Config::default());
}

#[test]
fn hostile_text_is_refused_and_shown_short() {
    let huge = "x".repeat(1 << 20);
    for value in ["\0", "\u{fffd}", "\u{1b}[2J", "x\r\nX: y", &huge] {
        for name in names::KNOWN.iter().filter(|name| **name != DISCOVERY_DIR) {
            let Err(error) = read(&[(name, value)]) else { panic!("{name} takes {:?}", &value[..value.len().min(9)]) };
            let text = error.to_string();
            assert!(text.len() < 1024 && !text.contains(['\0', '\u{1b}', '\r']), "{text}");
        }
    }
    let long_name = format!("DYN_TCP_{huge}");
    assert!(read(&[(&long_name, "1")]).unwrap().warnings[0].to_string().len() < 512);
}

#[test]
fn the_last_of_two_values_counts() {
    assert_eq!(read(&[(names::TCP_RPC_PORT, "1"), (names::TCP_RPC_PORT, "2")]).unwrap().tcp.port, 2);
    assert_eq!(read(&[(names::TCP_RPC_PORT, "1"), (names::TCP_RPC_PORT, "")]).unwrap().tcp.port, 0);
}
