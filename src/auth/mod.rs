//! Who someone is: tokens, proofs, passwords, devices, and the sealing of what only one party may read.
//!
//! Nothing here performs network I/O, and time comes in as a number of milliseconds. Secrets are
//! compared through [`secret`], never printed, and their holders have no `Debug` that shows them.

pub mod certificate;
pub mod device;
pub mod digest;
pub mod dpop;
pub mod jwe;
pub mod jwk;
pub mod jwt;
pub mod key;
pub mod names;
pub mod password;
pub mod seal;
pub mod secret;
pub mod sessions;

/// Chooses the cryptography behind JSON Web Tokens, once for the process; calling it again changes
/// nothing. [`jwt::KeySet::new`] calls it, so a caller need not.
pub fn install_crypto() {
    // An error says that a provider is installed already, which is what we want.
    let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
}
