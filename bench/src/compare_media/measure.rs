//! One relay under load: what a packet costs, how much it holds, how it comes back from too much.
//!
//! Each measurement starts the relay afresh. It draws no conclusion; medians and ratios stand in `figures`.

use std::time::Duration;

use super::call::Ends;
use super::generator::{Favour, Generator, Load, Tally};
use super::machine::busy_ns;
use super::relay::{Place, Relay, Terms, What};

/// One measurement at one load.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    /// Packets a second that came through.
    pub(crate) packets_per_second: f64,
    /// CPU time of the relay for a packet, microseconds.
    pub(crate) cpu_us: f64,
    /// One-way latency through the relay, microseconds.
    pub(crate) p50_us: f64,
    /// The same, 99 of 100.
    pub(crate) p99_us: f64,
    /// Share lost, 0 to 1.
    pub(crate) loss: f64,
    /// Packets not as they were sent.
    pub(crate) spoilt: u64,
    /// Share of the relay's core that others had, 0 to 1.
    pub(crate) others: f64,
    /// How late the generator itself was, 99 of 100, microseconds.
    pub(crate) late_p99_us: f64,
    /// Whether the generator was the bound.
    pub(crate) is_generator_bound: bool,
    /// The relay's memory with all calls and media, bytes.
    pub(crate) pss_bytes: u64,
    /// Its open descriptors.
    pub(crate) descriptors: u64,
}

/// A relay without calls.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Idle {
    /// Its memory, bytes.
    pub(crate) pss_bytes: u64,
    /// Its open descriptors.
    pub(crate) descriptors: u64,
}

/// The most a relay holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Most {
    /// Packets a second.
    pub(crate) packets_per_second: f64,
    /// Whether the generator could not offer more.
    pub(crate) is_generator_bound: bool,
}

/// What an overload did.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Overload {
    /// Packets a second offered, divided by the most the relay holds.
    pub(crate) factor: f64,
    /// Share lost while it lasted.
    pub(crate) loss: f64,
    /// Until the last stream was heard again, seconds; `None` if one never was.
    pub(crate) recovered_s: Option<f64>,
    /// Streams that stayed silent.
    pub(crate) silent_streams: usize,
    /// Packets not as they were sent, at any time.
    pub(crate) spoilt: u64,
}

/// A relay with its calls, and their ends.
struct Stage {
    relay: Box<dyn Relay>,
    generator: Generator,
    relay_core: usize,
}

/// What a load cost.
struct Cost {
    /// CPU time of the relay for a packet, microseconds.
    cpu_us: f64,
    /// Share of its core that others had.
    others: f64,
}

impl Stage {
    fn set(place: &Place, what: What, terms: Terms) -> Result<Self, String> {
        let ends: Vec<Ends> = (0..terms.calls)
            .map(|call| Ends::new(place.network, call, terms.suite))
            .collect();
        let mut generator = Generator::bind(&ends)?;
        let mut relay = what.start(place, terms)?;
        for (call, ends) in ends.iter().enumerate() {
            let relayed = relay.set_up(ends).map_err(|why| format!("{}: {why}", what.name()))?;
            if relayed.key.is_none() != what.passes_in_clear() {
                return Err(format!("{}: the outside is not as it should be", what.name()));
            }
            generator.connect(call, ends, &relayed)?;
        }
        Ok(Self {
            relay,
            generator,
            relay_core: place.cores.relay,
        })
    }

    /// Sends at a rate, then some more until the last packet of it has come; what it cost, and its figures.
    fn load(&mut self, packets_per_second: f64, duration: Duration) -> Result<(Cost, &Tally), String> {
        let load = |duration| Load {
            packets_per_second,
            duration,
            favour: Favour::Neither,
        };
        self.generator.run(load(WARM_UP));
        let (own, core) = (self.relay.process().cpu_ns()?, busy_ns(self.relay_core)?);
        self.generator.run(load(duration));
        let (own, core) = (self.relay.process().cpu_ns()? - own, busy_ns(self.relay_core)? - core);
        let (arrived, elapsed_ns) = (self.generator.current().arrived, self.generator.current().elapsed_ns);
        self.generator.run(load(TAIL));
        let cost = Cost {
            cpu_us: own as f64 / 1e3 / arrived.max(1) as f64,
            others: core.saturating_sub(own) as f64 / elapsed_ns.max(1) as f64,
        };
        Ok((cost, self.generator.before()))
    }
}

/// Measures a relay at one load.
///
/// # Errors
/// In words, when it does not start, take the calls or live through it.
pub(crate) fn at_load(
    place: &Place,
    what: What,
    terms: Terms,
    packets_per_second: f64,
    duration: Duration,
) -> Result<Sample, String> {
    let mut stage = Stage::set(place, what, terms)?;
    let (Cost { cpu_us, others }, tally) = stage.load(packets_per_second, duration)?;
    let sample = Sample {
        packets_per_second: tally.delivered as f64 / duration.as_secs_f64(),
        cpu_us,
        others,
        p50_us: tally.latency_us(0.5),
        p99_us: tally.latency_us(0.99),
        loss: tally.loss(),
        spoilt: tally.spoilt,
        late_p99_us: tally.late_us(0.99),
        is_generator_bound: tally.is_generator_bound(),
        pss_bytes: stage.relay.process().pss_bytes()?,
        descriptors: stage.relay.process().descriptors()?,
    };
    Ok(sample)
}

