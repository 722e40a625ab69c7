//! Answers of BuildKit: its trace of vertices, and the image's id.

use super::{Output, Steps};
use bollard::{
    moby::buildkit::v1::{StatusResponse, Vertex, VertexLog},
    models::{BuildInfo, BuildInfoAux},
};
use micado_api::BuildEvent;
use std::collections::HashMap;

/// Error of vertices that were stopped because another one failed.
const CANCELED: &str = "context canceled";

/// Begins of the names of vertices for the Dockerfile and the context.
const OWN: [&str; 3] = ["[internal]", "copy /context", "http://buildkit-session"];

#[derive(Debug, Default)]
pub(in crate::build) struct Buildkit {
    /// Vertices by digest.
    steps: HashMap<String, Step>,
    begun: u32,
    failing: Option<String>,
    id: Option<String>,
}

#[derive(Debug, Default)]
struct Step {
    /// 0 for one of BuildKit's own.
    number: u32,
    text: String,
    output: Output,
    cached: bool,
}

impl Steps for Buildkit {
    fn take(&mut self, answer: BuildInfo) -> Vec<BuildEvent> {
        match answer.aux {
            Some(BuildInfoAux::BuildKit(status)) => self.status(status),
            Some(BuildInfoAux::Default(image)) => {
                self.id = image.id.or(self.id.take());
                Vec::new()
            }
            None => Vec::new(),
        }
    }

    fn failing(&mut self) -> Option<(String, Vec<String>)> {
        let step = self.steps.get_mut(self.failing.as_ref()?)?;
        Some((step.text.clone(), step.output.last()))
    }

    fn id(&self) -> Option<String> {
        self.id.clone()
    }
}

impl Buildkit {
    fn status(&mut self, status: StatusResponse) -> Vec<BuildEvent> {
        let mut events = Vec::new();
        for vertex in status.vertexes {
            self.vertex(vertex, &mut events);
        }
        for log in status.logs {
            self.log(log, &mut events);
        }
        events
    }

    fn vertex(&mut self, vertex: Vertex, events: &mut Vec<BuildEvent>) {
        if vertex.started.is_none() {
            return;
        }
        let begun = &mut self.begun;
        let step = self.steps.entry(vertex.digest.clone()).or_insert_with(|| {
            let mut number = 0;
            if !OWN.iter().any(|begin| vertex.name.starts_with(begin)) {
                *begun += 1;
                number = *begun;
                events.push(BuildEvent::Step {
                    step: number,
                    steps: None,
                    text: vertex.name.clone(),
                });
            }
            let text = vertex.name.clone();
            Step {
                number,
                text,
                ..Step::default()
            }
        });
        if vertex.cached && !std::mem::replace(&mut step.cached, true) && step.number > 0 {
            events.push(BuildEvent::Cached { step: step.number });
        }
        if !vertex.error.is_empty() && !vertex.error.contains(CANCELED) {
            self.failing.get_or_insert(vertex.digest);
        }
    }

    fn log(&mut self, log: VertexLog, events: &mut Vec<BuildEvent>) {
        let Some(step) = self.steps.get_mut(&log.vertex) else {
            return;
        };
        for text in step.output.complete(&log.msg) {
            step.output.keep(&text);
            let step = step.number;
            events.push(BuildEvent::Output { step, text });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bollard::models::ImageId;

    fn vertex(digest: &str, name: &str) -> Vertex {
        Vertex {
            digest: digest.to_owned(),
            name: name.to_owned(),
            started: Some(Default::default()),
            ..Vertex::default()
        }
    }

    fn log(digest: &str, text: &str) -> VertexLog {
        VertexLog {
            vertex: digest.to_owned(),
            msg: text.as_bytes().to_vec(),
            ..VertexLog::default()
        }
    }

    fn status(vertexes: Vec<Vertex>, logs: Vec<VertexLog>) -> BuildInfo {
        BuildInfo {
            aux: Some(BuildInfoAux::BuildKit(StatusResponse {
                vertexes,
                logs,
                ..StatusResponse::default()
            })),
            ..BuildInfo::default()
        }
    }

    fn step(step: u32, text: &str) -> BuildEvent {
        let (steps, text) = (None, text.to_owned());
        BuildEvent::Step { step, steps, text }
    }

    fn output(step: u32, text: &str) -> BuildEvent {
        let text = text.to_owned();
        BuildEvent::Output { step, text }
    }

    #[test]
    fn parallel_steps_are_told_apart() {
        let mut buildkit = Buildkit::default();
        let waiting = Vertex {
            started: None,
            ..vertex("c", "[3/3] RUN c")
        };
        let cached = Vertex {
            cached: true,
            ..vertex("a", "[1/3] FROM a")
        };
        let answers = [
            status(
                vec![vertex("i", "[internal] load build context"), waiting],
                vec![log("i", "transferring\n")],
            ),
            status(vec![cached.clone(), cached], Vec::new()),
            status(
                vec![vertex("b", "[2/3] RUN b"), vertex("c", "[3/3] RUN c")],
                vec![log("b", "one\ntw"), log("c", "three\n"), log("b", "o\n")],
            ),
            status(Vec::new(), vec![log("unknown", "x\n")]),
        ];
        let events: Vec<_> = answers
            .into_iter()
            .flat_map(|answer| buildkit.take(answer))
            .collect();
        assert_eq!(
            events,
            [
                output(0, "transferring"),
                step(1, "[1/3] FROM a"),
                BuildEvent::Cached { step: 1 },
                step(2, "[2/3] RUN b"),
                step(3, "[3/3] RUN c"),
                output(2, "one"),
                output(3, "three"),
                output(2, "two"),
            ]
        );
        buildkit.take(BuildInfo {
            aux: Some(BuildInfoAux::Default(ImageId {
                id: Some("sha256:01".to_owned()),
            })),
            ..BuildInfo::default()
        });
        assert_eq!(buildkit.id().as_deref(), Some("sha256:01"));
    }

    #[test]
    fn the_step_that_failed_is_not_one_that_was_cancelled() {
        let mut buildkit = Buildkit::default();
        let failed = |digest, name, error: &str| Vertex {
            error: error.to_owned(),
            ..vertex(digest, name)
        };
        buildkit.take(status(
            vec![vertex("a", "[1/2] RUN a"), vertex("b", "[2/2] RUN b")],
            vec![log("a", "fine\n"), log("b", "no rule\n")],
        ));
        assert_eq!(buildkit.failing(), None);
        buildkit.take(status(
            vec![
                failed("a", "[1/2] RUN a", "rpc error: context canceled"),
                failed("b", "[2/2] RUN b", "exit code: 1"),
            ],
            Vec::new(),
        ));
        let last = vec!["no rule".to_owned()];
        assert_eq!(buildkit.failing(), Some(("[2/2] RUN b".to_owned(), last)));
    }
}
