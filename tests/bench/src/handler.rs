//! A handler that answers with a mask, its own or one of the host's kernels, in its sandbox, against the same filter on Arrow kernels;
//! and one that answers with a column.

use std::{sync::Arc, time::Duration};

use anyhow::{Result, bail, ensure};
use arrow::{
    array::{ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch, Scalar, StringArray, TimestampMillisecondArray},
    compute::{filter_record_batch, kernels::cmp::gt_eq},
    datatypes::Int64Type,
};
use spout_plugin::{HandlerInstance, Rows};

use crate::{
    sandbox,
    timing::{RUNS, median, rate, timed},
};

const CALLS: usize = 400;

fn batch(rows: i64) -> Result<RecordBatch> {
    let number = |row: i64| (row * 7919) % 1000;
    let columns: [(&str, ArrayRef); 4] = [
        ("n", Arc::new(Int64Array::from_iter_values((0..rows).map(number)))),
        ("f", Arc::new(Float64Array::from_iter_values((0..rows).map(|row| row as f64)))),
        ("t", Arc::new(StringArray::from_iter_values((0..rows).map(|row| format!("text {}", number(row)))))),
        ("at", Arc::new(TimestampMillisecondArray::from_iter_values(0..rows))),
    ];
    Ok(RecordBatch::try_from_iter(columns)?)
}

pub(crate) async fn run() -> Result<()> {
    println!("handler: int64, float64, utf8, timestamp; half of the rows kept; median of {RUNS} x {CALLS} calls");
    for rows in [1_000, 8_000, 64_000] {
        let task = sandbox::task(&spout_tests::guests(), "keep-large", &[("column", "n"), ("least", "500")]).await?;
        let mut wasm = HandlerInstance::open(task, None, None).await?;
        let task = sandbox::task(&spout_tests::guests(), "kernels", &[("deed", "select")]).await?;
        let mut kernels = HandlerInstance::open(task, None, None).await?;
        let batch = batch(rows)?;
        let least = Scalar::new(Int64Array::from(vec![500]));
        let mut times: [Vec<Duration>; 3] = Default::default();
        for _ in 0..RUNS {
            times[0].push(masks(&mut wasm, &batch).await?);
            times[2].push(masks(&mut kernels, &batch).await?);
            let (done, time) = timed(|| {
                (0..CALLS).try_for_each(|_| {
                    let mask = gt_eq(batch.column(0).as_primitive::<Int64Type>(), &least)?;
                    filter_record_batch(&batch, &mask).map(drop)
                })
            });
            done?;
            times[1].push(time);
        }
        let [wasm, native, kernels] = times.map(|mut times| median(&mut times));
        let micros = |time: Duration| rate(1e6, Duration::from_secs(1)) * time.as_secs_f64() / CALLS as f64;
        println!(
            "  {rows:6} rows   native {:7.1} us   sandbox {:7.1} us, {:.2}x{}   host's kernel {:7.1} us, {:.2}x",
            micros(native),
            micros(wasm),
            native.as_secs_f64() / wasm.as_secs_f64(),
            if rows == 8_000 { " (aim 0.95)" } else { "" },
            micros(kernels),
            native.as_secs_f64() / kernels.as_secs_f64(),
        );
    }
    columns().await
}

/// Has a handler choose rows, and takes them.
async fn masks(handler: &mut HandlerInstance, batch: &RecordBatch) -> Result<Duration> {
    let begun = std::time::Instant::now();
    for _ in 0..CALLS {
        let answer = handler.process(batch).await?;
        let Some(Rows::Masked(mask)) = &answer else { bail!("no mask") };
        ensure!(filter_record_batch(batch, mask)?.num_rows() > 0);
    }
    Ok(begun.elapsed())
}

/// A column that a handler makes of another one: twice a number that may be null.
async fn columns() -> Result<()> {
    println!("column answers: twice an int64, nullable; median of {RUNS} x {CALLS} calls");
    for rows in [1_000, 8_000, 64_000] {
        let task = sandbox::offer(&spout_tests::guests(), "several", "double").await?;
        let mut wasm = HandlerInstance::open(task, None, None).await?;
        let batch = batch(rows)?;
        let mut times: [Vec<Duration>; 2] = Default::default();
        for _ in 0..RUNS {
            let begun = std::time::Instant::now();
            for _ in 0..CALLS {
                let Some(rows @ Rows::WithColumns(_)) = wasm.process(&batch).await? else { bail!("no column") };
                ensure!(rows.apply(&batch)?.num_columns() == batch.num_columns() + 1);
            }
            times[0].push(begun.elapsed());
            let (done, time) = timed(|| {
                (0..CALLS).try_for_each(|_| {
                    // What the guest does, value by value, in its own address space.
                    let numbers = batch.column(0).as_primitive::<Int64Type>();
                    let twice: Int64Array = numbers.iter().map(|n| n.map(|n| 2 * n)).collect();
                    let made = RecordBatch::try_from_iter([("twice", Arc::new(twice) as ArrayRef)])?;
                    Rows::WithColumns(made).apply(&batch).map(drop)
                })
            });
            done?;
            times[1].push(time);
        }
        let [wasm, native] = times.map(|mut times| median(&mut times));
        println!(
            "  {rows:6} rows   native {:7.1} us   sandbox {:7.1} us, {:.2}x{}",
            native.as_secs_f64() * 1e6 / CALLS as f64,
            wasm.as_secs_f64() * 1e6 / CALLS as f64,
            native.as_secs_f64() / wasm.as_secs_f64(),
            if rows == 8_000 { " (aim 0.80)" } else { "" },
        );
    }
    Ok(())
}
