//! Verdicts of the scaling in a table of their own, by time.

use super::{EmbeddedStore, history::PIECE};
use crate::store::StoreError;
use micado_api::{Timestamp, VerdictSpan};
use micado_core::metrics::{Order, RecallVerdicts, VERDICTS_KEPT};
use redb::{
    Database, ReadableDatabase, ReadableTableMetadata, TableDefinition, TableError,
    WriteTransaction,
};

/// First check and service.
type Key = (u64, &'static str);

const VERDICTS: TableDefinition<'static, Key, &'static [u8]> = TableDefinition::new("verdicts");

impl EmbeddedStore {
    pub(super) fn record_all_verdicts(&self, spans: &[VerdictSpan]) -> Result<(), StoreError> {
        let rows = spans
            .iter()
            .map(|span| Ok((span, encode(span)?)))
            .collect::<Result<Vec<_>, StoreError>>()?;
        self.database.with(|database| {
            let transaction = database.begin_write()?;
            let mut table = transaction.open_table(VERDICTS)?;
            for (span, row) in &rows {
                table.insert((span.first.at.0, span.service.as_str()), row.as_slice())?;
            }
            drop(table);
            Ok(transaction.commit()?)
        })
    }

    /// Deletes a piece of the verdicts that are expired or not among the newest `most`; true if
    /// more may be left.
    pub(super) fn forget_some_verdicts(
        &self,
        now: Timestamp,
        most: u64,
    ) -> Result<bool, StoreError> {
        let kept = u64::try_from(VERDICTS_KEPT.as_millis()).unwrap_or(u64::MAX);
        let until = now.0.saturating_sub(kept);
        self.database
            .with(|database| forget_piece(database, until, most))
    }
}

fn forget_piece(database: &Database, until: u64, most: u64) -> Result<bool, redb::Error> {
    let transaction = database.begin_write()?;
    let mut table = transaction.open_table(VERDICTS)?;
    let mut gone = 0;
    for row in table
        .extract_from_if(..(until, ""), |_, _| true)?
        .take(PIECE)
    {
        row?;
        gone += 1;
    }
    while gone < PIECE && table.len()? > most && table.pop_first()?.is_some() {
        gone += 1;
    }
    drop(table);
    transaction.commit()?;
    Ok(gone == PIECE)
}

/// Returns the selected verdicts of a file.
pub(super) fn recall(
    database: &Database,
    wanted: &RecallVerdicts,
) -> Result<Vec<VerdictSpan>, redb::Error> {
    let table = match database.begin_read()?.open_table(VERDICTS) {
        // A store that an earlier micado made: the first recording makes the table.
        Err(TableError::TableDoesNotExist(_)) => return Ok(vec![]),
        table => table?,
    };
    if wanted.from >= wanted.until {
        return Ok(vec![]);
    }
    let mut rows = table.range((wanted.from.0, "")..(wanted.until.0, ""))?;
    let next = || match wanted.order {
        Order::OldestFirst => rows.next(),
        Order::NewestFirst => rows.next_back(),
    };
    let mut found = Vec::new();
    for row in std::iter::from_fn(next) {
        if found.len() >= wanted.most {
            break;
        }
        let (key, row) = row?;
        let service = wanted.service.as_deref();
        if service.is_none_or(|service| key.value().1 == service) {
            // Skip unreadable rows: the others are still of use.
            found.extend(serde_json::from_slice::<VerdictSpan>(row.value()).ok());
        }
    }
    Ok(found)
}

pub(super) fn create(transaction: &WriteTransaction) -> Result<(), redb::Error> {
    transaction.open_table(VERDICTS)?;
    Ok(())
}

fn encode(span: &VerdictSpan) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(span).map_err(|error| {
        StoreError::Failed(format!(
            "a verdict on `{}` cannot be written as JSON: {error}",
            span.service
        ))
    })
}
