//! Fuzzes the XML that is read from outside: the broker's lists and `cloudsetup.xml`. Nothing may
//! panic, exhaust the stack or take long.

#![no_main]

use libfuzzer_sys::fuzz_target;
use micado_api::ClusterId;
use micado_cloudsetup::{CloudSetup, cloudbroker::machines_on_page};

fuzz_target!(|text: &str| {
    let cluster = ClusterId::trusted("c");
    for machine in machines_on_page(text, &cluster).unwrap_or_default() {
        assert_eq!(machine.name, format!("micado-c-{}", machine.instance));
        assert!(!machine.id.is_empty());
    }
    if let Err(error) = CloudSetup::parse(text, "s.xml") {
        assert!(error.to_string().starts_with("s.xml:"));
    }
});
