//! Each kind of credentials, right and wrong.

use plane_core::{ErrorKind, Health, RequestPlaneClient};
use plane_nats::Credentials;

use crate::jwt::Chain;
use crate::world::{bind, call, client, config, nats, refused, register, works};

fn user(password: &str) -> Credentials {
    Credentials::UserPassword { user: "ann".to_owned(), password: password.to_owned() }
}

/// Case B6: wrong credentials fail at once with the reason; right ones work.
#[tokio::test]
async fn user_and_password() {
    let nats = nats("authorization { user: ann, password: \"r@ght\" }");
    works(config(&nats).credentials(user("r@ght"))).await;
    refused(config(&nats).credentials(user("wrong")), ErrorKind::Unauthenticated).await;
    refused(config(&nats), ErrorKind::Unauthenticated).await;
    let url = |password: &str| format!("nats://ann:{password}@127.0.0.1:{}", nats.port());
    works(config(&nats).servers([url("r%40ght")]).unwrap()).await;
    works(config(&nats).servers([url("r%40ght"), nats.url()]).unwrap()).await;
    refused(config(&nats).servers([url("wrong")]).unwrap(), ErrorKind::Unauthenticated).await;
    // What is set beats what the URL says.
    works(config(&nats).servers([url("wrong")]).unwrap().credentials(user("r@ght"))).await;
}

#[tokio::test]
async fn token() {
    let nats = nats("authorization { token: s3cret }");
    works(config(&nats).credentials(Credentials::Token("s3cret".to_owned()))).await;
    works(config(&nats).servers([format!("nats://s3cret@127.0.0.1:{}", nats.port())]).unwrap()).await;
    refused(config(&nats).credentials(Credentials::Token("wrong".to_owned())), ErrorKind::Unauthenticated).await;
}

#[tokio::test]
async fn nkey() {
    let key = nkeys::KeyPair::new_user();
    let nats = nats(&format!("authorization {{ users = [ {{ nkey: {} }} ] }}", key.public_key()));
    works(config(&nats).credentials(Credentials::Nkey(key.seed().unwrap()))).await;
    let other = nkeys::KeyPair::new_user().seed().unwrap();
    refused(config(&nats).credentials(Credentials::Nkey(other)), ErrorKind::Unauthenticated).await;
    let error = refused(config(&nats).credentials(Credentials::Nkey("SUNOT".to_owned())), ErrorKind::Unauthenticated);
    assert!(!error.await.to_string().contains("SUNOT"));
}

#[tokio::test]
async fn credentials_file() {
    let (chain, other) = (Chain::new(), Chain::new());
    let nats = nats(&chain.configuration);
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        Credentials::File(path)
    };
    works(config(&nats).credentials(file("right", &chain.credentials))).await;
    refused(config(&nats).credentials(file("other", &other.credentials)), ErrorKind::Unauthenticated).await;
    refused(config(&nats).credentials(file("garbage", "hello")), ErrorKind::InvalidArgument).await;
    let missing = Credentials::File(directory.path().join("missing"));
    refused(config(&nats).credentials(missing), ErrorKind::InvalidArgument).await;
}

/// Credentials that are not taken any more after the server came back: calls say so at once, and work again once it
/// takes them.
#[tokio::test]
async fn credentials_that_have_become_wrong() {
    let mut nats = nats("authorization { user: ann, password: right }");
    let config = config(&nats).credentials(user("right"));
    let server = bind(config.clone()).await.unwrap();
    let _registration = register(&server, "echo").await.unwrap();
    let client = client(config);
    call(&client, "echo").await.unwrap();
    nats.restart_with_configuration("authorization { user: ann, password: changed }");
    loop {
        let error = call(&client, "echo").await.unwrap_err();
        match error.kind() {
            ErrorKind::Unauthenticated => break,
            // Until the first try to connect again.
            kind => assert!(matches!(kind, ErrorKind::Unavailable | ErrorKind::Disconnected), "{error:?}"),
        }
        tokio::task::yield_now().await;
    }
    assert!(matches!(client.health(), Health::Unavailable(why) if why.contains("credentials")));
    nats.restart_with_configuration("authorization { user: ann, password: right }");
    while call(&client, "echo").await.is_err() {
        tokio::task::yield_now().await;
    }
    assert_eq!(client.health(), Health::Ready);
}
