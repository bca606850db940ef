//! What a plugin is, as flags.

use clap::Args;
use spout_plugin::World;

/// What a plugin is.
#[derive(Clone, Copy, Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "one flag a kind")]
pub(super) struct Kind {
    /// A source read by partition.
    #[arg(long, group = "kind")]
    pub(super) source: bool,
    /// A source read as one stream.
    #[arg(long, group = "kind")]
    pub(super) stream: bool,
    /// A source that drives itself and makes its own commits.
    #[arg(long, group = "kind")]
    pub(super) spout: bool,
    /// Files into files.
    #[arg(long, group = "kind")]
    pub(super) transform: bool,
    /// A program that writes tar archives, each of which is a commit.
    #[arg(long, group = "kind")]
    pub(super) command: bool,
    /// Messages into rows.
    #[arg(long, group = "kind")]
    pub(super) decoder: bool,
    /// Rows into rows.
    #[arg(long, group = "kind")]
    pub(super) handler: bool,
}

impl Kind {
    /// Whether the flags name `world`, or none.
    pub(super) fn wants(&self, world: World) -> bool {
        let named = match world {
            World::Source => self.source,
            World::StreamSource => self.stream,
            World::Decoder => self.decoder,
            World::Handler => self.handler,
            World::SelfDriven => self.spout,
            World::Transformer => self.transform,
            World::Command => self.command,
        };
        let all = [self.source, self.stream, self.spout, self.transform, self.command, self.decoder, self.handler];
        named || !all.contains(&true)
    }
}
