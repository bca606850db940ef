//! Paints a page.

use ratatui_core::{
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    terminal::Frame,
    text::{Line, Text},
};
use ratatui_widgets::{
    paragraph::Paragraph,
    table::{Row, Table, TableState},
};
use spout_base::{clock, terminal};
use unicode_width::UnicodeWidthStr as _;

use super::{
    look::{HEADS, Look, Part},
    page::Page,
};
use crate::print::{count, local_time};

const HELP: &str = "↑↓ choose   enter all of it   esc back   p pause   r resume   f flush   q leave";

/// Paints `page`.
pub(super) fn page(page: &Page, frame: &mut Frame<'_>) {
    let [title, body, foot] =
        Layout::vertical([Constraint::Length(1), Constraint::Min(1), Constraint::Length(1)]).areas(frame.area());
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let said = format!("spout top   {}   {}", count(page.looks.len() as u64, "pipeline"), local_time(clock::wall_ms()));
    frame.render_widget(Line::styled(said, bold), title);
    match page.opened().and_then(|_| page.chosen()) {
        Some(look) => one(look, frame, body),
        None if page.looks.is_empty() => {
            frame.render_widget(Paragraph::new("no pipeline runs here; `spout run SPEC` starts one"), body);
        }
        None => all(page, frame, body),
    }
    let (text, style) = match &page.question {
        Some(order) => (
            format!("{} {}? y or n", order.verb.word(), order.pipeline),
            Style::new().fg(Color::Yellow).add_modifier(Modifier::BOLD),
        ),
        None if !page.said.is_empty() => (plain(&page.said), Style::new().fg(Color::Cyan)),
        None => (HELP.to_owned(), Style::new().add_modifier(Modifier::DIM)),
    };
    frame.render_widget(Line::styled(text, style), foot);
}

fn all(page: &Page, frame: &mut Frame<'_>, area: Rect) {
    let rows: Vec<Vec<String>> = page.looks.iter().map(|look| look.cells().to_vec()).collect();
    let colored = |at: usize| page.looks.get(at).map(color).unwrap_or_default();
    let table = table(&HEADS, rows, colored).row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
    frame.render_stateful_widget(table, area, &mut TableState::default().with_selected(page.at()));
}

fn one(look: &Look, frame: &mut Frame<'_>, area: Rect) {
    let mut parts = vec![Part { title: "", heads: &HEADS, rows: vec![look.cells().to_vec()] }];
    parts.extend(look.parts());
    let mut left = area;
    for (at, part) in parts.into_iter().enumerate() {
        let rows = u16::try_from(part.rows.len()).unwrap_or(u16::MAX);
        let titled = u16::from(!part.title.is_empty());
        let height = rows.saturating_add(2 + titled).min(left.height);
        if height < 2 {
            break;
        }
        let [part_area, rest] = Layout::vertical([Constraint::Length(height), Constraint::Min(0)]).areas(left);
        let [title, body] = Layout::vertical([Constraint::Length(titled), Constraint::Min(0)]).areas(part_area);
        frame.render_widget(Line::styled(part.title, Style::new().add_modifier(Modifier::BOLD)), title);
        let style = if at == 0 { color(look) } else { Style::new() };
        frame.render_widget(table(part.heads, part.rows, |_| style), body);
        left = rest;
    }
}

/// Columns as wide as their widest cell, the last one as wide as there is room.
fn table<'a>(heads: &[&'static str], rows: Vec<Vec<String>>, style: impl Fn(usize) -> Style) -> Table<'a> {
    let rows: Vec<Vec<String>> = rows.into_iter().map(|row| row.iter().map(|cell| plain(cell)).collect()).collect();
    let head = |at: usize| heads.get(at).map_or("", |head| head.trim_start_matches('>'));
    let right = |at: usize| heads.get(at).is_some_and(|head| head.starts_with('>'));
    let widths = (0..heads.len()).map(|at| {
        let widest = rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.width()).max().unwrap_or_default();
        let width = u16::try_from(widest.max(head(at).width()).min(40)).unwrap_or(40);
        if at + 1 < heads.len() || right(at) { Constraint::Length(width) } else { Constraint::Fill(1) }
    });
    let widths: Vec<Constraint> = widths.collect();
    let cell = |(at, text): (usize, String)| {
        if right(at) { Text::from(text).right_aligned() } else { Text::from(text) }
    };
    let names = (0..heads.len()).map(|at| cell((at, head(at).to_uppercase())));
    let names = Row::new(names.collect::<Vec<_>>()).style(Style::new().add_modifier(Modifier::DIM));
    let rows = rows
        .into_iter()
        .enumerate()
        .map(|(at, row)| Row::new(row.into_iter().enumerate().map(cell).collect::<Vec<_>>()).style(style(at)));
    Table::new(rows.collect::<Vec<_>>(), widths).header(names).column_spacing(2)
}

fn color(look: &Look) -> Style {
    match look.state().as_str() {
        "failed" | "failing" | "waiting to restart" => Style::new().fg(Color::Red),
        "paused" | "stopping" | "catching up" => Style::new().fg(Color::Yellow),
        _ if look.is_in_trouble() => Style::new().fg(Color::Red),
        "running" | "idle" => Style::new().fg(Color::Green),
        _ => Style::new(),
    }
}

fn plain(text: &str) -> String {
    terminal::plain(text).into_owned()
}

#[cfg(test)]
mod tests {
    use ratatui_core::{backend::TestBackend, terminal::Terminal};
    use serde_json::json;

    use super::*;
    use crate::top::keys::Key;

    fn painted(page: &Page, width: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, 16)).unwrap();
        terminal.draw(|frame| super::page(page, frame)).unwrap();
        terminal.backend().to_string()
    }

    #[test]
    fn a_page_fits_any_terminal_and_shows_what_was_chosen() {
        let about = |name: &str| {
            json!({"name": name, "condition": "running", "counts": {"messages": 1234}, "lag": 7,
            "partitions": [{"partition": 0, "label": "first\u{1b}[2J", "state": "reading", "committed": 5}]})
        };
        let mut page = Page::default();
        page.show(["orders", "clicks"].map(|name| Look::of(&about(name)).with_rate(Some(12.0))).to_vec());
        let text = painted(&page, 120);
        assert!(text.contains("orders") && text.contains("1,234") && text.contains("q leave"), "{text}");
        assert!(!text.contains("PARTITION"), "{text}");
        page.on_key(Key::Down);
        page.on_key(Key::Enter);
        page.on_key(Key::Pause);
        let text = painted(&page, 120);
        assert!(text.contains("pause clicks? y or n") && text.contains("PARTITION"), "{text}");
        assert!(text.contains("first\\u{1b}[2J") && !text.contains("orders"), "{text}");
        (1..20).for_each(|width| drop(painted(&page, width)));
    }
}
