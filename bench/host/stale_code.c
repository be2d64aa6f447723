/* How often a CPU goes on with code that another one has changed, for `cargo xtask bench host --program`. Code is changed
   as Erlang's JIT does when it loads a native function: through a second, writable mapping, the distance of a jump in the
   first instruction of a function that the other CPU calls in a loop. Whoever has seen by an atomic variable that it was
   changed must run the new code. The x86 keeps that; QEMU's translator does not: it drops its translation before it makes
   the store, and a CPU that translates in between has the old code until the next change. No kernel can help it.
   It prints rows as micro.c does: of 1000 changes, those after which the old code ran once, and those after which it
   still ran PATIENCE later. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define SECONDS 20
#define PATIENCE 0.002 /* seconds */
#define OLD 6          /* distance to the return */
#define NEW 1          /* distance to what makes the result 1 */

static const unsigned char code[] = {
    0xeb, OLD,           /* jmp short */
    0x90,                /* nop */
    0xb8, 1,   0, 0, 0,  /* mov eax, 1 */
    0xc3,                /* ret */
};

static volatile unsigned char *writable;
static void *executable;
/* Number of the round that each side has come to. */
static atomic_uint begun, changed, looked, reverted;
static unsigned long stale, lasting;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

/* Whether the new code ran. */
static int call(void) {
    int result = 0;
    __asm__ volatile("call *%1" : "+a"(result) : "r"(executable) : "memory", "cc");
    return result;
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int stays_old(void) {
    for (double end = now() + PATIENCE; now() < end;)
        if (call()) return 0;
    return 1;
}

static void *caller(void *unused) {
    for (unsigned round = 1;; round++) {
        atomic_store(&begun, round);
        while (atomic_load(&changed) != round) call();
        if (!call()) {
            stale++;
            lasting += (unsigned long)stays_old();
        }
        atomic_store(&looked, round);
        while (atomic_load(&reverted) != round) { }
    }
    return unused;
}

int main(void) {
    int fd = memfd_create("code", 0);
    if (fd < 0 || ftruncate(fd, sizeof code)) fail("memfd_create");
    writable = mmap(NULL, sizeof code, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    executable = mmap(NULL, sizeof code, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
    if (writable == MAP_FAILED || executable == MAP_FAILED) fail("mmap");
    memcpy((void *)writable, code, sizeof code);
    pthread_t thread;
    if (pthread_create(&thread, NULL, caller, NULL)) fail("pthread_create");
    unsigned round = 0;
    for (double end = now() + SECONDS; now() < end;) {
        round++;
        while (atomic_load(&begun) != round) { }
        /* At another place of the caller's loop each time. */
        for (volatile unsigned i = 0; i < round % 997 * 3; i++) { }
        writable[1] = NEW;
        atomic_store(&changed, round);
        while (atomic_load(&looked) != round) { }
        writable[1] = OLD;
        atomic_store(&reverted, round);
    }
    printf("row old-code-ran %.1f of 1000 changes\n", (double)stale * 1000 / round);
    printf("row old-code-stayed %.1f of 1000 changes\n", (double)lasting * 1000 / round);
    puts("row end 0 -");
    return 0;
}
