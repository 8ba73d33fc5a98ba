//! A guest's memory, at which it points with numbers of its own.

use wasmtime::{Caller, Extern, Memory, bail, format_err};

use crate::guest::Data;
use crate::plugin::log::LONGEST;

/// # Errors
/// When it exports none.
pub(super) fn of(caller: &mut Caller<'_, Data>) -> wasmtime::Result<Memory> {
    match caller.get_export("memory") {
        Some(Extern::Memory(memory)) => Ok(memory),
        _ => bail!("it exports no memory"),
    }
}

fn range(bytes: &[u8], at: u32, size: usize) -> wasmtime::Result<std::ops::Range<usize>> {
    let at = at as usize;
    let end = at.checked_add(size).filter(|end| *end <= bytes.len());
    Ok(at..end.ok_or_else(|| format_err!("it points at {size} bytes at {at}, which are not in its memory"))?)
}

/// # Errors
/// When they are not in the memory.
pub(super) fn read(bytes: &[u8], at: u32, size: u32) -> wasmtime::Result<&[u8]> {
    Ok(&bytes[range(bytes, at, size as usize)?])
}

/// # Errors
/// When they are not in the memory, or no text.
pub(super) fn text(bytes: &[u8], at: u32, size: u32) -> wasmtime::Result<&str> {
    Ok(std::str::from_utf8(read(bytes, at, size)?)?)
}

/// What is for people to read: as much of it as a line of the log may have.
///
/// # Errors
/// When it is not in the memory.
pub(super) fn line(bytes: &[u8], at: u32, size: u32) -> wasmtime::Result<String> {
    let text = read(bytes, at, size)?;
    Ok(String::from_utf8_lossy(&text[..text.len().min(LONGEST)]).into_owned())
}

/// # Errors
/// When it is not in the memory.
pub(super) fn number(bytes: &[u8], at: u32) -> wasmtime::Result<u32> {
    let mut number = [0; 4];
    number.copy_from_slice(read(bytes, at, 4)?);
    Ok(u32::from_le_bytes(number))
}

/// # Errors
/// When they do not fit into the memory there.
pub(super) fn write(bytes: &mut [u8], at: u32, what: &[u8]) -> wasmtime::Result<()> {
    slice(bytes, at, what.len())?.copy_from_slice(what);
    Ok(())
}

/// # Errors
/// When they are not in the memory.
pub(super) fn slice(bytes: &mut [u8], at: u32, size: usize) -> wasmtime::Result<&mut [u8]> {
    let range = range(bytes, at, size)?;
    Ok(&mut bytes[range])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_in_the_memory_is_neither_read_nor_written() {
        let mut bytes = [7; 16];
        assert_eq!(read(&bytes, 12, 4).unwrap(), [7; 4]);
        assert_eq!(read(&bytes, 16, 0).unwrap(), [0; 0]);
        for (at, size) in [(13, 4), (17, 0), (u32::MAX, 1), (0, u32::MAX), (u32::MAX, u32::MAX)] {
            assert!(read(&bytes, at, size).is_err(), "{at} {size}");
        }
        assert!(write(&mut bytes, 14, b"abc").is_err() && number(&bytes, 13).is_err());
        write(&mut bytes, 12, &1025_u32.to_le_bytes()).unwrap();
        assert_eq!(number(&bytes, 12).unwrap(), 1025);
        assert!(text(&bytes, 0, 4).is_ok());
        bytes[0] = 0xff;
        assert!(text(&bytes, 0, 4).is_err());
        assert!(line(&bytes, 13, 4).is_err());
        assert_eq!(line(&[b'a'; 2 * LONGEST], 1, LONGEST as u32 + 1).unwrap().len(), LONGEST);
    }
}
