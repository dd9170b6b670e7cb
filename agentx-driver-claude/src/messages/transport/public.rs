//! Addresses that are anybody's to call: whoever names the place of an API must not make a host call itself, its
//! neighbours or its cloud's metadata.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

use hyper_util::client::legacy::connect::dns::{GaiResolver, Name as HostName};
use reqwest::{
    Url,
    dns::{Addrs, Name, Resolve, Resolving},
};
use tower_service::Service;

/// Refused before anything was sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct NotPublic;

impl fmt::Display for NotPublic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it has no public address")
    }
}

impl std::error::Error for NotPublic {}

/// Finds the public addresses of a name, at the moment of connecting: what a name meant before tells nothing.
#[derive(Clone, Debug)]
pub(super) struct PublicResolver(GaiResolver);

impl PublicResolver {
    pub(super) fn new() -> Self {
        Self(GaiResolver::new())
    }
}

impl Resolve for PublicResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let mut resolver = self.0.clone();
        Box::pin(async move {
            let found = resolver.call(HostName::from_str(name.as_str())?).await?;
            let public: Vec<SocketAddr> = found.filter(|address| is_public(address.ip())).collect();
            if public.is_empty() {
                return Err(NotPublic.into());
            }
            Ok(Box::new(public.into_iter()) as Addrs)
        })
    }
}

/// What a URL names is looked up by [`PublicResolver`], unless it is an address itself.
pub(super) fn check(url: &Url) -> Result<(), &'static str> {
    if url.scheme() != "https" {
        return Err("the API's place begins with https://");
    }
    let host = url.host_str().unwrap_or_default();
    match host.trim_start_matches('[').trim_end_matches(']').parse() {
        Ok(address) if !is_public(address) => Err("the API's place is no public address"),
        _ => Ok(()),
    }
}

/// Whether the address is one of the public internet's: none of a machine's own, of a local network, of a cloud's
/// metadata, of many at once, or reserved (the special-purpose registries of IANA).
fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    // Of a cloud's host for its guests, though the address is nobody's else.
    const GUEST_AGENT: [u8; 4] = [168, 63, 129, 16];
    match address.octets() {
        [0 | 10 | 127 | 224..=255, ..]
        | [100, 64..=127, ..]
        | [169, 254, ..]
        | [172, 16..=31, ..]
        | [192, 0, 0 | 2, _]
        | [192, 88, 99, _]
        | [192, 168, ..]
        | [198, 18 | 19, ..]
        | [198, 51, 100, _]
        | [203, 0, 113, _] => false,
        octets => octets != GUEST_AGENT,
    }
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    match address.segments() {
        // An IPv4 address behind a translator.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            let [a, b, c, d] = (u32::from(high) << 16 | u32::from(low)).to_be_bytes();
            is_public_v4(Ipv4Addr::new(a, b, c, d))
        }
        // Protocols of their own (Teredo among them), documentation, IPv4 addresses in another form.
        [0x2001, 0..0x200 | 0xdb8, ..] | [0x2002, ..] | [0x3fff, 0..0x1000, ..] => false,
        [first, ..] => first >> 13 == 0b001,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_machines_networks_and_clouds_are_not_public() {
        for address in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "100.100.100.200",
            "127.0.0.1",
            "127.8.8.8",
            "168.63.129.16",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.192",
            "192.0.2.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "3fff::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
        for address in [
            "1.1.1.1",
            "8.8.8.8",
            "100.63.255.255",
            "100.128.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "192.167.1.1",
            "198.17.0.1",
            "198.20.0.1",
            "223.255.255.255",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
            "2001:200::1",
            "2606:4700::1111",
            "2a00:1450::1",
        ] {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn an_address_in_a_url_is_seen_in_whatever_form() {
        for url in [
            "https://127.0.0.1",
            "https://127.1",
            "https://0x7f000001:8443/",
            "https://2130706433",
            "https://0177.0.0.1",
            "https://127.0.0.1.",
            "https://[::1]/",
            "https://[::ffff:10.0.0.1]",
            "https://169.254.169.254/latest",
            "https://１２７.0.0.1",
            "http://8.8.8.8",
            "http://api.example",
        ] {
            assert!(check(&Url::parse(url).unwrap()).is_err(), "{url}");
        }
        for url in ["https://8.8.8.8", "https://api.example:8443/v1", "https://[2606:4700::1111]"] {
            assert_eq!(check(&Url::parse(url).unwrap()), Ok(()), "{url}");
        }
    }
}
