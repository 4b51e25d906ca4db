//! The binary: command line, configuration and wiring. The only place with a real clock.

use std::process::ExitCode;

mod clock;
mod command_line;
mod configuration;
mod house;
mod logs;

fn main() -> ExitCode {
    let command = match command_line::parse() {
        Ok(command) => command,
        Err(code) => return code,
    };
    command_line::start_log();
    let configuration = match configuration::load(&command) {
        Ok(configuration) => configuration,
        Err(error) => return command_line::fail(&error, command_line::CONFIGURATION_WRONG),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a process that has just started can make its threads");
    match runtime.block_on(house::run(configuration)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => command_line::fail(&error, command_line::FAILED),
    }
}
