//! TLS as the variables set it, and who may call.

use std::path::Path;

use plane_core::{Address, Authorizer, Delivery, EndpointId, ErrorKind, Peer};
use plane_manager::{EndpointClient, NetworkManager};
use plane_testkit::{Authority, CertificateFiles};

use crate::place::{answer, builder, endpoint, local, named};

/// Variables of one process.
struct Vars<'a> {
    directory: &'a Path,
    set: Vec<(&'static str, String)>,
}

impl<'a> Vars<'a> {
    fn of(directory: &'a Path) -> Self {
        Self { directory, set: Vec::new() }
    }

    fn with(mut self, name: &'static str, value: impl AsRef<Path>) -> Self {
        self.set.push((name, value.as_ref().to_str().unwrap().to_owned()));
        self
    }

    fn identity(self, CertificateFiles { certificate, key }: &CertificateFiles) -> Self {
        self.with("DYN_TCP_TLS_CERT", certificate).with("DYN_TCP_TLS_KEY", key)
    }

    fn builder(&self) -> plane_manager::NetworkManagerBuilder {
        let set = self.set.iter().map(|(name, value)| (*name, value.as_str()));
        builder(&local(self.directory).into_iter().chain(set).collect::<Vec<_>>())
    }

    fn manager(&self) -> NetworkManager {
        self.builder().build().unwrap()
    }
}

/// A call must fail before anything of it is sent; gives back what is said of it.
async fn refused(client: &EndpointClient, kind: ErrorKind) -> String {
    let error = client.call("x").await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (kind, Delivery::NotSent), "{error}");
    error.to_string()
}

#[tokio::test]
async fn a_call_between_two_managers_over_mutual_tls() {
    let (directory, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let vars = || Vars::of(directory.path()).with("DYN_TCP_TLS_CA", authority.roots());
    let worker = vars().identity(&authority.sign("127.0.0.1")).with("DYN_TCP_TLS_CLIENT_CA", authority.roots());
    let worker = worker.with("DYN_TCP_TLS_REQUIRED", "true").manager();
    let service = worker.serve(endpoint(), named("a")).await.unwrap();
    assert!(matches!(service.instance().address, Address::Tls { .. }), "{}", service.instance().address);
    let frontend = vars().identity(&authority.sign("frontend")).with("DYN_TCP_TLS_REQUIRED", "true").manager();
    assert_eq!(answer(&frontend.client(endpoint())).await, "a");
    let said = refused(&vars().manager().client(endpoint()), ErrorKind::Unauthenticated).await;
    assert!(said.contains("DYN_TCP_TLS_CERT"), "{said}");
    let said = refused(&Vars::of(directory.path()).manager().client(endpoint()), ErrorKind::FailedPrecondition).await;
    assert!(said.contains("DYN_TCP_TLS_CA"), "{said}");
}

#[tokio::test]
async fn servers_are_known_by_the_name_that_is_set() {
    let (directory, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let worker = Vars::of(directory.path()).identity(&authority.sign("workers.internal")).manager();
    let _service = worker.serve(endpoint(), named("a")).await.unwrap();
    let caller = || Vars::of(directory.path()).with("DYN_TCP_TLS_CA", authority.roots());
    let named = caller().with("DYN_TCP_TLS_SERVER_NAME", "workers.internal").manager();
    assert_eq!(answer(&named.client(endpoint())).await, "a");
    refused(&caller().manager().client(endpoint()), ErrorKind::Unauthenticated).await;
}

/// Threat D9: only by its own name.
#[tokio::test]
async fn verification_is_switched_off_by_its_own_name() {
    let (directory, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let worker = Vars::of(directory.path()).identity(&authority.self_signed("nobody")).manager();
    let _service = worker.serve(endpoint(), named("a")).await.unwrap();
    let careless = Vars::of(directory.path()).with("DYN_TCP_TLS_INSECURE_SKIP_VERIFY", "true").manager();
    assert_eq!(answer(&careless.client(endpoint())).await, "a");
    assert_eq!(careless.stats().clients[0].1.tls_unverified, 1);
}

/// Threat D6: a manager with files that cannot be used does not start, or does not serve.
#[tokio::test]
async fn files_that_cannot_be_used() {
    let (directory, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let (good, missing) = (authority.sign("127.0.0.1"), authority.path("missing.pem"));
    let other_key = CertificateFiles { key: authority.sign("127.0.0.1").key, ..good.clone() };
    for (vars, named) in [
        (Vars::of(directory.path()).with("DYN_TCP_TLS_CA", &missing), "DYN_TCP_TLS_CA"),
        (Vars::of(directory.path()).identity(&other_key), "DYN_TCP_TLS_KEY"),
    ] {
        let error = vars.builder().build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(error.to_string().contains(named), "{error}");
    }
    for (vars, named) in [
        (Vars::of(directory.path()).identity(&good).with("DYN_TCP_TLS_CLIENT_CA", &missing), "DYN_TCP_TLS_CLIENT_CA"),
        (Vars::of(directory.path()).with("DYN_TCP_TLS_REQUIRED", "true"), "DYN_TCP_TLS_CERT"),
    ] {
        let error = vars.manager().serve(endpoint(), crate::place::named("a")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(error.to_string().contains(named), "{error}");
    }
}

/// One server whose certificate is not believed does not fail the calls that another can answer.
#[tokio::test]
async fn a_server_that_is_not_believed_is_passed_over() {
    let (directory, authority, other) = (tempfile::tempdir().unwrap(), Authority::new(), Authority::new());
    let serving = |authority: &Authority| Vars::of(directory.path()).identity(&authority.sign("127.0.0.1")).manager();
    let (bad, good) = (serving(&other), serving(&authority));
    let _bad = bad.serve(endpoint(), named("bad")).await.unwrap();
    let _good = good.serve(endpoint(), named("good")).await.unwrap();
    let caller = Vars::of(directory.path()).with("DYN_TCP_TLS_CA", authority.roots()).manager();
    let client = caller.client(endpoint());
    caller.discovery().watch(&endpoint()).wait_for(|instances| instances.len() == 2).await.unwrap();
    for _ in 0..10 {
        assert_eq!(answer(&client).await, "good");
    }
}

/// Who may call is asked on the server, with what the caller has proven.
#[tokio::test]
async fn only_those_who_may_call() {
    let (directory, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let vars = || Vars::of(directory.path()).with("DYN_TCP_TLS_CA", authority.roots());
    let rule =
        |peer: &Peer, _: &EndpointId| peer.identity.certificate().is_some_and(|who| who.dns == ["router.internal"]);
    let worker = vars().identity(&authority.sign("127.0.0.1")).with("DYN_TCP_TLS_CLIENT_CA", authority.roots());
    let worker = worker.builder().authorizer(Authorizer::new(rule)).build().unwrap();
    let _service = worker.serve(endpoint(), named("a")).await.unwrap();
    let router = vars().identity(&authority.sign("router.internal")).manager();
    assert_eq!(answer(&router.client(endpoint())).await, "a");
    let other = vars().identity(&authority.sign("other.internal")).manager();
    let error = other.client(endpoint()).call("x").await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::PermissionDenied, Delivery::NotExecuted));
}
