//! The E-model: transmission rating R and mean opinion score (ITU-T G.107, narrowband; G.113 appendix I).
//!
//! It estimates from loss, burstiness and delay; it does not listen to the audio.

use crate::codec::CodecModel;

/// What the network did to a stream.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Impairment {
    /// One-way delay mouth to ear, milliseconds.
    pub one_way_ms: f64,
    /// Packet loss, 0 to 100.
    pub loss_percent: f64,
    /// BurstR: 1 for random loss, above 1 for loss in bursts.
    pub burst_ratio: f64,
}

/// A codec's equipment impairment `Ie` and robustness `Bpl` (ITU-T G.113 appendix I).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Equipment {
    /// Equipment impairment without loss.
    pub ie: f64,
    /// Packet-loss robustness.
    pub bpl: f64,
}

/// Default values of ITU-T G.107 table 2.
mod default {
    pub(super) const SLR: f64 = 8.0;
    pub(super) const RLR: f64 = 2.0;
    pub(super) const STMR: f64 = 15.0;
    pub(super) const LSTR: f64 = 18.0;
    pub(super) const DS: f64 = 3.0;
    pub(super) const TELR: f64 = 65.0;
    pub(super) const WEPL: f64 = 110.0;
    pub(super) const QDU: f64 = 1.0;
    pub(super) const NC: f64 = -70.0;
    pub(super) const NFOR: f64 = -64.0;
    pub(super) const PS: f64 = 35.0;
    pub(super) const PR: f64 = 35.0;
}

/// R by the whole model with T = Ta = delay and Tr = 2 · delay, all else at its default.
#[must_use]
pub fn rating(equipment: Equipment, by: Impairment) -> f64 {
    let no = circuit_noise();
    let ro = 15.0 - 1.5 * (default::SLR + no);
    let sidetone = sidetone_masking(by.one_way_ms);
    let is = overall_loudness(no) + sidetone + quantisation(ro);
    ro - is - delay_impairment(by.one_way_ms, ro, no) - effective_equipment(equipment, by)
}

/// R by the short form many monitors use: 93.2 − Id − Ie,eff with Id in two straight lines.
#[must_use]
pub fn simple_rating(equipment: Equipment, by: Impairment) -> f64 {
    let late = (by.one_way_ms - 177.3).max(0.0);
    93.2 - (0.024 * by.one_way_ms + 0.11 * late) - effective_equipment(equipment, by)
}

/// The delay impairment Id of the whole model (ITU-T G.107 §7.4).
#[must_use]
pub fn delay_impairment_of(one_way_ms: f64) -> f64 {
    let no = circuit_noise();
    delay_impairment(one_way_ms, 15.0 - 1.5 * (default::SLR + no), no)
}

/// Ie,eff: what loss does to a codec (ITU-T G.107 §7.5).
#[must_use]
pub fn effective_equipment(equipment: Equipment, by: Impairment) -> f64 {
    let (loss, burst) = (by.loss_percent, by.burst_ratio.max(1.0));
    equipment.ie + (95.0 - equipment.ie) * loss / (loss / burst + equipment.bpl)
}

/// MOS from R (ITU-T G.107 annex B), never under 1.
#[must_use]
pub fn mos(r: f64) -> f64 {
    if r <= 0.0 {
        return 1.0;
    }
    if r >= 100.0 {
        return 4.5;
    }
    (1.0 + 0.035 * r + r * (r - 60.0) * (100.0 - r) * 7e-6).max(1.0)
}

impl CodecModel {
    /// The values used for this codec.
    #[must_use]
    pub const fn equipment(self) -> Equipment {
        let (ie, bpl) = match self {
            Self::G711 => (0.0, 4.3),
            Self::G711Plc => (0.0, 25.1),
            Self::G729A => (11.0, 19.0),
            Self::G7231 => (15.0, 16.1),
            // G.113 gives no narrowband values for these: taken as concealed G.711, and Opus by its in-band repair.
            Self::G722 => (0.0, 25.1),
            Self::Opus => (0.0, 30.0),
            Self::Unknown => (0.0, 10.0),
        };
        Equipment { ie, bpl }
    }
}

