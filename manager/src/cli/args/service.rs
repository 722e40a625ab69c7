//! Flags of the verb about entries of the service catalogue.

use clap::{Args, Subcommand};

/// Operations on entries of the service catalogue that are made by hand.
#[derive(Debug, Subcommand)]
pub enum ServiceVerb {
    /// Make an entry of the service catalogue, or replace the one with this id.
    #[command(
        after_help = "Example: micado service register -n db -a 10.0.0.9 -p 5432 --tag primary"
    )]
    Register(RegisterArgs),
    /// Remove an entry of the service catalogue that was made by hand.
    #[command(after_help = "Example: micado service deregister db")]
    Deregister {
        /// The entry's id.
        id: String,
    },
    /// Show the entries of the service catalogue that were made by hand.
    #[command(after_help = "Example: micado service list")]
    List,
}

/// The flags of `service register`.
#[derive(Debug, Args)]
pub struct RegisterArgs {
    /// Name that the entry is found by.
    #[arg(short, long, value_name = "SERVICE")]
    pub name: String,
    /// Its address or host name.
    #[arg(short, long, value_name = "HOST")]
    pub address: String,
    /// Its port.
    #[arg(short, long, value_parser = clap::value_parser!(u16).range(1..), value_name = "PORT")]
    pub port: u16,
    /// The entry's id [default: the name]. Entries of one name need different ones.
    #[arg(long)]
    pub id: Option<String>,
    /// A tag; repeat for more.
    #[arg(long = "tag", value_name = "TAG")]
    pub tags: Vec<String>,
    /// Metadata; repeat for more.
    #[arg(long = "meta", value_name = "KEY=VALUE", value_parser = pair)]
    pub meta: Vec<(String, String)>,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}
