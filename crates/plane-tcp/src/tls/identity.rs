//! Whom a certificate is for.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{SystemTime, UNIX_EPOCH};

use plane_core::CertificateIdentity;
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

/// Reads who the certificate is for; `None` if it makes no sense. Whether it can be believed is checked elsewhere.
pub(super) fn whose(certificate: &[u8]) -> Option<CertificateIdentity> {
    let certificate = Certificate::from_der(certificate).ok()?.tbs_certificate;
    let mut identity = CertificateIdentity::default();
    identity.subject = certificate.subject.to_string();
    let Some((_, SubjectAltName(names))) = certificate.get().ok()? else { return Some(identity) };
    for name in names {
        match name {
            GeneralName::DnsName(name) => identity.dns.push(name.to_string()),
            GeneralName::UniformResourceIdentifier(uri) => identity.uris.push(uri.to_string()),
            GeneralName::IpAddress(ip) => identity.ips.extend(address(ip.as_bytes())),
            _ => {}
        }
    }
    Some(identity)
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(|ip| Ipv4Addr::from(ip).into()),
        16 => <[u8; 16]>::try_from(bytes).ok().map(|ip| Ipv6Addr::from(ip).into()),
        _ => None,
    }
}

/// When the certificate stops being valid, in seconds since 1970, if that has passed.
pub(super) fn expired(certificate: &[u8]) -> Option<u64> {
    let certificate = Certificate::from_der(certificate).ok()?.tbs_certificate;
    let end = certificate.validity.not_after.to_unix_duration();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    (end < now).then_some(end.as_secs())
}
