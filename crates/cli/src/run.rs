//! `dui run`: one node, from its settings to its goodbye.
//!
//! The order is the contract. Handlers first, then settings, sockets, node,
//! API, and `ready` when all of them accept. At the end: no longer ready,
//! drain, say goodbye while streams and requests finish, close.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use dui_node::core::Keyring;
use dui_node::{Handle, LeaveOutcome, Location, Node, Options, Port, Provider};
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::getppid;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::args::RunArgs;
use crate::failure::{CONFIG, FAILED, Failure};
use crate::listeners::{self, Listeners, Mover};
use crate::log::{ALWAYS, Log};
use crate::screen::Screen;
use crate::settings::{Loaded, LogFormat, Settings, load_for, print, print_location};
use crate::signals::{Asked, QUIT, Signals};
use crate::{keys, plan};

/// Longest wait for what is written at the end.
const LAST_WRITE: Duration = Duration::from_secs(1);

/// Runs a node until it is told to stop; the exit code.
pub(crate) async fn run(args: RunArgs) -> Result<u8, Failure> {
    let mut signals = Signals::install()
        .map_err(|error| Failure::failed(format!("cannot handle signals: {error}")))?;
    if let Some(parent) = args.parent {
        leave_with(parent)?;
    }
    let loaded = loaded(&args)?;
    let (keys, warning) = keyring(&loaded)?;
    if args.print_config {
        let mut page = print(&loaded, &keys);
        page.push_str(&print_location(&locate(&loaded.settings, keys).await));
        Screen::stdout().print(&page)?;
        return Ok(0);
    }
    let settings = &loaded.settings;
    let log = Log::new(settings.log_format.value, settings.log_level.value);
    log.install();
    if let Some(warning) = warning {
        tracing::warn!(target: "dui", event = "key_file_open", reason = warning);
    }
    let node = match Running::start(settings, keys).await {
        Ok(node) => node,
        Err(problem) if settings.log_format.value == LogFormat::Json => {
            // Who reads JSON reads nothing else.
            tracing::error!(target: ALWAYS, event = "start_failed", reason = problem);
            return Err(Failure {
                code: CONFIG,
                text: String::new(),
            });
        }
        Err(problem) => return Err(Failure::config(problem)),
    };
    node.serve(&mut signals, &args, &log, settings.drain.value)
        .await
}

/// Asks the system for SIGTERM when the parent dies.
fn leave_with(parent: i32) -> Result<(), Failure> {
    prctl::set_pdeathsig(Signal::SIGTERM)
        .map_err(|error| Failure::failed(format!("cannot follow the parent: {error}")))?;
    // It may have died before we asked.
    match getppid().as_raw() {
        id if id == parent => Ok(()),
        _ => Err(Failure::failed(format!("the parent {parent} is gone"))),
    }
}

fn loaded(args: &RunArgs) -> Result<Loaded, Failure> {
    load_for(&args.flags, args.config.as_deref())
        .map_err(|problems| Failure::config(problems.join("\n")))
}

/// The cluster keys, and a warning about where they came from.
pub(crate) fn keyring(loaded: &Loaded) -> Result<(Keyring, Option<String>), Failure> {
    match (&loaded.key, &loaded.settings.key_file.value) {
        (Some(text), _) => keys::parse(text)
            .map(|keys| (keys, None))
            .map_err(|(line, problem)| Failure::config(format!("DUI_KEY, line {line}: {problem}"))),
        (None, Some(path)) => keys::read(path).map_err(Failure::config),
        (None, None) => Ok((Keyring::default(), None)),
    }
}

/// A node that serves.
struct Running {
    node: Node,
    handle: Handle,
    app: dui_api::App,
    /// Servers of the client port; they end when `close` says so.
    clients: JoinSet<()>,
    close: watch::Sender<bool>,
    /// Servers of the health port, which answer until the very end, and whoever
    /// moves the ports after the node.
    _health: JoinSet<()>,
}

impl Running {
    async fn start(settings: &Settings, keys: Keyring) -> Result<Self, String> {
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let options = planned(settings, keys)?;
        let location = options.locate().await.map_err(|error| text(&error))?;
        for reason in location.skipped() {
            tracing::warn!(
                target: "dui", event = "address_rule_skipped", reason,
                address = %location.advertise(), instead = location.reason(),
            );
        }
        let (bind, open) = (location.bind(), options.insecure);
        let clients = listen("client", bind, plan::port(&settings.client_port))?;
        let probes = listen("health", bind, plan::port(&settings.health_port))?;
        let (cluster, discovery) = (options.cluster.clone(), describe(&options));
        let peer_port = options.peer_port;
        let node = Node::start_at(location, options)
            .await
            .map_err(|error| text(&error))?;
        tell_move("peer", peer_port, node.peer_address());
        let handle = node.handle();
        let this = handle.this().await.map_err(|error| text(&error))?;

        let api = dui_api::Settings {
            open,
            client_address: clients.address,
            health_address: probes.address,
        };
        let app = dui_api::App::new(handle.clone(), api);
        let (close, closing) = watch::channel(false);
        let mut running = Self {
            node,
            handle,
            app: app.clone(),
            clients: JoinSet::new(),
            close,
            _health: JoinSet::new(),
        };
        let (client, moved_clients) = Mover::of(&clients);
        let (health, moved_probes) = Mover::of(&probes);
        let closed = || {
            let mut closing = closing.clone();
            async move {
                // An error: the sender is gone, and with it the node.
                let _ = closing.wait_for(|closing| *closing).await;
            }
        };
        let (router, first) = (dui_api::client_router(app.clone()), clients.first);
        if let Some(home) = clients.home {
            let serving = dui_api::serve(home, router.clone(), closed());
            running.clients.spawn(serving);
        }
        let serving = dui_api::serve_moving(first, moved_clients, router, closed());
        running.clients.spawn(serving);

        let (router, first, never) = (
            dui_api::health_router(app.clone()),
            probes.first,
            std::future::pending,
        );
        if let Some(home) = probes.home {
            running
                ._health
                .spawn(dui_api::serve(home, router.clone(), never()));
        }
        let serving = dui_api::serve_moving(first, moved_probes, router, never());
        running._health.spawn(serving);
        let bound = running.node.bound();
        let moved = move |client, health| app.moved(client, health);
        running
            ._health
            .spawn(listeners::follow(bound, client, health, moved));
        tracing::info!(
            target: ALWAYS, event = "ready", member = %this.member.name, id = %this.member.id,
            address = %running.node.peer_address(), client = %api.client_address,
            health = %api.health_address, discovery, cluster = %cluster,
            incarnation = this.member.incarnation.0,
        );
        Ok(running)
    }

