//! Values that often stand still: read every time while they change, else by complete readings
//! only.

/// The last reading of such a value.
#[derive(Debug)]
pub struct Resting<T> {
    last: Option<T>,
    moves: bool,
}

impl<T> Default for Resting<T> {
    fn default() -> Self {
        Self {
            last: None,
            moves: false,
        }
    }
}

impl<T: Copy + PartialEq> Resting<T> {
    /// Reads the value. One that can no longer be read keeps its last state.
    pub fn look(&mut self, whole: bool, read: impl FnOnce() -> Option<T>) -> Option<T> {
        if (whole || self.moves)
            && let Some(now) = read()
        {
            self.moves = self.last.replace(now) != Some(now);
        }
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_while_it_moves() {
        let mut figure = Resting::default();
        assert_eq!(figure.look(false, || panic!("it rests")), None);
        assert_eq!(figure.look(true, || Some(1)), Some(1));
        assert_eq!(figure.look(false, || Some(2)), Some(2));
        assert_eq!(figure.look(false, || None), Some(2), "it is gone");
        assert_eq!(figure.look(false, || Some(2)), Some(2));
        assert_eq!(figure.look(false, || panic!("it rests")), Some(2));
        assert_eq!(figure.look(true, || Some(3)), Some(3));
    }
}
