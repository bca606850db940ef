//! `spout top`: what all pipelines are doing, live on the terminal, or once as text.

mod asking;
mod keys;
mod look;
mod page;
mod paint;
mod screen;

use std::{collections::BTreeMap, io::IsTerminal as _, time::Duration};

use anyhow::Result;
use clap::Args;
use ratatui_core::terminal::Terminal;
use spout_base::clock::{self, Instant};
use spout_data::Period;
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{MissedTickBehavior, interval},
};

use self::{
    asking::{Asked, Order},
    keys::Key,
    look::Look,
    page::Page,
    screen::Screen,
};
use super::{
    Global,
    error::Error,
    print::{Printer, Table},
};

/// Watch all pipelines live: rates, lag, partitions, handlers and plugins; pause, resume and flush them.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spout top                                  those that this machine runs for the store
  spout --server http://127.0.0.1:1653 top
  spout top --every 250ms
  spout top --once                           the same as text, for pipes
  spout top --once --json | jq '.[] | {name, lag}'

Keys: up and down choose a pipeline, enter shows its partitions, handlers and plugins, escape goes back; p pauses it, r resumes it, f has it
commit now, each after a question; q leaves.")]
pub(super) struct Top {
    /// How often to look.
    #[arg(long, value_name = "TIME", default_value = "1s")]
    every: Period,
    /// Print it once, as text.
    #[arg(long)]
    once: bool,
}

impl Top {
    pub(super) async fn run(&self, global: &Global, printer: &mut Printer) -> Result<()> {
        let asked = Asked::new(global);
        if self.once {
            return once(&asked, printer).await;
        }
        if printer.json() || !printer.is_terminal() || !std::io::stdin().is_terminal() {
            return Err(Error::NoScreen.into());
        }
        let screen = Screen::enter()?;
        let mut terminal = Terminal::new(screen).map_err(|source| Error::Runtime { source })?;
        let mut watching = Watching { asked, page: Page::default(), before: BTreeMap::new() };
        watching.until_left(&mut terminal, self.every.0.max(Duration::from_millis(50))).await
    }
}

async fn once(asked: &Asked, printer: &mut Printer) -> Result<()> {
    let all = asked.all().await?;
    if printer.json() {
        return printer.value(&all);
    }
    let looks: Vec<Look> = all.iter().map(Look::of).collect();
    if looks.is_empty() {
        return printer.line("no pipeline runs here; `spout run SPEC` starts one, --server asks a server");
    }
    printer.table(&Table::new(&look::HEADS, looks.iter().map(|look| look.cells().to_vec())))?;
    for look in &looks {
        for part in look.parts() {
            printer.line(format!("\n{}: {}", look.name, part.title))?;
            printer.table(&Table::new(part.heads, part.rows))?;
        }
    }
    Ok(())
}

/// What is shown, and what is known from before.
struct Watching {
    asked: Asked,
    page: Page,
    /// Messages of each pipeline when it was last asked.
    before: BTreeMap<String, (Instant, u64)>,
}

impl Watching {
    async fn until_left(&mut self, terminal: &mut Terminal<Screen>, every: Duration) -> Result<()> {
        let listen = |kind| signal(kind).map_err(|source| Error::Runtime { source });
        let (mut term, mut interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
        let (mut hang_up, mut resized) = (listen(SignalKind::hangup())?, listen(SignalKind::window_change())?);
        let mut keys = keys::listen();
        let mut tick = interval(every);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = tick.tick() => self.look().await,
                _ = resized.recv() => {}
                _ = term.recv() => return Ok(()),
                _ = interrupt.recv() => return Ok(()),
                _ = hang_up.recv() => return Ok(()),
                key = keys.recv() => match key {
                    None | Some(Key::Quit) => return Ok(()),
                    Some(key) => {
                        if let Some(order) = self.page.on_key(key) {
                            self.obey(order).await;
                        }
                        if key == Key::Enter {
                            self.look().await;
                        }
                    }
                },
            }
            let page = &self.page;
            terminal.draw(|frame| paint::page(page, frame)).map_err(|source| Error::Runtime { source })?;
        }
    }

    /// Asks anew. What cannot be had now is said, and the rest stays.
    async fn look(&mut self) {
        let mut all = match self.asked.all().await {
            Ok(all) => all,
            Err(error) => return self.page.say(format!("{error:#}")),
        };
        if let Some(name) = self.page.opened()
            && let Some(about) = self.asked.one(name).await
            && let Some(known) = all.iter_mut().find(|known| known["name"] == *name)
        {
            *known = about;
        }
        let now = clock::now();
        let looks = all.iter().map(|status| {
            let look = Look::of(status);
            let before = self.before.insert(look.name.clone(), (now, look.messages));
            let rate = before.map(|(at, messages)| {
                look.messages.saturating_sub(messages) as f64 / now.duration_since(at).as_secs_f64().max(0.001)
            });
            look.with_rate(rate)
        });
        self.page.show(looks.collect());
    }

    async fn obey(&mut self, order: Order) {
        let said = match self.asked.order(&order).await {
            Ok(done) => format!("{}: {done}", order.pipeline),
            Err(error) => format!("{error:#}"),
        };
        self.page.say(said);
        self.look().await;
    }
}
