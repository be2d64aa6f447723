//! The table of inodes: finding one by its number is an index, and a number never comes back.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::tree::Ino;

#[derive(Debug)]
struct Place<T> {
    /// How many inodes the place has had.
    generation: u32,
    inode: Option<Box<T>>,
}

/// Inodes by [`Ino`]. A number is the place in the table, from 1 on, and above bit 32 how many the place had before:
/// small and rising numbers until the first inode is removed, and none that meant another file.
#[derive(Debug)]
pub(crate) struct Inodes<T> {
    places: Vec<Place<T>>,
    free: Vec<u32>,
}

/// Returns the number of an inode.
fn number(index: u32, generation: u32) -> Ino {
    Ino(u64::from(generation) << 32 | (u64::from(index) + 1))
}

/// Returns place and generation of a number.
fn place(ino: Ino) -> Option<(usize, u32)> {
    let index = usize::try_from((ino.0 & 0xffff_ffff).checked_sub(1)?).ok()?;
    Some((index, u32::try_from(ino.0 >> 32).ok()?))
}

impl<T> Inodes<T> {
    pub(crate) const fn new() -> Self {
        Self {
            places: Vec::new(),
            free: Vec::new(),
        }
    }

    /// Adds an inode; `None` when there are 2^32 - 1 of them.
    pub(crate) fn insert(&mut self, inode: Box<T>) -> Option<Ino> {
        let index = match self.free.pop() {
            Some(index) => index,
            None => {
                let index = u32::try_from(self.places.len()).ok();
                let index = index.filter(|&i| i < u32::MAX)?;
                self.places.push(Place {
                    generation: 0,
                    inode: None,
                });
                index
            }
        };
        let place = self.places.get_mut(index as usize)?;
        place.inode = Some(inode);
        Some(number(index, place.generation))
    }

    pub(crate) fn get(&self, ino: Ino) -> Option<&T> {
        let (index, generation) = place(ino)?;
        let place = self.places.get(index)?;
        place
            .inode
            .as_deref()
            .filter(|_| place.generation == generation)
    }

    pub(crate) fn get_mut(&mut self, ino: Ino) -> Option<&mut T> {
        let (index, generation) = place(ino)?;
        let place = self.places.get_mut(index)?;
        place
            .inode
            .as_deref_mut()
            .filter(|_| place.generation == generation)
    }

    pub(crate) fn remove(&mut self, ino: Ino) -> Option<Box<T>> {
        let (index, generation) = place(ino)?;
        let place = self.places.get_mut(index)?;
        if place.generation != generation {
            return None;
        }
        let inode = place.inode.take()?;
        // A place whose generations are used up is left alone, so that a number never comes back.
        if let Some(next) = generation.checked_add(1) {
            place.generation = next;
            self.free.push(u32::try_from(index).ok()?);
        }
        Some(inode)
    }

    #[cfg(test)]
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Ino, &T)> {
        let places = (0u32..).zip(&self.places);
        places.filter_map(|(i, p)| Some((number(i, p.generation), p.inode.as_deref()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_start_at_one_and_never_come_back() {
        let mut inodes = Inodes::new();
        let a = inodes.insert(Box::new('a')).unwrap();
        let b = inodes.insert(Box::new('b')).unwrap();
        assert_eq!((a, b), (Ino(1), Ino(2)));
        assert_eq!(inodes.remove(a).as_deref(), Some(&'a'));
        assert_eq!(inodes.remove(a), None);
        let c = inodes.insert(Box::new('c')).unwrap();
        assert_eq!(c, Ino(1 << 32 | 1));
        assert_eq!(inodes.get(a), None);
        assert_eq!(inodes.get_mut(a), None);
        assert_eq!(inodes.get_mut(c), Some(&mut 'c'));
        assert_eq!(inodes.get(b), Some(&'b'));
    }

    #[test]
    fn a_place_whose_generations_are_used_up_is_left_alone() {
        let mut inodes = Inodes::new();
        inodes.places.push(Place {
            generation: u32::MAX,
            inode: Some(Box::new('a')),
        });
        let last = number(0, u32::MAX);
        assert_eq!(inodes.remove(last).as_deref(), Some(&'a'));
        assert_eq!(inodes.insert(Box::new('b')), Some(Ino(2)));
        assert_eq!(inodes.get(last), None);
    }

    #[test]
    fn numbers_of_nothing_find_nothing() {
        let mut inodes = Inodes::new();
        let _ = inodes.insert(Box::new('a')).unwrap();
        for ino in [0, 2, 1 << 32, u64::MAX] {
            assert_eq!(inodes.get(Ino(ino)), None, "{ino:#x}");
            assert_eq!(inodes.remove(Ino(ino)), None, "{ino:#x}");
        }
    }
}
