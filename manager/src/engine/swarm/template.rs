//! Literal text in the fields that Swarm expands as Go templates: a variable's value, a mount's
//! source and target, volume labels, the host name, network aliases (swarmkit,
//! `template/expand.go`). Unescaped, `{{.Service.Labels}}` would show a container our records.

/// Returns a template that expands to exactly this text.
pub(super) fn literal(text: &str) -> String {
    text.replace("{{", r#"{{"{{"}}"#)
}

/// Escapes a variable the way Swarm expands it: the value only, never the key.
pub(super) fn variable(pair: &str) -> String {
    match pair.split_once('=') {
        Some((key, value)) => format!("{key}={}", literal(value)),
        None => pair.to_owned(),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Expands a template that contains only string literals as actions, as Go's text/template
    /// does; `None` for any other action, which would read data.
    pub(in crate::engine::swarm) fn expanded(template: &str) -> Option<String> {
        let (mut output, mut rest) = (String::new(), template);
        while let Some((text, action)) = rest.split_once("{{") {
            let (string, after) = action.strip_prefix('"')?.split_once('"')?;
            if string.contains(['\\', '\n']) {
                return None;
            }
            output += text;
            output += string;
            rest = after.strip_prefix("}}")?;
        }
        Some(output + rest)
    }

    #[test]
    fn what_is_typed_arrives() {
        for text in [
            "{{json .Msg}}",
            "{{.Service.Labels}}",
            "{{- .Node.Hostname -}}",
            "{{/* */}}",
            "{{",
            "}}",
            "{{{{",
            "{{{x}}}",
            "{ {",
            r#"{{"{{"}}"#,
            "`{{`",
        ] {
            assert_eq!(expanded(&literal(text)).as_deref(), Some(text));
        }
        assert_eq!(variable("A{{=b={{c"), r#"A{{=b={{"{{"}}c"#);
        assert_eq!(variable("A{{"), "A{{");
    }

    #[test]
    fn expansion_refuses_actions() {
        for template in ["{{.Task.ID}}", "{{", r#"{{"a" | env}}"#, "{{{{\"}}"] {
            assert_eq!(expanded(template), None, "{template}");
        }
    }

    proptest! {
        #[test]
        fn any_text_arrives(text in r#"([{}"`\\. \n-]|\{\{|\}\}|[a-zé]){0,24}"#) {
            prop_assert_eq!(expanded(&literal(&text)), Some(text));
        }
    }
}
