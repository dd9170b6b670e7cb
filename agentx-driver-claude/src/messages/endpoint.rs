use agentx_core::{ErrorKind, Result};

use super::error::failure;

/// Where the API lives, when a supply does not say.
const DEFAULT_BASE_URL: &str = "https://api.anthropic.com";

/// What is asked of the API.
#[derive(Clone, Copy, Debug)]
pub(super) enum Endpoint {
    Messages,
    CountTokens,
}

/// The URL of the Messages API at a base URL: `http` or `https`, a host, perhaps a port and a path. The path may end
/// with the `v1` that all calls have in theirs.
///
/// # Errors
/// `InvalidInput` for anything else. The error does not repeat the URL, which may hold a password.
pub(super) fn url(base: Option<&str>, endpoint: Endpoint) -> Result<String> {
    let base = base.unwrap_or(DEFAULT_BASE_URL);
    check(base).map_err(|problem| failure(ErrorKind::InvalidInput, format!("base_url {problem}")))?;
    let base = base.trim_end_matches('/');
    // A host may be called v1, too.
    let base = base.strip_suffix("/v1").filter(|base| !base.ends_with('/')).unwrap_or(base);
    Ok(match endpoint {
        Endpoint::Messages => format!("{base}/v1/messages"),
        Endpoint::CountTokens => format!("{base}/v1/messages/count_tokens"),
    })
}

fn check(base: &str) -> Result<(), &'static str> {
    if base.bytes().any(|byte| byte.is_ascii_control() || byte == b' ') || !base.is_ascii() {
        return Err("has characters that no URL has");
    }
    let (scheme, rest) = base.split_once("://").ok_or("has no scheme: it begins with https:// or http://")?;
    if !scheme.eq_ignore_ascii_case("https") && !scheme.eq_ignore_ascii_case("http") {
        return Err("is neither https nor http");
    }
    if rest.contains(['?', '#', '\\']) {
        return Err("has a query or a fragment; it ends with the path");
    }
    let authority = rest.split('/').next().unwrap_or_default();
    if authority.contains('@') {
        return Err("has a user or a password; the key is what authenticates");
    }
    // An IPv6 address has colons of its own, in brackets.
    let after_address = authority.rfind(']').map_or(0, |at| at + 1);
    let (host, port) = match authority.get(after_address..).and_then(|rest| rest.rfind(':')) {
        Some(colon) => authority.split_at(after_address + colon),
        None => (authority, ""),
    };
    if host.is_empty() {
        return Err("has no host");
    }
    match port.strip_prefix(':').map(str::parse::<u16>) {
        None | Some(Ok(1..)) => Ok(()),
        Some(_) => Err("has a port that is no number from 1 to 65535"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_url_may_have_a_port_a_path_and_a_slash() {
        for (base, url) in [
            (None, "https://api.anthropic.com/v1/messages"),
            (Some("http://127.0.0.1:8080/"), "http://127.0.0.1:8080/v1/messages"),
            (Some("http://[::1]:80"), "http://[::1]:80/v1/messages"),
            (Some("https://gateway.example/anthropic//"), "https://gateway.example/anthropic/v1/messages"),
            (Some("https://v1"), "https://v1/v1/messages"),
            (Some("https://gateway.example/api/v1/"), "https://gateway.example/api/v1/messages"),
        ] {
            assert_eq!(super::url(base, Endpoint::Messages).unwrap(), url);
        }
    }

    #[test]
    fn what_is_no_base_url_is_refused_without_being_shown() {
        for base in [
            "",
            "api.anthropic.com",
            "ftp://h",
            "https://",
            "https:///path",
            "https://:443",
            "https://h:0",
            "https://h:99999",
            "https://h:x",
            "https://user:hunter22@h",
            "https://h?key=hunter22",
            "https://h/#f",
            "https://h/a b",
            "https://h\r\nx: y",
            "https://hö",
        ] {
            let error = url(Some(base), Endpoint::CountTokens).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{base}");
            assert!(error.to_string().contains("base_url"), "{error}");
            assert!(!format!("{error:?}").contains("hunter22"));
        }
    }
}
