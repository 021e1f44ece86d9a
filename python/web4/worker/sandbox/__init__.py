"""The sandbox a worker enters, built of what the Linux kernel gives without privileges (section 8)."""
