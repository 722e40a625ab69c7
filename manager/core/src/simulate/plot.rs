//! Plot of a run as SVG: demand, capacity of each side, and missed demand.

use super::tally::Point;
use std::fmt::Write as _;

const WIDTH: f64 = 1_000.0;
const HEIGHT: f64 = 320.0;
const LEFT: f64 = 50.0;
const BOTTOM: f64 = 30.0;
const TOP: f64 = 30.0;
/// Upper bound for the points of a line.
const POINTS: usize = 1_000;

/// A line of the plot.
struct Line {
    name: String,
    colour: &'static str,
    values: Vec<f64>,
}

/// Draws the capacities of the sides over the demand of the first.
#[must_use]
pub fn plot(title: &str, sides: &[(&str, &[Point])]) -> String {
    const COLOURS: [&str; 2] = ["#1f77b4", "#d62728"];
    let Some((_, first)) = sides.first() else {
        return String::new();
    };
    let each = first.len().div_ceil(POINTS).max(1);
    let thin = |points: &[Point], value: fn(&Point) -> f64| -> Vec<f64> {
        points
            .chunks(each)
            .map(|chunk| chunk.iter().map(value).sum::<f64>() / chunk.len() as f64)
            .collect()
    };
    let mut lines = vec![Line {
        name: "demand".to_owned(),
        colour: "#999999",
        values: thin(first, |point| point.demand),
    }];
    for ((name, points), colour) in sides.iter().zip(COLOURS) {
        lines.push(Line {
            name: format!("{name}: capacity"),
            colour,
            values: thin(points, |point| point.capacity),
        });
    }
    let seconds = first.last().map_or(1, |point| point.second.max(1));
    drawn(title, &lines, seconds)
}

fn drawn(title: &str, lines: &[Line], seconds: u64) -> String {
    let highest = lines
        .iter()
        .flat_map(|line| &line.values)
        .copied()
        .fold(1.0, f64::max);
    let (width, height) = (WIDTH - LEFT, HEIGHT - BOTTOM - TOP);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>\n\
         <text x=\"{LEFT}\" y=\"18\">{}</text>\n",
        escaped(title)
    );
    for (at, line) in lines.iter().enumerate() {
        let count = line.values.len().max(2) - 1;
        let mut path = String::new();
        for (at, value) in line.values.iter().enumerate() {
            let x = LEFT + width * at as f64 / count as f64;
            let y = TOP + height * (1.0 - value / highest);
            _ = write!(path, "{x:.1},{y:.1} ");
        }
        _ = writeln!(
            svg,
            "<polyline fill=\"none\" stroke=\"{}\" points=\"{}\"/>\n\
             <text x=\"{}\" y=\"18\" fill=\"{}\">{}</text>",
            line.colour,
            path.trim_end(),
            400.0 + 180.0 * at as f64,
            line.colour,
            escaped(&line.name),
        );
    }
    let base = TOP + height;
    _ = writeln!(
        svg,
        "<line x1=\"{LEFT}\" y1=\"{base}\" x2=\"{WIDTH}\" y2=\"{base}\" stroke=\"black\"/>\n\
         <text x=\"4\" y=\"{}\">{highest:.0} cores</text>\n\
         <text x=\"{LEFT}\" y=\"{}\">0</text>\n\
         <text x=\"{}\" y=\"{}\">{:.1} h</text>\n</svg>",
        TOP + 4.0,
        HEIGHT - 8.0,
        WIDTH - 50.0,
        HEIGHT - 8.0,
        seconds as f64 / 3_600.0,
    );
    svg
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
