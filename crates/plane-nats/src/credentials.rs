//! Who this side is to the NATS server, and how that is kept out of what is shown.

use std::fmt;
use std::path::PathBuf;

use async_nats::ServerAddr;
use percent_encoding::percent_decode_str;

/// Who this side is to the NATS server. Shown without its secrets.
#[derive(Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Credentials {
    /// Nobody, or who the URL of the server says.
    #[default]
    None,
    /// A user and a password.
    UserPassword {
        /// The user.
        user: String,
        /// The password.
        password: String,
    },
    /// A token.
    Token(String),
    /// The seed of an NKey.
    Nkey(String),
    /// A file with a JWT and the seed that belongs to it.
    File(PathBuf),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::UserPassword { user, .. } => write!(f, "UserPassword({user})"),
            Self::Token(_) => f.write_str("Token"),
            Self::Nkey(_) => f.write_str("Nkey"),
            Self::File(path) => write!(f, "File({})", path.display()),
        }
    }
}

/// Takes a server's URL apart: where it is, and who its URL says that this side is. The client library would show the
/// URL in its log, and takes nobody from it if there are several. `None` if it is no such URL.
pub(crate) fn split_url(url: &str) -> Option<(String, Credentials)> {
    let address: ServerAddr = url.parse().ok()?;
    let decode = |text: &str| percent_decode_str(text).decode_utf8().ok().map(|text| text.into_owned());
    let credentials = match (address.username(), address.password()) {
        (None, None) => Credentials::None,
        (Some(token), None) => Credentials::Token(decode(token)?),
        (user, Some(password)) => {
            Credentials::UserPassword { user: decode(user.unwrap_or_default())?, password: decode(password)? }
        }
    };
    // The library would write a character that no host has as an escape, and look that up.
    let is_host = !address.host().is_empty() && !address.host().contains('%');
    let is_server = matches!(address.scheme(), "nats" | "tls") && is_host;
    let mut place = address.into_inner();
    place.set_username("").ok()?;
    place.set_password(None).ok()?;
    is_server.then(|| (place.to_string(), credentials))
}

/// A text that should have been a URL, as it may be shown.
pub(crate) fn without_secrets(url: &str) -> String {
    match url.rsplit_once('@') {
        Some((_, place)) => format!("...@{place}"),
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        let user = |user: &str, password: &str| Credentials::UserPassword {
            user: user.to_owned(),
            password: password.to_owned(),
        };
        for (url, place, credentials) in [
            ("nats://a:4222", "nats://a:4222", Credentials::None),
            ("a:4222", "nats://a:4222", Credentials::None),
            ("tls://[::1]:4222", "tls://[::1]:4222", Credentials::None),
            ("nats://ann:p%40ss@a:4222", "nats://a:4222", user("ann", "p@ss")),
            ("nats://s3cret@a", "nats://a", Credentials::Token("s3cret".to_owned())),
        ] {
            assert_eq!(split_url(url), Some((place.to_owned(), credentials)), "{url}");
        }
        for bad in ["http://a", "nats://", "not a url", "nats://a:99999", "nats://a b", "nats://\u{e9}"] {
            assert_eq!(split_url(bad), None, "{bad}");
        }
        for secret in ["nats://u:hunter2@a:99999", "hunter2@", "x y:hunter2@a@b"] {
            assert!(!without_secrets(secret).contains("hunter2"), "{secret}");
        }
    }
}
