//! Quantities, each a type with its unit: memory, CPU, price, time.

use serde::{Deserialize, Serialize};
use std::{
    fmt,
    ops::{Add, AddAssign, Sub},
    str::FromStr,
};

/// An amount of memory in bytes. Written `256M` (MiB); the suffixes K, M, G and T are powers of
/// 1024, without one it is bytes.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    Serialize,
    Deserialize,
    utoipa::ToSchema,
)]
#[serde(transparent)]
pub struct MemoryBytes(pub u64);

/// An amount of CPU in billionths of a core. Written in cores: `0.25`.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    Serialize,
    Deserialize,
    utoipa::ToSchema,
)]
#[serde(transparent)]
pub struct NanoCpus(pub u64);

/// A price per hour in millionths of the cloud's currency unit. Written `0.05`.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    Serialize,
    Deserialize,
    utoipa::ToSchema,
)]
#[serde(transparent)]
pub struct PricePerHour(pub u64);

/// A moment: milliseconds since the Unix epoch, UTC.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    Serialize,
    Deserialize,
    utoipa::ToSchema,
)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

/// A number with two decimals: a load average, a share in percent. `1.25` in JSON.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    Serialize,
    Deserialize,
    utoipa::ToSchema,
)]
#[serde(from = "f64", into = "f64")]
#[schema(value_type = f64)]
pub struct Hundredths(pub u32);

impl From<f64> for Hundredths {
    fn from(number: f64) -> Self {
        // Negative numbers and NaN become 0, huge ones the largest value.
        Self((number * 100.0).round() as u32)
    }
}

impl From<Hundredths> for f64 {
    fn from(number: Hundredths) -> Self {
        Self::from(number.0) / 100.0
    }
}

impl fmt::Display for Hundredths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{:.2}", f64::from(*self)))
    }
}

/// Memory and CPU together: the size of a machine, or a container's reservation.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, utoipa::ToSchema,
)]
pub struct Resources {
    /// Memory in bytes.
    pub memory: MemoryBytes,
    /// CPU in billionths of a core.
    pub cpu: NanoCpus,
}

/// A refused quantity; the message names the text and the expected form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} `{text}` {problem}")]
pub struct QuantityError {
    what: &'static str,
    text: String,
    problem: &'static str,
}

const MIB: u64 = 1 << 20;

impl MemoryBytes {
    /// From MiB.
    #[must_use]
    pub const fn mib(mib: u64) -> Self {
        Self(mib * MIB)
    }
    /// `self - other`, not below zero.
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl NanoCpus {
    /// From thousandths of a core.
    #[must_use]
    pub const fn millis(millis: u64) -> Self {
        Self(millis * 1_000_000)
    }
    /// From whole cores.
    #[must_use]
    pub const fn cores(cores: u64) -> Self {
        Self(cores * 1_000_000_000)
    }
    /// `self - other`, not below zero.
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl Timestamp {
    /// The time from `earlier` to `self`; zero if `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> std::time::Duration {
        std::time::Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
    /// The moment later by `after`.
    #[must_use]
    pub fn plus(self, after: std::time::Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(after.as_millis()).unwrap_or(u64::MAX)),
        )
    }
}

impl Resources {
    /// This much memory and CPU.
    #[must_use]
    pub const fn new(memory: MemoryBytes, cpu: NanoCpus) -> Self {
        Self { memory, cpu }
    }
    /// True if both fit into `room`.
    #[must_use]
    pub fn fits_in(&self, room: &Self) -> bool {
        self.memory <= room.memory && self.cpu <= room.cpu
    }
    /// `self - other`, neither below zero.
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self {
            memory: self.memory.saturating_sub(other.memory),
            cpu: self.cpu.saturating_sub(other.cpu),
        }
    }
}

/// Sums stop at the largest number: what wrapped around would look like room.
impl Add for Resources {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self {
            memory: MemoryBytes(self.memory.0.saturating_add(other.memory.0)),
            cpu: NanoCpus(self.cpu.0.saturating_add(other.cpu.0)),
        }
    }
}
impl AddAssign for Resources {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}
impl Sub for Timestamp {
    type Output = std::time::Duration;
    fn sub(self, earlier: Self) -> std::time::Duration {
        self.since(earlier)
    }
}

impl FromStr for MemoryBytes {
    type Err = QuantityError;
    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let refuse = |problem| QuantityError {
            what: "memory",
            text: text.to_owned(),
            problem,
        };
        let expected = "is not an amount such as `256M` or `1G`";
        let trimmed = text.trim();
        let upper = trimmed.to_ascii_uppercase();
        let stem = upper
            .strip_suffix("IB")
            .or_else(|| upper.strip_suffix('B'))
            .unwrap_or(&upper)
            .trim_end();
        let (digits, unit) = match stem.chars().last() {
            Some('K') => (&stem[..stem.len() - 1], 1 << 10),
            Some('M') => (&stem[..stem.len() - 1], MIB),
            Some('G') => (&stem[..stem.len() - 1], 1 << 30),
            Some('T') => (&stem[..stem.len() - 1], 1 << 40),
            _ => (stem, 1),
        };
        if digits.starts_with('-') {
            return Err(refuse("is negative"));
        }
        let amount = scaled(digits.trim_end(), unit).ok_or_else(|| refuse(expected))?;
        if amount == 0 {
            Err(refuse("is zero"))
        } else {
            Ok(Self(amount))
        }
    }
}

