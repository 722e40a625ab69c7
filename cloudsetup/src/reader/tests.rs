//! Tests of reading `cloudsetup.xml`.
