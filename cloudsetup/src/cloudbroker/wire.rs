//! The bodies of orders: elements in the broker's order, with additions from `cloudsetup.xml`.

use crate::{Application, Extra, dom::same_name};
use quick_xml::escape::escape;
use std::fmt::Write;

/// A body in progress.
pub(super) struct Document<'a> {
    root: &'static str,
    elements: Vec<(&'a str, String)>,
}

impl<'a> Document<'a> {
    pub(super) fn new(root: &'static str) -> Self {
        Self {
            root,
            elements: Vec::new(),
        }
    }

    pub(super) fn with(mut self, name: &'a str, value: impl Into<String>) -> Self {
        self.elements.push((name, value.into()));
        self
    }

    /// The complete body, with additions of the cloud and then of the application. A later value
    /// replaces an earlier one.
    pub(super) fn finish(self, cloud: &[Extra], application: &[Extra]) -> String {
        let overridden =
            |name: &str, by: &[Extra]| by.iter().any(|extra| same_name(&extra.name, name));
        let mut text = format!("<{}>", self.root);
        for (name, value) in self
            .elements
            .iter()
            .filter(|(name, _)| !overridden(name, cloud) && !overridden(name, application))
        {
            let _ = write!(text, "<{name}>{}</{name}>", escape(value.as_str()));
        }
        cloud
            .iter()
            .filter(|extra| !overridden(&extra.name, application))
            .chain(application)
            .for_each(|extra| append(&mut text, extra));
        text + "</" + self.root + ">"
    }
}

fn append(text: &mut String, extra: &Extra) {
    let name = &extra.name;
    let _ = write!(text, "<{name}>{}", escape(extra.text.as_str()));
    extra.children.iter().for_each(|child| append(text, child));
    let _ = write!(text, "</{name}>");
}

/// The arguments of an application's executable, if it takes any: the template with the location
/// for its `%s` (and `%` for `%%`, as the original's formatting had it).
pub(super) fn arguments(application: &Application, location: &str) -> Option<String> {
    let template = application.param_template.as_deref()?;
    let parts: Vec<_> = template
        .split("%%")
        .map(|part| part.replace("%s", location))
        .collect();
    Some(parts.join("%"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Rent, Role};

    fn extra(name: &str, text: &str) -> Extra {
        Extra {
            name: name.to_owned(),
            text: text.to_owned(),
            children: Vec::new(),
        }
    }

    #[test]
    fn extras_come_after_ours_and_instead_of_them() {
        let document = || {
            Document::new("job")
                .with("name", "a & <b>")
                .with("nodes", "1")
                .with("no-execution", "false")
        };
        assert_eq!(
            document().finish(&[], &[]),
            "<job><name>a &amp; &lt;b&gt;</name><nodes>1</nodes><no-execution>false</no-execution></job>"
        );
        let nested = Extra {
            children: vec![extra("dns_name", "x&y")],
            ..extra("dns_names", "")
        };
        let whole = document().finish(
            &[extra("isolated", "true"), extra("no_execution", "true")],
            &[nested, extra("isolated", "")],
        );
        let expected = "<job><name>a &amp; &lt;b&gt;</name><nodes>1</nodes><no_execution>true</no_execution><dns_names><dns_name>x&amp;y</dns_name></dns_names><isolated></isolated></job>";
        assert_eq!(whole, expected);
    }

    #[test]
    fn arguments_are_the_template_with_the_location() {
        let arguments = |template: Option<&str>| {
            let application = Application {
                name: String::new(),
                software: String::new(),
                executable: String::new(),
                param_template: template.map(str::to_owned),
                role: Role::Node,
                rent: Rent::Jobs,
                extra: Vec::new(),
            };
            super::arguments(&application, "database")
        };
        assert_eq!(
            arguments(Some("-start %s")).as_deref(),
            Some("-start database")
        );
        assert_eq!(
            arguments(Some("100%% %s%%s")).as_deref(),
            Some("100% database%s")
        );
        assert_eq!(
            (arguments(Some("-start")).as_deref(), arguments(None)),
            (Some("-start"), None)
        );
    }
}
