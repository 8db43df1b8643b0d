//! Who may use a NATS server: every kind of credentials, TLS, permissions, and what is said when they are wrong.

mod credentials;

mod inboxes;

mod jwt;

mod permissions;

mod secrets;

mod tls;

mod world;
