//! Which addresses a learned target may have.
//!
//! Judges numbers alone: no route, no interface is looked up. Sources: the IANA special-purpose registries of IPv4 and
//! IPv6 (RFC 6890), RFC 4291, RFC 6052 (NAT64), RFC 3056 (6to4), RFC 4380 (Teredo).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::RouteFault;

/// Which addresses a target may have. By default only public ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressRules {
    /// Addresses of this edge, bound and advertised: refused.
    pub own: Vec<IpAddr>,
    /// Allows private, shared, loopback and link-local addresses. Default no; for closed networks and tests.
    pub allow_private: bool,
    /// Allows our own addresses. Default no; for tests on one host.
    pub allow_own: bool,
}

impl AddressRules {
    /// Judges an address, and the IPv4 address that an IPv6 one carries.
    ///
    /// # Errors
    /// The address's [`RouteFault`]. Unspecified, multicast, broadcast and reserved ones are never allowed.
    pub fn check(&self, ip: IpAddr) -> Result<(), RouteFault> {
        let ip = ip.to_canonical();
        if !self.allow_own && self.own.iter().any(|own| own.to_canonical() == ip) {
            return Err(RouteFault::OwnAddress);
        }
        let fault = match ip {
            IpAddr::V4(ip) => fault_of_v4(ip),
            IpAddr::V6(ip) => fault_of_v6(ip),
        };
        match fault {
            Some(fault) if !(self.allow_private && is_local(fault)) => return Err(fault),
            _ => {}
        }
        match ip {
            IpAddr::V6(ip) => carried_v4(ip).map_or(Ok(()), |inner| self.check(IpAddr::V4(inner))),
            IpAddr::V4(_) => Ok(()),
        }
    }
}

/// Whether `allow_private` lifts a fault.
const fn is_local(fault: RouteFault) -> bool {
    matches!(
        fault,
        RouteFault::PrivateAddress | RouteFault::LoopbackAddress | RouteFault::LinkLocalAddress
    )
}

fn fault_of_v4(ip: Ipv4Addr) -> Option<RouteFault> {
    let [first, second, ..] = ip.octets();
    // RFC 6598: 100.64.0.0/10 is shared by a carrier's customers.
    let is_shared = first == 100 && second & 0xc0 == 64;
    if first == 0 {
        Some(RouteFault::UnspecifiedAddress)
    } else if ip.is_loopback() {
        Some(RouteFault::LoopbackAddress)
    } else if ip.is_link_local() {
        Some(RouteFault::LinkLocalAddress)
    } else if ip.is_private() || is_shared {
        Some(RouteFault::PrivateAddress)
    } else if ip.is_multicast() || ip.is_broadcast() {
        Some(RouteFault::MulticastAddress)
    } else if first >= 240 {
        Some(RouteFault::ReservedAddress)
    } else {
        None
    }
}

fn fault_of_v6(ip: Ipv6Addr) -> Option<RouteFault> {
    let first = ip.segments()[0];
    // RFC 3879 took site-local fec0::/10 back; hosts may still hold such addresses.
    let is_site_local = first & 0xffc0 == 0xfec0;
    // RFC 8215: 64:ff9b:1::/48 is for translators within one network.
    let is_local_nat64 = ip.segments()[..3] == [0x64, 0xff9b, 1];
    if ip.is_unspecified() {
        Some(RouteFault::UnspecifiedAddress)
    } else if ip.is_loopback() {
        Some(RouteFault::LoopbackAddress)
    } else if ip.is_unicast_link_local() || is_site_local {
        Some(RouteFault::LinkLocalAddress)
    } else if ip.is_unique_local() || is_local_nat64 {
        Some(RouteFault::PrivateAddress)
    } else if ip.is_multicast() {
        Some(RouteFault::MulticastAddress)
    } else if first == 0 && carried_v4(ip).is_none() {
        Some(RouteFault::ReservedAddress)
    } else {
        None
    }
}