/// Looks at a relay that was started for one call and has none.
///
/// # Errors
/// In words, when it does not start.
pub(crate) fn idle(place: &Place, what: What) -> Result<Idle, String> {
    let relay = what.start(place, Terms::usual(1))?;
    std::thread::sleep(SETTLE);
    Ok(Idle {
        pss_bytes: relay.process().pss_bytes()?,
        descriptors: relay.process().descriptors()?,
    })
}

/// Finds the most packets a second a relay holds: less than one in a thousand lost, 99 of 100 within 20 ms.
///
/// Rates grow by a quarter from `first` until one is not held, then the step is halved twice. After a rate that was not
/// held the relay is started afresh, since an overload may leave something behind.
///
/// # Errors
/// In words, when it does not start, take the calls or live through it.
pub(crate) fn most(place: &Place, what: What, first: f64) -> Result<Most, String> {
    let mut stage = Stage::set(place, what, Terms::usual(LIMIT_CALLS))?;
    let (mut held, mut failed): (Option<f64>, Option<f64>) = (None, None);
    let mut rate = first;
    for _ in 0..MOST_PROBES {
        let (_, tally) = stage.load(rate, PROBE)?;
        if tally.loss() < MOST_LOSS && tally.latency_us(0.99) <= MOST_LATENCY_US {
            if tally.is_generator_bound() {
                return Ok(Most {
                    packets_per_second: tally.sent_per_second(),
                    is_generator_bound: true,
                });
            }
            held = Some(rate);
        } else {
            failed = Some(rate);
            drop(stage);
            stage = Stage::set(place, what, Terms::usual(LIMIT_CALLS))?;
        }
        rate = match (held, failed) {
            (Some(held), Some(failed)) if failed / held < CLOSE_ENOUGH => break,
            (Some(held), Some(failed)) => (held * failed).sqrt(),
            (Some(held), None) => held * STEP,
            (None, Some(failed)) => failed / STEP,
            (None, None) => rate,
        };
    }
    Ok(Most {
        packets_per_second: held.ok_or_else(|| format!("{} holds no rate down to {rate:.0}/s", what.name()))?,
        is_generator_bound: false,
    })
}

/// Offers too much for three seconds and sees who comes back.
///
/// # Errors
/// In words, when the relay does not start, take the calls or live through it.
pub(crate) fn overload(place: &Place, what: What, most: f64) -> Result<Overload, String> {
    let mut stage = Stage::set(place, what, Terms::usual(LIMIT_CALLS))?;
    let (_, tally) = stage.load(BASE_RATE, PROBE)?;
    if tally.loss() > MOST_LOSS {
        return Err(format!("{} loses packets before the overload", what.name()));
    }
    let generator = &mut stage.generator;
    let base = |duration| Load {
        packets_per_second: BASE_RATE,
        duration,
        favour: Favour::Neither,
    };
    let mut spoilt = 0;
    generator.run(Load {
        packets_per_second: OVERLOAD_FACTOR * most,
        duration: OVERLOAD,
        favour: Favour::Sending,
    });
    let offered = generator.current().sent_per_second();
    spoilt += generator.current().spoilt;
    generator.run(base(AFTERWARDS));
    spoilt += generator.current().spoilt;
    let loss = generator.before().loss();
    let arrivals = generator.first_arrivals();
    generator.run(base(AFTERWARDS));
    spoilt += generator.current().spoilt;
    let silent_streams = generator
        .first_arrivals()
        .iter()
        .filter(|heard| heard.is_none())
        .count();
    let last = arrivals.into_iter().collect::<Option<Vec<_>>>();
    let last = last.and_then(|arrivals| arrivals.into_iter().max());
    Ok(Overload {
        factor: offered / most,
        loss,
        recovered_s: last.filter(|_| silent_streams == 0).map(|last| last.as_secs_f64()),
        silent_streams,
        spoilt,
    })
}

/// Before figures count: both ends have latched, caches are warm.
const WARM_UP: Duration = Duration::from_millis(500);

/// After: packets of the measured phase still come. Longer than any latency that counts as held.
const TAIL: Duration = Duration::from_millis(250);

/// What a started program does at its start is over by then.
const SETTLE: Duration = Duration::from_millis(500);

/// How long one rate is tried.
const PROBE: Duration = Duration::from_secs(2);

/// How long there is too much.
const OVERLOAD: Duration = Duration::from_secs(3);

/// How long streams may take to be heard again, and how long they must then stay.
const AFTERWARDS: Duration = Duration::from_secs(2);

/// Calls of the most and the overload; their rate a call varies, the number of calls does not.
pub(crate) const LIMIT_CALLS: u16 = 500;

/// Offered in an overload, by the most a relay holds.
const OVERLOAD_FACTOR: f64 = 2.5;

/// Packets a second before and after an overload.
const BASE_RATE: f64 = 20_000.0;

/// A rate is held with less loss than this.
const MOST_LOSS: f64 = 0.001;

/// And with 99 of 100 packets within this time, microseconds.
const MOST_LATENCY_US: f64 = 20_000.0;

/// The next rate after one that was held.
const STEP: f64 = 1.25;

/// A rate held and one not held are as near as this: two halvings of a step.
const CLOSE_ENOUGH: f64 = 1.06;

/// More probes than any search needs.
const MOST_PROBES: usize = 16;
