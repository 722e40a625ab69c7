//! Checks of a request by itself, before the core or the engine is asked. Pure. Names are valid
//! already.

mod run;

use crate::{engine::swarm, model::service_name};
use micado_api::{
    BuildRequest, Critical, ErrorBody, ErrorCode, LaunchRequest, LoginRequest, MemoryBytes,
    NanoCpus, PortMapping, RegisterRequest, ServiceName, ServiceSpec, StartRequest, VolumeMount,
    build::check_name,
};
use std::{collections::BTreeSet, net::IpAddr};

/// Smallest memory limit that a Docker Engine accepts (its own `linuxMinMemory`).
pub const MEMORY_MIN: MemoryBytes = MemoryBytes::mib(6);
/// Smallest CPU reservation that Swarm accepts.
pub const CPU_MIN: NanoCpus = NanoCpus::millis(1);
/// Maximum length of a host name (RFC 1035).
const DOMAIN_MAX: usize = 253;
/// Maximum length of a label of a host name (RFC 1035).
const LABEL_MAX: usize = 63;

/// Upper bounds for the tags of an entry in the service catalogue, and for the bytes of one.
const TAGS_MAX: usize = 64;
const TAG_MAX: usize = 255;
/// Upper bounds for the id, the service's name and the metadata of such an entry, in bytes.
const ID_MAX: usize = 255;
const SERVICE_MAX: usize = 128;
const META_MAX: usize = 4096;

/// Upper bounds for the user and the password of a login to a registry, in bytes.
const USER_MAX: usize = 255;
const PASSWORD_MAX: usize = 16 << 10;

type Checked = Result<(), ErrorBody>;

fn refuse(message: impl Into<String>) -> ErrorBody {
    ErrorBody::new(ErrorCode::BadRequest, message)
}

/// The end of the year 9999, in milliseconds since the Unix epoch.
const LAST_MOMENT: u64 = 253_402_300_799_999;

/// Checks a time in a query, given the name of its parameter.
///
/// # Errors
/// `BadRequest` if it is out of range.
pub fn moment(parameter: &str, at: Option<u64>) -> Checked {
    match at {
        Some(at) if at > LAST_MOMENT => Err(refuse(format!(
            "`{parameter}` is {at}: it may be up to {LAST_MOMENT} milliseconds since the Unix epoch"
        ))),
        _ => Ok(()),
    }
}

/// Images of micado's own, which a build must not replace.
const OWN_IMAGES: [&str; 3] = ["micado-node", "micado-registry", "micado-cloudbroker"];
/// Upper bound for the values of a build that may be repeated.
const BUILD_VALUES: usize = 256;

/// Checks a build, except its context.
///
/// # Errors
/// `BadRequest` with the first fault.
pub fn build(request: &BuildRequest) -> Checked {
    let name = &request.name;
    check_name(name, request.any_name)?;
    not_own(name)?;
    service_name("x", name).map_err(|error| refuse(error.to_string()))?;
    dockerfile(request.dockerfile())?;
    let values = [&request.arguments, &request.cache_from];
    if values.iter().any(|values| values.len() > BUILD_VALUES) {
        return Err(refuse(format!(
            "a build takes at most {BUILD_VALUES} arguments, and as many images for its cache"
        )));
    }
    let named = |argument: &&String| {
        argument
            .split_once('=')
            .is_none_or(|(key, _)| key.is_empty())
    };
    if let Some(argument) = request.arguments.iter().find(named) {
        return Err(refuse(format!(
            "build argument `{argument}` is not `KEY=VALUE`"
        )));
    }
    let mut texts = [&request.target, &request.platform].into_iter().flatten();
    if texts.any(|text| text.is_empty() || text.contains(char::is_whitespace)) {
        return Err(refuse("a target or platform is empty or has white space"));
    }
    Ok(())
}

/// Checks an image that is to be named or removed: an image name, and not of micado's own images.
///
/// # Errors
/// `BadRequest` with the fault.
pub fn managed_image(image: &str) -> Checked {
    swarm::check_image(image).map_err(|error| refuse(error.to_string()))?;
    not_own(image)
}

