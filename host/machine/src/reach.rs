//! How near to this host an address may be that something is sent to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

/// Which addresses the name of another system may lead to. Names belong to whoever runs their domain, who can let them
/// lead anywhere: to what listens on this machine, or to the service from which a cloud hands out credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// Those of the public internet.
    Public,
    /// Those of private networks as well.
    Private,
    /// All, this machine's own included.
    Any,
}

impl Reach {
    /// Whether something may be sent to this address.
    pub fn allows(self, address: IpAddr) -> bool {
        self >= Reach::needed(address)
    }

    /// The narrowest reach that has an address.
    fn needed(address: IpAddr) -> Reach {
        match address {
            IpAddr::V4(address) => Reach::needed_v4(address),
            IpAddr::V6(address) => match address.to_ipv4_mapped().or_else(|| translated(address)) {
                Some(address) => Reach::needed_v4(address),
                None => Reach::needed_v6(address),
            },
        }
    }

    fn needed_v4(address: Ipv4Addr) -> Reach {
        let [a, b, c, _] = address.octets();
        if address.is_loopback() || address.is_link_local() || address.is_multicast() || a == 0 || a >= 240 {
            Reach::Any
        } else if address.is_private() || (a == 100 && b & 0xc0 == 64) || (a, b & 0xfe) == (198, 18) {
            // Beside the three private networks: those of carriers, and those for measurements.
            Reach::Private
        } else if (a, b, c) == (192, 0, 0) {
            Reach::Any
        } else {
            Reach::Public
        }
    }

    fn needed_v6(address: Ipv6Addr) -> Reach {
        if address.is_unique_local() {
            Reach::Private
        } else if address.segments()[0] & 0xe000 == 0x2000 {
            // All that is public so far begins with these three bits.
            Reach::Public
        } else {
            Reach::Any
        }
    }
}

/// The IPv4 address that a translator or a tunnel would send to for an IPv6 one.
fn translated(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, _, _, _, high, low] = address.segments();
    let v4 = |high: u16, low: u16| Ipv4Addr::from(u32::from(high) << 16 | u32::from(low));
    match (a, b) {
        (0x64, 0xff9b) => Some(v4(high, low)),
        (0x2002, _) => Some(v4(b, c)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_as_near_as_they_are_however_they_are_written() {
        let needed = |text: &str| Reach::needed(text.parse().unwrap());
        for near in [
            "127.0.0.1",
            "0.0.0.0",
            "169.254.169.254",
            "224.0.0.1",
            "255.255.255.255",
            "192.0.0.170",
            "::1",
            "::",
            "fe80::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
        ] {
            assert_eq!(needed(near), Reach::Any, "{near}");
        }
        for private in
            ["10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1", "198.19.0.1", "fd00::1", "::ffff:10.0.0.1"]
        {
            assert_eq!(needed(private), Reach::Private, "{private}");
        }
        for public in ["93.184.216.34", "100.128.0.1", "2606:2800:220:1::1", "192.0.2.1"] {
            assert_eq!(needed(public), Reach::Public, "{public}");
        }
        assert!(Reach::Any.allows("127.0.0.1".parse().unwrap()));
        assert!(!Reach::Private.allows("127.0.0.1".parse().unwrap()));
    }
}
