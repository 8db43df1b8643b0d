//! Passwords, tokens and seeds are in no error, no log and no debug output.

use std::io;
use std::sync::{Arc, Mutex};

use plane_core::ErrorKind;
use plane_nats::{Credentials, NatsConfig, NatsConnection};
use tracing_subscriber::fmt::MakeWriter;

use crate::world::{bind, call, client, config, nats, register};

/// Everything that is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// What is shown of a connection that is made, refused, lost and made again.
async fn shown(secret_config: impl Fn(&plane_testkit::nats::NatsServer) -> NatsConfig, configuration: &str) -> String {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(log.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let mut shown = String::new();
    let mut nats = nats(configuration);
    let config = secret_config(&nats);
    shown += &format!("{config:?} {:?}", NatsConnection::new(config.clone()));
    let server = bind(config.clone()).await.unwrap();
    let _registration = register(&server, "echo").await.unwrap();
    let caller = client(config.clone());
    call(&caller, "echo").await.unwrap();
    shown += &format!("{server:?} {caller:?}");
    nats.restart_with_configuration("authorization { user: nobody, password: knows }");
    loop {
        let error = call(&caller, "echo").await.unwrap_err();
        shown += &format!("{error} {error:?}");
        if error.kind() == ErrorKind::Unauthenticated {
            break;
        }
        tokio::task::yield_now().await;
    }
    let error = bind(config.clone()).await.unwrap_err();
    shown += &format!("{error} {error:?}");
    nats.kill();
    let error = bind(config).await.unwrap_err();
    shown += &format!("{error} {error:?}");
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("async_nats") && log.contains("plane_nats"), "the log is seen");
    shown + &log
}

#[tokio::test]
async fn a_password_is_not_shown() {
    let with = |nats: &_| {
        let credentials = Credentials::UserPassword { user: "ann".to_owned(), password: "hunter2".to_owned() };
        config(nats).credentials(credentials)
    };
    assert!(!shown(with, "authorization { user: ann, password: hunter2 }").await.contains("hunter2"));
}

#[tokio::test]
async fn a_password_in_a_url_is_not_shown() {
    let with = |nats: &plane_testkit::nats::NatsServer| {
        let url = format!("nats://ann:hunter2@127.0.0.1:{}", nats.port());
        NatsConfig::default().servers([url]).unwrap()
    };
    assert!(!shown(with, "authorization { user: ann, password: hunter2 }").await.contains("hunter2"));
}

#[tokio::test]
async fn a_token_is_not_shown() {
    let with = |nats: &_| config(nats).credentials(Credentials::Token("hunter2".to_owned()));
    assert!(!shown(with, "authorization { token: hunter2 }").await.contains("hunter2"));
}

#[tokio::test]
async fn a_seed_is_not_shown() {
    let key = nkeys::KeyPair::new_user();
    let seed = key.seed().unwrap();
    let with = |nats: &_| config(nats).credentials(Credentials::Nkey(seed.clone()));
    let configuration = format!("authorization {{ users = [ {{ nkey: {} }} ] }}", key.public_key());
    assert!(!shown(with, &configuration).await.contains(&seed));
}
