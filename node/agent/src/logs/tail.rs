//! Finds the last lines of a file from its end.

use std::fs::File;
use std::io::{Read, Result, Seek, SeekFrom};

const BLOCK: u64 = 64 * 1024;

/// Moves to the beginning of the last `lines` lines; answers how many of them there are. A last line without its end counts.
pub(crate) fn seek_to_last_lines(file: &mut File, lines: usize) -> Result<usize> {
    let end = file.seek(SeekFrom::End(0))?;
    if lines == 0 || end == 0 {
        return Ok(0);
    }
    let mut found = 0;
    let mut block_end = end;
    let mut buffer = Vec::new();
    while block_end > 0 {
        let start = block_end.saturating_sub(BLOCK);
        file.seek(SeekFrom::Start(start))?;
        buffer.clear();
        Read::by_ref(file).take(block_end - start).read_to_end(&mut buffer)?;
        for (index, byte) in buffer.iter().enumerate().rev() {
            let offset = start + index as u64;
            // The line break at the very end ends the last line, it does not begin another.
            if *byte == b'\n' && offset + 1 < end {
                found += 1;
                if found == lines {
                    file.seek(SeekFrom::Start(offset + 1))?;
                    return Ok(found);
                }
            }
        }
        block_end = start;
    }
    file.seek(SeekFrom::Start(0))?;
    Ok(found + 1)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn last(text: &str, lines: usize) -> String {
        let mut file = tempfile::tempfile().expect("makes a file");
        file.write_all(text.as_bytes()).expect("writes");
        seek_to_last_lines(&mut file, lines).expect("seeks");
        let mut rest = String::new();
        file.read_to_string(&mut rest).expect("reads");
        rest
    }

    #[test]
    fn the_last_lines_are_found_from_the_end() {
        assert_eq!(last("a\nb\nc\n", 2), "b\nc\n");
        assert_eq!(last("a\nb\nc", 2), "b\nc");
        assert_eq!(last("a\nb\n", 9), "a\nb\n");
        assert_eq!(last("a\nb\n", 0), "");
        assert_eq!(last("", 3), "");
    }

    #[test]
    fn lines_across_blocks_are_found_too() {
        let long = "x".repeat(200_000);
        assert_eq!(last(&format!("first\n{long}\nlast\n"), 2), format!("{long}\nlast\n"));
    }
}
