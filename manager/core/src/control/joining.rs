//! Joining: a rented machine trades its credential for the Swarm's worker token. The token is
//! rotated once the machines that received it have joined.

use super::{Call, CallKey, Core, Reply};
use crate::{
    engine::EngineError,
    model::{Instance, Setting, Trade},
};
use micado_api::{ErrorBody, ErrorCode, InstanceId, InstanceState};

/// Setting: whether anybody may know the present worker token. Without it that is unknown, so
/// somebody may.
pub(super) const TOKEN: &str = "worker-token";
/// Given to somebody.
const TOLD: &str = "told";
/// Given to nobody since it was made.
const FRESH: &str = "fresh";

impl Core {
    /// Grants a machine the data for joining: while it is being started, in time, and with the key
    /// of its first trade.
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

    /// Records that somebody may know the worker token without needing it any more.
    pub(super) fn token_is_known(&mut self) {
        self.ledger.settings.insert(Setting::new(TOKEN, TOLD));
        self.ledger.dirty.token = true;
        self.token_told = true;
    }

    /// Rotates the worker token once no machine that received it needs it to join.
    pub(super) fn renew_token(&mut self) {
        let token = self.ledger.settings.get(TOKEN);
        if token.is_some_and(|token| token.value == FRESH) {
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
        self.call(Call::RotateToken);
    }

    /// Returns true if a machine received the token and may still be about to use it.
    fn needs_token(&self, instance: &Instance) -> bool {
        let Some(trade) = &instance.joining else {
            return false;
        };
        let again = is_in_use(instance) && instance.joined_at.is_some_and(|at| trade.at > at);
        (instance.is_arriving() || again)
            && !self.joins(&instance.id)
            && self.now < self.join_deadline(instance)
    }

    /// Handles the end of a rotation. A machine that received the token during it may have received
    /// the new one.
    pub(super) fn token_rotated(&mut self, result: &Result<(), EngineError>) {
        self.came_back(&CallKey::Token, result.is_ok());
        self.ledger.dirty.token = true;
        if result.is_ok() && !self.token_told {
            self.ledger.settings.insert(Setting::new(TOKEN, FRESH));
        }
    }
}

/// Returns true if it has joined and is neither failed nor being returned.
fn is_in_use(instance: &Instance) -> bool {
    matches!(
        instance.state,
        InstanceState::Active | InstanceState::Draining
    )
}

#[cfg(test)]
mod tests;
