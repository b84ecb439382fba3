//! Arguments in, exit code out: 0 all well, 1 an assertion failed, 2 no result.

use std::process::ExitCode;

use clap::Parser;
use countersign_loadtest::cli::Cli;
use countersign_loadtest::{output, run};

fn main() -> ExitCode {
    match run::run(Cli::parse()) {
        Ok(run::Verdict::Passed) => ExitCode::SUCCESS,
        Ok(run::Verdict::Failed) => ExitCode::from(1),
        Err(error) => {
            output::complain(&format!("countersign-loadtest: {error}"));
            ExitCode::from(2)
        }
    }
}
