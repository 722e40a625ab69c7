//! Cron expressions of five fields, matched against a local time: minute, hour, day of the month,
//! month, day of the week.

use jiff::civil::Date;
use std::str::FromStr;

/// Minutes, hours, days, months and weekdays as sets of bits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cron {
    text: String,
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// A restricted day of the month and a restricted weekday match if either does.
    is_either: bool,
}

/// A refused expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not a cron expression: {problem}; write five fields such as `0 8 * * mon-fri`"
)]
pub struct CronError {
    text: String,
    problem: String,
}

const MONTHS: [&str; 12] = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// Limits and names of a field.
struct Field {
    name: &'static str,
    least: u8,
    most: u8,
    names: &'static [&'static str],
}

const FIELDS: [Field; 5] = [
    field("minute", 0, 59, &[]),
    field("hour", 0, 23, &[]),
    field("day", 1, 31, &[]),
    field("month", 1, 12, &MONTHS),
    // 7 is Sunday too.
    field("weekday", 0, 7, &WEEKDAYS),
];

const fn field(name: &'static str, least: u8, most: u8, names: &'static [&'static str]) -> Field {
    Field {
        name,
        least,
        most,
        names,
    }
}

impl Field {
    fn parse(&self, text: &str) -> Result<u64, String> {
        let mut set = 0;
        for part in text.split(',') {
            let (range, step) = match part.split_once('/') {
                Some((range, step)) => (range, self.step(step)?),
                None => (part, 1),
            };
            let (first, last) = match range.split_once('-') {
                _ if range == "*" => (self.least, self.most),
                Some((first, last)) => (self.number(first)?, self.number(last)?),
                None if part.contains('/') => (self.number(range)?, self.most),
                None => (self.number(range)?, self.number(range)?),
            };
            if first > last {
                return Err(format!("{} `{range}` runs backwards", self.name));
            }
            set |= (first..=last)
                .step_by(step)
                .fold(0, |set, number| set | 1_u64 << number);
        }
        Ok(set)
    }

    fn step(&self, text: &str) -> Result<usize, String> {
        match text.parse() {
            Ok(step) if step > 0 => Ok(step),
            _ => Err(format!(
                "step `{text}` of the {} is not positive",
                self.name
            )),
        }
    }

    fn number(&self, text: &str) -> Result<u8, String> {
        let name = text.to_ascii_lowercase();
        if let Some(at) = self.names.iter().position(|known| *known == name) {
            return Ok(at as u8 + self.least);
        }
        text.parse()
            .ok()
            .filter(|number| (self.least..=self.most).contains(number))
            .ok_or_else(|| {
                format!(
                    "{} `{text}` is not within {} and {}",
                    self.name, self.least, self.most
                )
            })
    }
}

impl FromStr for Cron {
    type Err = CronError;
    fn from_str(text: &str) -> Result<Self, CronError> {
        let refused = |problem: String| CronError {
            text: text.to_owned(),
            problem,
        };
        let words: Vec<&str> = text.split_whitespace().collect();
        let Ok(words) = <[&str; 5]>::try_from(words) else {
            return Err(refused("it has not five fields".to_owned()));
        };
        let mut sets = [0_u64; 5];
        for ((set, field), word) in sets.iter_mut().zip(&FIELDS).zip(words) {
            *set = field.parse(word).map_err(refused)?;
        }
        let [minutes, hours, days, months, mut weekdays] = sets;
        weekdays = (weekdays | weekdays >> 7) & 0x7f;
        Ok(Self {
            text: text.to_owned(),
            minutes,
            hours,
            days,
            months,
            weekdays,
            is_either: !words[2].starts_with('*') && !words[4].starts_with('*'),
        })
    }
}

impl Cron {
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns true if the expression matches at some time of this day.
    #[must_use]
    pub fn is_on(&self, date: Date) -> bool {
        let has = |set: u64, number: i8| set >> number & 1 == 1;
        let day = has(self.days, date.day());
        let weekday = has(self.weekdays, date.weekday().to_sunday_zero_offset());
        let is_day = match self.is_either {
            true => day || weekday,
            false => day && weekday,
        };
        has(self.months, date.month()) && is_day
    }

    /// Times of a day, as hour and minute, in order.
    pub fn times(&self) -> impl Iterator<Item = (i8, i8)> + '_ {
        (0..24)
            .filter(|hour| self.hours >> hour & 1 == 1)
            .flat_map(|hour| {
                (0..60)
                    .filter(|minute| self.minutes >> minute & 1 == 1)
                    .map(move |minute| (hour, minute))
            })
    }
}

#[cfg(test)]
mod tests;
