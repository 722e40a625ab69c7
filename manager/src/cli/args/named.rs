//! Names that may stand by themselves, or after the flag that the original had.

use clap::Args;
use micado_api::Tag;

/// Message of the `expect`s: clap requires one of the two.
const ONE: &str = "one of both is required";

/// A service or a container.
#[derive(Debug, Args)]
#[group(id = "named", required = true, multiple = false)]
pub struct NameArg {
    /// A service's or a container's name.
    #[arg(value_name = "NAME")]
    plain: Option<String>,
    /// The same, after a flag.
    #[arg(short = 'n', long = "name", value_name = "NAME")]
    flagged: Option<String>,
}

impl NameArg {
    /// The name as given.
    pub fn name(&self) -> &str {
        let name = self.plain.as_deref().or(self.flagged.as_deref());
        name.expect(ONE)
    }
}

/// A machine.
#[derive(Debug, Args)]
#[group(id = "tagged", required = true, multiple = false)]
pub struct TagArg {
    /// A machine's tag.
    #[arg(value_name = "TAG")]
    plain: Option<Tag>,
    /// The same, after a flag.
    #[arg(short = 't', long = "tag", value_name = "TAG")]
    flagged: Option<Tag>,
}

impl TagArg {
    /// The tag as given.
    pub fn tag(&self) -> &Tag {
        self.plain.as_ref().or(self.flagged.as_ref()).expect(ONE)
    }
}
