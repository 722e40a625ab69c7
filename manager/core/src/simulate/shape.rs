//! Shapes of demand over time, written `NAME[:key=value,...]`.

use super::random::Random;
use std::{collections::BTreeMap, f64::consts::TAU, str::FromStr};

/// Time for which the noise keeps its value, in seconds.
const NOISE_FOR: usize = 2;

const HOUR: f64 = 3_600.0;
const DAY: f64 = 24.0 * HOUR;

/// Form of a shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Steady,
    Ramp,
    Day,
    Flash,
    Saw,
    Batch,
    Bursts,
    Week,
    Steps,
}

/// Name, defaults of the keys (times in seconds, loads in cores), and a line for people.
struct Known {
    name: &'static str,
    form: Form,
    keys: &'static [(&'static str, f64)],
}

const KNOWN: [Known; 10] = [
    Known {
        name: "steady",
        form: Form::Steady,
        keys: &[("level", 20.0), ("hours", 6.0)],
    },
    Known {
        name: "ramp",
        form: Form::Ramp,
        keys: &[
            ("low", 4.0),
            ("high", 40.0),
            ("rise", HOUR),
            ("hold", HOUR),
            ("hours", 6.0),
        ],
    },
    Known {
        name: "day",
        form: Form::Day,
        keys: &[("mean", 22.0), ("swing", 16.0), ("hours", 48.0)],
    },
    Known {
        name: "flash",
        form: Form::Flash,
        keys: &[
            ("low", 8.0),
            ("high", 48.0),
            ("at", HOUR),
            ("rise", 30.0),
            ("fall", 1_200.0),
            ("hours", 6.0),
        ],
    },
    Known {
        name: "saw",
        form: Form::Saw,
        keys: &[
            ("low", 8.0),
            ("high", 32.0),
            ("rise", 1_200.0),
            ("hours", 6.0),
        ],
    },
    Known {
        name: "batch",
        form: Form::Batch,
        keys: &[
            ("low", 2.0),
            ("high", 26.0),
            ("for", 1_500.0),
            ("every", 7_200.0),
            ("hours", 12.0),
        ],
    },
    Known {
        name: "bursts",
        form: Form::Bursts,
        keys: &[
            ("low", 8.0),
            ("high", 24.0),
            ("calm", 900.0),
            ("burst", 300.0),
            ("hours", 24.0),
        ],
    },
    Known {
        name: "week",
        form: Form::Week,
        keys: &[
            ("mean", 22.0),
            ("swing", 16.0),
            ("weekend", 0.4),
            ("missing", 3.0),
            ("hours", 168.0),
        ],
    },
    Known {
        name: "steps",
        form: Form::Steps,
        keys: &[
            ("low", 1.0),
            ("every", 600.0),
            ("high", 64.0),
            ("hours", 2.0),
        ],
    },
    Known {
        name: "noise30",
        form: Form::Steady,
        keys: &[("level", 20.0), ("hours", 6.0), ("noise", 0.30)],
    },
];

/// Noise of the demand, relative, and its correlation from one value to the next.
const NOISE: [(&str, f64); 2] = [("noise", 0.08), ("lag", 0.0)];

/// The six shapes whose mean is reported.
pub const SIX: [&str; 6] = ["steady", "ramp", "day", "flash", "saw", "batch"];

/// A shape with its values.
#[derive(Debug, Clone, PartialEq)]
pub struct Shape {
    pub name: &'static str,
    form: Form,
    values: BTreeMap<&'static str, f64>,
}

/// A refused shape.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShapeError {
    #[error("load `{0}` is neither a file nor a shape; shapes are {list}", list = names().join(", "))]
    Name(String),
    #[error("shape `{shape}` has no value `{key}`; it has {keys}")]
    Key {
        shape: &'static str,
        key: String,
        keys: String,
    },
    #[error("`{0}` is not `key=number` with a number of 0 or more")]
    Value(String),
}

/// Names of all shapes.
#[must_use]
pub fn names() -> Vec<&'static str> {
    KNOWN.iter().map(|known| known.name).collect()
}

