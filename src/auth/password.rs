//! Passwords: Argon2id, a bounded number of threads that compute it, and a bounded number of callers
//! that wait for them.

use std::fmt;
use std::sync::Arc;

use argon2::{Algorithm, Argon2, Block, Params, PasswordHash, Version};
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use countersign_protocol::limits::{PASSWORD_BYTES_MAX, PASSWORD_BYTES_MIN};
use parking_lot::Mutex;
use tokio::sync::{Semaphore, TryAcquireError};
use zeroize::Zeroizing;

use super::secret::{self, NoEntropy};

/// What a refused caller is asked to wait, milliseconds: a full queue at the default cost takes about
/// half of it on two cores.
pub const BUSY_AFTER_MS: u64 = 1_000;

/// Least memory of a hash, KiB.
pub const COST_MEMORY_KIB_MIN: u32 = 8;
/// Most memory of a hash, KiB: configured, or stored with it.
pub const COST_MEMORY_KIB_MAX: u32 = 1 << 20;
/// Most passes of a hash.
pub const COST_ITERATIONS_MAX: u32 = 16;
/// Most lanes of a stored hash. They are computed one after the other, in the same memory.
pub const STORED_LANES_MAX: u32 = 16;

/// What one hash costs, and how many are computed and waited for at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// Memory of one hash, KiB, at least 8. Default 19,456 (OWASP: 19 MiB with two passes).
    pub memory_kib: u32,
    /// Passes over the memory, at least 1. Default 2.
    pub iterations: u32,
    /// Hashes computed at once, at least 1, each on a blocking thread of its own. Default: the cores.
    pub running_max: usize,
    /// Callers waiting for one of those; the next is refused. Default 32.
    pub waiting_max: usize,
}

impl Default for Cost {
    fn default() -> Self {
        Self {
            memory_kib: 19 * 1024,
            iterations: 2,
            running_max: std::thread::available_parallelism().map_or(1, usize::from),
            waiting_max: 32,
        }
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// A new password outside the contract's bounds.
    #[error("a password is {PASSWORD_BYTES_MIN} to {PASSWORD_BYTES_MAX} bytes")]
    Length,
    /// Too many callers wait already: 429.
    #[error("too many sign-ins at once")]
    Busy {
        /// When to try again, milliseconds.
        after_ms: u64,
    },
    /// The cost is outside what Argon2 allows.
    #[error("memory_kib is at least 8, iterations and running_max at least 1")]
    Cost,
    /// A stored hash is no Argon2 hash, memory ran out, or no salt could be drawn.
    #[error("the password could not be hashed")]
    Failed,
}

impl From<NoEntropy> for PasswordError {
    fn from(_: NoEntropy) -> Self {
        Self::Failed
    }
}

/// Hashes and checks passwords. Clones share the bounds.
#[derive(Clone)]
pub struct Hasher(Arc<Pool>);

struct Pool {
    params: Params,
    /// Working memory, used again by the next hash: at most one piece per running hash. Asking the allocator
    /// each time leaves that much in the arena of every thread that ever hashed.
    memory: Mutex<Vec<Vec<Block>>>,
    /// Held by a caller from arrival to answer: `running_max + waiting_max` of them.
    admitted: Arc<Semaphore>,
    /// Held by a thread while it computes.
    running: Arc<Semaphore>,
    /// What an unknown user's password is compared with: as costly as any, equal to none.
    nobody: String,
}

impl Hasher {
    /// A hasher of that cost. Nothing is computed yet.
    ///
    /// # Errors
    /// When Argon2 does not allow the cost, or no random bytes can be drawn.
    pub fn new(cost: Cost) -> Result<Self, PasswordError> {
        let params = Params::new(
            cost.memory_kib,
            cost.iterations,
            1,
            Some(Params::DEFAULT_OUTPUT_LEN),
        )
        .map_err(|_| PasswordError::Cost)?;
        if cost.running_max == 0 {
            return Err(PasswordError::Cost);
        }
        let bounded = |n: usize| Arc::new(Semaphore::new(n.min(Semaphore::MAX_PERMITS)));
        // Salt and output are random: 256 bits that no password hashes to.
        let nobody = phc(&params, &secret::bytes::<16>()?, &secret::bytes::<32>()?);
        Ok(Self(Arc::new(Pool {
            params,
            memory: Mutex::new(Vec::new()),
            admitted: bounded(cost.running_max.saturating_add(cost.waiting_max)),
            running: bounded(cost.running_max),
            nobody,
        })))
    }

    /// Hashes a new password into a PHC string with a fresh salt.
    ///
    /// # Errors
    /// [`PasswordError::Length`] and [`PasswordError::Busy`] are the caller's to answer.
    pub async fn hash(&self, password: &str) -> Result<String, PasswordError> {
        if !(PASSWORD_BYTES_MIN..=PASSWORD_BYTES_MAX).contains(&password.len()) {
            return Err(PasswordError::Length);
        }
        let salt: [u8; 16] = secret::bytes()?;
        self.run(password, move |pool, password| {
            let mut output = [0; Params::DEFAULT_OUTPUT_LEN];
            pool.compute(&pool.params, password, &salt, &mut output)?;
            Ok(phc(&pool.params, &salt, &output))
        })
        .await
    }

