//! The plot: CPU a packet against packets a second, one curve a line of the tables, as SVG.
//!
//! It draws medians with a bar from the least to the greatest; it knows no other shape.

use std::fmt::Write;

use super::figures::{Figures, Lines, Spread};
use super::relay::What;

/// A point of a curve: packets a second, CPU microseconds a packet.
type Point = (f64, Spread);

/// The plot of the first suite's loads.
pub(crate) fn svg(figures: &Figures, lines: &Lines) -> String {
    let curves: Vec<(What, Vec<Point>)> = lines
        .all
        .iter()
        .enumerate()
        .map(|(place, what)| (*what, points(figures, place)))
        .collect();
    let all = || curves.iter().flat_map(|(_, points)| points);
    let top = all().map(|(_, cpu)| cpu.max).fold(1.0, f64::max);
    let (left, right) = all().fold((f64::MAX, 10.0_f64), |(left, right), (rate, _)| {
        (left.min(*rate), right.max(*rate))
    });
    let frame = Frame {
        left: left.min(right / 10.0).log10().floor(),
        right: right.log10().ceil(),
        top: (top / 10.0).ceil() * 10.0,
    };
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"13\">\n<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#fff\"/>\n"
    );
    axes(&mut svg, &frame);
    for (place, (what, points)) in curves.iter().filter(|(_, points)| !points.is_empty()).enumerate() {
        curve(&mut svg, &frame, place, *what, points);
    }
    svg + "</svg>\n"
}

fn points(figures: &Figures, line: usize) -> Vec<Point> {
    let own = figures
        .samples
        .keys()
        .filter(|(suite, _, of)| *suite == 0 && *of == line);
    own.filter_map(|key| {
        let rate = figures.spread(*key, |sample| sample.packets_per_second)?.median;
        Some((rate, figures.spread(*key, |sample| sample.cpu_us)?))
    })
    .collect()
}

/// The part of the plane that is shown: powers of ten of the rate, and the highest cost.
struct Frame {
    left: f64,
    right: f64,
    top: f64,
}

impl Frame {
    fn x(&self, rate: f64) -> f64 {
        let share = (rate.log10() - self.left) / (self.right - self.left);
        MARGIN_LEFT + share * (WIDTH - MARGIN_LEFT - MARGIN_RIGHT)
    }

    fn y(&self, cpu_us: f64) -> f64 {
        HEIGHT - MARGIN_BELOW - cpu_us / self.top * (HEIGHT - MARGIN_BELOW - MARGIN_ABOVE)
    }
}

fn axes(svg: &mut String, frame: &Frame) {
    let (from, to) = (MARGIN_LEFT, WIDTH - MARGIN_RIGHT);
    let mut cost = 0.0;
    while cost <= frame.top {
        let y = frame.y(cost);
        let text_y = y + 4.0;
        element(svg, format_args!("<path d=\"M{from} {y:.1}H{to}\" stroke=\"#ddd\"/>"));
        element(
            svg,
            format_args!(
                "<text x=\"{}\" y=\"{text_y:.1}\" text-anchor=\"end\">{cost:.0}</text>",
                from - 8.0
            ),
        );
        cost += 10.0;
    }
    let (low, high) = (frame.y(0.0), frame.y(frame.top));
    for power in frame.left as i32..=frame.right as i32 {
        let rate = 10_f64.powi(power);
        let x = frame.x(rate);
        element(
            svg,
            format_args!("<path d=\"M{x:.1} {high:.1}V{low:.1}\" stroke=\"#ddd\"/>"),
        );
        element(
            svg,
            format_args!(
                "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{rate:.0}</text>",
                low + 18.0
            ),
        );
    }
    element(
        svg,
        format_args!(
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">packets a second</text>",
            f64::midpoint(from, to),
            low + 38.0
        ),
    );
    element(
        svg,
        format_args!(
            "<text x=\"16\" y=\"{:.1}\">CPU time a packet, microseconds; medians, least to greatest</text>",
            high - 14.0
        ),
    );
}

fn curve(svg: &mut String, frame: &Frame, place: usize, what: What, points: &[Point]) {
    let colour = COLOURS.get(place % COLOURS.len()).unwrap_or(&"#000");
    let dash = match what {
        What::Floor { .. } => " stroke-dasharray=\"5 4\"",
        What::Peer | What::Edge { .. } => "",
    };
    let path: Vec<String> = points
        .iter()
        .map(|(rate, cpu)| format!("{:.1} {:.1}", frame.x(*rate), frame.y(cpu.median)))
        .collect();
    element(
        svg,
        format_args!(
            "<path d=\"M{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"{dash}/>",
            path.join("L")
        ),
    );
    for (rate, cpu) in points {
        let (x, y) = (frame.x(*rate), frame.y(cpu.median));
        let (low, high) = (frame.y(cpu.min), frame.y(cpu.max));
        element(
            svg,
            format_args!("<path d=\"M{x:.1} {low:.1}V{high:.1}\" stroke=\"{colour}\"/>"),
        );
        element(
            svg,
            format_args!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\" fill=\"{colour}\"/>"),
        );
    }
    let (legend_x, legend_y) = (WIDTH - MARGIN_RIGHT - 300.0, MARGIN_ABOVE + 8.0 + 20.0 * place as f64);
    element(
        svg,
        format_args!("<path d=\"M{legend_x} {legend_y}h30\" stroke=\"{colour}\" stroke-width=\"2\"{dash}/>"),
    );
    element(
        svg,
        format_args!(
            "<text x=\"{}\" y=\"{}\">{}</text>",
            legend_x + 38.0,
            legend_y + 4.0,
            what.name()
        ),
    );
}

fn element(svg: &mut String, element: std::fmt::Arguments<'_>) {
    writeln!(svg, "{element}").expect("a String takes all");
}

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 480.0;
const MARGIN_LEFT: f64 = 56.0;
const MARGIN_RIGHT: f64 = 24.0;
const MARGIN_ABOVE: f64 = 44.0;
const MARGIN_BELOW: f64 = 56.0;

/// Told apart in any common form of colour blindness.
const COLOURS: [&str; 6] = ["#d55e00", "#0072b2", "#009e73", "#555555", "#999999", "#cc79a7"];
