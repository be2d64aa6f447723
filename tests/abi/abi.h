/* What the cases share: registration, the transcript, small helpers. See README.md. */
#ifndef ABI_H
#define ABI_H

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

typedef void (*case_fn)(void);

/* Adds a case; called before main. */
void add_case(const char *name, case_fn run);

/* Defines a case. It runs in a process of its own, in an empty working directory. */
#define CASE(name)                                                             \
    static void case_##name(void);                                             \
    __attribute__((constructor)) static void register_##name(void) {           \
        add_case(#name, case_##name);                                          \
    }                                                                          \
    static void case_##name(void)

/* Writes to the transcript. */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Writes a call and what it returned: its value, or -1 and the name of errno. */
long report(const char *what, long result);
#define R(call) report(#call, (long)(call))

/* The same for calls whose value may differ from run to run: ok, or the error. */
long report_ok(const char *what, long result);
#define OK(call) report_ok(#call, (long)(call))

/* Ends the case when a call that must work did not. */
long must(const char *what, long result);
#define MUST(call) must(#call, (long)(call))

/* Writes how a child ended (from wait). */
void say_status(const char *who, int status);

/* Waits for a child and writes how it ended. */
void reap(const char *who, pid_t child);

/* Runs a function in a child and writes how it ended. */
void in_child(const char *who, void (*run)(void));

/* Milliseconds since some point. */
long now_ms(void);

/* Sleeps. */
void sleep_ms(long ms);

/* Writes poll or epoll events by name. */
void say_events(const char *what, unsigned events);

/* Returns what is true for a descriptor now, of what poll can tell. */
unsigned poll_now(int fd);

/* Sends bytes with descriptors. */
ssize_t send_fds(int s, const char *bytes, const int *fds, int count);
/* Receives, with room for so many bytes and descriptors, and writes what came. */
int receive_fds(int s, size_t bytes, size_t control_len, int flags, int *fds);

#endif
