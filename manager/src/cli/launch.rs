//! `micado launch`: run more containers of an image.

use super::{
    args::{CpuFlag, LaunchArgs, MemoryFlag},
    environment::environment,
    failure::Failure,
    follow::follow,
    page::Page,
    policy::{self, Named},
    printer::Printer,
};
use micado_api::{
    Client, ContainerView, ErrorBody, ErrorCode, LaunchRequest, MemoryBytes, NanoCpus, Resources,
    ServiceSpec, Unnamed,
};

/// Default reservation, without a given or learned one.
const PROMISED: Resources = Resources::new(MemoryBytes::mib(256), NanoCpus::millis(250));

pub(super) async fn launch(
    args: LaunchArgs,
    client: &Client,
    printer: &Printer,
) -> Result<(), Failure> {
    let (detach, named) = (args.detach, named(&args));
    let request = request(args)?;
    crate::api::validate::launch(&request)?;
    if named.is_any() {
        policy::check_policies(&policy::changed(None, &named))?;
    }
    let launched = client.launch(&request).await?;
    if let Some(first) = launched.first().filter(|_| named.is_any()) {
        let service = first.service.as_str();
        let present = policy::present(service, client).await?;
        let policies = policy::changed(present, &named);
        client.set_policy(service, &policies).await?;
    }
    if let Some(domain) = &request.spec.domain {
        printer.note(&format!(
            "note: `{domain}` is stored, but nothing serves it yet"
        ));
    }
    let names: Vec<String> = launched.iter().map(|it| it.name.to_string()).collect();
    // Print the names at once, so that a person who stops waiting knows them.
    if detach || !printer.is_json() {
        show(&launched, &names, printer)?;
    }
    if detach {
        return Ok(());
    }
    follow(&names, client, printer).await?;
    if printer.is_json() {
        let mut now = client.containers(true).await?;
        now.retain(|it| launched.iter().any(|made| made.name == it.name));
        let now = if now.is_empty() { launched } else { now };
        show(&now, &names, printer)?;
    }
    Ok(())
}

/// One container as itself, several as a list.
fn show(launched: &[ContainerView], names: &[String], printer: &Printer) -> Result<(), Failure> {
    let page = || {
        let names = names.iter();
        names.fold(Page::default(), |page, name| page.line(name))
    };
    match launched {
        [only] => printer.data(only, page)?,
        several => printer.data(&several, page)?,
    }
    Ok(())
}

/// Targets and limits of the policy.
fn named(args: &LaunchArgs) -> Named {
    let cpu = args.cpu.iter().rev().find_map(|flag| match flag {
        CpuFlag::Target(share) => Some(*share),
        CpuFlag::Promise(_) => None,
    });
    let memory = args.memory.iter().rev().find_map(|flag| match flag {
        MemoryFlag::Target(share) => Some(*share),
        MemoryFlag::Promise(_) => None,
    });
    Named {
        cpu,
        memory,
        limits: args.limits.clone(),
    }
}

fn request(args: LaunchArgs) -> Result<LaunchRequest, ErrorBody> {
    if args.run.privileged {
        let what = "a privileged container would own its machine, with the containers of others";
        return Err(bad(what).hint("`--cap-add` gives the capability that it needs"));
    }
    let own = |name: &str| std::env::var(name).ok();
    let environment = environment(&args.run.env_file, args.environment, own)?;
    let (entrypoint, words) = match &args.run.entrypoint {
        None => (args.script, Vec::new()),
        Some(command) => split(command)?,
    };
    let arguments = words
        .into_iter()
        .chain(args.arguments.into_iter().map(argument));
    let publish_all = args.ports.is_empty();
    let cpu = args.cpu.iter().rev().find_map(|flag| match flag {
        CpuFlag::Promise(cores) => Some(*cores),
        CpuFlag::Target(_) => None,
    });
    let memory = args.memory.iter().rev().find_map(|flag| match flag {
        MemoryFlag::Promise(bytes) => Some(*bytes),
        MemoryFlag::Target(_) => None,
    });
    let unnamed = Unnamed {
        memory: memory.is_none(),
        cpu: cpu.is_none(),
    };
    let spec = ServiceSpec {
        image: args.image,
        client: args.name,
        location: args.location,
        entrypoint,
        arguments: arguments.collect(),
        environment,
        ports: args.ports.into_iter().map(|port| port.0).collect(),
        domain: args.domain,
        tags: args.tags,
        reservation: Resources::new(
            memory.unwrap_or(PROMISED.memory),
            cpu.unwrap_or(PROMISED.cpu),
        ),
        volumes: args.volumes.into_iter().map(|volume| volume.0).collect(),
        restart: args.restart,
        anti_affinity: args.anti_affinity,
        run: Box::new(args.run.options()),
    };
    Ok(LaunchRequest {
        spec,
        publish_all,
        request: Some(format!("cli-{:032x}", rand::random::<u128>())),
        unnamed,
        copies: args.copies,
    })
}

