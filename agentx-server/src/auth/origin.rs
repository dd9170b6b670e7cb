//! Which pages may speak to a server, and under which names.

use axum::http::HeaderMap;

/// Whether a request may come in: its page is of this server, or of one that is listed in `origins`; and, where nobody
/// has to say who asks, the server was called by a name of this machine. The latter keeps a page from reaching a local
/// server through a name of its own that points here.
pub(crate) fn is_allowed(headers: &HeaderMap, origins: &[String], loopback_only: bool) -> bool {
    if loopback_only && !names_this_machine(headers) {
        return false;
    }
    let host = text(headers, "host").unwrap_or_default();
    match text(headers, "origin") {
        // No browser.
        None => true,
        Some(origin) if origins.iter().any(|allowed| allowed == origin) => true,
        Some(origin) => {
            let place = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
            place.is_some_and(|place| place.eq_ignore_ascii_case(host))
        }
    }
}

/// Whether the server was called by a name of this machine.
pub(crate) fn names_this_machine(headers: &HeaderMap) -> bool {
    is_loopback(text(headers, "host").unwrap_or_default())
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name).map(|value| value.to_str().unwrap_or("\u{fffd}"))
}

/// Whether a `Host` header names this machine.
fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(host: &str, origin: Option<&str>, loopback_only: bool) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert("host", host.parse().unwrap());
        if let Some(origin) = origin {
            headers.insert("origin", origin.parse().unwrap());
        }
        is_allowed(&headers, &["https://chat.example".to_owned()], loopback_only)
    }

    #[test]
    fn a_page_speaks_to_its_own_server_or_is_listed() {
        assert!(allowed("agents.example", None, false));
        assert!(allowed("agents.example:8080", Some("http://agents.example:8080"), false));
        assert!(allowed("agents.example", Some("https://chat.example"), false));
        assert!(!allowed("agents.example", Some("https://evil.example"), false));
        assert!(!allowed("agents.example:8080", Some("http://agents.example"), false));
        assert!(!allowed("localhost", Some("null"), false));
    }

    #[test]
    fn an_open_server_is_called_by_a_name_of_this_machine_alone() {
        for host in ["localhost", "LOCALHOST:5200", "127.0.0.1:1", "127.9.9.9", "[::1]:5200", "[::1]"] {
            assert!(allowed(host, None, true), "{host}");
        }
        for host in
            ["", "evil.example", "localhost.evil.example", "10.0.0.1", "[::2]", "127.0.0.1.evil.example"]
        {
            assert!(!allowed(host, None, true), "{host}");
        }
        assert!(!allowed("evil.example:5200", Some("http://evil.example:5200"), true));
    }
}
