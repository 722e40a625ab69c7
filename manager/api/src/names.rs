//! Names, each kind with its own type, so that one cannot be passed as another. A name that was
//! parsed or deserialized is well formed. A clone shares the text.

use serde::{Deserialize, Serialize, Serializer};
use std::{borrow::Borrow, fmt, str::FromStr, sync::Arc};

/// A refused name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} `{name}` {problem}")]
pub struct NameError {
    /// Kind of name.
    pub kind: &'static str,
    /// The name as given.
    pub name: String,
    /// Reason.
    pub problem: &'static str,
}

/// Allows letters, digits, `-`, `_` and `.`; the first is a letter or digit; 1 to `max` characters.
fn check(kind: &'static str, name: &str, max: usize) -> Result<(), NameError> {
    let refuse = |problem| {
        Err(NameError {
            kind,
            name: name.to_owned(),
            problem,
        })
    };
    match name.chars().next() {
        None => return refuse("is empty"),
        Some(first) if !first.is_ascii_alphanumeric() => {
            return refuse("must begin with a letter or a digit");
        }
        Some(_) => {}
    }
    if name.len() > max {
        return refuse("is too long");
    }
    if !name
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
    {
        return refuse("may hold only letters, digits, `-`, `_` and `.`");
    }
    Ok(())
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $kind:literal, $max:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, utoipa::ToSchema)]
        #[serde(try_from = "String")]
        #[schema(value_type = String)]
        pub struct $type(Arc<str>);

        impl $type {
            /// Takes a name that is known to be valid, such as one made by us.
            pub fn trusted(name: impl Into<Arc<str>>) -> Self {
                Self(name.into())
            }
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl FromStr for $type {
            type Err = NameError;
            fn from_str(name: &str) -> Result<Self, NameError> {
                check($kind, name, $max)?;
                Ok(Self(name.into()))
            }
        }
        impl TryFrom<String> for $type {
            type Error = NameError;
            fn try_from(name: String) -> Result<Self, NameError> {
                name.parse()
            }
        }
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
        impl Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

name!(
    /// The cluster's own id, made once; part of the name of everything we make.
    ClusterId, "cluster id", 32
);
name!(
    /// One rented machine, unique for ever: the part of its name after `micado-<cluster id>-`.
    InstanceId, "instance id", 32
);
name!(
    /// The name that people use for an instance (`application01`); unique among instances that are
    /// not gone.
    Tag, "tag", 40
);
name!(
    /// The role of an instance (`application`, `database` or any word); every container asks for
    /// one. Tags that the planner makes are a location and a number.
    Location, "location", 32
);
name!(
    /// A cloud as `cloudsetup.xml` names it.
    CloudName, "cloud", 64
);
name!(
    /// A machine size of a cloud.
    FlavourName, "flavour", 64
);
name!(
    /// A service, made by `launch`: `CLIENT_IMAGE`.
    ServiceName, "service", 128
);
name!(
    /// A container, one copy of a service: `CLIENT_IMAGE.N`.
    ContainerName, "container", 140
);

impl Default for Location {
    fn default() -> Self {
        Self::trusted("application")
    }
}

/// The name of a machine at its broker, unique for ever: `micado-<cluster id>-<instance>`. Machines
/// with other names, or with another cluster id, are foreign.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MachineName {
    /// The cluster that rented it.
    pub cluster: ClusterId,
    /// The instance. Instance ids that we make hold no `-`: the part after the last one is the
    /// instance.
    pub instance: InstanceId,
}

impl MachineName {
    /// The name of this instance's machine.
    #[must_use]
    pub fn new(cluster: &ClusterId, instance: &InstanceId) -> Self {
        Self {
            cluster: cluster.clone(),
            instance: instance.clone(),
        }
    }
}

impl fmt::Display for MachineName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "micado-{}-{}", self.cluster, self.instance)
    }
}

impl FromStr for MachineName {
    type Err = NameError;
    fn from_str(name: &str) -> Result<Self, NameError> {
        let refuse = || NameError {
            kind: "machine name",
            name: name.to_owned(),
            problem: "is not `micado-CLUSTER-INSTANCE`",
        };
        let (cluster, instance) = name
            .strip_prefix("micado-")
            .and_then(|rest| rest.rsplit_once('-'))
            .ok_or_else(refuse)?;
        Ok(Self {
            cluster: cluster.parse()?,
            instance: instance.parse()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        assert!("application01".parse::<Tag>().is_ok());
        assert_eq!(
            "".parse::<Tag>().expect_err("empty").to_string(),
            "tag `` is empty"
        );
        assert_eq!(
            "-x".parse::<Tag>().expect_err("dash").to_string(),
            "tag `-x` must begin with a letter or a digit"
        );
        assert!("a b".parse::<Location>().is_err());
        assert!("a".repeat(33).parse::<Location>().is_err());
    }

    #[test]
    fn a_name_is_checked_when_it_is_deserialized() {
        let good: Tag = serde_json::from_str(r#""application01""#).expect("a name");
        assert_eq!(good, Tag::trusted("application01"));
        assert_eq!(
            serde_json::to_string(&good).expect("JSON"),
            r#""application01""#
        );
        let error = serde_json::from_str::<Tag>(r#""a b""#).expect_err("a space");
        assert!(error.to_string().starts_with("tag `a b` may hold only"));
    }

    #[test]
    fn machine_names_are_read_as_they_are_written() {
        for (cluster, instance) in [("k3v9", "0a1b2c3d"), ("test-1-23", "i1")] {
            let name =
                MachineName::new(&ClusterId::trusted(cluster), &InstanceId::trusted(instance));
            assert_eq!(name.to_string(), format!("micado-{cluster}-{instance}"));
            assert_eq!(name.to_string().parse(), Ok(name));
        }
        for other in [
            "",
            "micado-",
            "micado-k3v9",
            "micado-k3v9-",
            "micado--i1",
            "mine-k3v9-i1",
            "micado-k3v9-i 1",
        ] {
            assert!(other.parse::<MachineName>().is_err(), "{other}");
        }
    }
}
