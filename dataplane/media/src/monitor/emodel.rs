//! The E-model (ITU-T G.107, narrowband), with the default values of its table 3 but for delay, codec and loss.

use crate::codec::CodecModel;

/// What the model says of a direction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rating {
    /// Transmission rating factor R.
    pub r: f64,
    /// Mean opinion score estimated from R, 1 to 4.5.
    pub mos: f64,
    /// Delay impairment Id.
    pub id: f64,
    /// Effective equipment impairment Ie,eff.
    pub ie_eff: f64,
}

/// The whole model, with T = Ta = the one-way delay and Tr twice that.
#[must_use]
pub fn rate(codec: CodecModel, one_way_ms: f64, loss_percent: f64, burst_ratio: f64) -> Rating {
    let ie_eff = effective_impairment(codec, loss_percent, burst_ratio);
    let id = delay_impairment(one_way_ms);
    let r = BASE.ro - BASE.is - id - ie_eff;
    Rating { r, mos: mos_of_r(r), id, ie_eff }
}

/// The simple form many monitors use: R = 93.2 less a piecewise linear delay impairment and Ie,eff.
#[must_use]
pub fn rate_simple(codec: CodecModel, one_way_ms: f64, loss_percent: f64, burst_ratio: f64) -> Rating {
    let ie_eff = effective_impairment(codec, loss_percent, burst_ratio);
    let id = 0.024 * one_way_ms + 0.11 * (one_way_ms - 177.3).max(0.0);
    let r = 93.2 - id - ie_eff;
    Rating { r, mos: mos_of_r(r), id, ie_eff }
}

/// G.107 equation 7-29.
#[must_use]
pub fn effective_impairment(codec: CodecModel, loss_percent: f64, burst_ratio: f64) -> f64 {
    if loss_percent <= 0.0 {
        return codec.ie;
    }
    codec.ie + (95.0 - codec.ie) * loss_percent / (loss_percent / burst_ratio + codec.bpl)
}

/// G.107 annex B: R to MOS. Between 0 and about 6.5 the polynomial falls under 1, which no opinion does.
#[must_use]
pub fn mos_of_r(r: f64) -> f64 {
    if r <= 0.0 {
        1.0
    } else if r >= 100.0 {
        4.5
    } else {
        (1.0 + 0.035 * r + r * (r - 60.0) * (100.0 - r) * 7e-6).max(1.0)
    }
}

struct Base {
    /// Basic signal-to-noise ratio Ro (7-3).
    ro: f64,
    /// Simultaneous impairment Is (7-8).
    is: f64,
}

/// Ro and Is do not depend on delay, codec or loss: with the default values they are constants, computed by a test.
const BASE: Base = Base { ro: 94.768_6, is: 1.413_6 };

/// Id = Idte + Idle + Idd (7-18), with TELR 65, WEPL 110, Rle and the default noise.
fn delay_impairment(ta: f64) -> f64 {
    let tr = 2.0 * ta;
    idte(ta) + idle(tr) + idd(ta)
}

/// Talker echo (7-19 to 7-23).
fn idte(t: f64) -> f64 {
    let roe = -1.5 * (NO - RLR);
    let terv = TELR - 40.0 * ((1.0 + t / 10.0) / (1.0 + t / 150.0)).log10() + 6.0 * (-0.3 * t * t).exp();
    let re = 80.0 + 2.5 * (terv - 14.0);
    let idte = (((roe - re) / 2.0) + ((roe - re).powi(2) / 4.0 + 100.0).sqrt() - 1.0) * (1.0 - (-t).exp());
    // 7-24: below 1 ms there is no talker echo.
    if t < 1.0 { 0.0 } else { idte }
}

/// Listener echo (7-25, 7-26).
fn idle(tr: f64) -> f64 {
    let rle = 10.5 * (WEPL + 7.0) * (tr + 1.0).powf(-0.25);
    (BASE.ro - rle) / 2.0 + ((BASE.ro - rle).powi(2) / 4.0 + 169.0).sqrt()
}

/// Too long a delay by itself (7-27, 7-28).
fn idd(ta: f64) -> f64 {
    if ta <= 100.0 {
        return 0.0;
    }
    let x = (ta / 100.0).log10() / 2f64.log10();
    25.0 * ((1.0 + x.powi(6)).powf(1.0 / 6.0) - 3.0 * (1.0 + (x / 3.0).powi(6)).powf(1.0 / 6.0) + 2.0)
}

/// Default receive loudness rating, dB.
const RLR: f64 = 2.0;
/// Default talker echo loudness rating, dB.
const TELR: f64 = 65.0;
/// Default weighted echo path loss, dB.
const WEPL: f64 = 110.0;
/// Sum of all noise with the default values, dBm0p (7-4).
const NO: f64 = -61.179_2;

#[cfg(test)]
mod tests {
    use super::*;

    /// Ro, Is and No from the equations and the defaults of table 3: SLR 8, RLR 2, STMR 15, D 3, Ds 3, Ps 35, Pr 35,
    /// Nc -70, Nfor -64, LSTR 18, qdu 1.
    #[test]
    fn the_constants_are_those_of_the_default_values() {
        let (slr, rlr, stmr, d, ps, pr, nc, nfor, qdu): (f64, f64, f64, f64, f64, f64, f64, f64, f64) =
            (8.0, 2.0, 15.0, 3.0, 35.0, 35.0, -70.0, -64.0, 1.0);
        let lstr: f64 = stmr + d;
        let olr = slr + rlr;
        let nos = ps - slr - d - 100.0 + 0.004 * (ps - olr - d - 14.0).powi(2);
        let pre = pr + 10.0 * (1.0 + 10f64.powf((10.0 - lstr) / 10.0)).log10();
        let nor = rlr - 121.0 + pre + 0.008 * (pre - 35.0).powi(2);
        let nfo = nfor + rlr;
        let sum = 10f64.powf(nc / 10.0) + 10f64.powf(nos / 10.0) + 10f64.powf(nor / 10.0) + 10f64.powf(nfo / 10.0);
        let no = 10.0 * sum.log10();
        assert!((no - NO).abs() < 1e-3, "No {no}");
        let ro = 15.0 - 1.5 * (slr + no);
        assert!((ro - BASE.ro).abs() < 1e-3, "Ro {ro}");
        let xolr = olr + 0.2 * (64.0 + no - rlr);
        let iolr = 20.0 * ((1.0 + (xolr / 8.0).powi(8)).powf(1.0 / 8.0) - xolr / 8.0);
        let stmro = -10.0 * (10f64.powf(-stmr / 10.0) + (-0.0f64).exp() * 10f64.powf(-TELR / 10.0)).log10();
        let ist = 12.0 * (1.0 + ((stmro - 13.0) / 6.0).powi(8)).powf(1.0 / 8.0)
            - 28.0 * (1.0 + ((stmro + 1.0) / 19.4).powi(35)).powf(1.0 / 35.0)
            - 13.0 * (1.0 + ((stmro - 3.0) / 33.0).powi(13)).powf(1.0 / 13.0)
            + 29.0;
        let q = 37.0 - 15.0 * qdu.log10();
        let g = 1.07 + 0.258 * q + 0.0602 * q * q;
        let y = (ro - 100.0) / 15.0 + 46.0 / 8.4 - g / 9.0;
        let z = 46.0 / 30.0 - g / 40.0;
        let iq = 15.0 * (1.0 + 10f64.powf(y) + 10f64.powf(z)).log10();
        let is = iolr + ist + iq;
        assert!((is - BASE.is).abs() < 1e-3, "Is {is} (Iolr {iolr}, Ist {ist}, Iq {iq})");
    }
}
