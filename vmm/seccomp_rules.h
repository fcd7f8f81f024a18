/*
 * The system calls that each kind of thread may make, and why. Compiled to
 * filters at build time by vmm/seccomp_gen.c; everything else kills the VM.
 *
 * RULE(kinds, call)              any arguments
 * RULE_EQ(kinds, call, n, value) argument n (from 0) must equal value
 * RULE_CLEAR(kinds, call, n, m)  the bits m of argument n must be 0
 *
 * kinds: M the main loop, V vCPU threads, W a device's worker, B the broker, which
 * is a process of its own.
 */

/* Event loops, eventfds, consoles, log lines. */
RULE(M | W, epoll_wait)
RULE(M | W, epoll_pwait)
RULE(M | W, epoll_ctl)
RULE(M | V | W, read)
RULE(M | V | W, write)
RULE(M | V | W, poll)
/* A message interrupt's eventfd is made when the guest first unmasks it. */
RULE_EQ(V | M, eventfd2, 0, 0)

/* Locks, thread ends, memory of the allocator and of thread stacks. */
RULE(M | V | W, futex)
RULE(M | V | W, exit)
RULE(M | V | W, exit_group)
RULE(M | V | W, rt_sigprocmask)
RULE(M | V | W, rt_sigreturn)
RULE(M | V | W, restart_syscall)
RULE(M | V | W, clock_gettime)
RULE(M | V | W, madvise)
RULE(M | V | W, munmap)
RULE(M | V | W, brk)
RULE_CLEAR(M | V | W, mmap, 2, PROT_EXEC)
RULE_CLEAR(M | V | W, mprotect, 2, PROT_EXEC)
RULE(M, close)
RULE(M | V | W, getpid)
RULE(M | V | W, gettid)

/* Kicking vCPUs out of the guest, to pause or to end. */
RULE_EQ(M, tgkill, 2, SIGUSR1)
RULE_EQ(M, rt_sigaction, 0, SIGUSR1)
RULE_EQ(M, ioctl, 1, KVM_KVMCLOCK_CTRL)

/* Crash dumps, the debugger, and the report of a crash. */
RULE_EQ(M | V, ioctl, 1, KVM_GET_REGS)
RULE_EQ(M | V, ioctl, 1, KVM_GET_SREGS)
/* Crash dumps: past the zeroes, and whether that can be. */
RULE(M, lseek)
RULE_EQ(M, fcntl, 1, F_GETFL)

/* What gdb does to vCPUs besides. */
RULE_EQ(M, ioctl, 1, KVM_SET_REGS)
RULE_EQ(M, ioctl, 1, KVM_SET_SREGS)
RULE_EQ(M, ioctl, 1, KVM_GET_FPU)
RULE_EQ(M, ioctl, 1, KVM_SET_FPU)
RULE_EQ(M, ioctl, 1, KVM_GET_MSRS)
RULE_EQ(M, ioctl, 1, KVM_SET_MSRS)
RULE_EQ(M, ioctl, 1, KVM_SET_GUEST_DEBUG)

/* The guest, and its interrupts. */
RULE_EQ(V, ioctl, 1, KVM_RUN)
RULE_EQ(M | V | W, ioctl, 1, KVM_SIGNAL_MSI)
RULE_EQ(M | V | W, ioctl, 1, KVM_IRQ_LINE) /* --firmware-compat */
RULE_EQ(M | V, ioctl, 1, KVM_IRQFD)
RULE_EQ(M | V, ioctl, 1, KVM_IOEVENTFD)
RULE_EQ(M | V, ioctl, 1, KVM_SET_GSI_ROUTING)

/*
 * The sockets of the control socket, gdb, --vsock and consoles: who connects is
 * accepted, and nobody is connected to but by the broker. Nothing is sent to an
 * address, and no descriptor is passed on.
 */
RULE(M, accept4)
RULE_EQ(M, sendto, 5, 0)
RULE(M, recvmsg) /* data, a dump's descriptor, the broker's sockets */
RULE(M, recvfrom) /* the first line of a vsock's client */
RULE(M, shutdown)

