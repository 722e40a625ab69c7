//! From a request to its reply: authorisation, routing, faults and effect.

use crate::{
    CallRecord, Fate, Fault, Happened,
    answer::{Answer, Desk, Parcel, subjects},
    people,
    route::Call,
    show::Disguise,
    simulator::Shared,
    world::{Refusal, Upload},
    xml,
};
use axum::{
    body::{Body, to_bytes},
    extract::{FromRequest, Multipart, Query, Request},
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use jiff::Timestamp;
use std::{sync::Arc, time::Duration};
use subtle::ConstantTimeEq;

/// Upper bound for a request body, in bytes.
const BODY_LIMIT: usize = 256 << 20;

/// No reply: the connection is closed.
#[derive(Debug, thiserror::Error)]
#[error("the answer is lost on purpose")]
pub(crate) struct Lost;

/// Answers any request. A started call is completed after the client has hung up too, as in a real
/// service.
pub(crate) async fn serve(shared: Arc<Shared>, request: Request) -> Result<Response, Lost> {
    tokio::spawn(handle(shared, request))
        .await
        .unwrap_or(Err(Lost))
}

async fn handle(shared: Arc<Shared>, request: Request) -> Result<Response, Lost> {
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, BODY_LIMIT).await else {
        return Err(Lost);
    };
    if !is_known(&shared, &parts.headers) {
        let messages = ["Invalid email or password.".to_owned()];
        let answer = Answer {
            code: 401,
            body: xml::errors(&messages, Some("authentication")),
        };
        if let Some(call) = Call::at(parts.method.as_str(), parts.uri.path()) {
            note(&shared, &call, &parts, &[], Some(401), None);
        }
        return Ok(respond(answer, None));
    }
    if let Some(rest) = parts.uri.path().strip_prefix("/simulator/") {
        return Ok(people::answer(&shared, parts.method.as_str(), rest, &body));
    }
    let Some(call) = Call::at(parts.method.as_str(), parts.uri.path()) else {
        return Ok((
            axum::http::StatusCode::NOT_FOUND,
            "The page you were looking for doesn't exist.",
        )
            .into_response());
    };
    let query = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri)
        .map(|Query(pairs)| pairs)
        .unwrap_or_default();
    let parcel = match open(&call, &parts.headers, &body, query).await {
        Ok(parcel) => parcel,
        Err(refusal) => {
            note(&shared, &call, &parts, &[], Some(refusal.code), None);
            return Ok(respond(
                Answer {
                    code: refusal.code,
                    body: xml::errors(&refusal.messages, refusal.kind),
                },
                None,
            ));
        }
    };
    let about = about(&shared, &call, &parcel);
    let happened = shared.faults.strike(call.kind(), &about, Timestamp::now());
    let fault = happened.as_ref().map(|happened| happened.fault.clone());
    let outcome = suffer(&shared, &call, parcel, happened).await;
    let code = outcome
        .as_ref()
        .ok()
        .map(|response| response.status().as_u16());
    note(&shared, &call, &parts, &about, code, fault);
    outcome
}

/// Basic authentication for the one account.
fn is_known(shared: &Shared, headers: &HeaderMap) -> bool {
    let given = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let given = given
        .and_then(|value| value.strip_prefix("Basic "))
        .and_then(|value| BASE64_STANDARD.decode(value.trim()).ok());
    given.is_some_and(|pair| pair.ct_eq(shared.account.as_bytes()).into())
}

/// Parses the request's body.
async fn open(
    call: &Call,
    headers: &HeaderMap,
    body: &[u8],
    query: Vec<(String, String)>,
) -> Result<Parcel, Refusal> {
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let refuse = |message: String| Refusal {
        code: 415,
        messages: vec![message],
        kind: None,
    };
    match call {
        Call::Upload if kind.starts_with("multipart/form-data") => {
            let upload = multipart(headers, body).await.map_err(|cause| Refusal {
                code: 400,
                messages: vec![cause],
                kind: None,
            })?;
            Ok(Parcel {
                upload,
                query,
                ..Parcel::default()
            })
        }
        Call::Upload => Err(refuse(format!("`{kind}` is not multipart/form-data"))),
        Call::CreateJob | Call::CreateInstance | Call::UpdateJob(_)
            if !kind.starts_with("application/xml") =>
        {
            Err(refuse(format!("`{kind}` is not application/xml")))
        }
        _ => Ok(Parcel {
            body: body.to_vec(),
            query,
            ..Parcel::default()
        }),
    }
}

async fn multipart(headers: &HeaderMap, body: &[u8]) -> Result<Upload, String> {
    let mut request = Request::new(Body::from(body.to_vec()));
    *request.headers_mut() = headers.clone();
    let mut form = Multipart::from_request(request, &())
        .await
        .map_err(|error| error.body_text())?;
    let mut upload = Upload::default();
    while let Some(part) = form.next_field().await.map_err(|error| error.body_text())? {
        let (name, file) = (
            part.name().unwrap_or_default().replace('-', "_"),
            part.file_name().map(str::to_owned),
        );
        let bytes = part.bytes().await.map_err(|error| error.body_text())?;
        let text = || String::from_utf8_lossy(&bytes).trim().to_owned();
        match name.as_str() {
            "job_id" => upload.job = Some(text()),
            "data_type_id" => upload.data_type = Some(text()),
            "archive" => upload.archive = text() == "true",
            "data_file_name" if !text().is_empty() => upload.name = Some(text()),
            "data" => {
                upload.name = upload.name.or(file);
                upload.content = Some(bytes.to_vec());
            }
            _ => {}
        }
    }
    Ok(upload)
}