/// No (ITU-T G.107 §7.2).
fn circuit_noise() -> f64 {
    use default::{DS, LSTR, NC, NFOR, PR, PS, RLR, SLR};
    let olr = SLR + RLR;
    let pre = PR + 10.0 * (1.0 + 10f64.powf((10.0 - LSTR) / 10.0)).log10();
    let nos = PS - SLR - DS - 100.0 + 0.004 * (PS - olr - DS - 14.0).powi(2);
    let nor = RLR - 121.0 + pre + 0.008 * (pre - 35.0).powi(2);
    let nfo = NFOR + RLR;
    let sum: f64 = [NC, nos, nor, nfo]
        .into_iter()
        .map(|level| 10f64.powf(level / 10.0))
        .sum();
    10.0 * sum.log10()
}

/// Iolr (§7.3.1).
fn overall_loudness(no: f64) -> f64 {
    let x = default::SLR + default::RLR + 0.2 * (64.0 + no - default::RLR);
    20.0 * ((1.0 + (x / 8.0).powi(8)).powf(1.0 / 8.0) - x / 8.0)
}

/// Ist (§7.3.2).
fn sidetone_masking(delay_ms: f64) -> f64 {
    let masked = 10f64.powf(-default::STMR / 10.0) + (-delay_ms / 4.0).exp() * 10f64.powf(-default::TELR / 10.0);
    let stmr = -10.0 * masked.log10();
    12.0 * (1.0 + ((stmr - 13.0) / 6.0).powi(8)).powf(1.0 / 8.0)
        - 28.0 * (1.0 + ((stmr + 1.0) / 19.4).powi(35)).powf(1.0 / 35.0)
        - 13.0 * (1.0 + ((stmr - 3.0) / 33.0).powi(13)).powf(1.0 / 13.0)
        + 29.0
}

/// Iq (§7.3.3).
fn quantisation(ro: f64) -> f64 {
    let q = 37.0 - 15.0 * default::QDU.log10();
    let g = 1.07 + 0.258 * q + 0.0602 * q * q;
    let y = (ro - 100.0) / 15.0 + 46.0 / 8.4 - g / 9.0;
    let z = 46.0 / 30.0 - g / 40.0;
    15.0 * (1.0 + 10f64.powf(y) + 10f64.powf(z)).log10()
}

/// Id = Idte + Idle + Idd (§7.4).
fn delay_impairment(delay_ms: f64, ro: f64, no: f64) -> f64 {
    let t = delay_ms;
    let terv = default::TELR - 40.0 * ((1.0 + t / 10.0) / (1.0 + t / 150.0)).log10() + 6.0 * (-0.3 * t * t).exp();
    let roe = -1.5 * (no - default::RLR);
    let re = 80.0 + 2.5 * (terv - 14.0);
    let talker = ((roe - re) / 2.0 + ((roe - re).powi(2) / 4.0 + 100.0).sqrt() - 1.0) * (1.0 - (-t).exp());
    let rle = 10.5 * (default::WEPL + 7.0) * (2.0 * t + 1.0).powf(-0.25);
    let listener = (ro - rle) / 2.0 + ((ro - rle).powi(2) / 4.0 + 169.0).sqrt();
    talker + listener + long_delay(t)
}

/// Idd: nothing up to 100 ms (§7.4).
fn long_delay(delay_ms: f64) -> f64 {
    if delay_ms <= 100.0 {
        return 0.0;
    }
    let x = (delay_ms / 100.0).log2();
    let sixth = 1.0 / 6.0;
    25.0 * ((1.0 + x.powi(6)).powf(sixth) - 3.0 * (1.0 + (x / 3.0).powi(6)).powf(sixth) + 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_loss_or_delay_never_rates_better() {
        let at = |one_way_ms, loss_percent| {
            rating(
                CodecModel::G711Plc.equipment(),
                Impairment {
                    one_way_ms,
                    loss_percent,
                    burst_ratio: 1.0,
                },
            )
        };
        for step in 0..40 {
            let x = f64::from(step);
            assert!(at(x * 10.0 + 10.0, 1.0) <= at(x * 10.0, 1.0));
            assert!(at(50.0, x + 1.0) < at(50.0, x));
        }
    }
}
