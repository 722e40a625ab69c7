//! Machines in order of the room they have left, searched without a look at those that are too
//! full.

use micado_api::Resources;

/// A block is split in two when it grows past this.
const BLOCK: usize = 64;

/// A machine's place in the order: by key, then by tie, then by number.
pub(super) type Rank = (u64, u64, usize);

/// One machine in the order, with the resources that are free on it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub rank: Rank,
    pub free: Resources,
}

/// Neighbours in the order, and the most memory and CPU that any of them has free.
#[derive(Debug, Clone, Default)]
struct Block {
    entries: Vec<Entry>,
    most: Resources,
}

/// Machines in ascending order of rank. Blocks are never empty, so a search skips dozens of full
/// machines with one comparison.
#[derive(Debug, Clone, Default)]
pub(super) struct FreeIndex {
    blocks: Vec<Block>,
}

impl Entry {
    pub fn machine(&self) -> usize {
        self.rank.2
    }
}

impl Block {
    fn insert(&mut self, entry: Entry) {
        let at = self
            .entries
            .partition_point(|other| other.rank < entry.rank);
        self.entries.insert(at, entry);
        self.most = larger(self.most, entry.free);
    }

    fn measure(&mut self) {
        let most = self.entries.iter().map(|entry| entry.free);
        self.most = most.fold(Resources::default(), larger);
    }
}

impl FreeIndex {
    /// Adds a machine that is not in it.
    pub fn insert(&mut self, entry: Entry) {
        let last = self.blocks.len().saturating_sub(1);
        let at = self.block_of(entry.rank).min(last);
        let Some(block) = self.blocks.get_mut(at) else {
            return self.blocks.push(Block {
                entries: vec![entry],
                most: entry.free,
            });
        };
        block.insert(entry);
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

    /// Removes a machine; nothing happens if it does not have that rank.
    pub fn remove(&mut self, rank: Rank) {
        let at = self.block_of(rank);
        let Some(block) = self.blocks.get_mut(at) else {
            return;
        };
        let Ok(entry) = block
            .entries
            .binary_search_by_key(&rank, |entry| entry.rank)
        else {
            return;
        };
        let removed = block.entries.remove(entry);
        if block.entries.is_empty() {
            self.blocks.remove(at);
        } else if removed.free.memory == block.most.memory || removed.free.cpu == block.most.cpu {
            block.measure();
        }
    }

    /// Machines with `needs` free and a key of at least `from`, in ascending order.
    pub fn fitting(&self, needs: Resources, from: u64) -> impl Iterator<Item = Entry> {
        let blocks = self.blocks[self.block_of((from, 0, 0))..].iter();
        let blocks = blocks.filter(move |block| needs.fits_in(&block.most));
        let entries = blocks.flat_map(|block| &block.entries).copied();
        entries.filter(move |entry| needs.fits_in(&entry.free))
    }

    /// Machines with `needs` free, in descending order.
    pub fn fitting_descending(&self, needs: Resources) -> impl Iterator<Item = Entry> {
        let blocks = self.blocks.iter().rev();
        let blocks = blocks.filter(move |block| needs.fits_in(&block.most));
        let entries = blocks.flat_map(|block| block.entries.iter().rev()).copied();
        entries.filter(move |entry| needs.fits_in(&entry.free))
    }

    /// All machines in ascending order.
    pub fn ascending(&self) -> impl Iterator<Item = usize> {
        let entries = self.blocks.iter().flat_map(|block| &block.entries);
        entries.map(Entry::machine)
    }

    /// The first block that does not end before this rank.
    fn block_of(&self, rank: Rank) -> usize {
        let ends_before = |block: &Block| block.entries.last().is_some_and(|it| it.rank < rank);
        self.blocks.partition_point(ends_before)
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
        let mut index = FreeIndex::default();
        let mut plain: Vec<Entry> = Vec::new();
        let mut random = 7_u64;
        for machine in 0..1000 {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let free = room((random >> 33) % 50, (random >> 45) % 50);
            let rank = (free.memory.0 + free.cpu.0, random % 3, machine);
            index.insert(Entry { rank, free });
            plain.push(Entry { rank, free });
            if machine % 3 == 2 {
                let gone = plain.remove((random >> 20) as usize % plain.len());
                index.remove(gone.rank);
            }
        }
        plain.sort_by_key(|entry| entry.rank);
        for needs in [room(0, 0), room(10, 40), room(49, 1), room(50, 0)] {
            let fitting = plain.iter().filter(|entry| needs.fits_in(&entry.free));
            let expected: Vec<usize> = fitting.map(Entry::machine).collect();
            let from = needs.memory.0 + needs.cpu.0;
            let found = index.fitting(needs, from).map(|entry| entry.machine());
            assert_eq!(found.collect::<Vec<_>>(), expected);
            let found = index.fitting_descending(needs).map(|entry| entry.machine());
            assert!(found.eq(expected.into_iter().rev()));
        }
        let all = plain.iter().map(Entry::machine);
        assert!(index.ascending().eq(all));
    }
}
