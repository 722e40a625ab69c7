//! Tests of the tree.

use super::*;

fn malformed(text: &str) -> String {
    let error = parse(text).expect_err(text);
    format!(
        "{}:{}: {}",
        error.place.line, error.place.column, error.cause
    )
}

#[test]
fn elements_know_their_place() {
    let root = parse("<?xml version='1.0'?>\n<!-- é --><a>\n  <b>1</b><c/>\n</a>").expect("XML");
    let at = |element: &Element| (element.place.line, element.place.column);
    assert_eq!(
        (at(&root), at(&root.children[0]), at(&root.children[1])),
        ((2, 11), (3, 3), (3, 11))
    );
}

#[test]
fn names_and_nothing_are_forgiving() {
    let root = parse("<r><a_b> x </a_b><e/><n nil='true'>7</n><m xsi:nil=\"true\"/><z> </z></r>")
        .expect("XML");
    assert_eq!(
        (root.text_of("a-b"), root.text_of("a_b")),
        (Some("x"), Some("x"))
    );
    assert!(
        ["e", "n", "m", "z", "absent"]
            .iter()
            .all(|name| root.child(name).is_none())
    );
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
    assert_eq!(
        malformed("<a>\n<b>\n</a>"),
        "3:1: expected `</b>`, but `</a>` was found"
    );
    assert_eq!(
        malformed("<a>\n<b>"),
        "2:4: the text ends, but <b> of line 2 is still open"
    );
    assert_eq!(malformed(""), "1:1: it holds no element");
    assert_eq!(
        malformed("<a/>\nx"),
        "1:5: text stands outside the root element"
    );
    assert_eq!(
        malformed("<a/><b/>"),
        "1:5: a second root element begins here"
    );
    assert_eq!(
        malformed("<a>R&D;</a>"),
        "1:5: `&D;` is not known: write `&amp;` for `&`"
    );
    assert_eq!(
        malformed("<a>R & D</a>"),
        "1:6: entity or character reference not closed: `;` not found before end of input"
    );
}

#[test]
fn depth_is_bounded() {
    let deep = |levels: usize| "<a>".repeat(levels) + &"</a>".repeat(levels);
    assert!(parse(&deep(DEEPEST)).is_ok());
    assert_eq!(
        malformed(&deep(DEEPEST + 1)),
        "1:193: elements stand in each other more than 64 deep"
    );
    assert!(malformed(&"<a>".repeat(1_000_000)).contains("deep"));
}

#[test]
fn a_byte_order_mark_is_skipped() {
    assert_eq!(
        parse("\u{feff}<?xml version='1.0' encoding='utf8'?><a>1</a>")
            .expect("XML")
            .text,
        "1"
    );
}

#[test]
fn places_are_counted_through_once() {
    // One line of half a megabyte: counting from its start for each element would take minutes.
    let text = format!("<r>{}</r>", "<é>1</é>".repeat(50_000));
    let begun = std::time::Instant::now();
    let root = parse(&text).expect("XML");
    assert_eq!(
        (
            root.children[0].place.column,
            root.children[1].place.column,
            root.children[49_999].place.column
        ),
        (4, 12, 4 + 8 * 49_999)
    );
    assert!(begun.elapsed().as_secs() < 20, "{:?}", begun.elapsed());
}
