//! Whether an Arrow file is as large as it says: its reader reserves what a footer claims before it looks for it.

use std::io::{Read, Seek, SeekFrom};

use arrow::ipc::{MessageHeader, root_as_footer, root_as_message};

const MAGIC: &[u8] = b"ARROW1";
/// The length of the footer, and the magic behind it.
const END: u64 = 10;
/// Bytes of the metadata of one batch, or of the footer.
const LARGEST: u64 = 64 << 20;
/// Bytes that the compressed buffers of one batch may say that they unpack to.
const UNPACKED: i64 = 1 << 30;

/// Compares what the blocks of an Arrow file claim with what there is; `file` is at its start afterwards.
///
/// # Errors
/// What reaches beyond the file, or is no Arrow file at all.
pub fn measured_arrow(file: &mut (impl Read + Seek)) -> Result<(), String> {
    let said = |error: std::io::Error| error.to_string();
    let size = file.seek(SeekFrom::End(0)).map_err(said)?;
    let end = size.checked_sub(END).ok_or("it is no Arrow file")?;
    let tail = part(file, end, END)?;
    let (length, magic) = tail.split_at(4);
    let length = length.first_chunk().map_or(-1, |length| i32::from_le_bytes(*length));
    let length = u64::try_from(length).ok().filter(|length| *length <= end.min(LARGEST));
    let length = length.filter(|_| magic == MAGIC).ok_or("it has no footer of an Arrow file")?;
    let footer = part(file, end - length, length)?;
    let footer = root_as_footer(&footer).map_err(|error| format!("its footer is broken: {error}"))?;
    let lists = [footer.dictionaries(), footer.recordBatches()];
    for block in lists.into_iter().flatten().flatten() {
        let (at, head) = (u64::try_from(block.offset()), u64::try_from(block.metaDataLength()));
        let (Ok(at), Ok(head), Ok(body)) = (at, head, u64::try_from(block.bodyLength())) else {
            return Err("a block has a negative length".into());
        };
        let whole = at.checked_add(head).and_then(|to| to.checked_add(body)).is_some_and(|to| to <= size);
        if !whole || head > LARGEST {
            return Err("a block reaches beyond the file".into());
        }
        let described = part(file, at, head)?;
        measure(file, &described, at + head, body)?;
    }
    file.rewind().map_err(said)
}

/// Compares the buffers of one batch with its body.
fn measure(file: &mut (impl Read + Seek), head: &[u8], at: u64, body: u64) -> Result<(), String> {
    let skipped = if head.starts_with(&[0xff; 4]) { 8 } else { 4 };
    let message = root_as_message(head.get(skipped..).unwrap_or_default());
    let message = message.map_err(|error| format!("the head of a batch is broken: {error}"))?;
    let batch = match message.header_type() {
        MessageHeader::DictionaryBatch => message.header_as_dictionary_batch().and_then(|batch| batch.data()),
        _ => message.header_as_record_batch(),
    };
    let Some(batch) = batch else { return Err("a block is no batch".into()) };
    let mut unpacked = 0_i64;
    for buffer in batch.buffers().into_iter().flatten() {
        let (Ok(from), Ok(length)) = (u64::try_from(buffer.offset()), u64::try_from(buffer.length())) else {
            return Err("a buffer has a negative length".into());
        };
        if from.checked_add(length).is_none_or(|to| to > body) {
            return Err("a buffer reaches beyond its batch".into());
        }
        if batch.compression().is_some() && length >= 8 {
            let stated = part(file, at + from, 8)?.first_chunk().map_or(0, |stated| i64::from_le_bytes(*stated));
            unpacked = unpacked.saturating_add(stated.max(0));
        }
    }
    if unpacked <= UNPACKED { Ok(()) } else { Err(format!("a batch unpacks to more than {UNPACKED} bytes")) }
}

fn part(file: &mut (impl Read + Seek), at: u64, length: u64) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(at)).map_err(|error| error.to_string())?;
    let read = file.by_ref().take(length).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if read as u64 == length { Ok(bytes) } else { Err("it is cut short".into()) }
}
