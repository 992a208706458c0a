//! Mappings: which peer an inside address of ours stands for (off-path deployment, edge.md 1).
//!
//! It hands out no address and measures no idle time; the mapping service does both.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::Transport;

/// What a mapped address stands for.
///
/// Address, transport and domain together are the mapping's key: two domains behind one address are two mappings, so
/// that the certificate of one is never taken for the other's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// The peer edge. It is always spoken to over TLS.
    pub global: SocketAddr,
    /// The host that stands outside where the call agent wrote the mapped address: a name or an IP literal, with
    /// brackets for IPv6, without port.
    pub global_host: String,
    /// The transport the call agent asked for; it is told apart, but changes nothing outside.
    pub transport: Transport,
    /// The domain that the peer's certificate must name. Lower case.
    pub domain: String,
    /// When it ends, since 1970; `None` for one that lasts.
    pub expires: Option<Duration>,
}

impl Mapping {
    /// Whether it is in force at a time since 1970.
    #[must_use]
    pub fn is_live(&self, unix: Duration) -> bool {
        self.expires.is_none_or(|end| unix < end)
    }
}

/// All mappings, found by the mapped address and by what they stand for. A clone is a reference.
#[derive(Clone, Default)]
pub struct MappingTable(Arc<Entries>);

#[derive(Default)]
struct Entries {
    by_mapped: HashMap<SocketAddr, Mapping>,
    by_global: HashMap<(SocketAddr, Transport, String), SocketAddr>,
}

impl MappingTable {
    /// The mapping of an inside address of ours, if it is in force at a time since 1970.
    #[must_use]
    pub fn at(&self, mapped: SocketAddr, unix: Duration) -> Option<&Mapping> {
        self.0.by_mapped.get(&mapped).filter(|mapping| mapping.is_live(unix))
    }

    /// The inside address that stands for a peer at a time since 1970.
    #[must_use]
    pub fn mapped_for(
        &self,
        global: SocketAddr,
        transport: Transport,
        domain: &str,
        unix: Duration,
    ) -> Option<SocketAddr> {
        let key = (global, transport, domain.to_owned());
        let mapped = self.0.by_global.get(&key)?;
        self.at(*mapped, unix).map(|_| *mapped)
    }

    /// Number of mappings, ended ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.by_mapped.len()
    }

    /// Whether there is no mapping at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl FromIterator<(SocketAddr, Mapping)> for MappingTable {
    /// Mapped address and mapping; of two for one address, or of two addresses for one key, the later one is found.
    fn from_iter<I: IntoIterator<Item = (SocketAddr, Mapping)>>(entries: I) -> Self {
        let mut table = Entries::default();
        for (mapped, mapping) in entries {
            let key = (mapping.global, mapping.transport, mapping.domain.clone());
            table.by_global.insert(key, mapped);
            table.by_mapped.insert(mapped, mapping);
        }
        Self(Arc::new(table))
    }
}

impl fmt::Debug for MappingTable {
    /// How many: a table may have thousands.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MappingTable({} mappings)", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains_behind_one_address_are_mapped_apart() {
        let table = MappingTable::from_iter([(at(1), to("b.example")), (at(2), to("c.example"))]);
        assert_eq!(found(&table, at(1)), Some("b.example"));
        assert_eq!(found(&table, at(2)), Some("c.example"));
        let global = to("").global;
        let mapped = |transport, domain| table.mapped_for(global, transport, domain, Duration::ZERO);
        assert_eq!(mapped(Transport::Tls, "c.example"), Some(at(2)));
        assert_eq!(mapped(Transport::Tcp, "c.example"), None);
        assert_eq!(mapped(Transport::Tls, "d.example"), None);
    }

    #[test]
    fn a_mapping_past_its_end_is_found_neither_way() {
        let mapping = Mapping {
            expires: Some(Duration::from_secs(10)),
            ..to("b.example")
        };
        let table = MappingTable::from_iter([(at(1), mapping.clone())]);
        for (second, is_live) in [(9, true), (10, false)] {
            let unix = Duration::from_secs(second);
            assert_eq!(table.at(at(1), unix).is_some(), is_live);
            let back = table.mapped_for(mapping.global, mapping.transport, "b.example", unix);
            assert_eq!(back.is_some(), is_live);
        }
    }

    fn at(last: u16) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, 2], 20_000 + last))
    }

    fn to(domain: &str) -> Mapping {
        Mapping {
            global: "203.0.113.7:5061".parse().unwrap(),
            global_host: "203.0.113.7".to_owned(),
            transport: Transport::Tls,
            domain: domain.to_owned(),
            expires: None,
        }
    }

    fn found(table: &MappingTable, mapped: SocketAddr) -> Option<&str> {
        table.at(mapped, Duration::ZERO).map(|mapping| mapping.domain.as_str())
    }
}
