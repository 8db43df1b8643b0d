//! What went wrong, in words that name a way out.

use std::io;
use std::time::Duration;

use plane_core::{ErrorKind, Refusal};
use rustls::{AlertDescription, CertificateError, InvalidMessage, PeerIncompatible};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::failure::Failure;
use crate::stranger::Speaker;

/// What a dialler says of a server that answers with something else than TLS.
pub(crate) const PEER_WITHOUT_TLS: &str = "the server does not speak TLS. A server of the plane without TLS has an address with tcp://; \
     check the address, or set DYN_TCP_TLS_CERT and DYN_TCP_TLS_KEY at the server";

/// What an error of the socket says of TLS, if it does.
pub(crate) fn explain(error: &io::Error, speaker: Speaker) -> Option<Failure> {
    let error = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    let (kind, text) = match (error, speaker) {
        (rustls::Error::InvalidCertificate(problem), Speaker::Dialler) => {
            (ErrorKind::Unauthenticated, format!("the server's certificate {}", server_certificate(problem)))
        }
        (rustls::Error::InvalidCertificate(problem), Speaker::Listener) => {
            (ErrorKind::Unauthenticated, format!("the peer's certificate {}", client_certificate(problem)))
        }
        (rustls::Error::NoCertificatesPresented, _) => (
            ErrorKind::Unauthenticated,
            "the peer showed no certificate, and DYN_TCP_TLS_CLIENT_CA asks for one".into(),
        ),
        (rustls::Error::AlertReceived(alert), Speaker::Dialler) => refused_by_server(*alert),
        (rustls::Error::AlertReceived(alert), Speaker::Listener) => refused_by_client(*alert),
        (rustls::Error::NoApplicationProtocol, _) => (ErrorKind::Protocol, OTHER_PROTOCOL.to_owned()),
        (rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType), Speaker::Dialler) => {
            (ErrorKind::Protocol, PEER_WITHOUT_TLS.to_owned())
        }
        (rustls::Error::PeerIncompatible(problem), _) => (ErrorKind::Protocol, incompatible(problem)),
        (error, _) => (ErrorKind::Protocol, format!("the other side broke the rules of TLS: {error}")),
    };
    Some(Failure::new(kind, text).because(Refusal::Tls))
}

/// What is said of TLS that carries something else.
pub(super) const OTHER_PROTOCOL: &str = "the other side speaks TLS, and not for plane/1 (ALPN)";

fn incompatible(problem: &PeerIncompatible) -> String {
    format!("the other side speaks another TLS than 1.3 with the ciphers known here: {problem:?}")
}

fn server_certificate(problem: &CertificateError) -> String {
    match problem {
        CertificateError::UnknownIssuer => {
            "is signed by nobody that is known here; DYN_TCP_TLS_CA must have the root that signed it".to_owned()
        }
        CertificateError::NotValidForNameContext { expected, presented } => format!(
            "is not for {} but for {}; DYN_TCP_TLS_SERVER_NAME says which name to look for",
            expected.to_str(),
            if presented.is_empty() { "nothing".to_owned() } else { presented.join(", ") }
        ),
        problem => any_certificate(problem),
    }
}

fn client_certificate(problem: &CertificateError) -> String {
    match problem {
        CertificateError::UnknownIssuer => "is signed by nobody in DYN_TCP_TLS_CLIENT_CA".to_owned(),
        problem => any_certificate(problem),
    }
}

fn any_certificate(problem: &CertificateError) -> String {
    match problem {
        CertificateError::ExpiredContext { not_after, .. } => format!("expired on {}", date(not_after.as_secs())),
        CertificateError::NotValidYetContext { not_before, .. } => {
            format!("is not valid before {}; is the clock of this machine right?", date(not_before.as_secs()))
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "is not for this use: servers need serverAuth among their extended key usages, clients clientAuth"
                .to_owned()
        }
        problem => format!("cannot be used: {problem}"),
    }
}

fn refused_by_server(alert: AlertDescription) -> (ErrorKind, String) {
    let text = match alert {
        AlertDescription::CertificateRequired => {
            "the server takes only clients with a certificate: set DYN_TCP_TLS_CERT and DYN_TCP_TLS_KEY".to_owned()
        }
        AlertDescription::CertificateExpired => {
            "the server refuses this side's certificate (DYN_TCP_TLS_CERT): it has expired, or is not valid yet"
                .to_owned()
        }
        AlertDescription::UnknownCA => "the server does not know who signed this side's certificate \
                                        (DYN_TCP_TLS_CERT); its DYN_TCP_TLS_CLIENT_CA must have the root"
            .to_owned(),
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateUnknown
        | AlertDescription::AccessDenied
        | AlertDescription::DecryptError => {
            format!("the server refuses this side's certificate (DYN_TCP_TLS_CERT): {alert:?}")
        }
        AlertDescription::NoApplicationProtocol => return (ErrorKind::Protocol, OTHER_PROTOCOL.to_owned()),
        alert => return (ErrorKind::Protocol, format!("the server ended TLS: {alert:?}")),
    };
    (ErrorKind::Unauthenticated, text)
}

fn refused_by_client(alert: AlertDescription) -> (ErrorKind, String) {
    match alert {
        AlertDescription::UnknownCA
        | AlertDescription::BadCertificate
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateUnknown => {
            let text = format!("the peer does not accept this server's certificate (DYN_TCP_TLS_CERT): {alert:?}");
            (ErrorKind::Unauthenticated, text)
        }
        alert => (ErrorKind::Protocol, format!("the peer ended TLS: {alert:?}")),
    }
}

/// A moment for people: `2026-01-31T12:00:00Z`.
pub(super) fn date(unix_seconds: u64) -> String {
    let since = Duration::from_secs(unix_seconds);
    let moment = OffsetDateTime::UNIX_EPOCH.checked_add(since.try_into().unwrap_or(time::Duration::MAX));
    let text = moment.and_then(|moment| moment.format(&Rfc3339).ok());
    text.unwrap_or_else(|| format!("second {unix_seconds} since 1970"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_shown_as_people_write_them() {
        assert_eq!(date(0), "1970-01-01T00:00:00Z");
        assert_eq!(date(4_102_444_800), "2100-01-01T00:00:00Z");
        assert_eq!(date(u64::MAX), format!("second {} since 1970", u64::MAX));
    }
}
