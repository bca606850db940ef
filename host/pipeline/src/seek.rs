//! Where a pipeline could go on instead, as its sources say.

use spout_data::{Marker, PartitionId, PartitionMarker};
use spout_producer::{Goal, Standings};
use spout_repo::Store;
use tokio_util::sync::CancellationToken;

use super::{Error, build::Parts, decide::Until, run::RunConfig};

impl Parts {
    /// Where the partitions would go on at `goal`: those that `marker` knows, and those that are new; of the producer of this name,
    /// or of all. Nothing is read, and no branch is taken over.
    ///
    /// # Errors
    /// What a source answers, and a producer that the spec does not have.
    pub async fn seek(
        &self,
        store: &Store,
        marker: &Marker,
        producer: Option<&str>,
        goal: Goal,
    ) -> Result<Marker, Error> {
        let spec = |reason| Error::Spec { pipeline: self.name.clone(), reason };
        let names: Vec<&str> = self.inputs.iter().map(|input| input.name.as_str()).collect();
        if let Some(unknown) = producer.filter(|producer| !names.contains(producer)) {
            return Err(spec(format!("it has no producer `{unknown}`; it has {}", names.join(", "))));
        }
        let numbers = spout_producer::numbers(&names, marker).map_err(spec)?;
        let stop = CancellationToken::new();
        let config =
            RunConfig { until: Until::Stopped, json: false, memory_high: None, stop, access: None, leads: None };
        let mut entries = Marker::default();
        for (input, number) in self.inputs.iter().zip(numbers) {
            if producer.is_some_and(|producer| producer != input.name) {
                continue;
            }
            let mut reading = input.producer(&self.place, store, &config, &self.output(), Standings::default())?;
            let failed = |source| Error::Producer { pipeline: self.name.clone(), source: Box::new(source) };
            let found = reading.seek(&own(marker, number), goal).await.map_err(failed)?;
            entries.partitions.extend(found.into_iter().map(|found| {
                let (producer, label) = (input.name.clone(), found.label);
                let entry =
                    PartitionMarker { producer, label, position: found.start, ended: false, passing: Vec::new() };
                (PartitionId { producer: number, ..found.partition }, entry)
            }));
        }
        Ok(entries)
    }
}

/// What `marker` says of one producer, as if it were the only one.
fn own(marker: &Marker, producer: u16) -> Marker {
    let own = marker.partitions.iter().filter(|(partition, _)| partition.producer == producer);
    let entry = |(&partition, entry): (&PartitionId, &PartitionMarker)| {
        (PartitionId { producer: 0, ..partition }, entry.clone())
    };
    Marker { partitions: own.map(entry).collect() }
}
