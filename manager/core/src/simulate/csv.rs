//! Demand from a CSV file: `seconds,demand`, one line per change.

/// A refused file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CsvError {
    #[error("line {0} is not `seconds,demand` with two numbers of 0 or more")]
    Line(usize),
    #[error("line {0} goes back in time")]
    Order(usize),
    #[error("no data: write lines `seconds,demand`, such as `0,4.5`")]
    Empty,
    #[error("{0} seconds are more than 400 days")]
    Long(u64),
}

/// Longest series, in seconds.
const LONGEST: f64 = 400.0 * 86_400.0;

/// Returns one value a second. Between two lines the demand changes linearly; a header line and
/// further columns are skipped.
///
/// # Errors
/// If a line has no two numbers, or times go back.
pub fn demand(text: &str) -> Result<Vec<f64>, CsvError> {
    let mut points: Vec<(f64, f64)> = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let Some(point) = point(line) else {
            match points.is_empty() && line.starts_with(|c: char| c.is_ascii_alphabetic()) {
                true => continue,
                false => return Err(CsvError::Line(at + 1)),
            }
        };
        if points.last().is_some_and(|(before, _)| point.0 <= *before) {
            return Err(CsvError::Order(at + 1));
        }
        points.push(point);
    }
    let (Some(first), Some(last)) = (points.first(), points.last()) else {
        return Err(CsvError::Empty);
    };
    let length = last.0 - first.0;
    if length > LONGEST {
        return Err(CsvError::Long(length as u64));
    }
    Ok(filled(&points))
}

fn point(line: &str) -> Option<(f64, f64)> {
    let mut cells = line.split(',').map(|cell| cell.trim().parse::<f64>());
    let point = (cells.next()?.ok()?, cells.next()?.ok()?);
    let is_sound = |number: f64| number.is_finite() && number >= 0.0;
    (is_sound(point.0) && is_sound(point.1)).then_some(point)
}

/// Returns one value a second for points of seconds and demand, in order of time. Between two points
/// the demand changes linearly.
#[must_use]
pub fn filled(points: &[(f64, f64)]) -> Vec<f64> {
    let (Some(first), Some(last)) = (points.first(), points.last()) else {
        return Vec::new();
    };
    let count = (last.0 - first.0) as usize + 1;
    let mut next = 0;
    (0..count)
        .map(|second| {
            let at = first.0 + second as f64;
            while next + 1 < points.len() && points[next + 1].0 <= at {
                next += 1;
            }
            let (from, low) = points[next];
            match points.get(next + 1) {
                Some((to, high)) => low + (high - low) * (at - from) / (to - from),
                None => low,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests;
