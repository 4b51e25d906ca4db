//! The binary: command line, configuration and wiring. The only place with a real clock.

use std::process::ExitCode;

use anyhow::Result;

use crate::clock::Wall;
use crate::command_line::{Command, LogCommand};
use crate::configuration::Configuration;

mod broker;
mod clock;
mod command_line;
mod configuration;
mod entrance;
mod feeding;
mod house;
mod logs;
mod neighbours;
mod private;
mod progress;
mod provider;
mod read_store;
mod roles;
mod trading;

mod admin;
mod apikey;
mod doctor;
mod token;

mod log_cat;
mod log_copy;
mod log_create;

mod backup;
mod hashed;
mod manifest;
mod restore;
mod unfinished;

fn main() -> ExitCode {
    let command = match command_line::parse() {
        Ok(command) => command,
        Err(code) => return code,
    };
    provider::install();
    command_line::start_log(&command);
    match command {
        Command::Demo(demo) => on(configuration::of_demo(&demo), house::run),
        Command::Serve(serve) => on(configuration::of_serve(&serve), house::run),
        Command::Token(command) => {
            on(configuration::of_place(command.place()), async |at| token::run(&command, &at))
        }
        Command::ApiKey(command) => on(configuration::of_place(command.place()), async |at| {
            apikey::run(&command, &at).await
        }),
        Command::Doctor(doctor) => on(configuration::of_place(&doctor.place), async |at| {
            Box::pin(doctor::run(&doctor, &at)).await
        }),
        Command::Log(LogCommand::Cat(cat)) => {
            on(configuration::of_place(&cat.place), async |at| log_cat::run(&cat, &at).await)
        }
        Command::Log(LogCommand::Copy(copy)) => {
            on(configuration::of_brokers(copy.config.as_deref()), async |at| {
                log_copy::run(&copy, &at).await
            })
        }
        Command::Log(LogCommand::Create(create)) => {
            on(configuration::of_brokers(create.config.as_deref()), async |at| {
                log_create::run(&create, &at).await
            })
        }
        Command::Backup(backup) => on(configuration::of_place(&backup.place), async |at| {
            backup::run(&backup, &at, &Wall).await
        }),
        Command::Restore(restore) => ended(restore::run(&restore)),
    }
}

/// Does something with a configuration, and returns the code to end with.
fn on(
    configuration: Result<Configuration>,
    work: impl AsyncFnOnce(Configuration) -> Result<()>,
) -> ExitCode {
    let configuration = match configuration {
        Ok(configuration) => configuration,
        Err(error) => return command_line::fail(&error, command_line::CONFIGURATION_WRONG),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a process that has just started can make its threads");
    ended(runtime.block_on(work(configuration)))
}

fn ended(result: Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => command_line::fail(&error, command_line::FAILED),
    }
}