/// Refuses micado's own images, also by their names at the Docker Hub: an engine takes
/// `docker.io/library/web` for `web`.
fn not_own(image: &str) -> Checked {
    let name = swarm::short(swarm::repository(image));
    if OWN_IMAGES.contains(&name) {
        return Err(refuse(format!("image `{name}` is one of micado's own")));
    }
    Ok(())
}

/// Checks the path of a Dockerfile in the context.
fn dockerfile(path: &str) -> Checked {
    let inside = !path.is_empty() && !path.starts_with('/') && path.split('/').all(|it| it != "..");
    if inside && !path.contains('\0') {
        return Ok(());
    }
    Err(refuse(format!(
        "`{path}` is no path of a Dockerfile in the context"
    )))
}

/// Upper bound for the containers of one launch.
const MOST_COPIES: u32 = 10_000;

/// Checks a launch and returns the name of its service.
///
/// # Errors
/// `BadRequest` with the first fault.
pub fn launch(request: &LaunchRequest) -> Result<ServiceName, ErrorBody> {
    let spec = &request.spec;
    image(&spec.image)?;
    let service =
        service_name(&spec.client, &spec.image).map_err(|error| refuse(error.to_string()))?;
    size(spec)?;
    texts(spec)?;
    ports(&spec.ports)?;
    volumes(&spec.volumes)?;
    run::options(spec)?;
    if request.publish_all && !spec.ports.is_empty() {
        return Err(refuse(
            "all ports and certain ports were asked for: `publish_all` and `ports` exclude each other",
        ));
    }
    if request.copies.get() > MOST_COPIES {
        return Err(refuse(format!(
            "{} copies are more than {MOST_COPIES} in one launch",
            request.copies
        )));
    }
    if let Some(id) = &request.request
        && (id.is_empty() || id.len() > 128)
    {
        return Err(refuse(
            "the request's own name must have 1 to 128 characters",
        ));
    }
    spec.domain.as_deref().map_or(Ok(()), domain)?;
    tags(&spec.tags)?;
    Ok(service)
}

/// Checks a start.
///
/// # Errors
/// `BadRequest` with the first fault.
pub fn start(request: &StartRequest) -> Checked {
    if request.application.trim().is_empty() {
        return Err(refuse("application is empty"));
    }
    for file in request.files.keys() {
        if file.is_empty() || file == "." || file == ".." || file.contains(['/', '\0']) {
            return Err(refuse(format!("file `{file}` is not a plain file name")));
        }
    }
    Ok(())
}

/// Checks a critical usage.
///
/// # Errors
/// `BadRequest` for 0: every container uses something.
pub fn critical(critical: &Critical) -> Checked {
    if critical.memory == Some(MemoryBytes(0)) || critical.cpu == Some(NanoCpus(0)) {
        return Err(refuse(
            "a critical usage of 0 is passed by every container: leave it out, and it is suggested by what was learned",
        ));
    }
    Ok(())
}

/// Checks only for what would be misread elsewhere; the engine checks the rest.
fn image(image: &str) -> Checked {
    let problem = if image.is_empty() {
        "is empty"
    } else if image.len() > 255 {
        "is too long"
    } else if !image.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        "must begin with a letter or a digit"
    } else if !image
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "-_./:@".contains(c))
    {
        "may hold only letters, digits and `-_./:@`"
    } else {
        return Ok(());
    };
    Err(refuse(format!("image `{image}` {problem}")))
}

fn size(spec: &ServiceSpec) -> Checked {
    if spec.reservation.memory < MEMORY_MIN {
        return Err(refuse(format!(
            "memory of {} is too little: the engine takes {MEMORY_MIN} at least",
            spec.reservation.memory
        )));
    }
    if spec.reservation.cpu < CPU_MIN {
        return Err(refuse(
            "cpu is too little: the engine takes 0.001 cores at least",
        ));
    }
    Ok(())
}

