//! The `dui` binary: turns processes into a cluster.
//!
//! stdout is data, stderr everything else. Exit codes: 0 clean, 1 failed or
//! incomplete leave, 2 usage, 78 configuration, 128+n second signal n.

mod args;
mod ask;
mod doctor;
mod duration;
mod failure;
mod keys;
mod listeners;
mod log;
mod moment;
mod pages;
mod plan;
mod run;
mod screen;
mod settings;
mod signals;
mod sim;
mod table;
mod up;

use std::io::Write;

use clap::Parser;

use args::{Cli, Command, KeysCommand};
use failure::Failure;

/// What one thread allocates another frees, and entries live long: the
/// system's allocator costs a put a quarter more.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let command = Cli::parse().command;
    // One thread: a node waits far more than it works, and every further
    // thread costs memory. It looks for packets after every few steps: under
    // load a step takes a while, and probes must not wait for sixty of them.
    let code = tokio::runtime::Builder::new_current_thread()
        .event_interval(8)
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("cannot start: {error}")))
        .and_then(|runtime| runtime.block_on(dispatch(command)))
        .unwrap_or_else(|failure| {
            for line in failure.text.lines() {
                // If stderr is gone, the exit code still tells.
                let _ = writeln!(std::io::stderr(), "dui: {line}");
            }
            failure.code
        });
    std::process::exit(code.into());
}

async fn dispatch(command: Command) -> Result<u8, Failure> {
    match command {
        Command::Run(args) => return run::run(args).await,
        Command::Up(args) => return up::up(args).await,
        Command::Members(args) => while_read(args.watch, ask::members(args)).await,
        Command::Leader(args) => return while_read(args.watch, ask::leader(args)).await,
        Command::Views(args) => while_read(args.watch, ask::views(args)).await,
        Command::Managers(args) => ask::managers(args).await,
        Command::Why(args) => ask::why(args).await,
        Command::Watch(args) => while_read(true, ask::watch(args)).await,
        Command::Event(args) => ask::event(args).await,
        Command::Events(args) => while_read(args.watch, ask::events(args)).await,
        Command::Put(args) => ask::put(args).await,
        Command::Get(args) => ask::get(args).await,
        Command::Delete(args) => ask::delete(args).await,
        Command::List(args) => ask::list(args).await,
        Command::Leave(args) => ask::leave(args).await,
        Command::Forget(args) => ask::forget(args).await,
        Command::Recover(args) => ask::recover(args).await,
        Command::Backup(args) => ask::backup(args).await,
        Command::Restore(args) => ask::restore(args).await,
        Command::Health(args) => ask::health(args).await,
        Command::Sim(args) => sim::sim(&args),
        Command::Doctor(args) => return doctor::doctor(args).await,
        Command::Keys(args) => generate(args.command),
        Command::Completions { shell } => pages::completions(shell),
        Command::Man { dir } => pages::man(dir.as_deref()),
    }?;
    Ok(0)
}

/// What goes on by itself ends without complaint when nobody reads it.
async fn while_read<T: Default>(
    endless: bool,
    command: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    tokio::select! {
        done = command => done,
        () = screen::abandoned(), if endless => Ok(T::default()),
    }
}

fn generate(KeysCommand::Generate { out }: KeysCommand) -> Result<(), Failure> {
    match keys::generate(out.as_deref()).map_err(Failure::failed)? {
        Some(key) => Ok(screen::Screen::stdout().print(&key)?),
        None => Ok(()),
    }
}
