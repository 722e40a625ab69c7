//! Reads `cloudsetup.xml`. The layout is the original's, with child elements of our own that old
//! files lack: a flavour's `memory`, `cores`, `price` and `billing`; a cloud's `broker`, `endpoint`,
//! `credentials`, `ca`, `join_timeout`, `send`, `call_timeout`, `calls_per_second` and `extra`; an
//! application's `role`, `rent` and `extra`; and the section `locations`.

use crate::{
    Application, Billing, Bounds, BrokerKind, Cloud, CloudSetup, Extra, Flavour, Rent, Role, Wire,
    dom::{self, Element, Place},
};
use micado_api::{CloudName, FlavourName, Location, PricePerHour, Resources};
use std::{collections::HashMap, fmt, fs, io, path::Path, str::FromStr, time::Duration};

/// The longest accepted time: a day.
const LONGEST_SECONDS: u64 = 86_400;

/// Upper bound for the rate; above it the limit has no effect.
const MOST_CALLS: u32 = 1000;

/// Elements that `extra` may not set.
const OURS: [&str; 2] = ["name", "description"];

/// A refused `cloudsetup.xml`. Each message names place, thing, reason and correction.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The file is absent, or not readable by this user.
    #[error("{file}: cannot be read: {cause}: write it, or name another file")]
    Unreadable {
        /// The file as given.
        file: String,
        /// The system's error.
        cause: io::Error,
    },
    /// It is not XML.
    #[error("{at}: not well-formed XML: {cause}")]
    Malformed {
        /// Place of the mistake.
        at: At,
        /// The parser's message.
        cause: String,
    },
    /// A mandatory part is absent or empty.
    #[error("{at}: {thing} has no `{part}`: add <{part}>...</{part}>")]
    Missing {
        /// Start of the thing.
        at: At,
        /// The thing that lacks it.
        thing: String,
        /// The child element's name.
        part: &'static str,
    },
    /// Two things of one kind have the same name.
    #[error("{at}: {thing} is there twice (first in line {first}): rename or remove one")]
    Duplicate {
        /// Start of the second one.
        at: At,
        /// The duplicated thing.
        thing: String,
        /// The line of the first.
        first: usize,
    },
    /// A value that cannot be parsed.
    #[error("{at}: {thing}: {cause}")]
    Bad {
        /// Place of the value.
        at: At,
        /// The thing that the value belongs to.
        thing: String,
        /// Reason of the refusal, and the expected form.
        cause: String,
    },
}

/// A place in a file, shown as `file:line:column`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct At {
    file: String,
    place: Place,
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.place.line, self.place.column)
    }
}

impl CloudSetup {
    /// Reads the file. Relative `credentials` and `ca` are resolved beside it.
    ///
    /// # Errors
    /// If it cannot be read, is not XML, or is incomplete.
    pub fn read(path: &Path) -> Result<Self, SetupError> {
        let file = path.display().to_string();
        let text = fs::read_to_string(path).map_err(|cause| SetupError::Unreadable {
            file: file.clone(),
            cause,
        })?;
        let mut setup = Self::parse(&text, &file)?;
        let home = path.parent().unwrap_or(Path::new(""));
        for file in setup
            .clouds
            .iter_mut()
            .flat_map(|cloud| [&mut cloud.credentials, &mut cloud.authority])
            .flatten()
        {
            *file = home.join(&*file);
        }
        Ok(setup)
    }

