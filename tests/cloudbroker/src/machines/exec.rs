//! Commands in a machine.

use super::{docker::Docker, order::Program};
use crate::record::container_of;
use bollard::{
    exec::{StartExecOptions, StartExecResults},
    models::ExecConfig,
};
use futures_util::StreamExt;

/// Starts the executable in the background, once. Its output and exit code are files, so that they
/// survive any reader.
const START: &str = r#"
cd /opt/cloudbroker && mkdir -p job || exit
[ ! -e pid ] || exit 0
echo $$ >pid
: >output
exec >>output 2>&1
cd job
program=$(ls -d /opt/micado/*/"$BINARY" | head -n 1)
eval "set -- $ARGUMENTS"
"${program:?there is no such executable below /opt/micado}" "$@"
echo $? >../code
"#;
/// Prints the executable's past and future output until it ends.
const FOLLOW: &str = r#"
cd /opt/cloudbroker
until [ -s pid ] && [ -e output ]; do sleep 0.05; done
exec tail -n +1 -s 0.1 --pid="$(cat pid)" -f output
"#;
/// Exit code; an executable interrupted by a reboot was killed.
const CODE: &str = "cat /opt/cloudbroker/code 2>/dev/null || echo 137";
const ENGINE: &str = "until curl --silent --fail --max-time 5 --output /dev/null --unix-socket /run/docker.sock http://engine/_ping; do sleep 0.05; done";

impl Docker {
    /// Runs the executable (or finds it running), reports its output, and returns its exit code.
    pub(super) async fn run(
        &self,
        program: &Program,
        mut said: impl FnMut(&str),
    ) -> Result<i64, bollard::errors::Error> {
        let environment = vec![
            format!("BINARY={}", program.binary),
            format!("ARGUMENTS={}", program.arguments),
        ];
        let config = ExecConfig {
            cmd: Some(shell(START)),
            env: Some(environment),
            ..ExecConfig::default()
        };
        let exec = self
            .engine
            .create_exec(&container_of(&program.machine), config)
            .await?
            .id;
        self.engine
            .start_exec(
                &exec,
                Some(StartExecOptions {
                    detach: true,
                    ..StartExecOptions::default()
                }),
            )
            .await?;
        self.attached(&program.machine, FOLLOW, &mut said).await?;
        let mut code = String::new();
        self.attached(&program.machine, CODE, |text| code.push_str(text))
            .await?;
        Ok(code.trim().parse().unwrap_or(137))
    }

    /// Waits until the machine's engine answers; `false` if the machine ended before.
    pub(super) async fn engine_answers(&self, id: &str) -> Result<bool, bollard::errors::Error> {
        Ok(self.attached(id, ENGINE, |_| {}).await? == Some(0))
    }

    async fn attached(
        &self,
        id: &str,
        script: &str,
        mut said: impl FnMut(&str),
    ) -> Result<Option<i64>, bollard::errors::Error> {
        let config = ExecConfig {
            cmd: Some(shell(script)),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            ..ExecConfig::default()
        };
        let exec = self.engine.create_exec(&container_of(id), config).await?.id;
        if let StartExecResults::Attached { mut output, .. } =
            self.engine.start_exec(&exec, None).await?
        {
            while let Some(piece) = output.next().await {
                said(&String::from_utf8_lossy(&piece?.into_bytes()));
            }
        }
        Ok(self.engine.inspect_exec(&exec).await?.exit_code)
    }
}

fn shell(script: &str) -> Vec<String> {
    ["/bin/bash", "-c", script].map(str::to_owned).to_vec()
}
