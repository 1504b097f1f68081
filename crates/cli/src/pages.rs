//! Pages: completions and manual pages, made from the definition of the command line.

use std::path::Path;

use clap::CommandFactory;
use clap_complete::Shell;

use crate::args::Cli;
use crate::failure::Failure;
use crate::screen::Screen;

/// Prints the completion script of a shell.
pub(crate) fn completions(shell: Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "dui", &mut script);
    Ok(Screen::stdout().print(&String::from_utf8_lossy(&script))?)
}

/// Prints the manual page of `dui`, or writes those of all commands.
pub(crate) fn man(dir: Option<&Path>) -> Result<(), Failure> {
    if let Some(dir) = dir {
        return std::fs::create_dir_all(dir)
            .and_then(|()| clap_mangen::generate_to(Cli::command(), dir))
            .map_err(|error| {
                Failure::failed(format!("cannot write to {}: {error}", dir.display()))
            });
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(Cli::command()).render(&mut page)?;
    Ok(Screen::stdout().print(&String::from_utf8_lossy(&page))?)
}
