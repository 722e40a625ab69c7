//! Tests of verdicts on answers.

use super::*;

fn judged(status: u16, body: &str) -> Verdict {
    judge(&Answer {
        status,
        body: body.to_owned(),
        ..Answer::default()
    })
}

fn errors(inside: &str) -> String {
    format!("<?xml version=\"1.0\"?>\n<errors>{inside}</errors>")
}

#[test]
fn an_error_document_decides_at_any_status() {
    let cases = [
        ("<error>Quota exceeded</error>", No::Other, "Quota exceeded"),
        (
            "<error>Name can't be blank</error><error>Nodes is not a number</error>",
            No::Other,
            "Name can't be blank; Nodes is not a number",
        ),
        (
            "<error>x &lt; y &amp; z</error><type>missing rights</type>",
            No::Other,
            "x < y & z",
        ),
        (
            "<error>Not now</error><type>wrong status</type>",
            No::WrongStatus,
            "Not now",
        ),
        (
            "<type> Wrong Status </type><error>Not now</error>",
            No::WrongStatus,
            "Not now",
        ),
        (
            "<error>Who?</error><type>authentication</type>",
            No::Credentials,
            "Who?",
        ),
        (
            "<error>404: record not found</error>",
            No::Absent,
            "404: record not found",
        ),
        (
            "<error><message>inner</message></error>",
            No::Other,
            "inner",
        ),
        ("", No::Other, "an error without a message"),
    ];
    for (inside, no, words) in cases {
        for status in [200, 201, 400, 403, 409, 422, 500] {
            assert_eq!(
                judged(status, &errors(inside)),
                Verdict::No(no, words.to_owned()),
                "{status} {inside}"
            );
        }
    }
    assert_eq!(
        judged(401, &errors("<error>Go away</error>")),
        Verdict::No(No::Credentials, "Go away".to_owned())
    );
    assert_eq!(
        judged(404, &errors("<error>Gone</error>")),
        Verdict::No(No::Absent, "Gone".to_owned())
    );
    assert_eq!(
        judged(200, "<errors type='array'><error>Old</error></errors>"),
        Verdict::No(No::Other, "Old".to_owned())
    );
}

#[test]
fn errors_decide_at_any_depth() {
    let no = |no, words: &str| Verdict::No(no, words.to_owned());
    let busy = "<errors><error>Busy</error><type>wrong status</type></errors>";
    for around in ["hash", "job", "jobs"] {
        for body in [
            format!("<{around}>{busy}</{around}>"),
            format!("<{around}><id>1</id><a><b>{busy}</b></a></{around}>"),
            format!("<{around}><job>{busy}</job><job><errors/></job></{around}>"),
            format!(
                "<{around} xmlns:x='y'>{}</{around}>",
                busy.replace("errors", "x:errors")
            ),
        ] {
            for status in [200, 201, 422, 500] {
                assert_eq!(judged(status, &body), no(No::WrongStatus, "Busy"), "{body}");
            }
        }
    }
    assert_eq!(
        judged(200, "<jobs><job><errors/></job></jobs>"),
        no(No::Other, "an error without a message")
    );
    assert_eq!(
        judged(200, "<job><name>errors</name><error>of a job</error></job>"),
        Verdict::Yes
    );
}

#[test]
fn a_web_page_says_nothing_of_the_effect() {
    for page in [
        "<html><body>Sign in</body></html>",
        "\n<!DOCTYPE html>\n<HTML><p>Sign in",
        "\u{feff}<HTML>",
    ] {
        assert_eq!(
            judged(200, page),
            Verdict::Unclear("it answered 200 with a web page".to_owned())
        );
    }
}

#[test]
fn a_status_decides_where_no_error_document_does() {
    let said = |text: &str| text.to_owned();
    assert_eq!(judged(201, " "), Verdict::Yes);
    assert_eq!(judged(204, ""), Verdict::Yes);
    assert_eq!(
        judged(401, "<html>"),
        Verdict::No(No::Credentials, said("it answered 401"))
    );
    assert_eq!(
        judged(404, "nothing\nhere"),
        Verdict::No(No::Absent, said("it answered 404: nothing here"))
    );
    assert_eq!(
        judged(422, "bad"),
        Verdict::No(No::Other, said("it answered 422: bad"))
    );
    assert_eq!(
        judged(500, "oops"),
        Verdict::Unclear(said("it answered 500: oops"))
    );
    assert_eq!(judged(408, ""), Verdict::Unclear(said("it answered 408")));
    let late = "<errors><error>too slow</error></errors>";
    assert_eq!(
        judged(408, late),
        Verdict::Unclear(said("too slow")),
        "a call that came too slowly may have been done"
    );
    assert_eq!(
        judged(429, "slow"),
        Verdict::Overrun(said("it answered 429: slow"))
    );
    assert_eq!(
        judged(503, &errors("<error>maintenance</error>")),
        Verdict::Overrun(said("maintenance"))
    );
    let redirect = Answer {
        status: 302,
        location: Some("https://other/".to_owned()),
        ..Answer::default()
    };
    assert!(
        matches!(judge(&redirect), Verdict::Unclear(words) if words.contains("302") && words.contains("`https://other/`"))
    );
}
