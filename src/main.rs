//! The `autofunnel` binary: everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    autofunnel::cli::main()
}
