use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

/// Whether a name that may be reached may lead to this address. An address of the host itself, of its link (where
/// clouds keep credentials) or of nobody is none that a name of the world has; only `localhost` means the host.
pub(super) fn is_allowed(host: &str, address: IpAddr) -> bool {
    if host.eq_ignore_ascii_case("localhost") {
        return address.is_loopback();
    }
    let is_of_the_world = match address {
        IpAddr::V4(address) => is_elsewhere(address),
        IpAddr::V6(address) => match embedded(address) {
            Some(address) => is_elsewhere(address),
            None => {
                !(address.is_loopback()
                    || address.is_unspecified()
                    || address.is_multicast()
                    || address.is_unicast_link_local())
            }
        },
    };
    is_of_the_world && !is_own(address)
}

/// Whether an address is this machine's, on whatever device: only then can it be bound to.
fn is_own(address: IpAddr) -> bool {
    UdpSocket::bind((address, 0)).is_ok()
}

fn is_elsewhere(address: Ipv4Addr) -> bool {
    !(address.is_loopback()
        || address.is_unspecified()
        || address.is_link_local()
        || address.is_broadcast()
        || address.is_multicast()
        || matches!(address.octets(), [0, ..]))
}

/// An IPv4 address in the clothes of an IPv6 one: mapped, compatible, or behind the well-known translation prefix.
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    const MAPPED: u128 = 0xffff;
    const TRANSLATED: u128 = 0x64_ff9b << 64;
    let bits = address.to_bits();
    let low = u32::try_from(bits & 0xffff_ffff).ok()?;
    let is_embedded = match bits >> 32 {
        MAPPED | TRANSLATED => true,
        // The unspecified and the loopback address are IPv6's own.
        0 => low > 1,
        _ => false,
    };
    is_embedded.then(|| Ipv4Addr::from_bits(low))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_and_its_link_are_out_of_reach() {
        for address in [
            "127.0.0.1",
            "127.9.9.9",
            "0.0.0.0",
            "0.1.2.3",
            "169.254.169.254",
            "255.255.255.255",
            "224.0.0.1",
            "::1",
            "::",
            "fe80::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
        ] {
            assert!(!is_allowed("example.com", address.parse().unwrap()), "{address}");
        }
        for address in ["93.184.216.34", "10.0.0.7", "2606:2800:220:1::1", "::ffff:93.184.216.34"] {
            assert!(is_allowed("example.com", address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn an_address_of_a_device_of_this_machine_is_its_own() {
        assert!(is_own("127.0.0.1".parse().unwrap()));
        assert!(!is_own("192.0.2.1".parse().unwrap()));
        let probe = UdpSocket::bind("0.0.0.0:0").unwrap();
        // Where there is a way out, nothing is sent by this.
        if probe.connect("192.0.2.1:9").is_ok() {
            assert!(!is_allowed("example.com", probe.local_addr().unwrap().ip()));
        }
    }

    #[test]
    fn localhost_is_the_host_and_nothing_else() {
        assert!(is_allowed("localhost", "127.0.0.1".parse().unwrap()));
        assert!(is_allowed("LOCALHOST", "::1".parse().unwrap()));
        assert!(!is_allowed("localhost", "93.184.216.34".parse().unwrap()));
    }
}
