//! Plot: how long what took, as curves in an SVG.
//!
//! Each curve says for a time which part of the nodes had it by then. Times
//! span from a packet to a suspicion, so their axis is logarithmic.

use std::fmt::Write;
use std::time::Duration;

use super::Figures;

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 420.0;
const LEFT: f64 = 60.0;
const RIGHT: f64 = 190.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 50.0;
/// Told apart by people who confuse red and green, too (Okabe and Ito).
const COLOURS: [&str; 5] = ["#0072b2", "#56b4e9", "#009e73", "#d55e00", "#cc79a7"];
/// More points of a curve than this nobody sees.
const POINTS_MAX: usize = 400;

/// The distributions of these figures.
pub fn plot(figures: &Figures) -> String {
    let curves = [
        ("all start", &figures.join),
        ("newcomers", &figures.newcomers),
        ("events", &figures.spread),
        ("deaths", &figures.detect),
        ("leaves", &figures.leave),
    ];
    let all = || {
        curves
            .iter()
            .flat_map(|(_, times)| times.iter())
            .map(|time| ms(*time))
    };
    let lowest = all().fold(f64::INFINITY, f64::min).max(0.01);
    let highest = all().fold(lowest * 10.0, f64::max);
    let axis = Axis {
        from: lowest.log10().floor() as i32,
        to: highest.log10().ceil() as i32,
    };
    let title = format!("{} nodes, seed {}", figures.nodes, figures.seed);
    let mut svg = frame(&title, &axis);
    for ((name, times), (row, colour)) in curves.iter().zip(COLOURS.iter().enumerate()) {
        if !times.is_empty() {
            curve(&mut svg, times, &axis, colour);
            let (x, y) = (WIDTH - RIGHT + 16.0, TOP + 14.0 + 22.0 * row as f64);
            line(
                &mut svg,
                format_args!(
                    r#"<rect x="{x}" y="{}" width="14" height="4" fill="{colour}"/><text x="{}" y="{y}">{name}</text>"#,
                    y - 6.0,
                    x + 22.0
                ),
            );
        }
    }
    svg.push_str("</svg>\n");
    svg
}

/// Powers of ten between two.
struct Axis {
    from: i32,
    to: i32,
}

impl Axis {
    fn x(&self, ms: f64) -> f64 {
        let span = f64::from(self.to - self.from);
        let part = (ms.max(f64::MIN_POSITIVE).log10() - f64::from(self.from)) / span;
        LEFT + part.clamp(0.0, 1.0) * (WIDTH - LEFT - RIGHT)
    }
}

fn y(part: f64) -> f64 {
    HEIGHT - BOTTOM - part * (HEIGHT - TOP - BOTTOM)
}

fn frame(title: &str, axis: &Axis) -> String {
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         font-family=\"sans-serif\" font-size=\"13\" fill=\"#333\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text x=\"{LEFT}\" y=\"24\" font-size=\"15\">{title}</text>\n"
    );
    let (bottom, right) = (y(0.0), WIDTH - RIGHT);
    for power in axis.from..=axis.to {
        let x = axis.x(10f64.powi(power));
        let label = if power >= 3 {
            format!("{} s", 10f64.powi(power - 3))
        } else {
            format!("{} ms", 10f64.powi(power))
        };
        line(
            &mut svg,
            format_args!(
                r##"<path d="M{x:.1} {TOP}V{bottom:.1}" stroke="#ddd"/><text x="{x:.1}" y="{:.1}" text-anchor="middle">{label}</text>"##,
                bottom + 20.0
            ),
        );
    }
    for percent in [0, 25, 50, 75, 100] {
        let y = y(f64::from(percent) / 100.0);
        line(
            &mut svg,
            format_args!(
                r##"<path d="M{LEFT} {y:.1}H{right:.1}" stroke="#ddd"/><text x="{:.1}" y="{:.1}" text-anchor="end">{percent} %</text>"##,
                LEFT - 8.0,
                y + 4.0
            ),
        );
    }
    svg
}

/// Steps up at each time that somebody took.
fn curve(svg: &mut String, sorted: &[Duration], axis: &Axis, colour: &str) {
    let mut path = format!("M{:.1} {:.1}", axis.x(ms(sorted[0])), y(0.0));
    let stride = sorted.len().div_ceil(POINTS_MAX);
    let last = sorted.len() - 1;
    let places = (0..last).step_by(stride).chain([last]);
    for place in places {
        let part = (place + 1) as f64 / sorted.len() as f64;
        // Writing to a string does not fail.
        let _ = write!(path, "H{:.1}V{:.1}", axis.x(ms(sorted[place])), y(part));
    }
    line(
        svg,
        format_args!(r#"<path d="{path}" fill="none" stroke="{colour}" stroke-width="2"/>"#),
    );
}

fn line(svg: &mut String, text: std::fmt::Arguments<'_>) {
    let _ = writeln!(svg, "{text}");
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_measured_has_a_curve_that_ends_at_the_top_where_the_last_was() {
        let figures = Figures {
            nodes: 3,
            detect: [10, 100, 1_000].map(Duration::from_millis).into(),
            ..Figures::default()
        };
        let svg = plot(&figures);
        assert!(svg.contains("deaths") && !svg.contains("leaves"));
        assert_eq!(svg.matches("stroke-width=\"2\"").count(), 1);
        let axis = Axis { from: 1, to: 3 };
        let end = format!("H{:.1}V{TOP:.1}\"", axis.x(1_000.0));
        assert!(svg.contains(&end), "{end} {svg}");
    }

    #[test]
    fn nothing_measured_is_an_empty_frame() {
        assert!(plot(&Figures::default()).ends_with("</svg>\n"));
    }
}
