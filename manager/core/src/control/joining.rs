//! How a rented machine gets in: it trades its credential for the Swarm's worker token, which is
//! renewed once those who were told it have joined.

use super::{Call, CallKey, Core, Reply};
use crate::{
    engine::EngineError,
    model::{Instance, Trade},
};
use micado_api::{ErrorBody, ErrorCode, InstanceId, InstanceState};

/// The setting that says whether anybody may know the present worker token. Without it nothing is
/// known of that, so somebody may.
pub(super) const TOKEN: &str = "worker-token";
/// Somebody was told it.
const TOLD: &str = "told";
/// Nobody was told it since it was made.
const FRESH: &str = "fresh";

impl Core {
    /// Lets a machine have what it needs to join: while it is being started, in time, and with the
    /// key that it came with first.
    pub(super) fn trade(&mut self, id: &InstanceId, key: String) -> Result<Reply, ErrorBody> {
        let refuse = |code, words: String| Err(ErrorBody::new(code, words));
        if let Some(words) = self.blindness() {
            return refuse(
                ErrorCode::Unavailable,
                format!("the engine is not seen: {words}"),
            );
        }
        let Some(instance) = self.ledger.instance(id) else {
            return refuse(
                ErrorCode::Unavailable,
                format!("instance `{id}` has no record yet: its broker is being asked"),
            );
        };
        let (tag, bound) = (&instance.tag, instance.joining.as_ref());
        if bound.is_some_and(|trade| trade.key != key) {
            return refuse(
                ErrorCode::Conflict,
                format!("the credential of `{tag}` was used with another key"),
            );
        }
        if !instance.is_arriving() && (bound.is_none() || !is_in_use(instance)) {
            return refuse(
                ErrorCode::Gone,
                format!(
                    "`{tag}` is not being started any more: it is {}",
                    instance.state
                ),
            );
        }
        if self.now >= self.join_deadline(instance) {
            return refuse(
                ErrorCode::Gone,
                format!("the credential of `{tag}` has expired"),
            );
        }
        if self.joins(id) {
            return refuse(
                ErrorCode::Unavailable,
                format!("the node of `{tag}` is in the Swarm still"),
            );
        }
        let now = self.now;
        self.ledger.edit_instance(id, |instance| {
            instance.joining = Some(Trade { key, at: now });
        });
        self.token_is_known();
        Ok(Reply::MayJoin)
    }

    /// From now on somebody may know the worker token who need not any more.
    pub(super) fn token_is_known(&mut self) {
        self.ledger
            .settings
            .insert(TOKEN.to_owned(), TOLD.to_owned());
        self.ledger.dirty.token = true;
        self.token_told = true;
    }

    /// Makes the worker token useless to those who were told it, as soon as none of them needs it
    /// to join.
    pub(super) fn renew_token(&mut self) {
        if self
            .ledger
            .settings
            .get(&TOKEN.to_owned())
            .is_some_and(|it| it == FRESH)
        {
            return;
        }
        let trading = self.ledger.index.trading.iter();
        let needed_until = trading
            .filter_map(|id| self.ledger.instance(id))
            .filter(|it| self.needs_token(it))
            .map(|it| self.join_deadline(it))
            .min();
        if let Some(at) = needed_until {
            return self.wake(at);
        }
        if self.is_due(&CallKey::Token) {
            self.token_told = false;
        }
        self.call(CallKey::Token, Call::RotateToken);
    }

    /// Whether a machine was told the token and may still be about to use it.
    fn needs_token(&self, instance: &Instance) -> bool {
        let Some(trade) = &instance.joining else {
            return false;
        };
        let again = is_in_use(instance) && instance.joined_at.is_some_and(|at| trade.at > at);
        (instance.is_arriving() || again)
            && !self.joins(&instance.id)
            && self.now < self.join_deadline(instance)
    }

    /// A rotation came back. Whoever was told the token while it was under way may have been told
    /// the new one.
    pub(super) fn token_rotated(&mut self, result: &Result<(), EngineError>) {
        self.came_back(&CallKey::Token, result.is_ok());
        self.ledger.dirty.token = true;
        if result.is_ok() && !self.token_told {
            self.ledger
                .settings
                .insert(TOKEN.to_owned(), FRESH.to_owned());
        }
    }
}

/// Whether it has joined and is not given up or being given back.
fn is_in_use(instance: &Instance) -> bool {
    matches!(
        instance.state,
        InstanceState::Active | InstanceState::Draining
    )
}

#[cfg(test)]
mod tests;
