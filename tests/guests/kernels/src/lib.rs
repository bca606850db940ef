//! Has the host compute over the columns `n` and `t`, and does what the host must not be harmed by.

use spout_guest::{
    Answer, Error, Handler, Input, Result, State,
    kernels::{Column, Comparison},
    register,
};

/// What it does with each batch.
#[derive(Clone, Copy, Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Deed {
    /// Keeps rows whose `n` is at least 500.
    Select,
    /// Those as a mask of its own.
    Bits,
    /// Those whose `n` is less than 500 and whose `t` has a digit, or is null.
    Combine,
    /// Hides `t`: masked, hashed, replaced; `n` as text.
    Columns,
    /// The same columns twice by one name.
    Twice,
    /// A kernel for texts, of numbers.
    WrongType,
    /// A pattern that takes more than a mebibyte.
    WidePattern,
    /// A text that grows beyond all bounds.
    Grow,
    /// Answers with a column of the batch before.
    Older,
    /// Keeps all columns of all batches.
    Hoard,
    /// Shares a column until there is no room.
    Share,
    /// Answers with numbers where truths are needed.
    Numbers,
}

/// Settings of the handler.
#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    deed: Deed,
}

/// A running handler.
#[derive(Debug)]
pub struct Kernels {
    deed: Deed,
    kept: Vec<Column>,
}

impl Handler for Kernels {
    type Settings = Settings;

    fn open(settings: Settings, _: State) -> Result<Self> {
        Ok(Self { deed: settings.deed, kept: Vec::new() })
    }

    fn process(&mut self, input: &dyn Input) -> Result<Answer> {
        let (n, t) = (input.held("n")?, input.held("t")?);
        let large = || n.compare(Comparison::GreaterOrEqual, 500);
        Ok(match self.deed {
            Deed::Select => Answer::Selected(large()?),
            Deed::Bits => Answer::Mask(large()?.bits()?),
            Deed::Combine => {
                let digit = t.matches("[0-9]")?.or(&t.is_null()?)?;
                Answer::Selected(large()?.negate()?.and(&digit)?)
            }
            Deed::Columns => Answer::WithHeld(vec![
                ("masked".into(), t.mask(1, 1, '*')?),
                ("hashed".into(), t.hash(b"salt")?),
                ("replaced".into(), t.replace("[0-9]+", "<$0>")?),
                ("n".into(), n.cast("utf8")?),
                ("same".into(), n.compare_with(Comparison::Equal, &n.clone())?),
            ]),
            Deed::Twice => Answer::WithHeld(vec![("x".into(), n.clone()), ("x".into(), n)]),
            Deed::WrongType => Answer::Selected(n.matches("a")?),
            Deed::WidePattern => Answer::Selected(t.matches("(((a{100}){100}){100})")?),
            Deed::Grow => Answer::WithHeld(vec![("t".into(), t.replace("", &"x".repeat(1 << 20))?)]),
            Deed::Older => {
                self.kept.push(large()?);
                Answer::Selected(self.kept.first().cloned().ok_or_else(|| Error::fatal("none", "no column"))?)
            }
            Deed::Hoard => {
                self.kept.extend([n, t]);
                Answer::All
            }
            Deed::Share => {
                // A handle each: the clone that is handed over is one of the host's.
                let columns = (0..1_000_000).map(|at| (format!("c{at}"), n.clone()));
                Answer::WithHeld(columns.collect())
            }
            Deed::Numbers => Answer::Selected(n),
        })
    }
}

register! { name: "kernels", summary: "has the host compute", handler: Kernels }