/// Texts that go to the engine as C strings: entry point, arguments, environment.
fn texts(spec: &ServiceSpec) -> Checked {
    if spec.entrypoint.as_deref().is_some_and(str::is_empty) {
        return Err(refuse("the entry point is empty"));
    }
    if spec
        .entrypoint
        .iter()
        .chain(&spec.arguments)
        .any(|text| text.contains('\0'))
    {
        return Err(refuse("the entry point or an argument holds a zero byte"));
    }
    let mut keys = BTreeSet::new();
    for pair in &spec.environment {
        let key = pair
            .split_once('=')
            .map(|(key, _)| key)
            .filter(|key| !key.is_empty());
        let Some(key) = key else {
            return Err(refuse(format!("environment `{pair}` is not `KEY=VALUE`")));
        };
        if key.contains(char::is_whitespace) || pair.contains('\0') {
            return Err(refuse(format!(
                "environment variable `{key}` holds a space or a zero byte"
            )));
        }
        if !keys.insert(key) {
            return Err(refuse(format!("environment variable `{key}` is set twice")));
        }
    }
    Ok(())
}

/// Upper bound for ports that are published when the request names none. Each costs the engine a
/// proxy process and firewall rules: 500 of them made the kernel of a machine of 512 MiB OOM-kill
/// the engine.
const EXPOSED_MAX: usize = 20;

/// Returns mappings of all ports that an image exposes, to ports of the machine's choice.
///
/// # Errors
/// `BadRequest` if there are too many to publish unasked.
pub fn publish_exposed(
    image: &str,
    exposed: &[PortMapping],
) -> Result<Vec<PortMapping>, ErrorBody> {
    if exposed.len() > EXPOSED_MAX {
        return Err(refuse(format!(
            "image `{image}` exposes {} ports, and at most {EXPOSED_MAX} are published unasked",
            exposed.len()
        ))
        .hint("name those that are needed: -p HOST:CONTAINER, once for each"));
    }
    let unpinned = |port: &PortMapping| PortMapping {
        host: None,
        ..*port
    };
    Ok(exposed.iter().map(unpinned).collect())
}

/// Names the port of the agent's check, unless a person named it.
///
/// # Errors
/// `BadRequest` if there is none to choose.
pub fn resolve_probe(spec: &mut ServiceSpec, exposed: &[PortMapping]) -> Checked {
    let health = spec.run.health.as_mut();
    let Some(probe) = health.and_then(|health| health.probe.as_mut()) else {
        return Ok(());
    };
    if probe.resolve(&spec.ports, exposed) {
        return Ok(());
    }
    let (flag, image) = (probe.flag(), &spec.image);
    Err(refuse(format!(
        "`--{flag} {probe}` names no port, and image `{image}` exposes no TCP port"
    ))
    .hint(format!("name it: `--{flag} PORT{probe}`")))
}

fn ports(ports: &[PortMapping]) -> Checked {
    let (mut taken, mut published) = (BTreeSet::new(), BTreeSet::new());
    for port in ports {
        if port.container == 0 || port.host == Some(0) {
            return Err(refuse("port 0 is no port"));
        }
        if let Some(host) = port.host
            && !taken.insert((host, port.protocol))
        {
            return Err(refuse(format!(
                "port {host}/{} is published twice",
                port.protocol
            )));
        }
        // The engine would report both as published, and serve one.
        if !published.insert((port.container, port.protocol)) {
            return Err(refuse(format!(
                "container port {}/{} is published by two ports: one of them would not answer",
                port.container, port.protocol
            )));
        }
    }
    Ok(())
}

fn volumes(volumes: &[VolumeMount]) -> Checked {
    let mut taken = BTreeSet::new();
    for VolumeMount { name, path, .. } in volumes {
        let good = name.len() > 1 && name.starts_with(|c: char| c.is_ascii_alphanumeric());
        if !good
            || !name
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
        {
            return Err(refuse(format!(
                "volume `{name}` is no name: two or more letters, digits, `-`, `_` and `.`, the first a letter or digit"
            )));
        }
        if !path.starts_with('/')
            || path.contains('\0')
            || path.split('/').any(|part| part == "..")
            || path.trim_matches('/').is_empty()
        {
            return Err(refuse(format!(
                "volume `{name}` needs an absolute path below `/` in the container, not `{path}`"
            )));
        }
        if !taken.insert(path.trim_end_matches('/')) {
            return Err(refuse(format!("two volumes at `{path}`")));
        }
    }
    Ok(())
}