impl FromStr for NanoCpus {
    type Err = QuantityError;
    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let refuse = |problem| QuantityError {
            what: "cpu",
            text: text.to_owned(),
            problem,
        };
        if text.trim().starts_with('-') {
            return Err(refuse("is negative"));
        }
        let amount = scaled(text.trim(), 1_000_000_000)
            .ok_or_else(|| refuse("is not a number of cores such as `0.25` or `2`"))?;
        if amount == 0 {
            Err(refuse("is zero"))
        } else {
            Ok(Self(amount))
        }
    }
}

impl FromStr for PricePerHour {
    type Err = QuantityError;
    fn from_str(text: &str) -> Result<Self, QuantityError> {
        scaled(text.trim(), 1_000_000)
            .map(Self)
            .ok_or_else(|| QuantityError {
                what: "price",
                text: text.to_owned(),
                problem: "is not a number such as `0.05`",
            })
    }
}

/// A decimal number times `unit`, rounded down; `None` if it is not a number or too large.
fn scaled(digits: &str, unit: u64) -> Option<u64> {
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() && fraction.is_empty()
        || !(whole.bytes().chain(fraction.bytes())).all(|b| b.is_ascii_digit())
    {
        return None;
    }
    let whole: u64 = if whole.is_empty() {
        0
    } else {
        whole.parse().ok()?
    };
    let fraction = &fraction[..fraction.len().min(12)];
    let part = if fraction.is_empty() {
        0
    } else {
        u128::from(fraction.parse::<u64>().ok()?) * u128::from(unit)
            / 10_u128.pow(u32::try_from(fraction.len()).ok()?)
    };
    whole
        .checked_mul(unit)?
        .checked_add(u64::try_from(part).ok()?)
}

impl fmt::Display for MemoryBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&match self.0 {
            bytes if bytes >= 10 << 30 => format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30)),
            bytes if bytes.is_multiple_of(1 << 30) && bytes > 0 => format!("{} GiB", bytes >> 30),
            bytes if bytes >= MIB => format!("{} MiB", bytes / MIB),
            bytes if bytes >= 1 << 10 => format!("{} KiB", bytes >> 10),
            bytes => format!("{bytes} B"),
        })
    }
}
impl fmt::Display for NanoCpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}", (self.0 as f64 / 1e7).round() / 100.0))
    }
}
impl fmt::Display for PricePerHour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{:.4}", self.0 as f64 / 1e6))
    }
}
impl fmt::Display for Resources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} and {} cores", self.memory, self.cpu)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_do_not_wrap() {
        let most = Resources::new(MemoryBytes(u64::MAX), NanoCpus(u64::MAX));
        let mut sum = most + Resources::new(MemoryBytes(1), NanoCpus(1));
        sum += most;
        assert_eq!(sum, most);
    }

    #[test]
    fn memory_is_read_and_shown() {
        assert_eq!("256M".parse(), Ok(MemoryBytes::mib(256)));
        assert_eq!("1.5g".parse(), Ok(MemoryBytes::mib(1536)));
        assert_eq!("512MiB".parse(), Ok(MemoryBytes::mib(512)));
        assert_eq!("1048576".parse(), Ok(MemoryBytes::mib(1)));
        assert_eq!(
            "0".parse::<MemoryBytes>().expect_err("zero").to_string(),
            "memory `0` is zero"
        );
        assert_eq!(
            "-1".parse::<MemoryBytes>()
                .expect_err("negative")
                .to_string(),
            "memory `-1` is negative"
        );
        let message = "10X".parse::<MemoryBytes>().expect_err("unit").to_string();
        assert_eq!(
            message,
            "memory `10X` is not an amount such as `256M` or `1G`"
        );
        assert!("99999999999T".parse::<MemoryBytes>().is_err());
        assert_eq!(MemoryBytes::mib(210).to_string(), "210 MiB");
        assert_eq!(MemoryBytes::mib(2048).to_string(), "2 GiB");
    }

    #[test]
    fn cpu_and_price_are_read_and_shown() {
        assert_eq!("0.25".parse(), Ok(NanoCpus::millis(250)));
        assert_eq!("2".parse(), Ok(NanoCpus::cores(2)));
        assert!("-1".parse::<NanoCpus>().is_err());
        assert_eq!(NanoCpus::millis(250).to_string(), "0.25");
        assert_eq!("0.05".parse(), Ok(PricePerHour(50_000)));
        assert_eq!(PricePerHour(50_000).to_string(), "0.0500");
    }
}
