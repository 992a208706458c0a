//! Why a route is refused: one name, one counter.
//!
//! Decides nothing; the feed's answer to each is in one place, [`RouteFault::is_policy`].

/// Why a learned route is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RouteFault {
    /// The route's id has characters or a length that ids do not have.
    RouteId,
    /// The number is not `+` and 1 to 15 digits.
    Number,
    /// A domain is not made of LDH labels.
    Domain,
    /// The domain is one of ours.
    OwnDomain,
    /// A domain policy forbids it.
    DomainDenied,
    /// A URI or an expected TLS domain names another domain than the route.
    DomainMismatch,
    /// The ticket is empty or has characters outside its alphabet.
    TicketAlphabet,
    /// The ticket has more than 1024 characters.
    TicketTooLong,
    /// A URI has more than 614 characters.
    UriTooLong,
    /// A URI's scheme is not `sip`.
    UriScheme,
    /// A URI's user part is empty or has characters that user parts do not have.
    UriUser,
    /// A URI has headers, a parameter twice, or characters that URIs do not have.
    UriSyntax,
    /// A URI's host is no domain.
    UriHost,
    /// A URI has no port.
    PortMissing,
    /// A port is not 1 to 65535.
    PortRange,
    /// A URI has no `maddr`.
    MaddrMissing,
    /// A `maddr` is neither an address nor a name of at most 253 characters.
    MaddrSyntax,
    /// A `maddr` is a name, and names are not allowed.
    HostName,
    /// A URI's transport is not `tcp`.
    Transport,
    /// An address is for private use or shared by a carrier's customers.
    PrivateAddress,
    /// An address is a loopback address.
    LoopbackAddress,
    /// An address is link-local or site-local.
    LinkLocalAddress,
    /// An address is a multicast or broadcast address.
    MulticastAddress,
    /// An address is unspecified, or of the network 0.0.0.0/8.
    UnspecifiedAddress,
    /// An address is reserved.
    ReservedAddress,
    /// An address is one of ours.
    OwnAddress,
    /// There is no target.
    NoTargets,
    /// There are more targets than allowed.
    TooManyTargets,
    /// A target's host or port differs from its URI's.
    TargetMismatch,
    /// The route ends before it was learned.
    Lifetime,
    /// The route has ended.
    Expired,
    /// The evidence names too many methods, or unprintable ones.
    Evidence,
}

impl RouteFault {
    /// Every fault; the position is the counter's index.
    pub const ALL: [Self; 32] = [
        Self::RouteId,
        Self::Number,
        Self::Domain,
        Self::OwnDomain,
        Self::DomainDenied,
        Self::DomainMismatch,
        Self::TicketAlphabet,
        Self::TicketTooLong,
        Self::UriTooLong,
        Self::UriScheme,
        Self::UriUser,
        Self::UriSyntax,
        Self::UriHost,
        Self::PortMissing,
        Self::PortRange,
        Self::MaddrMissing,
        Self::MaddrSyntax,
        Self::HostName,
        Self::Transport,
        Self::PrivateAddress,
        Self::LoopbackAddress,
        Self::LinkLocalAddress,
        Self::MulticastAddress,
        Self::UnspecifiedAddress,
        Self::ReservedAddress,
        Self::OwnAddress,
        Self::NoTargets,
        Self::TooManyTargets,
        Self::TargetMismatch,
        Self::Lifetime,
        Self::Expired,
        Self::Evidence,
    ];

    /// The name on the feed and in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::RouteId => "route_id",
            Self::Number => "number",
            Self::Domain => "domain",
            Self::OwnDomain => "own_domain",
            Self::DomainDenied => "domain_denied",
            Self::DomainMismatch => "domain_mismatch",
            Self::TicketAlphabet => "ticket_alphabet",
            Self::TicketTooLong => "ticket_too_long",
            Self::UriTooLong => "uri_too_long",
            Self::UriScheme => "uri_scheme",
            Self::UriUser => "uri_user",
            Self::UriSyntax => "uri_syntax",
            Self::UriHost => "uri_host",
            Self::PortMissing => "port_missing",
            Self::PortRange => "port_range",
            Self::MaddrMissing => "maddr_missing",
            Self::MaddrSyntax => "maddr_syntax",
            Self::HostName => "host_name",
            Self::Transport => "transport",
            Self::PrivateAddress => "private_address",
            Self::LoopbackAddress => "loopback_address",
            Self::LinkLocalAddress => "link_local_address",
            Self::MulticastAddress => "multicast_address",
            Self::UnspecifiedAddress => "unspecified_address",
            Self::ReservedAddress => "reserved_address",
            Self::OwnAddress => "own_address",
            Self::NoTargets => "no_targets",
            Self::TooManyTargets => "too_many_targets",
            Self::TargetMismatch => "target_mismatch",
            Self::Lifetime => "lifetime",
            Self::Expired => "expired",
            Self::Evidence => "evidence",
        }
    }

    /// Whether a policy of ours forbids the route, rather than the route being wrong in itself.
    #[must_use]
    pub const fn is_policy(self) -> bool {
        matches!(self, Self::DomainDenied | Self::OwnDomain | Self::HostName)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_fault_has_its_own_name_and_place() {
        let names: BTreeSet<_> = RouteFault::ALL.iter().map(|fault| fault.name()).collect();
        assert_eq!(names.len(), RouteFault::ALL.len());
        for (index, fault) in RouteFault::ALL.into_iter().enumerate() {
            assert_eq!(fault as usize, index, "{}", fault.name());
        }
    }
}
