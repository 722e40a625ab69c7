//! Events of a build, as text for people.

use micado_api::BuildEvent;

/// Events so far.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// Builds ahead, as reported last.
    ahead: Option<usize>,
}

impl Report {
    /// Text for an event; `None` for one that tells nothing new. The last events have none: they are
    /// the result.
    pub(super) fn text(&mut self, event: &BuildEvent) -> Option<String> {
        match event {
            BuildEvent::Queued { ahead } => {
                let before = self.ahead.replace(*ahead);
                let builds = if *ahead == 1 { "build" } else { "builds" };
                (before != Some(*ahead)).then(|| format!("waiting: {ahead} {builds} before it"))
            }
            BuildEvent::Started { builder, engine } => {
                Some(format!("engine {engine}, builder `{builder}`"))
            }
            BuildEvent::Step { step, steps, text } => Some(match steps {
                Some(steps) => format!("step {step}/{steps}: {text}"),
                None => format!("step {step}: {text}"),
            }),
            BuildEvent::Cached { step } => Some(format!("step {step}: cached")),
            BuildEvent::Output { step: 0, text } => Some(text.clone()),
            BuildEvent::Output { step, text } => Some(format!("{step:>4} | {text}")),
            BuildEvent::Pushing { image } => Some(format!("pushing `{image}`")),
            BuildEvent::Built(_) | BuildEvent::Failed { .. } => None,
        }
    }
}

/// The failed instruction and its last lines, if one failed.
pub(super) fn failure(step: Option<&str>, output: &[String]) -> Vec<String> {
    let Some(step) = step else {
        return Vec::new();
    };
    let lines = output.iter().map(|line| format!("   | {line}"));
    [format!("failed: {step}")]
        .into_iter()
        .chain(lines)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_is_shown_line_by_line() {
        let events = [
            BuildEvent::Queued { ahead: 2 },
            BuildEvent::Queued { ahead: 2 },
            BuildEvent::Queued { ahead: 1 },
            BuildEvent::Started {
                builder: micado_api::Builder::Classic,
                engine: "20.10.24".to_owned(),
            },
            BuildEvent::Step {
                step: 1,
                steps: Some(2),
                text: "FROM scratch".to_owned(),
            },
            BuildEvent::Cached { step: 1 },
            BuildEvent::Output {
                step: 2,
                text: "cc a.c".to_owned(),
            },
            BuildEvent::Pushing {
                image: "container-web:0123".to_owned(),
            },
        ];
        let mut report = Report::default();
        let shown: Vec<_> = events.iter().filter_map(|it| report.text(it)).collect();
        insta::assert_snapshot!(shown.join("\n"), @r"
        waiting: 2 builds before it
        waiting: 1 build before it
        engine 20.10.24, builder `classic`
        step 1/2: FROM scratch
        step 1: cached
           2 | cc a.c
        pushing `container-web:0123`
        ");
    }

    #[test]
    fn a_failure_repeats_the_last_lines_of_its_step() {
        let output = ["one", "two"].map(str::to_owned);
        assert_eq!(
            failure(Some("RUN make"), &output),
            ["failed: RUN make", "   | one", "   | two"]
        );
        assert_eq!(failure(None, &[]), [""; 0]);
    }
}
