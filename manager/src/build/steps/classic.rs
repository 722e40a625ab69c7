//! Answers of the classic builder: the text of its terminal output.

use super::{Output, Steps};
use bollard::models::{BuildInfo, BuildInfoAux, ImageId};
use micado_api::BuildEvent;

#[derive(Debug, Default)]
pub(in crate::build) struct Classic {
    step: u32,
    text: String,
    output: Output,
    id: Option<String>,
}

impl Steps for Classic {
    fn take(&mut self, answer: BuildInfo) -> Vec<BuildEvent> {
        if let Some(BuildInfoAux::Default(ImageId { id: Some(id) })) = answer.aux {
            self.id = Some(id);
        }
        let mut lines = answer
            .stream
            .map(|text| self.output.complete(text.as_bytes()))
            .unwrap_or_default();
        // Steps of a pull, without its progress in bytes.
        let progress = answer.progress_detail;
        let quiet = progress.is_none_or(|it| it.current.is_none() && it.total.is_none());
        lines.extend(answer.status.filter(|_| quiet));
        lines
            .into_iter()
            .filter_map(|line| self.event(line))
            .collect()
    }

    fn failing(&mut self) -> Option<(String, Vec<String>)> {
        (self.step > 0).then(|| (self.text.clone(), self.output.last()))
    }

    fn id(&self) -> Option<String> {
        self.id.clone()
    }
}

impl Classic {
    fn event(&mut self, line: String) -> Option<BuildEvent> {
        if let Some((step, steps, text)) = begins(&line) {
            self.output.last.clear();
            (self.step, self.text) = (step, text.to_owned());
            let (steps, text) = (Some(steps), self.text.clone());
            return Some(BuildEvent::Step { step, steps, text });
        }
        match line.strip_prefix(" ---> ") {
            Some("Using cache") => return Some(BuildEvent::Cached { step: self.step }),
            // Ids of containers and images.
            Some(_) => return None,
            None => {}
        }
        let own = [
            "Removing intermediate container ",
            "Successfully built ",
            "Successfully tagged ",
        ];
        if line.is_empty() || own.iter().any(|begin| line.starts_with(begin)) {
            return None;
        }
        self.output.keep(&line);
        Some(BuildEvent::Output {
            step: self.step,
            text: line,
        })
    }
}

/// Parses `Step 2/3 : RUN make`.
fn begins(line: &str) -> Option<(u32, u32, &str)> {
    let (numbers, text) = line.strip_prefix("Step ")?.split_once(" : ")?;
    let (step, steps) = numbers.split_once('/')?;
    Some((step.parse().ok()?, steps.parse().ok()?, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> BuildInfo {
        BuildInfo {
            stream: Some(text.to_owned()),
            ..BuildInfo::default()
        }
    }

    fn step(step: u32, text: &str) -> BuildEvent {
        let (steps, text) = (Some(3), text.to_owned());
        BuildEvent::Step { step, steps, text }
    }

    fn output(step: u32, text: &str) -> BuildEvent {
        let text = text.to_owned();
        BuildEvent::Output { step, text }
    }

    #[test]
    fn a_build_is_told_in_steps() {
        let mut classic = Classic::default();
        let answers = [
            "Step 1/3 : FROM base",
            "\n",
            " ---> 0123456789ab\n",
            "Step 2/3 : COPY . /",
            "\n",
            " ---> Using cache\n",
            " ---> 23456789abcd\n",
            "Step 3/3 : RUN make",
            "\n",
            " ---> Running in 456789abcdef\n",
            "cc -c a",
            ".c\n\u{1b}[91mwarning: x\n\u{1b}[0m",
            "Removing intermediate container 456789abcdef\n",
            " ---> 6789abcdef01\n",
            "Successfully built 6789abcdef01\n",
        ];
        let mut events: Vec<_> = answers
            .iter()
            .flat_map(|text| classic.take(said(text)))
            .collect();
        events.extend(classic.take(BuildInfo {
            aux: Some(BuildInfoAux::Default(ImageId {
                id: Some("sha256:6789".to_owned()),
            })),
            ..BuildInfo::default()
        }));
        assert_eq!(
            events,
            [
                step(1, "FROM base"),
                step(2, "COPY . /"),
                BuildEvent::Cached { step: 2 },
                step(3, "RUN make"),
                output(3, "cc -c a.c"),
                output(3, "warning: x"),
            ]
        );
        assert_eq!(classic.id().as_deref(), Some("sha256:6789"));
    }

    #[test]
    fn a_failing_step_is_named_with_its_own_last_lines() {
        let mut classic = Classic::default();
        assert_eq!(classic.failing(), None, "before the first step");
        for text in [
            "Step 1/3 : RUN echo before\n",
            "before\n",
            "Step 2/3 : RUN make\n",
            "one\n",
            "two\n",
        ] {
            classic.take(said(text));
        }
        let last = ["one", "two"].map(str::to_owned).to_vec();
        assert_eq!(classic.failing(), Some(("RUN make".to_owned(), last)));
    }

    #[test]
    fn text_that_resembles_a_step_is_output() {
        let mut classic = Classic::default();
        for text in ["Step by step", "Step 1/x : y", "Step 1 : y", " --> x"] {
            let events = classic.take(said(&format!("{text}\n")));
            assert_eq!(events, [output(0, text)]);
        }
    }
}
