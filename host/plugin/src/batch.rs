//! `data`: the batch that a handler looks at stays in the host; the columns it reads are copied once, straight into the guest.
//!
//! Linked by hand, because the generated bindings would copy every buffer once more on the way.

use std::mem::MaybeUninit;

use arrow::{array::RecordBatch, buffer::Buffer};
use wasmtime::{
    StoreContextMut,
    component::{__internal as abi, ComponentType, Linker, Lower, Resource, ResourceType},
};

use super::{bindings::spout::plugin::types as wit, convert, host::Held};

/// A batch that a handler looks at.
#[derive(Debug)]
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct StoredBatch {
    pub(super) records: RecordBatch,
    pub(super) schema_id: u32,
}

/// `types.parts` over buffers that stay where they are until they are copied into the guest.
#[derive(Clone, Debug, Default, ComponentType, Lower)]
#[component(record)]
pub(super) struct Lent {
    pub(super) rows: u32,
    pub(super) nodes: Vec<wit::ArrayNode>,
    pub(super) buffers: Vec<Bytes>,
}

/// `list<u8>` over an Arrow buffer.
#[derive(Clone, Debug)]
pub(super) struct Bytes(pub(super) Buffer);

// SAFETY: every constant, type and check is the one of `[u8]`, which is what is lowered.
unsafe impl ComponentType for Bytes {
    type Lower = <[u8] as ComponentType>::Lower;
    const ABI: abi::CanonicalAbiInfo = <[u8] as ComponentType>::ABI;

    fn typecheck(ty: &abi::InterfaceType, types: &abi::InstanceType<'_>) -> wasmtime::Result<()> {
        <[u8] as ComponentType>::typecheck(ty, types)
    }
}

// SAFETY: both functions hand the same arguments to the implementation for `[u8]`.
unsafe impl Lower for Bytes {
    fn linear_lower_to_flat<T>(
        &self,
        cx: &mut abi::LowerContext<'_, T>,
        ty: abi::InterfaceType,
        dst: &mut MaybeUninit<Self::Lower>,
    ) -> wasmtime::Result<()> {
        self.0.as_slice().linear_lower_to_flat(cx, ty, dst)
    }

    fn linear_lower_to_memory<T>(
        &self,
        cx: &mut abi::LowerContext<'_, T>,
        ty: abi::InterfaceType,
        offset: usize,
    ) -> wasmtime::Result<()> {
        self.0.as_slice().linear_lower_to_memory(cx, ty, offset)
    }
}

type Batch = Resource<StoredBatch>;
type Store<'a> = StoreContextMut<'a, Held>;

/// Links `spout:plugin/data`.
pub(super) fn link(linker: &mut Linker<Held>) -> wasmtime::Result<()> {
    let mut data = linker.instance("spout:plugin/data@0.1.0")?;
    // Guests only ever borrow a batch; the host takes it back after the call.
    data.resource("batch", ResourceType::host::<StoredBatch>(), |_: Store<'_>, _| Ok(()))?;
    data.func_wrap("[method]batch.rows", |store: Store<'_>, (batch,): (Batch,)| {
        Ok((u32::try_from(store.data().table.get(&batch)?.records.num_rows())?,))
    })?;
    data.func_wrap("[method]batch.schema-id", |store: Store<'_>, (batch,): (Batch,)| {
        Ok((store.data().table.get(&batch)?.schema_id,))
    })?;
    data.func_wrap("[method]batch.schema", |store: Store<'_>, (batch,): (Batch,)| {
        let records = &store.data().table.get(&batch)?.records;
        Ok((convert::schema::lower(records.schema_ref()).map_err(wasmtime::Error::msg)?,))
    })?;
    data.func_wrap("[method]batch.read", |store: Store<'_>, (batch, columns): (Batch, Vec<u32>)| {
        Ok((read(&store.data().table.get(&batch)?.records, &columns)?,))
    })?;
    data.func_wrap("[method]batch.attributes", |store: Store<'_>, (batch,): (Batch,)| {
        let records = &store.data().table.get(&batch)?.records;
        let mut attributes: Vec<(String, String)> = records.schema_ref().metadata().clone().into_iter().collect();
        attributes.sort();
        Ok((attributes,))
    })
}

fn read(records: &RecordBatch, columns: &[u32]) -> wasmtime::Result<Lent> {
    let count = records.num_columns();
    // A column named a thousand times would cost the host a thousand times its size in nodes and buffers.
    if columns.len() > count {
        return Err(wasmtime::Error::msg(format!(
            "the guest read {} columns of a batch that has {count}",
            columns.len()
        )));
    }
    let indices: Vec<usize> = columns.iter().map(|&column| column as usize).collect();
    match indices.iter().find(|&&index| index >= count) {
        Some(beyond) => {
            Err(wasmtime::Error::msg(format!("the guest read column {beyond} of a batch that has {count}")))
        }
        None => convert::parts::lower(records, &indices).map_err(wasmtime::Error::msg),
    }
}
