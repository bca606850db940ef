//! What a spec may reach of the machine that runs it, besides the store: whoever runs specs of others decides which of it they may.

use std::{fmt, str::FromStr};

/// A part of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// Programs that run outside the sandbox.
    Commands,
    /// Files and directories, and what is printed.
    Files,
    /// Environment variables of the host.
    Environment,
    /// Connections that are made to others.
    Network,
    /// Ports that others connect to.
    Ports,
}

impl Reach {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Commands, Self::Files, Self::Environment, Self::Network, Self::Ports];

    fn word(self) -> &'static str {
        match self {
            Self::Commands => "commands",
            Self::Files => "files",
            Self::Environment => "environment",
            Self::Network => "network",
            Self::Ports => "ports",
        }
    }
}

impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for Reach {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = || Self::ALL.map(Self::word).join(", ");
        let found = Self::ALL.into_iter().find(|one| one.word() == text);
        found.ok_or_else(|| format!("`{text}` is none of {}", all()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_written_as_it_is_read() {
        for one in Reach::ALL {
            assert_eq!(one.to_string().parse(), Ok(one));
        }
        assert!("everything".parse::<Reach>().unwrap_err().contains("commands, files"));
    }
}