fn bad(what: impl Into<String>) -> ErrorBody {
    ErrorBody::new(ErrorCode::BadRequest, what)
}

/// A program and its first arguments.
fn split(command: &str) -> Result<(Option<String>, Vec<String>), ErrorBody> {
    let words = shlex::split(command);
    let mut words = words
        .ok_or_else(|| {
            bad(format!("entry point `{command}` has an open quote"))
                .hint("quote as for a shell, or use `--script` and `-a`")
        })?
        .into_iter();
    let program = words
        .next()
        .ok_or_else(|| bad("the entry point is empty"))?;
    Ok((Some(program), words.collect()))
}

/// Unescapes `/-v` to `-v`, which would be read as a flag of ours.
fn argument(text: String) -> String {
    match text.strip_prefix("/-") {
        Some(rest) => format!("-{rest}"),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::{super::args::*, *};
    use clap::Parser;

    fn asked(line: &str) -> LaunchRequest {
        match Cli::try_parse_from(line.split(' ')).map(|cli| cli.verb) {
            Ok(Verb::Launch(args)) => request(*args).expect("all good"),
            other => panic!("`{line}` was taken as {other:?}"),
        }
    }

    #[test]
    fn what_is_typed_is_what_is_asked() {
        let it = asked(
            "micado launch -i web:2 -n acme -s /bin/web -a /-v /-/x /x -p 8080:80 --volume data:/data --volume shared:media:/media --restart on-failure:3 --memory 1G --cpu 2 -l database",
        );
        assert_eq!(it.spec.arguments, ["-v", "-/x", "/x"]);
        assert_eq!(it.spec.reservation.to_string(), "1 GiB and 2 cores");
        assert_eq!(
            (
                it.spec.image.as_str(),
                it.spec.client.as_str(),
                it.spec.location.as_str()
            ),
            ("web:2", "acme", "database")
        );
        assert_eq!(
            (it.publish_all, it.spec.ports.len(), it.spec.volumes.len()),
            (false, 1, 2)
        );
        let volumes: Vec<_> = it.spec.volumes.iter().map(ToString::to_string).collect();
        assert_eq!(volumes, ["data:/data", "shared:media:/media"]);
        assert_eq!(
            it.spec
                .volumes
                .iter()
                .map(|it| it.shared)
                .collect::<Vec<_>>(),
            [false, true]
        );
        assert_eq!(it.spec.restart.to_string(), "on-failure:3");
        let it = asked("micado launch -i web -n acme --volume shared:/data");
        assert_eq!(it.spec.restart.to_string(), "always");
        assert!(!it.spec.volumes[0].shared && it.spec.volumes[0].name == "shared");
    }

    #[test]
    fn shares_and_limits_are_of_the_policy() {
        let parsed = Cli::try_parse_from(
            "micado launch -i web -n acme --cpu 0.5 --cpu 70% --memory 80% --min 2 --max 20"
                .split(' '),
        );
        let Ok(Verb::Launch(args)) = parsed.map(|cli| cli.verb) else {
            panic!("it is a launch");
        };
        let named = named(&args);
        let policies = policy::changed(None, &named);
        assert_eq!((policies.min, policies.max), (2, 20));
        assert_eq!(policies.policies.len(), 2);
        let request = request(*args).expect("all good");
        assert_eq!(
            request.spec.reservation.to_string(),
            "256 MiB and 0.5 cores"
        );
        assert!(request.unnamed.memory && !request.unnamed.cpu);
        assert!(!Named::default().is_any());
    }

    #[test]
    fn what_is_not_typed_has_a_default_and_every_request_a_name() {
        let (one, other) = (
            asked("micado launch -i web -n acme"),
            asked("micado launch -i web -n acme"),
        );
        assert_eq!(one.spec, other.spec);
        assert_eq!(one.spec.reservation.to_string(), "256 MiB and 0.25 cores");
        assert_eq!(
            one.unnamed,
            Unnamed {
                memory: true,
                cpu: true
            }
        );
        assert_eq!(
            asked("micado launch -i web -n acme --memory 1G").unnamed,
            Unnamed {
                memory: false,
                cpu: true
            }
        );
        assert!(one.publish_all && one.spec.location.as_str() == "application");
        assert_ne!(one.request, other.request);
    }
}
