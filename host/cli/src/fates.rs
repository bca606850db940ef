//! What became of messages, in words: those that are no rows, and why.

use spout_data::Counts;
use spout_pipeline::Reason;

use super::print::{count, grouped};

/// Reasons shown at the end of a run.
const SHOWN: usize = 5;

/// What became of messages and rows that are in no data file, each with its number.
pub(super) fn besides(counts: &Counts) -> Vec<String> {
    let fates = [
        (counts.dead_letters, "dead letter"),
        (counts.late_rows(), "late row"),
        (counts.filtered_rows(), "filtered row"),
        (counts.dropped, if more_than_messages(counts) { "dropped row" } else { "dropped message" }),
        (counts.empty, "empty message"),
    ];
    fates.iter().filter(|(number, _)| *number > 0).map(|(number, what)| count(*number, what)).collect()
}

/// What is said when a pipeline has stopped.
pub(super) fn closing(pipeline: &str, counts: &Counts, commits: u64, reasons: &[Reason]) -> Vec<String> {
    let mut became = vec![count(counts.rows, "row")];
    became.extend(besides(counts));
    let commits = count(commits, "commit");
    let from = match counts.messages {
        0 => String::new(),
        messages => format!(" from {}", count(messages, "message")),
    };
    let mut lines =
        vec![format!("{pipeline}: stopped, {} in {commits}{from}; everything read is committed", became.join(", "))];
    lines.extend(reasons.iter().take(SHOWN).map(|reason| {
        let Reason { stage, code, count, first, partition, label, offset } = reason;
        let place = if label.is_empty() { format!("partition {partition}") } else { label.clone() };
        format!("{pipeline}: {} by {stage}, {code}: {first} (the first: {place}, offset {offset})", grouped(*count))
    }));
    if let Some(more) = reasons.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        lines.push(format!("{pipeline}: and {}", count(more as u64, "other reason")));
    }
    if counts.dead_letters > 0 {
        let how = if are_files(reasons) { "" } else { "; `text(value)` makes text of their bytes, whatever they are" };
        lines.push(format!("{pipeline}: {} shows the dead letters{how}", query(pipeline, reasons)));
    }
    lines
}

/// What is said loudly when not one message of a pipeline could be processed.
pub(super) fn all_failed(pipeline: &str, counts: &Counts, reasons: &[Reason]) -> Option<String> {
    if !counts.all_failed() {
        return None;
    }
    let failed = if more_than_messages(counts) {
        let fates = [(counts.dead_letters, "dead letter"), (counts.dropped, "dropped row")];
        let fates = fates.iter().filter(|(number, _)| *number > 0).map(|(number, what)| count(*number, what));
        let fates: Vec<String> = fates.collect();
        format!("none of {} could be processed: {}", count(counts.messages, "message"), fates.join(", "))
    } else {
        let fate = match (counts.dead_letters, counts.dropped) {
            (_, 0) => "they are dead letters",
            (0, _) => "they were dropped, as the spec says",
            _ => "they are dead letters, or were dropped",
        };
        format!("all {} failed, {fate}", count(counts.dead_letters + counts.dropped, "message"))
    };
    let why = reasons.first().map(|Reason { stage, code, count, first, .. }| {
        format!("; {} of them by {stage}, {code}: {first}", grouped(*count))
    });
    let shown =
        if counts.dead_letters > 0 { format!("; {} shows them", query(pipeline, reasons)) } else { String::new() };
    Some(format!("pipeline `{pipeline}` produced no rows: {failed}{}{shown}", why.unwrap_or_default()))
}

/// Whether more was set aside and dropped than messages came, as where rows of one message failed one by one.
fn more_than_messages(counts: &Counts) -> bool {
    counts.dead_letters + counts.dropped > counts.messages
}

/// Whether dead letters are files that a plugin failed at: each has its reason in a file of its own.
fn are_files(reasons: &[Reason]) -> bool {
    reasons.is_empty()
}

/// The command that shows the dead letters of a pipeline.
fn query(pipeline: &str, reasons: &[Reason]) -> String {
    if are_files(reasons) {
        return format!("`spout glob file '{pipeline}:/dead-letter/**'`");
    }
    let table: String = pipeline.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    format!("`spout sql \"select * from {table}_dead_letter\"`")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(code: &str, count: u64) -> Reason {
        Reason {
            stage: "decode".into(),
            code: code.into(),
            count,
            first: "field n: \"x\" is no number".into(),
            partition: 0.into(),
            label: "x.csv".into(),
            offset: 7,
        }
    }

    #[test]
    fn the_end_says_what_became_of_every_message() {
        let counts = Counts { messages: 9, rows: 5, dead_letters: 2, dropped: 1, empty: 1, ..Counts::default() };
        assert_eq!(
            closing("a-b", &counts, 1, &[reason("json.type", 2)]),
            [
                "a-b: stopped, 5 rows, 2 dead letters, 1 dropped message, 1 empty message in 1 commit from 9 messages; everything read is committed",
                "a-b: 2 by decode, json.type: field n: \"x\" is no number (the first: x.csv, offset 7)",
                "a-b: `spout sql \"select * from a_b_dead_letter\"` shows the dead letters; `text(value)` makes text of their bytes, whatever they are",
            ]
        );
        let files = Counts { messages: 3, dead_letters: 1, ..Counts::default() };
        assert_eq!(
            closing("p", &files, 1, &[]),
            [
                "p: stopped, 0 rows, 1 dead letter in 1 commit from 3 messages; everything read is committed",
                "p: `spout glob file 'p:/dead-letter/**'` shows the dead letters",
            ]
        );
        let nothing = closing("p", &Counts::default(), 0, &[]);
        assert_eq!(nothing, ["p: stopped, 0 rows in 0 commits; everything read is committed"]);
        let many: Vec<Reason> = (0..7).map(|number| reason(&number.to_string(), 1)).collect();
        assert_eq!(closing("p", &Counts::default(), 0, &many).last().unwrap(), "p: and 2 other reasons");
    }

    #[test]
    fn a_run_whose_messages_all_failed_says_so() {
        let counts = Counts { messages: 1000, dead_letters: 1000, ..Counts::default() };
        assert_eq!(
            all_failed("p", &counts, &[reason("json.type", 900), reason("json.syntax", 100)]).unwrap(),
            "pipeline `p` produced no rows: all 1,000 messages failed, they are dead letters; 900 of them by decode, json.type: field n: \"x\" is no number; `spout sql \"select * from p_dead_letter\"` shows them"
        );
        assert_eq!(all_failed("p", &Counts { rows: 1, ..counts }, &[]), None);
    }

    #[test]
    fn rows_that_failed_are_not_called_messages() {
        let counts = Counts { messages: 1, dead_letters: 3000, ..Counts::default() };
        assert_eq!(
            all_failed("p", &counts, &[reason("time.missing", 3000)]).unwrap(),
            "pipeline `p` produced no rows: none of 1 message could be processed: 3,000 dead letters; 3,000 of them by decode, time.missing: field n: \"x\" is no number; `spout sql \"select * from p_dead_letter\"` shows them"
        );
        let counts = Counts { messages: 1, dropped: 2, ..Counts::default() };
        assert_eq!(besides(&counts), ["2 dropped rows"]);
    }
}
