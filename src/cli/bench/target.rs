//! The URL: where to connect, and what to ask for.

use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use crate::cli::Failure;

/// How long a server may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(5);

/// What goes before the names in the path of an Ekiden method.
const RUNNERS: &str = "/v1/runners/";

/// A URL in its parts.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// Without brackets, also where it is an IPv6 address.
    host: String,
    port: u16,
    /// As it stands in the URL.
    authority: String,
    /// With the query. That of an Ekiden method has no slash at its end.
    pub(super) path: String,
}

impl Target {
    /// Takes a URL apart.
    ///
    /// # Errors
    /// [`Failure::Usage`] for anything but `http://host[:port][/path]`.
    pub(super) fn parse(url: &str) -> Result<Self, Failure> {
        let wrong = |why: &str| Failure::Usage(format!("{url}: {why}; give http://host:port/path"));
        let rest = match url.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => rest,
            Some((scheme, _)) if scheme.eq_ignore_ascii_case("https") => {
                return Err(wrong("https is not spoken here: measure the server behind what ends TLS"));
            }
            _ => return Err(wrong("this is no http:// URL")),
        };
        if url.bytes().any(|byte| byte.is_ascii_control() || byte == b' ' || !byte.is_ascii()) {
            return Err(wrong("it has characters that are to be percent-encoded"));
        }
        let rest = rest.split('#').next().unwrap_or_default();
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if authority.contains('@') {
            return Err(wrong("user names are not sent: use --header 'authorization: …'"));
        }
        let (host, port) = match authority.strip_prefix('[') {
            Some(v6) => v6.split_once(']').ok_or_else(|| wrong("an IPv6 address ends with ]"))?,
            None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
        };
        let port = match port.strip_prefix(':') {
            None if port.is_empty() => 80,
            port => port.and_then(|port| port.parse().ok()).ok_or_else(|| wrong("the port is not one"))?,
        };
        if host.is_empty() {
            return Err(wrong("it names no host"));
        }
        let (path, query) = path.split_at(path.find('?').unwrap_or(path.len()));
        // Elsewhere a slash at the end may name another thing.
        let path = if path.contains(RUNNERS) { path.trim_end_matches('/') } else { path };
        let path = if path.is_empty() { format!("/{query}") } else { format!("{path}{query}") };
        Ok(Self { host: host.to_owned(), port, authority: authority.to_owned(), path })
    }

    /// The first of the host's addresses that accepts a connection.
    ///
    /// # Errors
    /// [`Failure::Run`] if none does.
    pub(super) fn address(&self) -> Result<SocketAddr, Failure> {
        let unreachable =
            |error| Failure::Run(format!("cannot reach http://{}: {error}; is the server running?", self.authority));
        let mut last = std::io::Error::other("the host has no address");
        for address in (self.host.as_str(), self.port).to_socket_addrs().map_err(unreachable)? {
            match TcpStream::connect_timeout(&address, CONNECT) {
                Ok(_) => return Ok(address),
                Err(error) => last = error,
            }
        }
        Err(unreachable(last))
    }

    /// Where the runner's information is, and the names of runner and method, where this is the URL of an Ekiden method.
    pub(super) fn method(&self) -> Option<(String, &str, &str)> {
        let path = self.path.split('?').next().unwrap_or_default();
        let (base, names) = path.rsplit_once(RUNNERS)?;
        let (runner, method) = names.split_once('/')?;
        let right = !runner.is_empty() && !method.is_empty() && !method.contains('/');
        right.then(|| (format!("http://{}{base}{RUNNERS}{runner}", self.authority), runner, method))
    }

    /// The bytes of a request: a POST if there is a body, with its media type, and a GET if not.
    pub(super) fn request(&self, body: Option<(&str, &[u8])>, headers: &[(String, String)]) -> Vec<u8> {
        let verb = if body.is_some() { "POST" } else { "GET" };
        let mut head = format!("{verb} {} HTTP/1.1\r\nhost: {}\r\n", self.path, self.authority);
        if let Some((media_type, body)) = body {
            head.push_str(&format!("content-type: {media_type}\r\ncontent-length: {}\r\n", body.len()));
        }
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        [head.as_bytes(), body.map_or(&[], |(_, body)| body)].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        let check = |url, host: &str, port, authority: &str, path: &str| {
            let target = Target { host: host.into(), port, authority: authority.into(), path: path.into() };
            assert_eq!(Target::parse(url).map_err(|_| ()), Ok(target), "{url}");
        };
        check("http://127.0.0.1:3000/v1/x?y=/z#w", "127.0.0.1", 3000, "127.0.0.1:3000", "/v1/x?y=/z");
        check("HTTP://example.org", "example.org", 80, "example.org", "/");
        check("http://example.org?a", "example.org", 80, "example.org", "/?a");
        check("http://[::1]:8080/", "::1", 8080, "[::1]:8080", "/");
        check("http://[::1]", "::1", 80, "[::1]", "/");
        check("http://x/v1/runners/a/b/?q=/", "x", 80, "x", "/v1/runners/a/b?q=/");
        check("http://x/a/b/?q=/", "x", 80, "x", "/a/b/?q=/");
    }

    #[test]
    fn other_urls_are_refused() {
        let check = |url, part: &str| match Target::parse(url) {
            Err(Failure::Usage(message)) => assert!(message.contains(part), "{message}"),
            _ => panic!("{url} is taken"),
        };
        check("https://example.org/", "https is not spoken here");
        check("example.org:3000/", "no http:// URL");
        check("ftp://example.org/", "no http:// URL");
        check("http:///x", "names no host");
        check("http://x:70000/", "the port is not one");
        check("http://x:/", "the port is not one");
        check("http://[::1", "ends with ]");
        check("http://[::1]x/", "the port is not one");
        check("http://u:p@x/", "--header");
        check("http://x/a b", "percent-encoded");
        check("http://x/a\r\nb", "percent-encoded");
    }

    #[test]
    fn ekiden_methods_are_known_by_their_path() {
        let check = |url, expected: Option<(&str, &str, &str)>| {
            let target = Target::parse(url).map_err(|_| ()).expect(url);
            let expected = expected.map(|(about, runner, method)| (about.to_owned(), runner, method));
            assert_eq!(target.method(), expected, "{url}");
        };
        check("http://x:1/v1/runners/iris/predict?q", Some(("http://x:1/v1/runners/iris", "iris", "predict")));
        check("http://x/ml/v1/runners/a/b", Some(("http://x/ml/v1/runners/a", "a", "b")));
        check("http://x/v1/runners/a/b/", Some(("http://x/v1/runners/a", "a", "b")));
        check("http://x/v1/runners/a", None);
        check("http://x/v1/runners/a/", None);
        check("http://x/v1/runners/a/b/c", None);
        check("http://x/healthz", None);
    }

    #[test]
    fn requests_are_complete() {
        let target = Target::parse("http://x:1/y").map_err(|_| ()).expect("a URL");
        let header = [("a".to_owned(), "b".to_owned())];
        let expected =
            "POST /y HTTP/1.1\r\nhost: x:1\r\ncontent-type: text/plain\r\ncontent-length: 2\r\na: b\r\n\r\nhi";
        assert_eq!(target.request(Some(("text/plain", b"hi")), &header), expected.as_bytes());
        assert_eq!(target.request(None, &[]), b"GET /y HTTP/1.1\r\nhost: x:1\r\n\r\n");
    }
}
