"""System calls a worker of `strict` may make: what an interpreter, its libraries, threads and Trio need."""

from __future__ import annotations

from typing import Final

ALLOWED: Final = """
read write readv writev pread64 pwrite64 preadv pwritev preadv2 pwritev2 lseek
open openat openat2 creat close close_range dup dup2 dup3 fcntl flock pipe pipe2
stat fstat lstat newfstatat statx statfs fstatfs access faccessat faccessat2 readlink readlinkat
getdents getdents64 getcwd chdir fchdir umask
rename renameat renameat2 mknod mknodat mkdir mkdirat rmdir link linkat unlink unlinkat symlink symlinkat
truncate ftruncate fallocate fadvise64 readahead fsync fdatasync sync_file_range cachestat
chmod fchmod fchmodat fchmodat2 utime utimes utimensat futimesat
getxattr lgetxattr fgetxattr listxattr llistxattr flistxattr
sendfile splice tee copy_file_range

mmap munmap mremap mprotect pkey_mprotect pkey_alloc pkey_free madvise mincore msync brk mseal
mlock mlock2 munlock mlockall munlockall membarrier get_mempolicy map_shadow_stack

socketpair sendto recvfrom sendmsg recvmsg sendmmsg recvmmsg shutdown
getsockname getpeername getsockopt setsockopt
poll ppoll select pselect6 epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait epoll_pwait2
eventfd eventfd2 signalfd signalfd4 timerfd_create timerfd_settime timerfd_gettime

futex futex_wait futex_wake futex_waitv futex_requeue set_robust_list rseq
set_tid_address set_thread_area get_thread_area arch_prctl restart_syscall
sched_yield sched_getaffinity sched_getparam sched_getscheduler sched_getattr sched_rr_get_interval
sched_get_priority_max sched_get_priority_min getcpu getpriority ioprio_get
clock_gettime clock_getres clock_nanosleep nanosleep gettimeofday time times alarm getitimer setitimer
timer_create timer_settime timer_gettime timer_getoverrun timer_delete

rt_sigaction rt_sigprocmask rt_sigpending rt_sigreturn rt_sigsuspend rt_sigtimedwait sigaltstack pause
kill tkill tgkill rt_sigqueueinfo rt_tgsigqueueinfo pidfd_open pidfd_send_signal
exit exit_group wait4 waitid
getpid getppid gettid getpgid getpgrp getsid setsid setpgid
getuid geteuid getresuid getgid getegid getresgid getgroups capget
getrusage getrlimit setrlimit uname sysinfo getrandom seccomp
landlock_create_ruleset landlock_add_rule landlock_restrict_self
"""
"""`clone`, `execve`, `get_robust_list`, `ioctl`, `memfd_create`, `prctl`, `prlimit64` and those of priorities go by
their arguments, as do some of these."""

IOCTLS_ALLOWED: Final = (
    0x5401,  # TCGETS: is it a terminal?
    0x802C542A,  # TCGETS2: likewise, of newer C libraries
    0x5413,  # TIOCGWINSZ: its size
    0x541B,  # FIONREAD
    0x5421,  # FIONBIO
    0x5450,  # FIONCLEX
    0x5451,  # FIOCLEX
)

PRCTLS_ALLOWED: Final = (
    2,  # PR_GET_PDEATHSIG
    3,  # PR_GET_DUMPABLE
    4,  # PR_SET_DUMPABLE
    15,  # PR_SET_NAME
    16,  # PR_GET_NAME
    21,  # PR_GET_SECCOMP
    22,  # PR_SET_SECCOMP: filters only add up
    23,  # PR_CAPBSET_READ
    27,  # PR_GET_SECUREBITS
    29,  # PR_SET_TIMERSLACK
    30,  # PR_GET_TIMERSLACK
    38,  # PR_SET_NO_NEW_PRIVS
    39,  # PR_GET_NO_NEW_PRIVS
    41,  # PR_SET_THP_DISABLE
    42,  # PR_GET_THP_DISABLE
    52,  # PR_GET_SPECULATION_CTRL
    0x53564D41,  # PR_SET_VMA: names for memory
)
