//! A trust chain as an operator of NATS has it: operator, account and user, each signed by the one before.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nkeys::KeyPair;
use serde_json::{Value, json};

/// Lines of the server's configuration that trust the chain, and the credentials file of its user.
pub(crate) struct Chain {
    pub(crate) configuration: String,
    pub(crate) credentials: String,
}

impl Chain {
    pub(crate) fn new() -> Self {
        let operator = KeyPair::new_operator();
        let operator_jwt = sign(&operator, &operator, json!({ "type": "operator", "version": 2 }));
        // The server's own account, which JetStream needs, and the user's.
        let accounts = [KeyPair::new_account(), KeyPair::new_account()];
        let [system_jwt, account_jwt] = accounts.each_ref().map(|account| sign(&operator, account, account_claims()));
        let [system, account] = accounts.each_ref().map(KeyPair::public_key);
        let configuration = format!(
            "operator: {operator_jwt}\nresolver: MEMORY\nsystem_account: {system}\n\
             resolver_preload: {{ {system}: {system_jwt}, {account}: {account_jwt} }}\n"
        );
        let user = KeyPair::new_user();
        let jwt = sign(&accounts[1], &user, user_claims());
        let seed = user.seed().unwrap();
        let credentials = format!(
            "-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        );
        Self { configuration, credentials }
    }
}

fn account_claims() -> Value {
    let unlimited = json!({
        "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true, "conn": -1, "leaf": -1
    });
    json!({ "type": "account", "version": 2, "limits": unlimited })
}

fn user_claims() -> Value {
    json!({ "type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1, "pub": {}, "sub": {} })
}

fn sign(issuer: &KeyPair, subject: &KeyPair, nats: Value) -> String {
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let header = encode(&json!({ "typ": "JWT", "alg": "ed25519-nkey" }));
    let (issuer_id, subject_id) = (issuer.public_key(), subject.public_key());
    let claims = json!({ "jti": "x", "iat": 0, "iss": issuer_id, "name": "test", "sub": subject_id, "nats": nats });
    let signed = format!("{header}.{}", encode(&claims));
    let signature = URL_SAFE_NO_PAD.encode(issuer.sign(signed.as_bytes()).unwrap());
    format!("{signed}.{signature}")
}