/// Checks an entry of the service catalogue that is made by hand.
///
/// # Errors
/// `BadRequest` with the first fault.
pub fn registration(id: &str, request: &RegisterRequest) -> Checked {
    let is_plain = |text: &str| !text.contains(|letter: char| letter.is_control() || letter == ' ');
    let is_id = (1..=ID_MAX).contains(&id.len()) && is_plain(id);
    if !is_id {
        return Err(refuse(format!(
            "id `{}` is not of 1 to {ID_MAX} bytes without spaces",
            id.escape_debug()
        )));
    }
    let name = &request.service;
    let letters = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if !(1..=SERVICE_MAX).contains(&name.len()) || !name.bytes().all(letters) {
        return Err(refuse(format!(
            "service `{}` is not of 1 to {SERVICE_MAX} letters, digits, `-`, `_` and `.`",
            name.escape_debug()
        )));
    }
    let address = &request.address;
    if address.parse::<IpAddr>().is_err() {
        domain(address)
            .map_err(|_| refuse(format!("`{address}` is neither an address nor a host name")))?;
    }
    if request.port == 0 {
        return Err(refuse("port 0 is no port"));
    }
    let meta = request.meta.iter();
    let size: usize = meta.map(|(key, value)| key.len() + value.len()).sum();
    if request.meta.len() > TAGS_MAX || size > META_MAX {
        return Err(refuse(format!(
            "the metadata has more than {TAGS_MAX} entries or {META_MAX} bytes"
        )));
    }
    tags(&request.tags)
}

/// Checks the host of a registry, `HOST[:PORT]`.
///
/// # Errors
/// `BadRequest` if it is none.
pub fn registry(host: &str) -> Checked {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) => (name, Some(port)),
        None => (host, None),
    };
    let is_port = |port: &str| port.parse::<u16>().is_ok_and(|port| port > 0);
    // Image names begin with such a host; another first part belongs to the Docker Hub.
    let is_host = name.contains('.') || port.is_some() || name == "localhost";
    if is_host && is_host_name(name) && port.is_none_or(is_port) {
        return Ok(());
    }
    let shown = host.escape_debug();
    Err(refuse(format!(
        "`{shown}` is no registry: it is `HOST[:PORT]`, as image names begin"
    ))
    .hint("the Docker Hub is `docker.io`"))
}

/// Checks a login to a registry.
///
/// # Errors
/// `BadRequest` with the first fault.
pub fn login(host: &str, request: &LoginRequest) -> Checked {
    registry(host)?;
    let is_fit = |text: &str, most| {
        (1..=most).contains(&text.len()) && !text.contains(|letter: char| letter.is_control())
    };
    if !is_fit(&request.user, USER_MAX) {
        let user = request.user.escape_debug();
        return Err(refuse(format!(
            "user `{user}` is not of 1 to {USER_MAX} bytes without control characters"
        )));
    }
    if !is_fit(&request.password, PASSWORD_MAX) {
        return Err(refuse(format!(
            "the password is not of 1 to {PASSWORD_MAX} bytes without control characters"
        )));
    }
    Ok(())
}

/// Checks tags of entries in the service catalogue.
///
/// # Errors
/// `BadRequest` with the first fault.
pub fn tags(tags: &[String]) -> Checked {
    if tags.len() > TAGS_MAX {
        return Err(refuse(format!("more than {TAGS_MAX} tags")));
    }
    let is_fit = |tag: &String| {
        (1..=TAG_MAX).contains(&tag.len()) && !tag.contains(|letter: char| letter.is_control())
    };
    match tags.iter().find(|tag| !is_fit(tag)) {
        Some(tag) => Err(refuse(format!(
            "tag `{}` is not of 1 to {TAG_MAX} bytes without control characters",
            tag.escape_debug()
        ))),
        None => Ok(()),
    }
}

fn domain(domain: &str) -> Checked {
    match is_host_name(domain) {
        true => Ok(()),
        false => Err(refuse(format!("domain `{domain}` is no host name"))),
    }
}

/// Returns true if every label of a name is one of a host (RFC 1123).
fn is_host_name(name: &str) -> bool {
    let label = |label: &str| {
        (1..=LABEL_MAX).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    name.len() <= DOMAIN_MAX && name.split('.').all(label)
}

#[cfg(test)]
mod tests;