    /// Parses the text of a file that errors call `name`.
    ///
    /// # Errors
    /// If it is not XML, or is incomplete.
    pub fn parse(text: &str, name: &str) -> Result<Self, SetupError> {
        let reader = Reader { file: name };
        let root = dom::parse(text).map_err(|error| SetupError::Malformed {
            at: reader.at(error.place),
            cause: error.cause,
        })?;
        let thing = format!("<{}>", root.name);
        let clouds = &reader.section(&root, &thing, "clouds")?.children;
        let applications = &reader.section(&root, &thing, "applications")?.children;
        let locations = root.child("locations");
        let locations = locations.map_or(&[][..], |section| &section.children);
        let setup = Self {
            clouds: clouds
                .iter()
                .map(|element| reader.cloud(element))
                .collect::<Result<_, _>>()?,
            applications: applications
                .iter()
                .map(|element| reader.application(element))
                .collect::<Result<_, _>>()?,
            locations: locations
                .iter()
                .map(|element| reader.bounds(element))
                .collect::<Result<_, _>>()?,
        };
        reader.unique(clouds, "name", |name| format!("cloud `{name}`"))?;
        reader.unique(applications, "name", |name| format!("application `{name}`"))?;
        reader.unique(locations, "name", |name| format!("location `{name}`"))?;
        Ok(setup)
    }
}

/// The file's name, for errors, and a parser for each thing in it.
struct Reader<'a> {
    file: &'a str,
}

