//! Which systems a function may send requests to.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::Reach;

/// An address that is allowed: `[scheme://]host[:port]`. The host is a name, an address in numbers, `*.` and the end of
/// a name, or `*`. Without a scheme or a port, any will do.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Egress {
    scheme: Option<String>,
    host: String,
    port: Option<u16>,
}

/// A request's address, as far as it matters here.
struct Destination<'a> {
    scheme: &'a str,
    host: String,
    port: u16,
}

impl Egress {
    /// From text.
    pub fn parse(text: &str) -> Result<Egress, String> {
        let wrong = |what: &str| {
            Err(format!(
                "{text:?} is not an address such as api.example.com, *.example.com:443 or https://example.com: {what}"
            ))
        };
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme @ ("http" | "https"), rest)) => (Some(scheme.to_owned()), rest),
            Some((scheme, _)) => return wrong(&format!("{scheme} is neither http nor https")),
            None => (None, text),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let Some((host, port)) = split_port(rest) else { return wrong("its port is not a number") };
        let name = host.strip_prefix("*.").unwrap_or(if host == "*" { "any" } else { &host });
        let is_name = |name: &str| {
            !name.is_empty()
                && !rest.starts_with("*.:")
                && rest != "*."
                && name.len() <= 253
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
        };
        if host.parse::<IpAddr>().is_err() && !is_name(name) {
            return wrong("it has no host, or one that can't be");
        }
        Ok(Egress { scheme, host, port })
    }

    /// How far a request to this address may reach. None: it isn't allowed by this.
    ///
    /// What is allowed by its very name may be in a private network. This machine is reached only where it is named as
    /// such.
    fn reach(&self, to: &Destination<'_>) -> Option<Reach> {
        if self.scheme.as_deref().is_some_and(|scheme| scheme != to.scheme)
            || self.port.is_some_and(|port| port != to.port)
        {
            return None;
        }
        if self.host == "*" {
            return Some(Reach::Public);
        }
        if let Some(end) = self.host.strip_prefix('*') {
            return (to.host.ends_with(end) && to.host.len() > end.len()).then_some(Reach::Public);
        }
        if self.host != to.host {
            return None;
        }
        Some(if to.host == "localhost" || to.host.parse::<IpAddr>().is_ok() { Reach::Any } else { Reach::Private })
    }
}

/// How far a request to a URL may reach, if any of these allow it; else the host that isn't allowed.
pub fn allowed<'a>(egress: impl IntoIterator<Item = &'a Egress>, url: &str) -> Result<Reach, String> {
    let Some(to) = Destination::of(url) else { return Err(url.to_owned()) };
    egress.into_iter().filter_map(|egress| egress.reach(&to)).max().ok_or(to.host)
}

impl<'a> Destination<'a> {
    fn of(url: &'a str) -> Option<Destination<'a>> {
        let (scheme, rest) = url.split_once("://")?;
        let authority = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
        // A name and a password before an '@' make it easy to mistake one host for another.
        if authority.contains('@') {
            return None;
        }
        let (host, port) = split_port(authority)?;
        let port = port.or(match scheme {
            "http" => Some(80),
            "https" => Some(443),
            _ => None,
        })?;
        (!host.is_empty()).then_some(Destination { scheme, host, port })
    }
}

/// A host in lower case and without brackets or a last dot, and its port.
fn split_port(authority: &str) -> Option<(String, Option<u16>)> {
    let (host, port) = match authority.rsplit_once(':') {
        // The colons of an address in brackets, or without any.
        Some((host, _)) if authority.ends_with(']') || (host.contains(':') && !host.ends_with(']')) => {
            (authority, None)
        }
        Some((host, port)) => (host, Some(port.parse().ok()?)),
        None => (authority, None),
    };
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    Some((host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase(), port))
}

impl fmt::Display for Egress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(scheme) = &self.scheme {
            write!(f, "{scheme}://")?;
        }
        if self.host.contains(':') {
            write!(f, "[{}]", self.host)?
        } else {
            f.write_str(&self.host)?
        }
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reach(allow: &str, url: &str) -> Option<Reach> {
        allowed(&[Egress::parse(allow).unwrap()], url).ok()
    }

    #[test]
    fn what_is_allowed_is_reached_and_nothing_else() {
        assert_eq!(reach("api.example.com", "https://api.example.com/v1?x=1"), Some(Reach::Private));
        assert_eq!(reach("api.example.com", "http://API.example.com.:8080"), Some(Reach::Private));
        assert_eq!(reach("api.example.com:443", "https://api.example.com/"), Some(Reach::Private));
        assert_eq!(reach("*.example.com", "https://a.b.example.com/"), Some(Reach::Public));
        assert_eq!(reach("*", "http://127.0.0.1/"), Some(Reach::Public));
        assert_eq!(reach("localhost:8080", "http://localhost:8080/x"), Some(Reach::Any));
        assert_eq!(reach("[::1]:80", "http://[::1]/"), Some(Reach::Any));
        assert_eq!(reach("10.0.0.1", "http://10.0.0.1:99/"), Some(Reach::Any));
        for (allow, url) in [
            ("api.example.com", "https://example.com/"),
            ("api.example.com", "https://api.example.com.evil.org/"),
            ("api.example.com", "https://api.example.com@evil.org/"),
            ("api.example.com:443", "http://api.example.com/"),
            ("https://api.example.com", "http://api.example.com/"),
            ("*.example.com", "https://example.com/"),
            ("*.example.com", "https://badexample.com/"),
            ("localhost", "http://127.0.0.1/"),
            ("*", "ftp://example.com/"),
        ] {
            assert_eq!(reach(allow, url), None, "{allow} and {url}");
        }
    }

    #[test]
    fn entries_are_read_as_they_are_written() {
        for text in ["a.example", "*.a.example:8443", "*", "https://a.example", "[::1]:80", "127.0.0.1:1"] {
            assert_eq!(Egress::parse(text).map(|egress| egress.to_string()).as_deref(), Ok(text));
        }
        assert_eq!(Egress::parse("https://A.example/").unwrap().to_string(), "https://a.example");
        for bad in ["", "*.", "a b", "ftp://a", "a:b", "https://a/path", "a,b", "*a"] {
            assert!(Egress::parse(bad).is_err(), "{bad}");
        }
    }
}
