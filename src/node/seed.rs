//! Accounts that are there from the start.

use countersign_protocol::UserId;
use countersign_protocol::server::Profile;

use super::Node;
use crate::auth::names;
use crate::engine::{Account, EngineError};

impl Node {
    /// Creates the accounts of the configuration; one that is there already stays as it is. Call it before anybody is
    /// served: until then nobody else can take their names.
    pub async fn seed_accounts(&self) {
        for user in &self.config().accounts.users {
            // The configuration has been checked: every id is one.
            let Ok(id) = UserId::parse(&user.id) else {
                continue;
            };
            let account = Account {
                profile: Profile {
                    id: id.clone(),
                    name: user.name.as_deref().and_then(names::display_name),
                    avatar: None,
                },
                password_hash: user.password_hash.clone(),
                created_at: self.clock.now(),
                locked: false,
            };
            match self.engine.create_account(account).await {
                Ok(()) | Err(EngineError::Exists) => {}
                Err(error) => {
                    tracing::error!(target: "countersign::auth", user = %id, ?error, "a configured account could not be created");
                }
            }
        }
    }
}
