//! TLS as operators set it up: by variables, for processes of their own.

use std::path::Path;
use std::time::Duration;

use plane_testkit::{Authority, CertificateFiles};
use tokio::process::Command;
use tokio::time::timeout;

use crate::place::{Deployment, PATIENCE, Place, Plane, Running, first_text};

const WORKER: &[&str] =
    &["worker", "--model", "m", "--engine", "mock", "--prefill-per-token", "0", "--inter-token", "0"];
const CALL: &[&str] = &["call", "dynamo.backend.generate", r#"{"model": "m", "prompt": "hi", "max_tokens": 1}"#];

/// Processes whose certificates one authority has signed, and who must all have one.
struct Closed {
    place: Place,
    authority: Authority,
}

impl Closed {
    fn new() -> Self {
        Self { place: Place::new(Plane::Tcp), authority: Authority::new() }
    }

    fn plane(&self, args: &[&str], identity: &CertificateFiles) -> Command {
        let roots = self.authority.roots();
        let mut command = self.place.plane(args);
        command.env("DYN_TCP_TLS_CERT", &identity.certificate).env("DYN_TCP_TLS_KEY", &identity.key);
        command.env("DYN_TCP_TLS_CA", &roots).env("DYN_TCP_TLS_CLIENT_CA", &roots).env("DYN_TCP_TLS_REQUIRED", "true");
        command
    }

    /// How a call ends, and the last line that it says on standard error.
    async fn call(&self, identity: &CertificateFiles) -> (Option<i32>, String) {
        ended(self.plane(CALL, identity)).await
    }
}

async fn ended(mut command: Command) -> (Option<i32>, String) {
    let output = timeout(PATIENCE, command.output()).await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    (output.status.code(), said.lines().last().unwrap_or_default().to_owned())
}

/// A frontend and a worker that know each other, and strangers who are told why they may not call.
#[tokio::test]
async fn a_deployment_that_is_closed_to_strangers() {
    let closed = Closed::new();
    let worker = Running::of(closed.plane(WORKER, &closed.authority.sign("127.0.0.1"))).await;
    assert!(worker.ready.contains("tls://127.0.0.1:"), "{}", worker.ready);
    let identity = closed.authority.sign("frontend");
    let frontend = Running::of(closed.plane(&["frontend", "--http-port", "0"], &identity)).await;
    let deployment = Deployment::of(Place::new(Plane::Tcp), frontend);
    let metrics = deployment.metrics().await;
    assert!(metrics.contains("plane_frontend_tls_unverified 0"), "{metrics}");
    deployment.until_workers(1).await;
    let events = first_text(deployment.chat().await).await;
    assert_eq!(timeout(PATIENCE, events.rest()).await.unwrap().last().unwrap(), "[DONE]");

    assert_eq!(closed.call(&closed.authority.sign("operator")).await.0, Some(0));
    let (code, said) = closed.call(&Authority::new().sign("stranger")).await;
    assert!(code != Some(0) && said.contains("DYN_TCP_TLS_CLIENT_CA"), "{said}");
    let (code, said) = ended(closed.place.plane(CALL)).await;
    assert!(code != Some(0) && said.contains("DYN_TCP_TLS_CA"), "{said}");
    let mut careless = closed.place.plane(CALL);
    careless.env("DYN_TCP_TLS_INSECURE_SKIP_VERIFY", "true");
    let (code, said) = ended(careless).await;
    assert!(code != Some(0) && said.contains("DYN_TCP_TLS_CERT"), "{said}");
}

/// Threat D9: each start without verification says so in the log, and the gauge is 1.
#[tokio::test]
async fn no_verification_is_logged_and_counted() {
    let (place, authority) = (Place::new(Plane::Tcp), Authority::new());
    let CertificateFiles { certificate, key } = authority.self_signed("elsewhere");
    let mut worker = place.plane(WORKER);
    worker.env("DYN_TCP_TLS_CERT", certificate).env("DYN_TCP_TLS_KEY", key);
    let _worker = Running::of(worker).await;
    let careless = |args| {
        let mut command = place.plane(args);
        command.env("DYN_TCP_TLS_INSECURE_SKIP_VERIFY", "true");
        command
    };
    let output = timeout(PATIENCE, careless(CALL).output()).await.unwrap().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&output.stderr).contains("DYN_TCP_TLS_INSECURE_SKIP_VERIFY"));
    let frontend = Running::of(careless(&["frontend", "--http-port", "0"])).await;
    let metrics = Deployment::of(place, frontend).metrics().await;
    assert!(metrics.contains("plane_frontend_tls_unverified 1"), "{metrics}");
}

/// Threat D10: a worker that goes on while its certificate and the authority behind it are replaced.
#[tokio::test]
async fn certificates_are_replaced_under_a_running_worker() {
    let (closed, later) = (Closed::new(), Closed::new());
    let identity = closed.authority.sign("127.0.0.1");
    let _worker = Running::of(closed.plane(WORKER, &identity)).await;
    let operator = closed.authority.sign("operator");
    assert_eq!(closed.call(&operator).await.0, Some(0));
    std::fs::copy(later.authority.roots(), closed.authority.roots()).unwrap();
    later.authority.sign("127.0.0.1").replace(&identity);
    assert_eq!(closed.call(&later.authority.sign("operator")).await.0, Some(0));
    assert_ne!(closed.call(&operator).await.0, Some(0));
}

/// Threat D6: a worker whose files cannot be used does not start, and names the variable and the file.
#[tokio::test]
async fn a_worker_with_files_that_cannot_be_used() {
    let closed = Closed::new();
    let good = closed.authority.sign("127.0.0.1");
    let missing = closed.authority.path("missing.pem");
    let refused = async |identity: CertificateFiles, variable: &str, file: &Path| {
        let (code, said) = timeout(Duration::from_secs(30), ended(closed.plane(WORKER, &identity))).await.unwrap();
        assert!(code != Some(0) && said.contains(variable) && said.contains(file.to_str().unwrap()), "{said}");
    };
    refused(CertificateFiles { certificate: missing.clone(), ..good.clone() }, "DYN_TCP_TLS_CERT", &missing).await;
    let other = closed.authority.sign("127.0.0.1").key;
    refused(CertificateFiles { key: other.clone(), ..good }, "DYN_TCP_TLS_KEY", &other).await;
}
