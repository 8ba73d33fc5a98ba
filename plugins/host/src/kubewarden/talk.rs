//! What a policy and the host say to each other during one call.

/// Bytes of an answer; a program that writes more is told that there is no room.
const LONGEST: usize = 16 << 20;
/// Bytes of the last that a program wrote to its standard error, for when it fails.
const COMPLAINT: usize = 1024;

/// Empty between two calls.
#[derive(Default)]
pub(crate) struct Talk {
    /// What is asked.
    pub(super) operation: &'static str,
    pub(super) request: Vec<u8>,
    /// Bytes of the request that a program has read from its standard input.
    pub(super) read: usize,
    pub(super) answer: Option<Vec<u8>>,
    /// Why there is no answer.
    pub(super) failure: Option<String>,
    /// What the host's capabilities answered last.
    pub(super) host: Option<Result<Vec<u8>, String>>,
    /// Whether it is a program, whose standard output is its answer.
    pub(super) is_program: bool,
    pub(super) complaint: Vec<u8>,
}

impl Talk {
    /// The next bytes of a program's standard input.
    pub(super) fn take(&mut self, into: &mut [u8]) -> usize {
        let left = &self.request[self.read..];
        let size = left.len().min(into.len());
        into[..size].copy_from_slice(&left[..size]);
        self.read += size;
        size
    }

    /// Adds an answer of the host to a program's standard input. False when that and what it has not read are more than `most`
    /// bytes.
    pub(super) fn hear(&mut self, answer: &[u8], most: usize) -> bool {
        let unread = self.request.len() - self.read;
        if unread.saturating_add(answer.len()) > most {
            return false;
        }
        // What it has read is not needed again.
        self.request.drain(..self.read);
        self.read = 0;
        self.request.extend_from_slice(answer);
        true
    }

    /// Adds to a program's answer. False when that is too long.
    pub(super) fn write(&mut self, bytes: &[u8]) -> bool {
        let answer = self.answer.get_or_insert_default();
        let fits = answer.len() + bytes.len() <= LONGEST;
        if fits {
            answer.extend_from_slice(bytes);
        }
        fits
    }

    pub(super) fn complain(&mut self, bytes: &[u8]) {
        self.complaint.extend_from_slice(&bytes[bytes.len().saturating_sub(COMPLAINT)..]);
        let surplus = self.complaint.len().saturating_sub(COMPLAINT);
        self.complaint.drain(..surplus);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_reads_what_was_added_after_it_had_read_all() {
        let mut talk = Talk { request: b"request".to_vec(), ..Talk::default() };
        let mut buffer = [0; 5];
        assert_eq!((talk.take(&mut buffer), &buffer), (5, b"reque"));
        assert_eq!(talk.take(&mut buffer), 2);
        assert_eq!(talk.take(&mut buffer), 0);
        assert!(talk.hear(b"more", 4));
        assert_eq!((talk.take(&mut buffer), &buffer[..4]), (4, &b"more"[..]));
    }

    #[test]
    fn what_a_program_does_not_read_has_an_end() {
        let mut talk = Talk { request: b"request".to_vec(), ..Talk::default() };
        assert!(talk.hear(b"123", 10) && !talk.hear(b"4", 10));
        assert_eq!(talk.take(&mut [0; 9]), 9);
        assert!(talk.hear(b"456789012", 10) && !talk.hear(b"3", 10), "what was read does not count");
        assert_eq!(talk.request, b"3456789012");
    }

    #[test]
    fn a_flood_is_no_answer_and_of_complaints_the_last_is_kept() {
        let mut talk = Talk::default();
        assert!(talk.write(&vec![b'a'; LONGEST]));
        assert!(!talk.write(b"b"));
        talk.complain(&[b'a'; 3 * COMPLAINT]);
        talk.complain(b"end");
        assert!(talk.complaint.len() == COMPLAINT && talk.complaint.ends_with(b"aend"));
    }
}
