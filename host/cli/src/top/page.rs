//! What is on the screen, and what keys do to it.

use super::{
    asking::{Order, Verb},
    keys::Key,
    look::Look,
};

/// What is on the screen.
#[derive(Debug, Default)]
pub(super) struct Page {
    pub(super) looks: Vec<Look>,
    /// Name of the pipeline that is chosen.
    chosen: Option<String>,
    /// Whether all of that one is shown.
    open: bool,
    /// What is asked before it is done.
    pub(super) question: Option<Order>,
    /// What was said last.
    pub(super) said: String,
}

impl Page {
    /// Shows what pipelines are doing now.
    pub(super) fn show(&mut self, looks: Vec<Look>) {
        self.looks = looks;
        if self.at().is_none() {
            self.chosen = self.looks.first().map(|look| look.name.clone());
        }
    }

    pub(super) fn say(&mut self, said: String) {
        self.said = said;
    }

    /// Where the chosen one is.
    pub(super) fn at(&self) -> Option<usize> {
        let chosen = self.chosen.as_ref()?;
        self.looks.iter().position(|look| look.name == *chosen)
    }

    /// The chosen one.
    pub(super) fn chosen(&self) -> Option<&Look> {
        self.looks.get(self.at()?)
    }

    /// The one of which all is shown.
    pub(super) fn opened(&self) -> Option<&str> {
        self.chosen.as_deref().filter(|_| self.open)
    }

    /// What is to be done because of a key, once it was asked.
    pub(super) fn on_key(&mut self, key: Key) -> Option<Order> {
        if let Some(order) = self.question.take() {
            return Some(order).filter(|_| key == Key::Yes);
        }
        self.said.clear();
        match key {
            Key::Up => self.choose(|at| at.saturating_sub(1)),
            Key::Down => self.choose(|at| at + 1),
            Key::Enter => self.open = true,
            Key::Back => self.open = false,
            Key::Pause => self.ask(Verb::Pause),
            Key::Resume => self.ask(Verb::Resume),
            Key::Flush => self.ask(Verb::Flush),
            Key::Yes | Key::No | Key::Quit => {}
        }
        None
    }

    fn choose(&mut self, of: impl Fn(usize) -> usize) {
        let at = of(self.at().unwrap_or_default()).min(self.looks.len().saturating_sub(1));
        self.chosen = self.looks.get(at).map(|look| look.name.clone());
    }

    fn ask(&mut self, verb: Verb) {
        self.question = self.chosen().map(|look| Order { pipeline: look.name.clone(), verb });
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn page() -> Page {
        let mut page = Page::default();
        page.show(["a", "b", "c"].map(|name| Look::of(&json!({"name": name}))).to_vec());
        page
    }

    #[test]
    fn an_order_is_given_only_where_yes_is_said() {
        let mut page = page();
        assert_eq!((page.on_key(Key::Down), page.on_key(Key::Pause)), (None, None));
        let order = Order { pipeline: "b".into(), verb: Verb::Pause };
        assert_eq!(page.question, Some(order.clone()));
        assert_eq!(page.on_key(Key::Yes), Some(order));
        page.on_key(Key::Flush);
        assert_eq!((page.on_key(Key::No), page.on_key(Key::Yes), page.question.clone()), (None, None, None));
    }

    #[test]
    fn the_chosen_one_stays_chosen_wherever_it_is() {
        let mut page = page();
        (0..9).for_each(|_| drop(page.on_key(Key::Down)));
        assert_eq!(page.at(), Some(2));
        page.on_key(Key::Enter);
        assert_eq!(page.opened(), Some("c"));
        page.show(["c", "d"].map(|name| Look::of(&json!({"name": name}))).to_vec());
        assert_eq!(page.at(), Some(0));
        page.show(Vec::new());
        assert_eq!((page.at(), page.on_key(Key::Pause), page.question.clone()), (None, None, None));
    }
}
