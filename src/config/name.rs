//! Names and addresses that cannot be wrong.

use std::borrow::Borrow;
use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

/// What a runner may be called, for messages.
pub(super) const RUNNER_NAME_RULE: &str =
    "1 to 63 characters of a-z, 0-9, '-', '_' and '.', beginning and ending with a letter or digit";

/// The name of a runner: `[a-z0-9]([-._a-z0-9]*[a-z0-9])?`, at most 63 characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunnerName(String);

impl RunnerName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Stands in while the options of a runner without a valid name are checked for further errors.
    pub(super) fn stand_in() -> Self {
        Self("unnamed".to_owned())
    }
}

/// A name that no runner may have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {RUNNER_NAME_RULE}, found {name:?}")]
pub struct RunnerNameError {
    /// The name as found.
    pub name: String,
}

impl FromStr for RunnerName {
    type Err = RunnerNameError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let bytes = name.as_bytes();
        let word = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let valid = bytes.len() <= 63
            && bytes.first().is_some_and(word)
            && bytes.last().is_some_and(word)
            && bytes.iter().all(|byte| word(byte) || b"-._".contains(byte));
        if valid { Ok(Self(name.to_owned())) } else { Err(RunnerNameError { name: name.to_owned() }) }
    }
}

impl fmt::Display for RunnerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl AsRef<str> for RunnerName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for RunnerName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// Where a server listens: `host:port`, the host an IPv4 address, an IPv6 address in brackets, or a name. Port 0 asks
/// the system for a free one. Prints in the form that `std::net::ToSocketAddrs` takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BindAddress {
    host: String,
    port: u16,
}

impl BindAddress {
    /// The host, an IPv6 address in brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port; 0 is any free one.
    pub const fn port(&self) -> u16 {
        self.port
    }
}

impl BindAddress {
    /// `127.0.0.1:3001`, for operators.
    pub(super) fn admin() -> Self {
        Self { port: 3001, ..Self::default() }
    }
}

impl Default for BindAddress {
    /// `127.0.0.1:3000`.
    fn default() -> Self {
        Self { host: "127.0.0.1".to_owned(), port: 3000 }
    }
}

impl From<SocketAddr> for BindAddress {
    fn from(address: SocketAddr) -> Self {
        let host = if address.is_ipv6() { format!("[{}]", address.ip()) } else { address.ip().to_string() };
        Self { host, port: address.port() }
    }
}

/// Text that is no `host:port`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected an address and a port, such as \"127.0.0.1:3000\" or \"[::1]:3000\", found {text:?}")]
pub struct BindAddressError {
    /// The text as found.
    pub text: String,
}

impl FromStr for BindAddress {
    type Err = BindAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Ok(address.into());
        }
        let error = || BindAddressError { text: text.to_owned() };
        let (host, port) = text.rsplit_once(':').ok_or_else(error)?;
        // Digits and dots alone are a broken address, not a name to look up.
        let name = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
            && host.bytes().any(|byte| byte.is_ascii_alphabetic());
        let port = port.parse().ok().filter(|_| name && port.bytes().all(|byte| byte.is_ascii_digit()));
        Ok(Self { host: host.to_owned(), port: port.ok_or_else(error)? })
    }
}

impl fmt::Display for BindAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runner_names() {
        let longest = "a".repeat(63);
        for name in ["a", "7", "iris_clf", "a.b-c_d", "0--0", longest.as_str()] {
            assert_eq!(name.parse::<RunnerName>().map(|name| name.to_string()), Ok(name.to_owned()));
        }
        let too_long = "a".repeat(64);
        for name in ["", "-a", "a-", "a.", "_", "Iris", "a b", "ä", "a/b", too_long.as_str()] {
            assert!(name.parse::<RunnerName>().is_err(), "{name:?}");
        }
    }

    #[test]
    fn bind_addresses() {
        for text in ["127.0.0.1:3000", "[::1]:80", "localhost:0", "my-host.internal:65535"] {
            assert_eq!(text.parse::<BindAddress>().map(|address| address.to_string()), Ok(text.to_owned()));
        }
        for text in ["", "localhost", "127.0.0.1", ":80", "::1:80", "a b:80", "host:+80", "host:65536", "1.2.3:80"] {
            assert!(text.parse::<BindAddress>().is_err(), "{text:?}");
        }
    }
}
