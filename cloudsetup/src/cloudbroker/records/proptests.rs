//! Garbled documents: every input is read or refused, and nothing else happens.

use crate::{CloudSetup, cloudbroker::machines_on_page};
use micado_api::ClusterId;
use proptest::prelude::*;

const PAGES: [&str; 3] = [
    "<?xml version='1.0' encoding='utf8'?>\n<jobs type=\"array\"><job><id>1</id><name>micado-c-i</name><description>micado cloud=zrh tag=t%20</description>\
     <status>running</status><stop-reason nil='true'/></job><job><id>2</id><name>R&amp;D &#65;<![CDATA[<b>]]></name></job></jobs>",
    "<errors><error>404: record not found</error><type>wrong status</type></errors>",
    crate::cloudbroker::script::SETUP,
];

/// Pieces with a meaning for the reader.
const PIECES: [&str; 16] = [
    "<job>",
    "</job>",
    "<",
    ">",
    "/>",
    "&",
    "&amp;",
    "&#x10FFFF;",
    "&#0;",
    "<![CDATA[",
    "]]>",
    "<!--",
    "<?xml",
    "<!DOCTYPE x [<!ENTITY y 'z'>]>",
    " nil='true'",
    "\u{0}é",
];

/// A change to a document: at a place (in thousandths of it), remove bytes and insert a piece.
fn change() -> impl Strategy<Value = (usize, usize, usize)> {
    (0..1000_usize, 0..8_usize, 0..PIECES.len())
}

fn changed(document: &str, changes: &[(usize, usize, usize)]) -> String {
    changes
        .iter()
        .fold(document.to_owned(), |text, (place, cut, piece)| {
            let bytes = text.as_bytes();
            let at = bytes.len() * place / 1000;
            let rest = &bytes[(at + cut).min(bytes.len())..];
            String::from_utf8_lossy(&[&bytes[..at], PIECES[*piece].as_bytes(), rest].concat())
                .into_owned()
        })
}

proptest! {
    #[test]
    fn garbled_documents_are_read_or_refused(document in 0..PAGES.len(), changes in prop::collection::vec(change(), 0..12)) {
        let text = changed(PAGES[document], &changes);
        for machine in machines_on_page(&text, &ClusterId::trusted("c")).unwrap_or_default() {
            prop_assert!(machine.name.starts_with("micado-c-") && !machine.id.is_empty());
        }
        if let Err(error) = CloudSetup::parse(&text, "s.xml") {
            prop_assert!(error.to_string().starts_with("s.xml:"));
        }
    }

    #[test]
    fn noise_is_read_or_refused(text in "\\PC{0,200}") {
        let _ = machines_on_page(&text, &ClusterId::trusted("c"));
        prop_assert!(CloudSetup::parse(&text, "s.xml").is_err());
    }
}
