//! Checks that machines can be made: the engine answers and has the node image.

use super::{
    LocalCloud,
    engine::{refused_or_unknown, status},
};
use crate::cloudbroker::Finding;

impl LocalCloud {
    /// Checks the engine and the node image. Changes nothing.
    pub async fn check(&self) -> Vec<Finding> {
        let finding = |what, problem| Finding {
            cloud: self.cloud.name.clone(),
            what,
            problem,
        };
        let engine = format!("engine at {}", self.endpoint);
        let docker = match self.engine().await {
            Ok(docker) => docker,
            Err(error) => {
                return vec![finding(
                    engine,
                    Some(format!("{error}: start it, or correct `endpoint`")),
                )];
            }
        };
        let image = &self.config.image;
        let problem = match docker.inspect_image(image).await {
            Ok(_) => None,
            Err(error) if status(&error) == Some(404) => Some(format!(
                "the engine does not have it: build `{image}` with scripts/node-image/build"
            )),
            Err(error) => Some(refused_or_unknown(error).to_string()),
        };
        vec![
            finding(engine, None),
            finding(format!("node image `{image}`"), problem),
        ]
    }
}
