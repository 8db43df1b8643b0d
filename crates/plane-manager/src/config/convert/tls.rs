//! TLS as `plane-tcp` takes it.

#[cfg(feature = "tls")]
use std::path::PathBuf;

use plane_core::{Delivery, Error, ErrorKind};
use plane_tcp::{ClientConfig, ServerConfig};
#[cfg(feature = "tls")]
use plane_tcp::{TlsClientConfig, TlsIdentity, TlsServerConfig};

use crate::config::TcpTls;
#[cfg(feature = "tls")]
use crate::config::names::{TCP_TLS_CERT, TCP_TLS_REQUIRED};

#[cfg(feature = "tls")]
impl TcpTls {
    /// # Errors
    /// `InvalidArgument` naming the variable and the file that cannot be used.
    pub(super) fn add_to_client(&self, config: ClientConfig) -> Result<ClientConfig, Error> {
        if *self == Self::default() {
            return Ok(config);
        }
        let mut tls = match &self.ca {
            _ if self.insecure_skip_verify => TlsClientConfig::insecure_skip_verify(),
            Some(roots) => TlsClientConfig::new(roots),
            None => TlsClientConfig::without_roots(),
        };
        if let Some(identity) = &self.identity {
            tls = tls.identity(files(identity));
        }
        if let Some(name) = &self.server_name {
            tls = tls.server_name(name);
        }
        config.tls(tls.required(self.required))
    }

    /// # Errors
    /// As [`add_to_client`](Self::add_to_client), and for TLS that is required without a certificate to speak it with.
    pub(super) fn add_to_server(&self, config: ServerConfig) -> Result<ServerConfig, Error> {
        let Some(identity) = &self.identity else {
            if !self.required {
                return Ok(config);
            }
            let what = format!("{TCP_TLS_REQUIRED}=true, and there is no {TCP_TLS_CERT} to serve with");
            return Err(Error::new(ErrorKind::InvalidArgument, Delivery::NotSent, what));
        };
        let tls = TlsServerConfig::new(files(identity));
        config.tls(match &self.client_ca {
            Some(roots) => tls.client_roots(roots),
            None => tls,
        })
    }
}

#[cfg(feature = "tls")]
fn files((certificate, key): &(PathBuf, PathBuf)) -> TlsIdentity {
    TlsIdentity::new(certificate, key)
}

#[cfg(not(feature = "tls"))]
impl TcpTls {
    /// # Errors
    /// `FailedPrecondition` if there is anything to add.
    pub(super) fn add_to_client(&self, config: ClientConfig) -> Result<ClientConfig, Error> {
        if *self == Self::default() {
            return Ok(config);
        }
        let what = "DYN_TCP_TLS_* is set, but this build has no TLS: build it with the feature tls";
        Err(Error::new(ErrorKind::FailedPrecondition, Delivery::NotSent, what))
    }

    /// # Errors
    /// None: a manager with settings of TLS does not start.
    pub(super) fn add_to_server(&self, config: ServerConfig) -> Result<ServerConfig, Error> {
        Ok(config)
    }
}
