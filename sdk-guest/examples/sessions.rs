//! A row for each session: rows of one user without a pause longer than the gap. A session that is over is forgotten.

use spout_guest::{Answer, Batch, Columns, Handler, Input, Keyed, Result, Schema, State, Ticked, register};

register! { name: "sessions", summary: "a row for each session of a user", handler: Sessions }

#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The longest pause within a session, in milliseconds.
    gap: i64,
}

#[derive(Debug)]
pub struct Sessions {
    gap: i64,
    /// First and last time of the open session of each user.
    open: Keyed<String, (i64, i64)>,
}

impl Handler for Sessions {
    type Settings = Settings;

    fn open(settings: Settings, state: State) -> Result<Self> {
        Ok(Self { gap: settings.gap, open: state.keyed("open") })
    }

    fn output(&self, _: &Schema) -> Result<Option<Schema>> {
        Ok(Some(columns(&[]).schema()))
    }

    fn process(&mut self, input: &dyn Input) -> Result<Answer> {
        let (users, times) = (input.column("user")?, input.column("at")?);
        let rows = || (0..input.rows()).filter_map(|row| Some((users.str(row)?, times.i64(row)?)));
        self.open.load(rows().map(|(user, _)| user));
        let mut over = Vec::new();
        for (user, at) in rows() {
            let before = self.open.get(user)?;
            let goes_on = before.filter(|(_, last)| at - last <= self.gap);
            over.extend(before.filter(|_| goes_on.is_none()).map(|session| (user.to_owned(), session)));
            self.open.put(user, &(goes_on.map_or(at, |(first, _)| first), at));
        }
        Ok(batch(&over)?.map_or(Answer::Nothing, Answer::Fresh))
    }

    fn tick(&mut self, now: i64) -> Result<Ticked> {
        let open = self.open.scan().collect::<Result<Vec<_>>>()?;
        let (over, open): (Vec<_>, Vec<_>) = open.into_iter().partition(|(_, (_, last))| now - last > self.gap);
        over.iter().for_each(|(user, _)| self.open.remove(user));
        Ok(Ticked { rows: batch(&over)?, next_ms: open.iter().map(|(_, (_, last))| last + self.gap + 1).min() })
    }

    fn finish(&mut self) -> Result<Option<Batch>> {
        Ok(self.tick(i64::MAX / 2)?.rows)
    }
}

fn columns(over: &[(String, (i64, i64))]) -> Columns {
    Columns::new()
        .str("user", over.iter().map(|(user, _)| user.as_str()))
        .i64("first", over.iter().map(|(_, (first, _))| *first))
        .i64("last", over.iter().map(|(_, (_, last))| *last))
}

fn batch(over: &[(String, (i64, i64))]) -> Result<Option<Batch>> {
    if over.is_empty() { Ok(None) } else { columns(over).batch().map(Some) }
}
