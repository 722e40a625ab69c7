//! Encoding of points where only programs read them: postcard, some 30 bytes for the metrics of a
//! container.

use super::StoreError;
use micado_core::metrics::{ContainerPoint, MachinePoint, Point};
use std::collections::BTreeMap;

/// Content of a point beside its key (instance, resolution, time).
pub(super) type Figures = (MachinePoint, BTreeMap<String, ContainerPoint>);

/// # Errors
/// `Failed` if it cannot be encoded.
pub(super) fn encode(point: &Point) -> Result<Vec<u8>, StoreError> {
    postcard::to_stdvec(&(&point.machine, &point.containers)).map_err(|error| {
        StoreError::Failed(format!(
            "a point of {} cannot be written down: {error}",
            point.instance
        ))
    })
}

/// Returns true if the point may hold this container. Most do not and need not be decoded.
pub(super) fn may_hold(bytes: &[u8], container: &str) -> bool {
    memchr::memmem::find(bytes, container.as_bytes()).is_some()
}

/// `None` for other bytes, or an encoding of another micado.
pub(super) fn decode(bytes: &[u8]) -> Option<Figures> {
    postcard::take_from_bytes(bytes)
        .ok()
        .and_then(|(figures, rest)| rest.is_empty().then_some(figures))
}

#[cfg(test)]
mod tests {
    use super::*;
    use micado_api::{InstanceId, MemoryBytes, NanoCpus, Timestamp};
    use micado_core::metrics::Resolution;

    /// The encoding in existing stores. If this test fails, stores need a new schema version for
    /// points.
    const KEPT: &str = "010101010101010101017780800402020202020202020202";

    fn point() -> Point {
        let machine = MachinePoint {
            measured_ms: 1,
            cpu_ns: 1,
            cpu_peak: NanoCpus(1),
            memory_total: MemoryBytes(1),
            memory_left: MemoryBytes(1),
            memory_least_left: MemoryBytes(1),
            disk_left: 1,
            disk_total: 1,
        };
        let container = ContainerPoint {
            measured_ms: 1 << 16,
            cpu_ns: 2,
            cpu_peak: NanoCpus(2),
            throttled_ns: 2,
            memory: MemoryBytes(2),
            memory_peak: MemoryBytes(2),
            oom_kills: 2,
            received: 2,
            sent: 2,
            read: 2,
            written: 2,
        };
        Point {
            instance: InstanceId::trusted("a"),
            resolution: Resolution::Sample,
            at: Timestamp(5),
            machine,
            containers: [("w".into(), container)].into(),
        }
    }

    #[test]
    fn what_is_kept_stays_readable() {
        let bytes = encode(&point()).expect("written");
        assert_eq!(
            bytes
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect::<String>(),
            KEPT
        );
        assert_eq!(decode(&bytes), Some((point().machine, point().containers)));
        assert!(may_hold(&bytes, "w") && may_hold(&bytes, "") && !may_hold(&bytes, "v"));
        assert_eq!(decode(&bytes[1..]), None);
        assert_eq!(decode(&[bytes.as_slice(), &[0]].concat()), None);
    }
}
