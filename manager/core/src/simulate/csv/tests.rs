//! Reading of CSV files.

use super::*;

#[test]
fn demand_is_linear_between_lines() {
    let text = "seconds,demand,memory\n0,1,5\n2,3,5\n# a note\n4,0,5\n";
    assert_eq!(demand(text), Ok(vec![1.0, 2.0, 3.0, 1.5, 0.0]));
    assert_eq!(demand("100,2\n"), Ok(vec![2.0]));
}

#[test]
fn wrong_lines_are_named() {
    assert_eq!(demand("0,1\nx,2\n"), Err(CsvError::Line(2)));
    assert_eq!(demand("0,1\n5,-2\n"), Err(CsvError::Line(2)));
    assert_eq!(demand("5,1\n5,2\n"), Err(CsvError::Order(2)));
    assert_eq!(demand("seconds,demand\n"), Err(CsvError::Empty));
    assert_eq!(demand("0,1\n99999999,2\n"), Err(CsvError::Long(99_999_999)));
}
