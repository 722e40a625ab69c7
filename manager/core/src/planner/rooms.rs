//! Machines in order of the room they have left, searched without a look at those that are too
//! full.

use micado_api::Resources;

/// A block is split in two when it grows past this.
const BLOCK: usize = 64;

/// One machine in the order.
#[derive(Debug, Clone, Copy)]
struct Entry {
    /// Its place in the order; the machine's number decides between equals.
    key: u64,
    machine: usize,
    room: Resources,
}

/// Neighbours in the order, and the most memory and CPU that any of them has left.
#[derive(Debug, Clone, Default)]
struct Block {
    entries: Vec<Entry>,
    most: Resources,
}

/// Machines in ascending order of a key. The blocks are never empty, so a search skips dozens of
/// full machines with one comparison each.
#[derive(Debug, Clone, Default)]
pub(super) struct Rooms {
    blocks: Vec<Block>,
}

impl Block {
    fn insert(&mut self, entry: Entry) {
        let at = self
            .entries
            .partition_point(|other| (other.key, other.machine) < (entry.key, entry.machine));
        self.entries.insert(at, entry);
        self.most = larger(self.most, entry.room);
    }

    fn measure(&mut self) {
        self.most = self
            .entries
            .iter()
            .fold(Resources::default(), |most, entry| larger(most, entry.room));
    }
}

impl Rooms {
    /// Adds a machine that is not in it.
    pub fn insert(&mut self, key: u64, machine: usize, room: Resources) {
        let at = self
            .block_of(key, machine)
            .min(self.blocks.len().saturating_sub(1));
        let Some(block) = self.blocks.get_mut(at) else {
            return self.blocks.push(Block {
                entries: vec![Entry { key, machine, room }],
                most: room,
            });
        };
        block.insert(Entry { key, machine, room });
        if block.entries.len() > BLOCK {
            let mut upper = Block {
                entries: block.entries.split_off(BLOCK / 2),
                most: Resources::default(),
            };
            upper.measure();
            block.measure();
            self.blocks.insert(at + 1, upper);
        }
    }

    /// Takes a machine out; nothing happens if it is not there under that key.
    pub fn remove(&mut self, key: u64, machine: usize) {
        let at = self.block_of(key, machine);
        let Some(block) = self.blocks.get_mut(at) else {
            return;
        };
        let Ok(entry) = block
            .entries
            .binary_search_by_key(&(key, machine), |entry| (entry.key, entry.machine))
        else {
            return;
        };
        block.entries.remove(entry);
        if block.entries.is_empty() {
            self.blocks.remove(at);
        } else {
            block.measure();
        }
    }

    /// The machines with room for `needs`, in ascending order.
    pub fn fitting(&self, needs: Resources) -> impl Iterator<Item = (u64, usize, Resources)> {
        let blocks = self
            .blocks
            .iter()
            .filter(move |block| needs.fits_in(&block.most));
        let entries = blocks.flat_map(|block| &block.entries);
        entries
            .filter(move |entry| needs.fits_in(&entry.room))
            .map(|entry| (entry.key, entry.machine, entry.room))
    }

    /// All machines, the last of the order first.
    pub fn descending(&self) -> impl Iterator<Item = usize> {
        self.blocks
            .iter()
            .rev()
            .flat_map(|block| block.entries.iter().rev())
            .map(|entry| entry.machine)
    }

    /// The first block that does not end before this place in the order.
    fn block_of(&self, key: u64, machine: usize) -> usize {
        self.blocks.partition_point(|block| {
            block
                .entries
                .last()
                .is_some_and(|last| (last.key, last.machine) < (key, machine))
        })
    }
}

fn larger(a: Resources, b: Resources) -> Resources {
    Resources::new(a.memory.max(b.memory), a.cpu.max(b.cpu))
}

#[cfg(test)]
mod tests {
    use super::*;
    use micado_api::{MemoryBytes, NanoCpus};

    fn room(memory: u64, cpu: u64) -> Resources {
        Resources::new(MemoryBytes(memory), NanoCpus(cpu))
    }

    #[test]
    fn finds_in_order_what_a_plain_scan_finds() {
        let mut rooms = Rooms::default();
        let mut plain = Vec::new();
        let mut random = 7_u64;
        for machine in 0..1000 {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let free = room((random >> 33) % 50, (random >> 45) % 50);
            rooms.insert(free.memory.0 + free.cpu.0, machine, free);
            plain.push((free.memory.0 + free.cpu.0, machine, free));
            if machine % 3 == 2 {
                let (key, gone, _) = plain.remove((random >> 20) as usize % plain.len());
                rooms.remove(key, gone);
            }
        }
        plain.sort_by_key(|&(key, machine, _)| (key, machine));
        for needs in [room(0, 0), room(10, 40), room(49, 1), room(50, 0)] {
            let expected: Vec<_> = plain
                .iter()
                .copied()
                .filter(|(_, _, free)| needs.fits_in(free))
                .collect();
            assert_eq!(rooms.fitting(needs).collect::<Vec<_>>(), expected);
        }
        assert!(
            rooms
                .descending()
                .eq(plain.iter().rev().map(|&(_, machine, _)| machine))
        );
    }
}
