//! Which media ports belong to which worker, decided before anything is bound.
//!
//! Pure arithmetic: it opens no socket. Even and odd ports as pairs: RFC 3550 §11.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use tollgate_contract::Side;

/// A range of media ports on one address of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaRange {
    /// The side whose media comes here.
    pub side: Side,
    /// The address of the sockets.
    pub bound_ip: IpAddr,
    /// The address written into SDP.
    pub advertised_ip: IpAddr,
    /// Ports, both ends included. Used from the first even port in pairs.
    pub ports: RangeInclusive<u16>,
}

/// A pair of media sockets of one worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MediaPair {
    /// The side whose media comes here.
    pub side: Side,
    /// The address of the sockets.
    pub bound_ip: IpAddr,
    /// The address written into SDP.
    pub advertised_ip: IpAddr,
    /// The even port, for RTP; RTCP has the next.
    pub rtp_port: u16,
    /// Index of the RTP socket in its worker.
    pub rtp_socket: u32,
    /// Index of the RTCP socket in its worker: the next.
    pub rtcp_socket: u32,
}

/// Why ports cannot be shared out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// There must be one worker at least.
    #[error("the number of workers is 0")]
    NoWorkers,
    /// A range gives some worker nothing.
    #[error("media ports {first}-{last} on {ip} make {pairs} pairs, fewer than {workers} workers")]
    TooFewPorts {
        /// The address.
        ip: IpAddr,
        /// First port of the range.
        first: u16,
        /// Last port of the range.
        last: u16,
        /// Pairs of an even and the next odd port in it.
        pairs: usize,
        /// Workers to share them out to.
        workers: usize,
    },
    /// Two ranges on one address share a port.
    #[error("two media port ranges on {ip} overlap")]
    Overlap {
        /// The address.
        ip: IpAddr,
    },
}

/// Splits every range into one contiguous run of pairs for each worker; earlier workers get the odd ones.
///
/// The pairs of a worker are ordered by range, as given, then by port. The pair at place k of a worker has the sockets
/// 2k (RTP) and 2k+1 (RTCP).
///
/// # Errors
/// [`LayoutError::NoWorkers`]; [`LayoutError::TooFewPorts`] when a worker would get no pair of a range;
/// [`LayoutError::Overlap`].
pub fn media_layout(ranges: &[MediaRange], workers: usize) -> Result<Vec<Vec<MediaPair>>, LayoutError> {
    if workers == 0 {
        return Err(LayoutError::NoWorkers);
    }
    check_overlap(ranges)?;
    let mut layout = vec![Vec::new(); workers];
    for range in ranges {
        share_out(range, &mut layout)?;
    }
    Ok(layout)
}

fn share_out(range: &MediaRange, layout: &mut [Vec<MediaPair>]) -> Result<(), LayoutError> {
    let rtp_ports: Vec<u16> = even_ports(&range.ports).collect();
    let workers = layout.len();
    if rtp_ports.len() < workers {
        let (ip, first, last) = (range.bound_ip, *range.ports.start(), *range.ports.end());
        return Err(LayoutError::TooFewPorts {
            ip,
            first,
            last,
            pairs: rtp_ports.len(),
            workers,
        });
    }
    let (each, left_over) = (rtp_ports.len() / workers, rtp_ports.len() % workers);
    let mut ports = rtp_ports.into_iter();
    for (worker, pairs) in layout.iter_mut().enumerate() {
        let count = each + usize::from(worker < left_over);
        for rtp_port in ports.by_ref().take(count) {
            // At most 2 addresses times 32,768 pairs are usual; 2^31 pairs of 16-bit ports need 65,536 ranges.
            let rtp_socket = u32::try_from(2 * pairs.len()).expect("fewer sockets than 2^32");
            let MediaRange {
                side,
                bound_ip,
                advertised_ip,
                ..
            } = *range;
            pairs.push(MediaPair {
                side,
                bound_ip,
                advertised_ip,
                rtp_port,
                rtp_socket,
                rtcp_socket: rtp_socket + 1,
            });
        }
    }
    Ok(())
}

/// Even ports whose next port is in the range as well. Port 0 is none.
fn even_ports(ports: &RangeInclusive<u16>) -> impl Iterator<Item = u16> + use<> {
    let last = *ports.end();
    (*ports.start()..last).filter(|port| *port != 0 && port % 2 == 0)
}

fn check_overlap(ranges: &[MediaRange]) -> Result<(), LayoutError> {
    for (place, range) in ranges.iter().enumerate() {
        let overlaps = |other: &MediaRange| {
            other.bound_ip == range.bound_ip
                && other.ports.start() <= range.ports.end()
                && range.ports.start() <= other.ports.end()
        };
        if ranges.iter().take(place).any(overlaps) {
            return Err(LayoutError::Overlap { ip: range.bound_ip });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(side: Side, ip: &str, ports: RangeInclusive<u16>) -> MediaRange {
        let ip = ip.parse().unwrap();
        MediaRange {
            side,
            bound_ip: ip,
            advertised_ip: ip,
            ports,
        }
    }

    #[test]
    fn each_worker_gets_a_contiguous_run_of_every_range() {
        let ranges = [
            range(Side::Inside, "10.0.0.1", 20_001..=20_010),
            range(Side::Outside, "192.0.2.1", 30_000..=30_003),
        ];
        let layout = media_layout(&ranges, 2).unwrap();
        let ports = |worker: usize| layout[worker].iter().map(|p| p.rtp_port).collect::<Vec<_>>();
        assert_eq!(ports(0), [20_002, 20_004, 30_000]);
        assert_eq!(ports(1), [20_006, 20_008, 30_002]);
        for pairs in &layout {
            for (place, pair) in pairs.iter().enumerate() {
                assert_eq!(
                    (pair.rtp_socket as usize, pair.rtcp_socket as usize),
                    (2 * place, 2 * place + 1)
                );
            }
        }
    }

    #[test]
    fn last_port_of_the_number_space_is_used_without_overflow() {
        let layout = media_layout(&[range(Side::Inside, "::1", 65_534..=65_535)], 1).unwrap();
        assert_eq!(layout[0].len(), 1);
    }

    #[test]
    fn range_too_small_for_the_workers_is_refused() {
        let refused = media_layout(&[range(Side::Inside, "10.0.0.1", 20_001..=20_003)], 2);
        assert!(matches!(
            refused,
            Err(LayoutError::TooFewPorts {
                pairs: 1,
                workers: 2,
                ..
            })
        ));
        assert_eq!(media_layout(&[], 0), Err(LayoutError::NoWorkers));
    }

    #[test]
    fn ranges_of_one_address_must_not_overlap() {
        let ranges = [
            range(Side::Inside, "10.0.0.1", 2_000..=2_010),
            range(Side::Outside, "10.0.0.1", 2_010..=2_020),
        ];
        assert!(matches!(media_layout(&ranges, 1), Err(LayoutError::Overlap { .. })));
    }
}
