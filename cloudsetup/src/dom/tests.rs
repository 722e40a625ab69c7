//! Tests of the tree.

use super::*;

fn malformed(text: &str) -> String {
    let error = parse(text).expect_err(text);
    format!("{}:{}: {}", error.place.line, error.place.column, error.cause)
}

#[test]
fn elements_know_their_place() {
    let root = parse("<?xml version='1.0'?>\n<!-- é --><a>\n  <b>1</b><c/>\n</a>").expect("XML");
    let at = |element: &Element| (element.place.line, element.place.column);
    assert_eq!((at(&root), at(&root.children[0]), at(&root.children[1])), ((2, 11), (3, 3), (3, 11)));
}

#[test]
fn names_and_nothing_are_forgiving() {
    let root = parse("<r><a_b> x </a_b><e/><n nil='true'>7</n><m xsi:nil=\"true\"/><z> </z></r>").expect("XML");
    assert_eq!((root.text_of("a-b"), root.text_of("a_b")), (Some("x"), Some("x")));
    assert!(["e", "n", "m", "z", "absent"].iter().all(|name| root.child(name).is_none()));
}

#[test]
fn only_direct_children_are_found() {
    let root = parse("<job><tag><id>2</id></tag><id>1</id></job>").expect("XML");
    assert_eq!(root.text_of("id"), Some("1"));
}

#[test]
fn text_is_unescaped() {
    let root = parse("<r><a>R&amp;D &#65;<![CDATA[<b>]]></a></r>").expect("XML");
    assert_eq!(root.text_of("a"), Some("R&D A<b>"));
}

#[test]
fn what_is_no_xml_is_named_with_its_place() {
    assert_eq!(malformed("<a>\n<b>\n</a>"), "3:1: expected `</b>`, but `</a>` was found");
    assert_eq!(malformed("<a>\n<b>"), "2:4: the text ends, but <b> of line 2 is still open");
    assert_eq!(malformed(""), "1:1: it holds no element");
    assert_eq!(malformed("<a/>\nx"), "1:5: text stands outside the root element");
    assert_eq!(malformed("<a/><b/>"), "1:5: a second root element begins here");
    assert_eq!(malformed("<a>R&D;</a>"), "1:5: `&D;` is not known: write `&amp;` for `&`");
    assert_eq!(malformed("<a>R & D</a>"), "1:6: entity or character reference not closed: `;` not found before end of input");
}
