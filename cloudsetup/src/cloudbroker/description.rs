//! The order in a job's description, for a cluster with a lost store.

use crate::Order;
use micado_api::CloudName;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// Characters allowed in a value unescaped.
const AS_IT_IS: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_');

/// The parts of `micado cloud=C tag=T location=L application=A flavour=F` that are present.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Description {
    pub(super) cloud: Option<String>,
    pub(super) tag: Option<String>,
    pub(super) location: Option<String>,
    pub(super) application: Option<String>,
    pub(super) flavour: Option<String>,
}

pub(super) fn describe(order: &Order, cloud: &CloudName) -> String {
    let words = [
        ("cloud", cloud.as_str()),
        ("tag", order.tag.as_str()),
        ("location", order.location.as_str()),
        ("application", &order.application),
        ("flavour", order.flavour.as_str()),
    ];
    words
        .iter()
        .fold("micado".to_owned(), |text, (key, value)| {
            format!("{text} {key}={}", utf8_percent_encode(value, AS_IT_IS))
        })
}

impl Description {
    /// Parses a description; nothing if it is not one of ours.
    pub(super) fn read(text: &str) -> Self {
        let mut description = Self::default();
        let mut words = text.split_whitespace();
        if words.next() != Some("micado") {
            return description;
        }
        for (key, value) in words.filter_map(|word| word.split_once('=')) {
            let value = percent_decode_str(value)
                .decode_utf8()
                .ok()
                .filter(|value| !value.is_empty())
                .map(String::from);
            match key {
                "cloud" => description.cloud = value,
                "tag" => description.tag = value,
                "location" => description.location = value,
                "application" => description.application = value,
                "flavour" => description.flavour = value,
                _ => {}
            }
        }
        description
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use micado_api::{ClusterId, FlavourName, InstanceId, Location, Tag};

    #[test]
    fn a_description_tells_what_was_ordered() {
        let order = Order {
            name: "micado-c-i".to_owned(),
            cluster: ClusterId::trusted("c"),
            instance: InstanceId::trusted("i"),
            tag: Tag::trusted("application01"),
            location: Location::trusted("application"),
            application: "Node = 100% é".to_owned(),
            flavour: FlavourName::trusted("small"),
            files: [].into(),
        };
        let text = describe(&order, &CloudName::trusted("zrh"));
        assert_eq!(
            text,
            "micado cloud=zrh tag=application01 location=application application=Node%20%3D%20100%25%20%C3%A9 flavour=small"
        );
        let said = |text: &str| Some(text.to_owned());
        let (cloud, tag, location) = (said("zrh"), said("application01"), said("application"));
        let expected = Description {
            cloud,
            tag,
            location,
            application: said("Node = 100% é"),
            flavour: said("small"),
        };
        assert_eq!(Description::read(&text), expected);
    }

    #[test]
    fn what_is_not_ours_says_nothing_and_what_is_garbled_says_the_rest() {
        for text in [
            "",
            "a job",
            "micadocloud=x",
            "cloud=x",
            "micado",
            "micado cloud= tag",
        ] {
            assert_eq!(Description::read(text), Description::default(), "{text}");
        }
        let partly = Description {
            tag: Some("t".to_owned()),
            ..Description::default()
        };
        assert_eq!(Description::read(" micado\n cloud=%ff tag=t flav"), partly);
    }
}