impl FromStr for Shape {
    type Err = ShapeError;
    fn from_str(text: &str) -> Result<Self, ShapeError> {
        let (name, rest) = text.split_once(':').unwrap_or((text, ""));
        let known = KNOWN
            .iter()
            .find(|known| known.name == name)
            .ok_or_else(|| ShapeError::Name(name.to_owned()))?;
        let mut values: BTreeMap<_, _> = NOISE.into_iter().collect();
        values.extend(known.keys.iter().copied());
        for pair in rest.split(',').filter(|pair| !pair.is_empty()) {
            let refused = || ShapeError::Value(pair.to_owned());
            let (key, number) = pair.split_once('=').ok_or_else(refused)?;
            let Some((_, value)) = values.iter_mut().find(|(known, _)| **known == key) else {
                return Err(ShapeError::Key {
                    shape: known.name,
                    key: key.to_owned(),
                    keys: values.into_keys().collect::<Vec<_>>().join(", "),
                });
            };
            *value = number
                .parse()
                .ok()
                .filter(|number: &f64| number.is_finite() && *number >= 0.0)
                .ok_or_else(refused)?;
        }
        Ok(Self {
            name: known.name,
            form: known.form,
            values,
        })
    }
}

impl Shape {
    fn value(&self, key: &str) -> f64 {
        self.values.get(key).copied().unwrap_or_default()
    }

    /// Demand in core-seconds per second, one value a second.
    #[must_use]
    pub fn demand(&self, seed: u64) -> Vec<f64> {
        let count = (self.value("hours").clamp(0.01, 24.0 * 400.0) * HOUR) as usize;
        let mut events = Random::new(seed ^ 0xb00b_5eed);
        let mut noise = Random::new(seed);
        let mut state = BurstState::default();
        let (sigma, lag) = (self.value("noise"), self.value("lag").min(0.999));
        let fresh = (1.0 - lag * lag).sqrt();
        let mut factor = noise.normal();
        (0..count)
            .map(|second| {
                if second > 0 && second % NOISE_FOR == 0 {
                    factor = lag * factor + fresh * noise.normal();
                }
                let base = self.base(second as f64, &mut state, &mut events);
                (base * (1.0 + sigma * factor)).max(0.0)
            })
            .collect()
    }

    fn base(&self, at: f64, state: &mut BurstState, random: &mut Random) -> f64 {
        let value = |key| self.value(key);
        let (low, high) = (value("low"), value("high"));
        match self.form {
            Form::Steady => value("level"),
            Form::Ramp => {
                let (rise, hold) = (value("rise").max(1.0), value("hold"));
                let up = (at / rise).min(1.0);
                let down = ((at - rise - hold) / rise).clamp(0.0, 1.0);
                low + (high - low) * (up - down)
            }
            Form::Day => daily(value("mean"), value("swing"), at),
            Form::Flash => {
                let since = at - value("at");
                let rise = value("rise").max(1.0);
                let fall = ((since - rise).max(0.0) / value("fall").max(1.0)).exp();
                low + (high - low) * (since / rise).clamp(0.0, 1.0) / fall
            }
            Form::Saw => {
                let rise = value("rise").max(1.0);
                low + (high - low) * (at % rise) / rise
            }
            Form::Batch => {
                // The batch comes in the middle of its period.
                let every = value("every").max(1.0);
                let since = at % every - every / 2.0;
                match (0.0..value("for")).contains(&since) {
                    true => high,
                    false => low,
                }
            }
            Form::Bursts => match state.is_high(at, value("calm"), value("burst"), random) {
                true => high,
                false => low,
            },
            Form::Week => {
                let day = (at / DAY).floor();
                let factor = match day {
                    _ if day == value("missing") => 0.0,
                    _ if day % 7.0 >= 5.0 => value("weekend"),
                    _ => 1.0,
                };
                daily(value("mean"), value("swing"), at) * factor
            }
            Form::Steps => {
                let step = (at / value("every").max(1.0)).floor();
                (low * step.min(60.0).exp2()).min(high)
            }
        }
    }
}

fn daily(mean: f64, swing: f64, at: f64) -> f64 {
    mean - swing * (TAU * at / DAY).cos()
}

/// Two states with exponential durations.
#[derive(Debug, Default)]
struct BurstState {
    is_high: bool,
    until: f64,
}

impl BurstState {
    fn is_high(&mut self, at: f64, calm: f64, burst: f64, random: &mut Random) -> bool {
        if self.until == 0.0 {
            self.until = random.exponential(calm).max(1.0);
        }
        while at >= self.until {
            self.is_high = !self.is_high;
            let mean = if self.is_high { burst } else { calm };
            self.until += random.exponential(mean).max(1.0);
        }
        self.is_high
    }
}

#[cfg(test)]
mod tests;