impl Reader<'_> {
    fn cloud(&self, element: &Element) -> Result<Cloud, SetupError> {
        let name: CloudName = self.name(element, "a cloud", "name")?;
        let thing = format!("cloud `{name}`");
        let broker = self
            .word(
                element,
                &thing,
                "broker",
                &[
                    ("cloudbroker", BrokerKind::CloudBroker),
                    ("local", BrokerKind::Local),
                ],
            )?
            .unwrap_or_default();
        // A `local` cloud has no names on the wire: its own name stands for them.
        let named = |part| match (element.text_of(part), broker) {
            (None, BrokerKind::Local) => Ok(name.as_str()),
            _ => self.needed(element, &thing, part),
        };
        let sizes = &self.section(element, &thing, "flavours")?.children;
        let flavours = sizes
            .iter()
            .map(|element| self.flavour(element, &thing, broker))
            .collect::<Result<_, _>>()?;
        self.unique(sizes, "size", |size| format!("flavour `{size}` of {thing}"))?;
        Ok(Cloud {
            provider: named("provider")?.to_owned(),
            region: named("region")?.to_owned(),
            broker,
            endpoint: element.text_of("endpoint").map(str::to_owned),
            credentials: element.text_of("credentials").map(Into::into),
            authority: element.text_of("ca").map(Into::into),
            wire: self.wire(element, &thing)?,
            join_timeout: self.join_timeout(element, &thing, broker)?,
            flavours,
            name,
        })
    }

    fn join_timeout(
        &self,
        element: &Element,
        thing: &str,
        broker: BrokerKind,
    ) -> Result<Duration, SetupError> {
        let default = match broker {
            BrokerKind::CloudBroker => Duration::from_secs(600),
            BrokerKind::Local => Duration::from_secs(120),
        };
        Ok(self
            .seconds(element, thing, "join_timeout", "600")?
            .unwrap_or(default))
    }

    fn wire(&self, element: &Element, thing: &str) -> Result<Wire, SetupError> {
        let default = Wire::default();
        let calls = |text: &str| match text.parse() {
            Ok(calls) if (1..=MOST_CALLS).contains(&calls) => Ok(calls),
            _ => Err(format!(
                "calls_per_second `{text}` is not a number from 1 to {MOST_CALLS}"
            )),
        };
        Ok(Wire {
            names: self
                .word(element, thing, "send", &[("ids", false), ("names", true)])?
                .unwrap_or(default.names),
            call_timeout: self
                .seconds(element, thing, "call_timeout", "30")?
                .unwrap_or(default.call_timeout),
            calls_per_second: self
                .value(element, thing, "calls_per_second", calls)?
                .unwrap_or(default.calls_per_second),
            extra: self.extra(element, thing)?,
        })
    }

    /// Elements appended to the bodies of orders. They must not set the names by which machines are
    /// found again.
    fn extra(&self, element: &Element, thing: &str) -> Result<Vec<Extra>, SetupError> {
        let Some(extra) = element.child("extra") else {
            return Ok(Vec::new());
        };
        let bad = |at: &Element, cause: String| {
            Err(SetupError::Bad {
                at: self.at(at.place),
                thing: thing.to_owned(),
                cause,
            })
        };
        if extra.children.is_empty() {
            return bad(extra, "extra holds text: write elements, such as <extra><isolated>true</isolated></extra>".to_owned());
        }
        if let Some(ours) = extra
            .children
            .iter()
            .find(|child| OURS.iter().any(|name| child.is(name)))
        {
            return bad(
                ours,
                format!(
                    "extra may not set `{}`, by which machines are found again: remove it",
                    ours.name
                ),
            );
        }
        Ok(extra.children.iter().map(as_it_stands).collect())
    }

    fn seconds(
        &self,
        element: &Element,
        thing: &str,
        part: &'static str,
        example: &str,
    ) -> Result<Option<Duration>, SetupError> {
        self.value(element, thing, part, |text| match text.parse() {
            Ok(seconds) if (1..=LONGEST_SECONDS).contains(&seconds) => {
                Ok(Duration::from_secs(seconds))
            }
            _ => Err(format!(
                "{part} `{text}` is not a number of seconds such as `{example}`"
            )),
        })
    }

    fn flavour(
        &self,
        element: &Element,
        cloud: &str,
        broker: BrokerKind,
    ) -> Result<Flavour, SetupError> {
        let name: FlavourName = self.name(element, &format!("a flavour of {cloud}"), "size")?;
        let thing = format!("flavour `{name}` of {cloud}");
        let id = match (element.text_of("id"), broker) {
            (None, BrokerKind::Local) => name.as_str(),
            _ => self.needed(element, &thing, "id")?,
        };
        let size = match (
            self.value(element, &thing, "memory", parsed)?,
            self.value(element, &thing, "cores", parsed)?,
        ) {
            (Some(memory), Some(cpu)) => Some(Resources::new(memory, cpu)),
            (None, None) => None,
            (Some(_), None) => return Err(self.missing(element, &thing, "cores")),
            (None, Some(_)) => return Err(self.missing(element, &thing, "memory")),
        };
        let price = self
            .value(element, &thing, "price", parsed::<PricePerHour>)?
            .unwrap_or_default();
        let units = [
            ("second", Billing::Second),
            ("5m", Billing::FiveMinutes),
            ("hour", Billing::Hour),
        ];
        let billing = self.word(element, &thing, "billing", &units)?;
        Ok(Flavour {
            billing: billing.unwrap_or_default(),
            id: id.to_owned(),
            size,
            price,
            name,
        })
    }

    fn application(&self, element: &Element) -> Result<Application, SetupError> {
        let name = self.needed(element, "an application", "name")?.to_owned();
        let thing = format!("application `{name}`");
        let by_name = if name.to_ascii_lowercase().starts_with("proxy") {
            Role::Proxy
        } else {
            Role::Node
        };
        Ok(Application {
            software: self.needed(element, &thing, "sname")?.to_owned(),
            executable: self.needed(element, &thing, "executable")?.to_owned(),
            param_template: element.text_of("param_template").map(str::to_owned),
            role: self
                .word(
                    element,
                    &thing,
                    "role",
                    &[("node", Role::Node), ("proxy", Role::Proxy)],
                )?
                .unwrap_or(by_name),
            rent: self
                .word(
                    element,
                    &thing,
                    "rent",
                    &[("jobs", Rent::Jobs), ("instances", Rent::Instances)],
                )?
                .unwrap_or_default(),
            extra: self.extra(element, &thing)?,
            name,
        })
    }

    fn bounds(&self, element: &Element) -> Result<Bounds, SetupError> {
        let location: Location = self.name(element, "a location", "name")?;
        let thing = format!("location `{location}`");
        let min_machines = self.machines(element, &thing, "min_machines")?;
        let min_machines = min_machines.unwrap_or_default();
        let max_machines = self.machines(element, &thing, "max_machines")?;
        if let Some(max) = max_machines.filter(|max| *max < min_machines) {
            return Err(SetupError::Bad {
                at: self.at(element.place),
                thing,
                cause: format!("min_machines {min_machines} is above max_machines {max}"),
            });
        }
        Ok(Bounds {
            min_machines,
            max_machines,
            max_price: self.value(element, &thing, "max_price", parsed)?,
            headroom: self.value(element, &thing, "headroom", parsed)?,
            location,
        })
    }

    fn machines(
        &self,
        element: &Element,
        thing: &str,
        part: &'static str,
    ) -> Result<Option<u32>, SetupError> {
        self.value(element, thing, part, |text| {
            let number = text.parse();
            number.map_err(|_| format!("{part} `{text}` is not a number of machines such as `4`"))
        })
    }

    fn section<'e>(
        &self,
        element: &'e Element,
        thing: &str,
        part: &'static str,
    ) -> Result<&'e Element, SetupError> {
        element
            .child(part)
            .filter(|section| !section.children.is_empty())
            .ok_or_else(|| self.missing(element, thing, part))
    }

    fn needed<'e>(
        &self,
        element: &'e Element,
        thing: &str,
        part: &'static str,
    ) -> Result<&'e str, SetupError> {
        element
            .text_of(part)
            .ok_or_else(|| self.missing(element, thing, part))
    }

    /// A mandatory name that fits its type.
    fn name<T: FromStr<Err: fmt::Display>>(
        &self,
        element: &Element,
        thing: &str,
        part: &'static str,
    ) -> Result<T, SetupError> {
        self.value(element, thing, part, parsed)?
            .ok_or_else(|| self.missing(element, thing, part))
    }

    /// One of a few words, in any case.
    fn word<T: Copy>(
        &self,
        element: &Element,
        thing: &str,
        part: &'static str,
        words: &[(&str, T)],
    ) -> Result<Option<T>, SetupError> {
        self.value(element, thing, part, |text| {
            let known = || {
                words
                    .iter()
                    .map(|(word, _)| format!("`{word}`"))
                    .collect::<Vec<_>>()
                    .join(" or ")
            };
            let found = words
                .iter()
                .find(|(word, _)| word.eq_ignore_ascii_case(text));
            found
                .map(|(_, value)| *value)
                .ok_or_else(|| format!("{part} `{text}` is not known: write {}", known()))
        })
    }

    /// An optional value.
    fn value<T>(
        &self,
        element: &Element,
        thing: &str,
        part: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, SetupError> {
        let Some(child) = element.child(part) else {
            return Ok(None);
        };
        let bad = |cause| SetupError::Bad {
            at: self.at(child.place),
            thing: thing.to_owned(),
            cause,
        };
        parse(&child.text).map(Some).map_err(bad)
    }

    /// Refuses the second of two elements with the same `part` (known to be present).
    fn unique(
        &self,
        elements: &[Element],
        part: &str,
        thing: impl Fn(&str) -> String,
    ) -> Result<(), SetupError> {
        let mut first: HashMap<&str, Place> = HashMap::new();
        for element in elements {
            let name = element.text_of(part).unwrap_or_default();
            if let Some(first) = first.insert(name, element.place) {
                return Err(SetupError::Duplicate {
                    at: self.at(element.place),
                    thing: thing(name),
                    first: first.line,
                });
            }
        }
        Ok(())
    }

    fn missing(&self, element: &Element, thing: &str, part: &'static str) -> SetupError {
        SetupError::Missing {
            at: self.at(element.place),
            thing: thing.to_owned(),
            part,
        }
    }

    fn at(&self, place: Place) -> At {
        At {
            file: self.file.to_owned(),
            place,
        }
    }
}

fn as_it_stands(element: &Element) -> Extra {
    Extra {
        name: element.name.clone(),
        text: element.text.clone(),
        children: element.children.iter().map(as_it_stands).collect(),
    }
}

fn parsed<T: FromStr<Err: fmt::Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: T::Err| error.to_string())
}

#[cfg(test)]
mod tests;
