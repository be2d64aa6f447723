//! Finds pages of files that are zeros, which an image does not store ([`tyn_fs::holes`]).

use std::io::{self, Read};

use tyn_bootfmt::DATA_ALIGN;

/// Fewest pages of a run that is left out: each costs a place in a list that a start reads.
const LEAST: u32 = 16;
/// Most runs of a file.
const MOST: usize = 64;

/// Returns the runs of pages that are zeros: the index of the first page and their number, ascending. The last page is not
/// among them.
pub(crate) fn find(data: &mut dyn Read) -> io::Result<Vec<(u32, u32)>> {
    let mut runs = Vec::new();
    let (mut index, mut zeros) = (0u32, 0u32);
    loop {
        let mut page = Vec::with_capacity(DATA_ALIGN);
        data.take(DATA_ALIGN as u64).read_to_end(&mut page)?;
        if page.len() == DATA_ALIGN && page.iter().all(|&byte| byte == 0) {
            zeros += 1;
        } else {
            if zeros >= LEAST && runs.len() < MOST && !page.is_empty() {
                runs.push((index - zeros, zeros));
            }
            zeros = 0;
        }
        if page.len() < DATA_ALIGN {
            return Ok(runs);
        }
        index += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_runs_of_zeros_are_found_but_for_the_last() {
        let page = |byte: u8, count: usize| vec![byte; count * DATA_ALIGN];
        let file = [
            page(0, 16),
            page(1, 1),
            page(0, 15),
            page(2, 1),
            page(0, 17),
            page(3, 1),
            page(0, 20),
        ]
        .concat();
        assert_eq!(find(&mut &file[..]).unwrap(), [(0, 16), (33, 17)]);
        let cut = &file[..file.len() - page(0, 20).len() - 100];
        assert_eq!(find(&mut &*cut).unwrap(), [(0, 16), (33, 17)]);
        assert_eq!(find(&mut &b""[..]).unwrap(), []);
    }
}