/*
 * vhost: a guest's driver starts a device by a register write, and stops it; so does
 * the machine's end, and the main loop where vhost complains of a queue.
 */
RULE_EQ(V, ioctl, 1, VHOST_SET_FEATURES)
RULE_EQ(V, ioctl, 1, VHOST_SET_VRING_NUM)
RULE_EQ(V, ioctl, 1, VHOST_SET_VRING_BASE)
RULE_EQ(V, ioctl, 1, VHOST_SET_VRING_ADDR)
RULE_EQ(V, ioctl, 1, VHOST_SET_VRING_CALL)
RULE_EQ(M | V | W, ioctl, 1, VHOST_GET_VRING_BASE) /* W: vhost-net's complaints */
RULE_EQ(M | V, ioctl, 1, VHOST_VSOCK_SET_RUNNING)

/*
 * Network: packets, and what the driver can do, told to the tap when it starts the
 * device or stops it.
 */
RULE(W, readv)
RULE_EQ(M | V | W, ioctl, 1, TUNSETOFFLOAD)
RULE_EQ(M | V | W, ioctl, 1, VHOST_NET_SET_BACKEND)

/* Console input from a file or after a while, and virtio-rng. */
RULE(M | V, timerfd_settime) /* V: the grace after a panic, and the watchdog */
RULE(M, timerfd_gettime) /* the watchdog, suspended */
RULE(M, getrandom)

/*
 * Disk images. An io_uring is made and restricted before the filters, and enabled
 * by the worker before its own: no io_uring_setup, and io_uring_register only to give
 * its files up. Where there is none, and for what it turns down, the other calls.
 */
RULE(W, io_uring_enter)
RULE_EQ(W, io_uring_register, 1, IORING_UNREGISTER_FILES)
RULE(W, preadv)
RULE(W, pwritev)
RULE(W, fdatasync)
RULE(M | W, fallocate) /* M: resizing */
RULE(W, sched_yield) /* while the kernel has no memory for a request */
/* Resizing a disk. */
RULE(M, ftruncate)
RULE_EQ(M, ioctl, 1, BLKGETSIZE64)

/* The broker connects, passes the sockets on, and in the end removes their files. */
RULE_EQ(B, socket, 0, AF_UNIX)
RULE(B, connect)
RULE(B, sendmsg)
RULE(B, recvmsg)
RULE(B, sendto) /* that it is ready */
RULE(B, close)
RULE(B, newfstatat)
RULE(B, unlinkat)
RULE(B, exit_group)

/* Our own bugs: what assert() says, and abort(). */
RULE_EQ(M | V | W, tgkill, 2, SIGABRT)
RULE_EQ(M | V | W, rt_sigaction, 0, SIGABRT)
RULE(M | V | W, writev) /* M: what vsock sends; W: packets */

#ifdef SANITIZED
/* What the sanitizers' runtime does while the program runs, and to report. */
RULE(M | V | W | B, mmap)
RULE(B, munmap)
RULE(B, madvise)
RULE(B, futex)
RULE(M | V | W | B, mprotect)
RULE(M | V | W | B, sigaltstack)
RULE(M | V | W | B, openat)
RULE(M | V | W | B, open)
RULE(M | V | W | B, readlink)
RULE(M | V | W | B, readlinkat)
RULE(M | V | W | B, fstat)
RULE(M | V | W | B, newfstatat)
RULE(M | V | W | B, lseek)
RULE(M | V | W | B, getrlimit)
RULE(M | V | W | B, prlimit64)
RULE(M | V | W | B, sched_getaffinity)
RULE(M | V | W | B, rt_sigaction)
RULE(M | V | W | B, getcwd)
RULE(M | V | W | B, uname)
RULE(M | V | W | B, getuid)
RULE(M | V | W | B, prctl)
RULE(M | V | W | B, ioctl)
RULE(M | V | W | B, tgkill)
RULE(M | V | W | B, kill)
RULE(M | V | W | B, getppid)
RULE(M | V | W | B, clone)
RULE(M | V | W | B, wait4)
#endif
