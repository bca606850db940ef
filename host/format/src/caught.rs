//! Rows of files that anybody may have written: where a library panics over one, that is an error too.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// What `read` gives. Libraries are meant to return an error where bytes are wrong, and some panic.
///
/// # Errors
/// That it panicked.
pub fn caught<T>(read: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(read)).map_err(|_| "its parts contradict each other".to_owned())
}

/// The items of `rows`, up to where reading on panics, which is the error that `wrong` makes of it.
pub fn caught_rows<T, E>(
    rows: impl Iterator<Item = Result<T, E>>,
    wrong: impl Fn(String) -> E,
) -> impl Iterator<Item = Result<T, E>> {
    let mut rows = Some(rows);
    std::iter::from_fn(move || match caught(|| rows.as_mut()?.next()) {
        Ok(next) => next,
        Err(why) => {
            rows = None;
            Some(Err(wrong(why)))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_the_last_error() {
        let rows = (0..5).map(|n| if n < 2 { Ok(n) } else { panic!("at {n}") });
        let all: Vec<Result<i32, String>> = caught_rows(rows, |why| why).collect();
        assert_eq!((all[..2].to_vec(), all.len()), (vec![Ok(0), Ok(1)], 3));
        assert!(all[2].is_err());
    }
}