/// Subjects of the call. Those of lists are long, so they are collected only if a rule needs them.
fn about(shared: &Shared, call: &Call, parcel: &Parcel) -> Vec<String> {
    if matches!(call, Call::ListJobs | Call::ListInstances) && !shared.faults.are_choosy() {
        return Vec::new();
    }
    shared.look(|world| subjects(world, call, parcel))
}

fn note(
    shared: &Shared,
    call: &Call,
    parts: &axum::http::request::Parts,
    about: &[String],
    status: Option<u16>,
    fault: Option<Fault>,
) {
    let subject = if matches!(call, Call::ListJobs | Call::ListInstances) {
        None
    } else {
        about.first().cloned()
    };
    let path = parts
        .uri
        .path_and_query()
        .map_or_else(|| parts.uri.path().to_owned(), ToString::to_string);
    shared.audit.note(CallRecord {
        at: Timestamp::now(),
        kind: call.kind(),
        method: parts.method.to_string(),
        path,
        subject,
        status,
        fault,
    });
}

/// Executes the call with its fault.
async fn suffer(
    shared: &Arc<Shared>,
    call: &Call,
    parcel: Parcel,
    happened: Option<Happened>,
) -> Result<Response, Lost> {
    let Some(Happened { fault, subject, .. }) = happened else {
        return Ok(respond(
            perform(shared, call, parcel, None, Disguise::default()),
            None,
        ));
    };
    let mut disguise = Disguise {
        subject,
        ..Disguise::default()
    };
    let mut fate = None;
    match &fault {
        Fault::LostBefore => return Err(Lost),
        Fault::KillBefore(pid) => {
            kill(*pid).await;
            return Err(Lost);
        }
        Fault::Hang(duration) => {
            tokio::time::sleep(*duration).await;
            return Err(Lost);
        }
        Fault::Status { code, retry_after } => return Ok(respond(trouble(*code), *retry_after)),
        Fault::ErrorsAt200(text) => {
            return Ok(respond(
                Answer {
                    code: 200,
                    body: xml::errors(std::slice::from_ref(text), None),
                },
                None,
            ));
        }
        Fault::BodyAt200(body) => {
            return Ok(respond(
                Answer {
                    code: 200,
                    body: body.clone(),
                },
                None,
            ));
        }
        Fault::Quota(text) => {
            return Ok(respond(
                Answer {
                    code: 422,
                    body: xml::errors(std::slice::from_ref(text), None),
                },
                None,
            ));
        }
        Fault::Slow(duration) => tokio::time::sleep(*duration).await,
        Fault::UnknownStatus => disguise.unknown_status = true,
        Fault::NotAllocated => disguise.not_allocated = true,
        Fault::CatalogueClash => disguise.twice = true,
        Fault::NeverBoots => fate = Some(Fate::NeverBoots),
        Fault::DiesBooting => fate = Some(Fate::DiesBooting),
        Fault::LostAfter
        | Fault::StatusAfter { .. }
        | Fault::HangAfter(_)
        | Fault::KillAfter(_) => {}
    }
    let answer = perform(shared, call, parcel, fate, disguise);
    match fault {
        Fault::LostAfter => Err(Lost),
        Fault::KillAfter(pid) => {
            kill(pid).await;
            Err(Lost)
        }
        Fault::HangAfter(duration) => {
            tokio::time::sleep(duration).await;
            Err(Lost)
        }
        Fault::StatusAfter { code } => Ok(respond(trouble(code), None)),
        _ => Ok(respond(answer, None)),
    }
}

/// Plain text, as from a proxy or a crashed worker.
fn trouble(code: u16) -> Answer {
    let body = match code {
        429 => "Too many requests",
        502..=504 => "The service is temporarily unavailable",
        _ => "We're sorry, but something went wrong.",
    };
    Answer {
        code,
        body: body.to_owned(),
    }
}

fn perform(
    shared: &Arc<Shared>,
    call: &Call,
    parcel: Parcel,
    fate: Option<Fate>,
    disguise: Disguise,
) -> Answer {
    if *call == Call::DirectUpload {
        return Answer {
            code: 200,
            body: "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<result>Not supported</result>\n"
                .to_owned(),
        };
    }
    shared.change(|world, dice, now| {
        let mut desk = Desk {
            world,
            spelling: &shared.spelling,
            dice,
            disguise,
            fate,
            now,
            effects: Vec::new(),
        };
        let answer = desk.answer(call, parcel);
        (answer, desk.effects)
    })
}

fn respond(answer: Answer, retry_after: Option<u32>) -> Response {
    let is_xml = answer.body.starts_with("<?xml");
    let mut response = Response::builder().status(answer.code).header(
        header::CONTENT_TYPE,
        if is_xml {
            "application/xml; charset=utf-8"
        } else {
            "text/html; charset=utf-8"
        },
    );
    if let Some(seconds) = retry_after {
        response = response.header(header::RETRY_AFTER, seconds);
    }
    if answer.code == 401 {
        response = response.header(header::WWW_AUTHENTICATE, "Basic realm=\"Application\"");
    }
    response
        .body(Body::from(answer.body))
        .unwrap_or_else(|error| {
            (
                axum::http::StatusCode::INTERNAL_SERVER_ERROR,
                error.to_string(),
            )
                .into_response()
        })
}

/// Kills a process and waits until it is gone or a zombie.
async fn kill(pid: u32) {
    let sent = tokio::process::Command::new("kill")
        .args(["-KILL", &pid.to_string()])
        .status()
        .await;
    if !sent.is_ok_and(|status| status.success()) {
        tracing::warn!(pid, "there is no such process to kill");
        return;
    }
    for _ in 0..1000 {
        let stat = tokio::fs::read_to_string(format!("/proc/{pid}/stat"))
            .await
            .unwrap_or_default();
        if stat
            .rsplit_once(") ")
            .is_none_or(|(_, rest)| rest.starts_with('Z'))
        {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
