//! The rules of placement: each refuses machines to containers, whatever else is placed there.
//!
//! A rule sees only what a container [asks](Ask) and what a machine [is](Site). Every way to place
//! a container goes through [`broken`], so a rule that stands in [`RULES`] holds everywhere. What
//! containers use up (memory, CPU, ports, volumes) is in [`room`](super::room).

use super::{Exhausted, Node, Offer, Readiness, kind::Ask};
use micado_api::{InstanceId, Location, Platform};

/// A machine that is there, on its way or for rent, whatever is placed on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Site {
    /// `None` for a machine to rent.
    pub instance: Option<InstanceId>,
    /// Its tag, or its flavour.
    pub name: String,
    pub location: Location,
    pub readiness: Readiness,
    pub exhausted: Option<Exhausted>,
    /// `None` if unknown: nothing is refused for it then.
    pub platform: Option<Platform>,
}

/// A reason to refuse a machine.
pub(super) trait Rule: Sync {
    fn allows(&self, ask: &Ask<'_>, site: &Site) -> bool;
    /// The words that follow the machine's name if it does not.
    fn refusal(&self, site: &Site) -> String;
    /// True if a refusal may end while the machine is there.
    fn passes(&self) -> bool {
        false
    }
}

/// All rules. A machine that breaks several is refused by the first.
pub(super) const RULES: &[&dyn Rule] = &[
    &Located,
    &Up,
    &Open,
    &NotExhausted,
    &BoundThere,
    &NotAvoided,
    &RunsPlatform,
    #[cfg(test)]
    &Even,
];

/// The first rule that forbids this machine.
pub(super) fn broken(ask: &Ask<'_>, site: &Site) -> Option<&'static dyn Rule> {
    RULES.iter().copied().find(|rule| !rule.allows(ask, site))
}

/// True if this machine will never take the container, whatever becomes free.
pub(super) fn forbidden(ask: &Ask<'_>, site: &Site) -> bool {
    let mut rules = RULES.iter().filter(|rule| !rule.passes());
    rules.any(|rule| !rule.allows(ask, site))
}

impl Site {
    pub fn of_node(node: &Node) -> Self {
        Self {
            instance: Some(node.instance.clone()),
            name: node.tag.to_string(),
            location: node.location.clone(),
            readiness: node.readiness,
            exhausted: node.exhausted,
            platform: node.platform.clone(),
        }
    }

    /// A machine of this flavour, rented for a location.
    pub fn of_offer(offer: &Offer, location: &Location) -> Self {
        Self {
            instance: None,
            name: offer.flavour.to_string(),
            location: location.clone(),
            readiness: Readiness::Arriving,
            exhausted: None,
            platform: offer.platform.clone(),
        }
    }
}

/// A container runs on machines of its location.
struct Located;
impl Rule for Located {
    fn allows(&self, ask: &Ask<'_>, site: &Site) -> bool {
        site.location == *ask.location
    }
    fn refusal(&self, site: &Site) -> String {
        format!("is location {}", site.location)
    }
}

/// A machine must answer, or be on its way.
struct Up;
impl Rule for Up {
    fn allows(&self, _: &Ask<'_>, site: &Site) -> bool {
        site.readiness != Readiness::Down
    }
    fn refusal(&self, _: &Site) -> String {
        "is down".to_owned()
    }
    fn passes(&self) -> bool {
        true
    }
}

/// A machine that is drained takes nothing.
struct Open;
impl Rule for Open {
    fn allows(&self, _: &Ask<'_>, site: &Site) -> bool {
        site.readiness != Readiness::Draining
    }
    fn refusal(&self, _: &Site) -> String {
        "is draining".to_owned()
    }
    fn passes(&self) -> bool {
        true
    }
}

/// A machine without memory or disk space takes nothing new. A container whose volume is there has no
/// other place.
struct NotExhausted;
impl Rule for NotExhausted {
    fn allows(&self, ask: &Ask<'_>, site: &Site) -> bool {
        let is_bound = ask.bound_to.is_some() && ask.bound_to == site.instance.as_ref();
        site.exhausted.is_none() || is_bound
    }
    fn refusal(&self, site: &Site) -> String {
        let what = site.exhausted.map(|it| it.to_string());
        format!("has no {} left", what.unwrap_or_default())
    }
    fn passes(&self) -> bool {
        true
    }
}

/// A container with a volume runs where the volume is.
struct BoundThere;
impl Rule for BoundThere {
    fn allows(&self, ask: &Ask<'_>, site: &Site) -> bool {
        ask.bound_to.is_none() || ask.bound_to == site.instance.as_ref()
    }
    fn refusal(&self, _: &Site) -> String {
        "does not have its volume".to_owned()
    }
}

/// A container that moves away from a machine does not return to it in the same plan.
struct NotAvoided;
impl Rule for NotAvoided {
    fn allows(&self, ask: &Ask<'_>, site: &Site) -> bool {
        ask.avoid.is_none() || ask.avoid != site.instance.as_ref()
    }
    fn refusal(&self, _: &Site) -> String {
        "is the one it leaves".to_owned()
    }
    fn passes(&self) -> bool {
        true
    }
}

/// An image runs on the processors it is made for.
struct RunsPlatform;
impl Rule for RunsPlatform {
    fn allows(&self, ask: &Ask<'_>, site: &Site) -> bool {
        let platform = site.platform.as_ref();
        ask.platforms.is_empty() || platform.is_none_or(|it| ask.platforms.contains(it))
    }
    fn refusal(&self, site: &Site) -> String {
        let platform = site.platform.as_ref();
        platform.map_or_else(String::new, |platform| format!("is {platform}"))
    }
}

/// Refuses machines with a name that begins with `odd`: the property tests draw some, and so prove
/// that no algorithm passes a rule by.
#[cfg(test)]
struct Even;
#[cfg(test)]
impl Rule for Even {
    fn allows(&self, _: &Ask<'_>, site: &Site) -> bool {
        !site.name.starts_with("odd")
    }
    fn refusal(&self, _: &Site) -> String {
        "is odd".to_owned()
    }
}
