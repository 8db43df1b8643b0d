//! TLS of calls over TCP.

use std::path::PathBuf;

use super::check::{Check, SWITCH, both, path};
use super::names;
use super::problem::{ConfigProblem, ConfigWarning, Findings};
use super::raw::Raw;
use super::values::parse_switch;

const NAME: &str = "a DNS name or an address that the certificates of all servers have, for example workers.internal";
/// As in the domain name system.
const LONGEST_NAME: usize = 253;

/// TLS of calls over TCP (`DYN_TCP_TLS_*`). What each does is in docs/configuration.md.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TcpTls {
    /// PEM files with this process's certificate and its key (`DYN_TCP_TLS_CERT`, `DYN_TCP_TLS_KEY`). With them its server
    /// speaks TLS and nothing else, and its clients show them to servers that ask.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// A PEM file with the roots of servers that are believed (`DYN_TCP_TLS_CA`).
    pub ca: Option<PathBuf>,
    /// A PEM file with the roots of clients (`DYN_TCP_TLS_CLIENT_CA`): a server takes only those that they vouch for.
    pub client_ca: Option<PathBuf>,
    /// The name that the certificate of every server must have (`DYN_TCP_TLS_SERVER_NAME`); by default the host of its
    /// address.
    pub server_name: Option<String>,
    /// Whether servers without TLS are refused, and this process serves nobody without it (`DYN_TCP_TLS_REQUIRED`).
    pub required: bool,
    /// Whether every server is taken at its word (`DYN_TCP_TLS_INSECURE_SKIP_VERIFY`).
    pub insecure_skip_verify: bool,
}

impl TcpTls {
    pub(super) fn check(raw: &Raw, findings: &mut Findings) -> Self {
        let certificate = path(names::TCP_TLS_CERT, &raw.tcp_tls_cert, findings);
        let key = path(names::TCP_TLS_KEY, &raw.tcp_tls_key, findings);
        let ca = path(names::TCP_TLS_CA, &raw.tcp_tls_ca, findings);
        let client_ca = path(names::TCP_TLS_CLIENT_CA, &raw.tcp_tls_client_ca, findings);
        let mut check = Check::new(findings);
        let mut switch = |variable, text| check.read(variable, text, parse_switch, SWITCH).unwrap_or(false);
        let required = switch(names::TCP_TLS_REQUIRED, &raw.tcp_tls_required);
        let insecure_skip_verify = switch(names::TCP_TLS_INSECURE_SKIP_VERIFY, &raw.tcp_tls_insecure_skip_verify);
        let server_name = check.read(names::TCP_TLS_SERVER_NAME, &raw.tcp_tls_server_name, parse_name, NAME);
        check_together(raw, insecure_skip_verify, findings);
        let identity = both((names::TCP_TLS_CERT, certificate), (names::TCP_TLS_KEY, key), findings);
        Self { identity, ca, client_ca, server_name, required, insecure_skip_verify }
    }
}

/// What makes no sense beside, or without, another variable.
fn check_together(raw: &Raw, insecure: bool, findings: &mut Findings) {
    if let Some(value) = raw.tcp_tls_client_ca.as_ref().filter(|_| raw.tcp_tls_cert.is_none()) {
        let accepted = format!("set only together with {} and {}", names::TCP_TLS_CERT, names::TCP_TLS_KEY);
        findings.refuse(ConfigProblem::new(names::TCP_TLS_CLIENT_CA, value, accepted));
    }
    if insecure && raw.tcp_tls_ca.is_some() {
        let accepted = format!("true only without {}: either servers are verified, or they are not", names::TCP_TLS_CA);
        findings.refuse(ConfigProblem::new(names::TCP_TLS_INSECURE_SKIP_VERIFY, "true", accepted));
    }
    if raw.tcp_tls_server_name.is_some() && raw.tcp_tls_ca.is_none() {
        let (variable, unless) = (names::TCP_TLS_SERVER_NAME, names::TCP_TLS_CA);
        findings.warn(ConfigWarning::Unused { variable, unless, needed: "set" });
    }
}

fn parse_name(text: &str) -> Option<String> {
    let is_name = text.len() <= LONGEST_NAME && text.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_:".contains(&b));
    is_name.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::names::{
        TCP_TLS_CA, TCP_TLS_CERT, TCP_TLS_CLIENT_CA, TCP_TLS_INSECURE_SKIP_VERIFY, TCP_TLS_KEY, TCP_TLS_REQUIRED,
        TCP_TLS_SERVER_NAME,
    };
    use super::super::{Config, InvalidConfig, Strictness};
    use super::*;

    fn read(vars: &[(&str, &str)]) -> Result<Config, InvalidConfig> {
        let vars = vars.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Config::from_vars(vars, Strictness::Strict)
    }

    #[test]
    fn every_setting_is_read() {
        let config = read(&[
            (TCP_TLS_CERT, "/c"),
            (TCP_TLS_KEY, "/k"),
            (TCP_TLS_CA, "/ca"),
            (TCP_TLS_CLIENT_CA, "/clients"),
            (TCP_TLS_SERVER_NAME, "workers.internal"),
            (TCP_TLS_REQUIRED, "yes"),
        ]);
        let expected = TcpTls {
            identity: Some(("/c".into(), "/k".into())),
            ca: Some("/ca".into()),
            client_ca: Some("/clients".into()),
            server_name: Some("workers.internal".to_owned()),
            required: true,
            insecure_skip_verify: false,
        };
        assert_eq!(config.unwrap().tcp.tls, expected);
        assert!(read(&[(TCP_TLS_INSECURE_SKIP_VERIFY, "on")]).unwrap().tcp.tls.insecure_skip_verify);
        assert_eq!(read(&[]).unwrap().tcp.tls, TcpTls::default());
    }

    #[test]
    fn what_makes_no_sense_together_is_refused() {
        let both = [(TCP_TLS_CA, "/ca"), (TCP_TLS_INSECURE_SKIP_VERIFY, "true")];
        for (vars, variable) in [
            (&[(TCP_TLS_CERT, "/c")][..], TCP_TLS_CERT),
            (&[(TCP_TLS_KEY, "/k")], TCP_TLS_KEY),
            (&[(TCP_TLS_CLIENT_CA, "/ca")], TCP_TLS_CLIENT_CA),
            (&[(TCP_TLS_CA, "relative.pem")], TCP_TLS_CA),
            (&[(TCP_TLS_REQUIRED, "maybe")], TCP_TLS_REQUIRED),
            (&[(TCP_TLS_SERVER_NAME, "not a name")], TCP_TLS_SERVER_NAME),
            (&both, TCP_TLS_INSECURE_SKIP_VERIFY),
        ] {
            let error = read(vars).unwrap_err();
            assert_eq!(error.problems().iter().map(ConfigProblem::variable).collect::<Vec<_>>(), [variable]);
        }
    }

    #[test]
    fn a_name_without_roots_is_a_warning() {
        let config = read(&[(TCP_TLS_SERVER_NAME, "workers.internal")]).unwrap();
        let expected = ConfigWarning::Unused { variable: TCP_TLS_SERVER_NAME, unless: TCP_TLS_CA, needed: "set" };
        assert_eq!(config.warnings, [expected]);
    }
}
