"""What cffi makes of `libc.DECLARATIONS`, so that nobody waits for a C parser to start. A test makes it again."""

import _cffi_backend

ffi = _cffi_backend.FFI(
    "web4.worker.sandbox._libc",
    _version=0x2601,
    _types=b"\x00\x00\x01\x0d\x00\x00\x07\x01\x00\x00\x01\x0f\x00\x00\x04\x0d\x00\x00\x09\x01\x00\x00\x01\x0f",
    _globals=(b"\x00\x00\x00\x23prctl", 0, b"\x00\x00\x03\x23syscall", 0),
)