/// The IPv4 address that packets to this IPv6 address may end at, in any of the translation and tunnel forms.
fn carried_v4(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let joined = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match ip.segments() {
        // The mapped form is read as IPv4 before; the deprecated compatible form and SIIT's (RFC 2765) are not.
        [0, 0, 0, 0, 0, 0, high, low] | [0, 0, 0, 0, 0xffff, 0, high, low] => Some(joined(high, low)),
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some(joined(high, low)),
        [0x2002, high, low, ..] => Some(joined(high, low)),
        // Teredo holds the client's address with every bit inverted.
        [0x2001, 0, _, _, _, _, high, low] => Some(joined(!high, !low)),
        // ISATAP (RFC 5214 §6.1), with either value of the universal bit.
        [_, _, _, _, 0 | 0x200, 0x5efe, high, low] => Some(joined(high, low)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_addresses_pass() {
        for ip in [
            "192.0.2.4",
            "8.8.8.8",
            "100.128.0.1",
            "172.32.0.1",
            "2001:db8::1",
            "2a00:1450::1",
            "::ffff:192.0.2.4",
        ] {
            assert_eq!(AddressRules::default().check(ip.parse().unwrap()), Ok(()), "{ip}");
        }
    }

    #[test]
    fn addresses_that_are_not_public_are_refused_by_their_kind() {
        for (ip, fault) in [
            ("10.0.0.1", RouteFault::PrivateAddress),
            ("172.31.255.255", RouteFault::PrivateAddress),
            ("192.168.1.1", RouteFault::PrivateAddress),
            ("100.64.0.1", RouteFault::PrivateAddress),
            ("fd00::1", RouteFault::PrivateAddress),
            ("64:ff9b:1::1", RouteFault::PrivateAddress),
            ("127.0.0.1", RouteFault::LoopbackAddress),
            ("127.255.1.2", RouteFault::LoopbackAddress),
            ("::1", RouteFault::LoopbackAddress),
            ("169.254.169.254", RouteFault::LinkLocalAddress),
            ("fe80::1", RouteFault::LinkLocalAddress),
            ("fec0::1", RouteFault::LinkLocalAddress),
            ("224.0.0.1", RouteFault::MulticastAddress),
            ("255.255.255.255", RouteFault::MulticastAddress),
            ("ff02::1", RouteFault::MulticastAddress),
            ("0.0.0.0", RouteFault::UnspecifiedAddress),
            ("0.1.2.3", RouteFault::UnspecifiedAddress),
            ("::", RouteFault::UnspecifiedAddress),
            ("240.0.0.1", RouteFault::ReservedAddress),
            ("0:1::1", RouteFault::ReservedAddress),
        ] {
            assert_eq!(AddressRules::default().check(ip.parse().unwrap()), Err(fault), "{ip}");
        }
    }

    #[test]
    fn an_ipv4_address_inside_an_ipv6_one_does_not_slip_by() {
        for ip in [
            "::ffff:127.0.0.1",
            "::127.0.0.1",
            "::ffff:0:127.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::1",
            "2001:0:4136:e378:8000:63bf:80ff:fffe",
            "2a00:1450::5efe:7f00:1",
            "2a00:1450::200:5efe:127.0.0.1",
        ] {
            assert_eq!(
                AddressRules::default().check(ip.parse().unwrap()),
                Err(RouteFault::LoopbackAddress),
                "{ip}"
            );
        }
    }

    #[test]
    fn our_own_addresses_are_refused_in_every_form() {
        let rules = AddressRules {
            own: vec!["192.0.2.1".parse().unwrap(), "::ffff:192.0.2.2".parse().unwrap()],
            allow_private: true,
            allow_own: false,
        };
        for ip in [
            "192.0.2.1",
            "192.0.2.2",
            "::ffff:192.0.2.1",
            "2002:c000:201::",
            "64:ff9b::c000:202",
        ] {
            assert_eq!(rules.check(ip.parse().unwrap()), Err(RouteFault::OwnAddress), "{ip}");
        }
        let allowed = AddressRules {
            allow_own: true,
            ..rules
        };
        assert_eq!(allowed.check("192.0.2.1".parse().unwrap()), Ok(()));
    }

    #[test]
    fn permission_for_private_addresses_covers_no_others() {
        let rules = AddressRules {
            allow_private: true,
            ..AddressRules::default()
        };
        for ip in ["10.0.0.1", "127.0.0.1", "fe80::1", "fd00::1", "::ffff:127.0.0.1"] {
            assert_eq!(rules.check(ip.parse().unwrap()), Ok(()), "{ip}");
        }
        for ip in ["224.0.0.1", "0.0.0.0", "::", "240.0.0.1", "64:ff9b::", "2002:e000:1::"] {
            assert!(rules.check(ip.parse().unwrap()).is_err(), "{ip}");
        }
    }
}
