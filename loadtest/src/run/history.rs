//! Runs whose history is recorded.

use crate::cli::Common;
use crate::error::{Error, Result};
use crate::fleet::Dialect;
use crate::room::RoomPlan;

/// Makes a plan one whose history is recorded, or refuses.
pub(super) fn with_history(plan: &mut RoomPlan, common: &Common, workers: usize) -> Result<()> {
    if common.protocol != Dialect::Countersign {
        return Err(Error::Usage(
            "--history needs --protocol countersign: others authenticate nobody".to_owned(),
        ));
    }
    if workers > 1 {
        return Err(Error::Usage(
            "--history: several --workers would each need a file; leave one of the two out".to_owned(),
        ));
    }
    (plan.check, plan.decode_every) = (true, 1);
    Ok(())
}
