"""System calls no sandboxed worker may make (EXT-29): the deny list of `standard`, and of `strict` too."""

from __future__ import annotations

from typing import Final

DENIED: Final = """
ptrace process_vm_readv process_vm_writev process_madvise process_mrelease kcmp pidfd_getfd
bpf perf_event_open userfaultfd
io_uring_setup io_uring_enter io_uring_register
keyctl add_key request_key
mount umount2 pivot_root chroot move_mount open_tree open_tree_attr fsopen fsconfig fsmount fspick
mount_setattr unshare setns listns
create_module init_module finit_module delete_module get_kernel_syms query_module
kexec_load kexec_file_load
open_by_handle_at name_to_handle_at
swapon swapoff reboot acct quotactl quotactl_fd nfsservctl vhangup syslog
sethostname setdomainname settimeofday clock_settime clock_adjtime adjtimex
iopl ioperm modify_ldt uselib ustat sysfs _sysctl lookup_dcookie afs_syscall tuxcall security vserver
migrate_pages move_pages memfd_secret lsm_set_self_attr
io_setup io_destroy io_submit io_cancel io_getevents io_pgetevents
fanotify_init fanotify_mark inotify_init inotify_init1 inotify_add_watch
shmget shmat shmctl shmdt semget semop semctl semtimedop msgget msgsnd msgrcv msgctl
mq_open mq_unlink mq_timedsend mq_timedreceive mq_notify mq_getsetattr
"""
"""Reasons, where they do not stand in EXT-29: file handles reach files past any path; watching a directory tells the
names in it; queues, semaphores and memory of System V and POSIX outlive the worker and are shared with others of its
user; asynchronous input and output has one bound for the whole machine; page moves and `kcmp` take the id of another
process.
"""

METADATA: Final = """
chmod fchmod fchmodat fchmodat2 chown fchown lchown fchownat
setxattr lsetxattr fsetxattr setxattrat removexattr lremovexattr fremovexattr removexattrat file_setattr
"""
"""Landlock does not cover these: a worker that is of the node's user could open the node's keys to others, or close its
journal to the node. Extended attributes hold access lists."""

IOCTLS_DENIED: Final = (
    0x5412,  # TIOCSTI: puts input into a terminal
    0x541C,  # TIOCLINUX: likewise, on a console
    0x5423,  # TIOCSETD: line disciplines, whose code is old
    0x8901,  # FIOSETOWN: who gets the signals of a descriptor
    0x8902,  # SIOCSPGRP: likewise
    0x40086602,  # FS_IOC_SETFLAGS: attributes of files, as `METADATA`
    0x401C5820,  # FS_IOC_FSSETXATTR: likewise
)
