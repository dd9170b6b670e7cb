/// What a client asks a proxy for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// A name, without the brackets of an address.
    pub(super) host: String,
    pub(super) port: u16,
    /// What is sent on in place of the head; nothing for a tunnel.
    pub(super) forwarded: Option<String>,
}

impl Head {
    /// Reads the head of a request: `CONNECT host:port`, or any method with an absolute `http` URL. Whatever can be
    /// read in two ways is none.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?.strip_suffix("\r\n\r\n")?;
        let mut lines = text.split("\r\n");
        let line = lines.next()?;
        let mut words = line.split(' ');
        let (method, target, version) = (words.next()?, words.next()?, words.next()?);
        let is_plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        if words.next().is_some() || !version.starts_with("HTTP/1.") || !is_plain(target) {
            return None;
        }
        if method == "CONNECT" {
            let (host, port) = authority(target, None)?;
            return Some(Self { host, port, forwarded: None });
        }
        let (scheme, rest) = target.split_once("://")?;
        if !scheme.eq_ignore_ascii_case("http") || method.is_empty() || !is_plain(method) {
            return None;
        }
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (named, path) = rest.split_at_checked(end)?;
        let (host, port) = authority(named, Some(80))?;
        let slash = if path.starts_with('/') { "" } else { "/" };
        let path = path.split('#').next()?;
        let mut forwarded =
            format!("{method} {slash}{path} HTTP/1.1\r\nHost: {named}\r\nConnection: close\r\n");
        for header in lines {
            let (name, _) = header.split_once(':')?;
            if name.is_empty() || !is_plain(name) || header.contains(['\r', '\n', '\0']) {
                return None;
            }
            // The host is the one that was looked at, and one request is all that a connection carries.
            let own = ["host", "connection", "keep-alive", "upgrade"];
            let is_own = own.iter().any(|own| name.eq_ignore_ascii_case(own));
            if !is_own && !name.to_ascii_lowercase().starts_with("proxy-") {
                forwarded.push_str(header);
                forwarded.push_str("\r\n");
            }
        }
        forwarded.push_str("\r\n");
        Some(Self { host, port, forwarded: Some(forwarded) })
    }
}

/// `host:port`, where a host is a name of letters, digits, `-`, `_` and `.`, or an address. No user comes before it.
fn authority(text: &str, default_port: Option<u16>) -> Option<(String, u16)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => text.split_at_checked(text.find(':').unwrap_or(text.len()))?,
    };
    let port = match port.strip_prefix(':') {
        Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => port.parse().ok()?,
        None if port.is_empty() => default_port?,
        _ => return None,
    };
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    (!host.is_empty() && port != 0 && host.bytes().all(is_name)).then(|| (host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Option<Head> {
        Head::parse(text.as_bytes())
    }

    #[test]
    fn a_tunnel_names_host_and_port() {
        let head = parse("CONNECT example.com:443 HTTP/1.1\r\nHost: other\r\n\r\n").unwrap();
        assert_eq!(head, Head { host: "example.com".into(), port: 443, forwarded: None });
        let head = parse("CONNECT [::1]:443 HTTP/1.1\r\n\r\n").unwrap();
        assert_eq!((head.host.as_str(), head.port), ("::1", 443));
    }

    #[test]
    fn a_request_is_sent_on_with_the_host_that_was_looked_at() {
        let text = "GET http://example.com:8080/a?b HTTP/1.1\r\nHost: evil\r\nProxy-Authorization: x\r\nA: b\r\n\r\n";
        let head = parse(text).unwrap();
        assert_eq!((head.host.as_str(), head.port), ("example.com", 8080));
        let expected = "GET /a?b HTTP/1.1\r\nHost: example.com:8080\r\nConnection: close\r\nA: b\r\n\r\n";
        assert_eq!(head.forwarded.as_deref(), Some(expected));
        let head = parse("POST http://example.com HTTP/1.0\r\n\r\n").unwrap();
        assert!(
            head.port == 80
                && head.forwarded.unwrap().starts_with("POST / HTTP/1.1\r\nHost: example.com\r\n")
        );
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        for target in [
            "CONNECT example.com HTTP/1.1",
            "CONNECT user@example.com:443 HTTP/1.1",
            "CONNECT example.com:443@evil:1 HTTP/1.1",
            "CONNECT example.com:99999 HTTP/1.1",
            "CONNECT example.com:0 HTTP/1.1",
            "CONNECT example.com:443 x HTTP/1.1",
            "CONNECT  HTTP/1.1",
            "CONNECT example.com:443 HTTP/2",
            "GET /path HTTP/1.1",
            "GET https://example.com/ HTTP/1.1",
            "GET http://user:pass@example.com/ HTTP/1.1",
            "GET http://example.com\\@evil/ HTTP/1.1",
            "GET http://ex%61mple.com/ HTTP/1.1",
            "GET http:///x HTTP/1.1",
            "GET http://[::1/ HTTP/1.1",
        ] {
            assert_eq!(parse(&format!("{target}\r\n\r\n")), None, "{target}");
        }
        assert_eq!(parse("GET http://a/ HTTP/1.1\r\nno header\r\n\r\n"), None);
        assert_eq!(parse("GET http://a/ HTTP/1.1\r\n folded: x\r\n\r\n"), None);
        assert_eq!(parse("GET http://a/ HTTP/1.1\r\n"), None);
    }
}
