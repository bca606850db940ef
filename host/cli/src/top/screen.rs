//! The whole terminal, which is left as it was, however that comes.

use std::{
    io::{self, Write as _},
    panic,
};

use ratatui_core::{
    backend::{Backend, ClearType, WindowSize},
    buffer::Cell,
    layout::{Position, Size},
    style::{Color, Modifier},
};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::error::Error;

/// Another screen without a cursor, and back.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[2J";
const LEAVE: &str = "\x1b[0m\x1b[?25h\x1b[?1049l";

/// The terminal while it is drawn on.
pub(super) struct Screen {
    before: Termios,
    out: String,
}

impl Screen {
    /// Takes the terminal. It is given back when this goes, also by a panic.
    pub(super) fn enter() -> Result<Self, Error> {
        let failed = |error: rustix::io::Errno| Error::Runtime { source: error.into() };
        let before = tcgetattr(io::stdin()).map_err(failed)?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(io::stdin(), OptionalActions::Now, &raw).map_err(failed)?;
        let screen = Self { before: before.clone(), out: String::new() };
        print(ENTER).map_err(|source| Error::Runtime { source })?;
        let hook = panic::take_hook();
        panic::set_hook(Box::new(move |what| {
            // What it says is to be seen.
            leave(&before);
            hook(what);
        }));
        Ok(screen)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        leave(&self.before);
    }
}

/// Gives the terminal back; nobody is left to tell where it is gone.
fn leave(before: &Termios) {
    drop(print(LEAVE));
    if let Err(error) = tcsetattr(io::stdin(), OptionalActions::Now, before) {
        tracing::debug!(%error, "the terminal is gone");
    }
}

fn print(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

impl Screen {
    fn add(&mut self, text: impl std::fmt::Display) {
        self.out += &text.to_string();
    }
}

impl Backend for Screen {
    type Error = io::Error;

    fn draw<'a, I: Iterator<Item = (u16, u16, &'a Cell)>>(&mut self, content: I) -> io::Result<()> {
        let (mut next, mut style) = (None, (Modifier::empty(), Color::Reset));
        for (x, y, cell) in content {
            if next != Some((x, y)) {
                self.add(format_args!("\x1b[{};{}H", y + 1, x + 1));
            }
            let own = (cell.modifier, cell.fg);
            if own != style {
                style = own;
                self.add(format_args!("\x1b[0{}{}m", letters(own.0), color(own.1)));
            }
            self.add(cell.symbol());
            next = Some((x + 1, y));
        }
        self.add("\x1b[0m");
        Ok(())
    }

    fn hide_cursor(&mut self) -> io::Result<()> {
        self.add("\x1b[?25l");
        Ok(())
    }

    fn show_cursor(&mut self) -> io::Result<()> {
        self.add("\x1b[?25h");
        Ok(())
    }

    fn get_cursor_position(&mut self) -> io::Result<Position> {
        // It is hidden, and nothing is drawn where it is.
        Ok(Position::ORIGIN)
    }

    fn set_cursor_position<P: Into<Position>>(&mut self, position: P) -> io::Result<()> {
        let Position { x, y } = position.into();
        self.add(format_args!("\x1b[{};{}H", y + 1, x + 1));
        Ok(())
    }

    fn clear(&mut self) -> io::Result<()> {
        self.add("\x1b[2J");
        Ok(())
    }

    fn clear_region(&mut self, region: ClearType) -> io::Result<()> {
        self.add(match region {
            ClearType::All => "\x1b[2J",
            ClearType::AfterCursor => "\x1b[0J",
            ClearType::BeforeCursor => "\x1b[1J",
            ClearType::CurrentLine => "\x1b[2K",
            ClearType::UntilNewLine => "\x1b[0K",
        });
        Ok(())
    }

    fn size(&self) -> io::Result<Size> {
        let size = terminal_size::terminal_size();
        Ok(size.map_or(Size::new(80, 24), |(width, height)| Size::new(width.0.max(1), height.0.max(1))))
    }

    fn window_size(&mut self) -> io::Result<WindowSize> {
        Ok(WindowSize { columns_rows: self.size()?, pixels: Size::new(0, 0) })
    }

    fn flush(&mut self) -> io::Result<()> {
        print(&std::mem::take(&mut self.out))
    }
}

/// What makes letters so, behind a reset.
fn letters(modifier: Modifier) -> String {
    let all = [(Modifier::BOLD, ";1"), (Modifier::DIM, ";2"), (Modifier::REVERSED, ";7")];
    all.into_iter().filter(|(one, _)| modifier.contains(*one)).map(|(_, code)| code).collect()
}

/// The colors that are used here, which every terminal has.
fn color(color: Color) -> &'static str {
    match color {
        Color::Red => ";31",
        Color::Green => ";32",
        Color::Yellow => ";33",
        Color::Cyan => ";36",
        _ => "",
    }
}
