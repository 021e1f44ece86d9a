//! Buffers of large messages come and go many times a second, here and in Python, where nobody can reuse them.

use std::hint::black_box;
use std::sync::Once;

/// What a busy session has under way: messages, and the copies of them that Python gets.
const UNDER_WAY: usize = 4 * 1024 * 1024;

/// Lets the allocator see a block of the size that is under way, once in a process.
///
/// glibc gives the top of its heap back as soon as 128 KiB of it are free, and the kernel hands it out again page by
/// page, each with a fault: that costs messages of 64 KiB half their rate. It keeps twice the size of the largest
/// mapped block that was ever freed, up to 64 MiB, so one such block, never touched, is enough. No setting is
/// changed, and one that the program has made is respected. Other allocators do not mind.
pub(super) fn settle() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| drop(black_box(Vec::<u8>::with_capacity(UNDER_WAY))));
}