    /// Until the end, and its exit code.
    async fn serve(
        mut self,
        signals: &mut Signals,
        args: &RunArgs,
        log: &Log,
        drain: Duration,
    ) -> Result<u8, Failure> {
        loop {
            let asked = tokio::select! {
                asked = signals.next() => asked,
                fatal = self.node.stopped() => {
                    // The node's own log has said why.
                    let code = if fatal.is_some() { CONFIG } else { FAILED };
                    return Err(Failure { code, text: String::new() });
                }
            };
            match asked {
                Asked::Quit => return Ok(QUIT),
                Asked::Reload => reload(args, log),
                Asked::Leave { .. } => break,
            }
        }
        tokio::select! {
            code = self.goodbye(drain) => Ok(code),
            code = signals.impatience(|| reload(args, log)) => Ok(code),
        }
    }

    /// Leaves; the exit code.
    async fn goodbye(mut self, drain: Duration) -> u8 {
        let already = self
            .handle
            .status()
            .await
            .is_ok_and(|status| status.leaving);
        if !already {
            tracing::info!(target: "dui", event = "leaving", drain_ms = drain.as_millis() as u64);
            self.app.drain();
            tokio::time::sleep(drain).await;
        }
        let finish = async {
            self.close.send_replace(true);
            while self.clients.join_next().await.is_some() {}
        };
        let (outcome, ()) = tokio::join!(self.handle.leave(), finish);
        // What the data directory still lacks is written, unless the disk hangs.
        let _ = tokio::time::timeout(LAST_WRITE, self.node.stop()).await;
        match outcome {
            // Whoever had it leave before has been told how that went.
            Ok(_) if already => 0,
            Ok(LeaveOutcome { acked: 0, wanted }) if wanted > 0 => {
                tracing::warn!(target: "dui", event = "leave_incomplete", wanted);
                FAILED
            }
            Ok(_) => 0,
            Err(error) => {
                tracing::error!(target: "dui", event = "leave_failed", reason = %error);
                FAILED
            }
        }
    }
}

/// The options that the settings ask for.
pub(crate) fn planned(settings: &Settings, keys: Keyring) -> Result<Options, String> {
    let pod_ip = std::env::var_os("POD_IP").map(|text| text.to_string_lossy().into_owned());
    plan::options(settings, keys, pod_ip.as_deref())
}

/// Where a node would be now.
async fn locate(settings: &Settings, keys: Keyring) -> Result<Location, String> {
    let options = planned(settings, keys)?;
    options.locate().await.map_err(|error| error.to_string())
}

/// Takes over what may change while a node runs: the log level.
fn reload(args: &RunArgs, log: &Log) {
    match loaded(args) {
        Ok(loaded) => {
            let level = loaded.settings.log_level.value;
            log.set_level(level);
            tracing::info!(target: "dui", event = "reloaded", log_level = %level);
        }
        Err(failure) => {
            tracing::error!(target: "dui", event = "reload_failed", reason = failure.text);
        }
    }
}

fn listen(what: &'static str, bind: IpAddr, port: Port) -> Result<Listeners, String> {
    let listeners = Listeners::open(what, bind, port)?;
    tell_move(what, port, listeners.address);
    Ok(listeners)
}

/// Whoever looks for a port where it usually is finds in the log where it went.
fn tell_move(what: &str, port: Port, bound: SocketAddr) {
    if port.number != 0 && bound.port() != port.number {
        tracing::info!(
            target: "dui", event = "port_moved", port = what, from = port.number, to = bound.port(),
        );
    }
}

/// The ways to find others, as `--discovery` writes them.
fn describe(options: &Options) -> String {
    let names = options.discovery.iter().map(|provider| match provider {
        Provider::Multicast => "multicast".to_owned(),
        Provider::Broadcast => "broadcast".to_owned(),
        Provider::Dns(place) => format!("dns:{place}"),
        Provider::File(path) => format!("file:{}", path.display()),
        Provider::Static(_) => "static".to_owned(),
    });
    match names.collect::<Vec<_>>().as_slice() {
        [] => "none".into(),
        names => names.join(","),
    }
}