    /// Whether `password` is the one `stored` was made from; `None` for a user who does not exist, which
    /// takes the same work and is never right. A stored hash is checked at its own cost.
    ///
    /// # Errors
    /// [`PasswordError::Busy`] is the caller's to answer.
    pub async fn verify(&self, password: &str, stored: Option<&str>) -> Result<bool, PasswordError> {
        if password.len() > PASSWORD_BYTES_MAX {
            // Nobody has such a password: the answer says nothing about this user.
            return Ok(false);
        }
        let known = stored.is_some();
        let stored = stored.unwrap_or(&self.0.nobody).to_owned();
        self.run(password, move |pool, password| {
            let stored = PasswordHash::new(&stored).map_err(|_| PasswordError::Failed)?;
            let (Some(salt), Some(expected)) = (&stored.salt, &stored.hash) else {
                return Err(PasswordError::Failed);
            };
            if stored.algorithm.as_str() != Algorithm::Argon2id.as_str() || stored.version != Some(19) {
                return Err(PasswordError::Failed);
            }
            let params = Params::try_from(&stored).map_err(|_| PasswordError::Failed)?;
            let mut output = vec![0; expected.as_bytes().len()];
            pool.compute(&params, password, salt, &mut output)?;
            Ok(secret::same(&output, expected.as_bytes()) && known)
        })
        .await
    }

    /// Runs `work` on a blocking thread, within the bounds. A caller that goes away while waiting gives
    /// its place back at once; while computing, when the thread is done.
    async fn run<T: Send + 'static>(
        &self,
        password: &str,
        work: impl FnOnce(&Pool, &[u8]) -> Result<T, PasswordError> + Send + 'static,
    ) -> Result<T, PasswordError> {
        let admitted = match self.0.admitted.clone().try_acquire_owned() {
            Ok(permit) => permit,
            Err(TryAcquireError::NoPermits) => {
                return Err(PasswordError::Busy {
                    after_ms: BUSY_AFTER_MS,
                });
            }
            Err(TryAcquireError::Closed) => return Err(PasswordError::Failed),
        };
        let password = Zeroizing::new(password.as_bytes().to_vec());
        let running = self.0.running.clone().acquire_owned().await;
        let running = running.map_err(|_| PasswordError::Failed)?;
        let pool = self.0.clone();
        tokio::task::spawn_blocking(move || {
            let answer = work(&pool, &password);
            drop((running, admitted));
            answer
        })
        .await
        .map_err(|_| PasswordError::Failed)?
    }
}

impl Pool {
    /// Argon2id into `output`, in memory that was used before where it fits.
    fn compute(
        &self,
        params: &Params,
        password: &[u8],
        salt: &[u8],
        output: &mut [u8],
    ) -> Result<(), PasswordError> {
        let blocks = params.block_count();
        let mut memory = self.memory.lock().pop().unwrap_or_default();
        memory.resize(blocks, Block::default());
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone());
        let computed = argon2.hash_password_into_with_memory(password, salt, output, &mut memory);
        // Only as large as the configured cost asks for: a stored hash may have had a larger one.
        if memory.len() <= self.params.block_count() {
            self.memory.lock().push(memory);
        }
        computed.map_err(|_| PasswordError::Failed)
    }
}

/// Memory in KiB, passes and lanes of a stored hash; `None` when it is none.
pub fn stored_cost(stored: &str) -> Option<(u32, u32, u32)> {
    let parsed = PasswordHash::new(stored).ok()?;
    let params = Params::try_from(&parsed).ok()?;
    Some((params.m_cost(), params.t_cost(), params.p_cost()))
}

/// Why a hash that somebody else made is not taken, to go on after its name; `None` when it is. What is taken can be
/// checked within the bounds of a hash's cost.
pub fn stored_problem(stored: &str) -> Option<String> {
    let Ok(parsed) = PasswordHash::new(stored) else {
        return Some("is no PHC string, such as $argon2id$v=19$m=19456,t=2,p=1$…$…".into());
    };
    if parsed.algorithm.as_str() != Algorithm::Argon2id.as_str() || parsed.version != Some(19) {
        return Some("is of another kind than argon2id, version 19".into());
    }
    let lengths = (&parsed.salt, &parsed.hash);
    let whole = matches!(lengths, (Some(salt), Some(hash)) if salt.len() >= 8 && hash.as_bytes().len() >= 16);
    if !whole {
        return Some("needs a salt of at least 8 bytes and a hash of at least 16".into());
    }
    let Some((memory, passes, lanes)) = stored_cost(stored) else {
        return Some("has parameters that Argon2 does not allow".into());
    };
    let bounded = memory <= COST_MEMORY_KIB_MAX && passes <= COST_ITERATIONS_MAX && lanes <= STORED_LANES_MAX;
    (!bounded).then(|| {
        format!(
            "costs m={memory}, t={passes}, p={lanes}: at most m={COST_MEMORY_KIB_MAX}, t={COST_ITERATIONS_MAX}, \
             p={STORED_LANES_MAX}"
        )
    })
}

/// The string a hash is stored as (PHC string format).
fn phc(params: &Params, salt: &[u8], output: &[u8]) -> String {
    format!(
        "$argon2id$v=19$m={},t={},p={}${}${}",
        params.m_cost(),
        params.t_cost(),
        params.p_cost(),
        STANDARD_NO_PAD.encode(salt),
        STANDARD_NO_PAD.encode(output)
    )
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hasher")
            .field("params", &self.0.params)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
