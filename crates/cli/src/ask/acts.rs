//! `dui leave`, `forget` and `health`: what changes or judges a node.

use std::time::Duration;

use dui_client::{Client, LeaveOutcome, Probe};

use super::{address, client, json};
use crate::args::{ForgetArgs, HealthArgs, LeaveArgs};
use crate::failure::Failure;
use crate::screen::Screen;

/// Makes the node leave. Without `wait` it returns once the node has begun.
pub(crate) async fn leave(args: LeaveArgs) -> Result<(), Failure> {
    let client = client(&args.ask)?;
    let left = client.leave();
    if args.wait {
        return report(&left.await?);
    }
    tokio::select! {
        outcome = left => report(&outcome?),
        () = begun(&client) => Ok(Screen::stdout().print("leaving\n")?),
    }
}

/// Returns when the node says that it is leaving.
async fn begun(client: &Client) {
    loop {
        tokio::time::sleep(Duration::from_millis(20)).await;
        if client.this().await.is_ok_and(|this| this.leaving) {
            return;
        }
    }
}

fn report(outcome: &LeaveOutcome) -> Result<(), Failure> {
    let LeaveOutcome { acked, wanted, .. } = outcome;
    if *wanted > 0 && *acked == 0 {
        return Err(Failure::failed(format!(
            "the node has left, but none of {wanted} peers confirmed it in time: \
             others may see it failed instead; look at \"dui members\" of another node"
        )));
    }
    let text = match wanted {
        0 => "left; nobody else was there\n".into(),
        _ => format!("left; {acked} of {wanted} peers confirmed\n"),
    };
    Ok(Screen::stdout().print(&text)?)
}

/// Removes a member for good.
pub(crate) async fn forget(args: ForgetArgs) -> Result<(), Failure> {
    let member = client(&args.ask)?.forget(&args.node, args.force).await?;
    let screen = Screen::stdout();
    if args.json {
        return Ok(screen.print(&json(&member)?)?);
    }
    Ok(screen.print(&format!("{} ({}) is forgotten\n", member.name, member.id))?)
}

/// Asks the health port.
pub(crate) async fn health(args: HealthArgs) -> Result<(), Failure> {
    let client = Client::new(&address(args.addr.as_deref(), "DUI_HEALTH_PORT", 8888))?;
    let (probe, answer) = if args.ready {
        (Probe::Ready, "ready\n")
    } else {
        (Probe::Live, "live\n")
    };
    client.probe(probe).await?;
    Ok(Screen::stdout().print(answer)?)
}
