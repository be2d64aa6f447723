/* The driver: starts workers until enough calls were made, then checks that nothing is left of them. */
#include <asm/ioctls.h>
#include <asm/termbits.h>
#include "fuzz.h"
#include <fcntl.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/socket.h>

/* How long a killed process may take to end, in looks of LOOK_MS. */
#define LOOK_MS 5
#define DEATH_LOOKS (60000 / LOOK_MS)
/* A worker that makes no progress for so many looks is killed. */
#define STALL_LOOKS (1500 / LOOK_MS)
/* Sizes of kernel objects: powers of two. */
#define SIZES 16

struct options {
    u64 calls, seed, threads, processes, quota, only, slack_kib, verbose;
};

struct running {
    int pid;
    u64 seen;
    int stalled;
    int killed;
};

/* How workers ended: by signal, and 64 + exit status. */
static u32 ends[256];
static struct running running[MAX_PROCESSES];

void *memset(void *to, int byte, size_t n) {
    for (volatile char *p = to; n > 0; n--)
        *p++ = (char)byte;
    return to;
}
void *memcpy(void *to, const void *from, size_t n) {
    volatile char *p = to;
    for (const char *q = from; n > 0; n--)
        *p++ = *q++;
    return to;
}

void exit_now(int status) {
    CALL1(__NR_exit_group, status);
    __builtin_trap();
}

size_t length(const char *text) {
    size_t n = 0;
    while (text[n])
        n++;
    return n;
}

int equal(const char *a, const char *b) {
    while (*a && *a == *b)
        a++, b++;
    return *a == *b;
}

u64 number(const char *text) {
    u64 n = 0;
    while (*text >= '0' && *text <= '9')
        n = n * 10 + (u64)(*text++ - '0');
    return *text == 'M' ? n * 1000000 : *text == 'k' ? n * 1000 : n;
}

static size_t digits(char *to, u64 n, u64 base) {
    char reversed[24];
    size_t count = 0;
    do
        reversed[count++] = "0123456789abcdef"[n % base];
    while (n /= base);
    for (size_t i = 0; i < count; i++)
        to[i] = reversed[count - 1 - i];
    return count;
}

void say(const char *format, ...) {
    char line[300];
    size_t n = 0;
    va_list args;
    va_start(args, format);
    for (; *format && n < 200; format++) {
        if (*format != '%') {
            line[n++] = *format;
            continue;
        }
        switch (*++format) {
        case 'd': {
            long value = va_arg(args, long);
            if (value < 0)
                line[n++] = '-';
            n += digits(line + n, value < 0 ? 0 - (u64)value : (u64)value, 10);
            break;
        }
        case 'x':
            n += digits(line + n, va_arg(args, u64), 16);
            break;
        default:
            for (const char *s = va_arg(args, const char *); *s && n < 280; s++)
                line[n++] = *s;
        }
    }
    va_end(args);
    /* Workers have the console, too, and may have stopped it (tcflow(3)). */
    CALL3(__NR_ioctl, 1, TCXONC, TCOON);
    CALL3(__NR_write, 1, line, n);
}

static void look_pause(void) {
    u64 time[2] = {0, LOOK_MS * 1000000};
    CALL2(__NR_nanosleep, time, 0);
}

static u64 free_kib(void) {
    struct {
        long uptime;
        u64 loads[3], total, free, shared, buffers, total_swap, free_swap;
        uint16_t processes, pad;
        u32 pad2;
        u64 total_high, free_high;
        u32 unit;
        char rest[64];
    } info = {0};
    CALL1(__NR_sysinfo, &info);
    return info.free * info.unit / 1024;
}

/* What the file system says is in use: pages and files. */
static void files_in_use(u64 *pages, u64 *files) {
    struct {
        u64 type, block_size, blocks, blocks_free, blocks_available, files, files_free, rest[16];
    } fs = {0};
    CALL2(__NR_statfs, "/tmp", &fs);
    *pages = fs.blocks - fs.blocks_free;
    *files = fs.files - fs.files_free;
}

static u64 calls_of(const struct slot *slot) {
    u64 sum = slot->children;
    for (int t = 0; t < MAX_THREADS; t++)
        sum += slot->threads[t];
    return sum;
}

static int is_among(const char *name, const char *const *names, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (equal(name, names[i]))
            return 1;
    return 0;
}

/* What the image and the kernel put into a directory. */
static int is_kept(const char *path, const char *name) {
    static const char *const root[] = {".tyn", "dev", "fuzz", "proc", "sys", "tmp"};
    static const char *const dev[] = {"console", "fd",     "full",  "null", "ptmx",    "pts",  "random", "shm",
                                      "stderr",  "stdin", "stdout", "tty",  "urandom", "zero"};
    if (equal(name, ".") || equal(name, ".."))
        return 1;
    if (equal(path, "/"))
        return is_among(name, root, sizeof root / sizeof *root);
    return equal(path, "/dev") && is_among(name, dev, sizeof dev / sizeof *dev);
}

/* Removes what is in a directory, deepest first. */
static void empty_directory(const char *path, int depth) {
    char entries[2048];
    long dir = CALL3(__NR_open, path, O_RDONLY | O_DIRECTORY, 0);
    for (int round = 0; dir >= 0 && round < 1000; round++) {
        CALL3(__NR_lseek, dir, 0, 0);
        int removed = 0;
        for (long n; (n = CALL3(__NR_getdents64, dir, entries, sizeof entries)) > 0;)
            for (long at = 0; at < n; at += *(uint16_t *)(entries + at + 16)) {
                const char *name = entries + at + 19;
                if (is_kept(path, name))
                    continue;
                if (CALL3(__NR_unlinkat, dir, name, 0) == 0) {
                    removed++;
                    continue;
                }
                long was = CALL3(__NR_openat, AT_FDCWD, ".", O_RDONLY);
                CALL1(__NR_fchdir, dir);
                if (depth < 30)
                    empty_directory(name, depth + 1);
                CALL1(__NR_fchdir, was);
                CALL1(__NR_close, was);
                removed += CALL3(__NR_unlinkat, dir, name, AT_REMOVEDIR) == 0;
            }
        if (!removed)
            break;
    }
    CALL1(__NR_close, dir);
}

/* Our own resource limits as they were at first. Workers run as root, and prlimit(2) lets them take ours. */
static u64 limits[16][2];

static void remember_limits(void) {
    for (int resource = 0; resource < 16; resource++)
        CALL4(__NR_prlimit64, 0, resource, 0, limits[resource]);
}

static void restore_limits(void) {
    for (int resource = 0; SHARED->contained && resource < 16; resource++)
        CALL4(__NR_prlimit64, 0, resource, limits[resource], 0);
}

static void start(int slot, u64 index) {
    struct slot *s = &SHARED->slots[slot];
    memset(s, 0, sizeof *s);
    running[slot] = (struct running){0};
    char dir[] = "/tmp/fz/a";
    dir[8] = (char)('a' + slot);
    restore_limits();
    CALL2(__NR_chmod, dir, 0755);
    empty_directory(dir, 0);
    long pid = CALL0(__NR_fork);
    if (pid == 0)
        run_worker(slot, index);
    running[slot].pid = (int)pid;
}

/* Kills what a worker left behind. */
static void kill_registered(void) {
    const u32 me = (u32)CALL0(__NR_getpid);
    for (int i = 0; i < REGISTRY; i++) {
        u32 pid = SHARED->registry[i];
        if (pid > 1 && pid != me)
            CALL2(__NR_kill, pid, 9);
    }
}

/* Waits for whoever ended; returns the slot of a worker, -1 for somebody else, -2 for nobody. */
static int reap(void) {
    int status;
    long pid = CALL4(__NR_wait4, -1, &status, 1, 0);
    if (pid <= 0)
        return pid == -ECHILD ? -3 : -2;
    for (int slot = 0; slot < MAX_PROCESSES; slot++)
        if (running[slot].pid == pid) {
            running[slot].pid = 0;
            ends[status < 0x10000 && status >= 0 ? (status & 127 ? status & 127 : 64 + (status >> 8 & 127)) : 0]++;
            return slot;
        }
    return -1;
}

static void show(const char *path) {
    char text[280];
    long file = CALL3(__NR_open, path, O_RDONLY, 0);
    long n = CALL3(__NR_read, file, text, sizeof text - 1);
    CALL1(__NR_close, file);
    if (n > 0) {
        text[n < 120 ? n : 120] = 0;
        say("%s: %s\n", path, text);
    }
}

static size_t join(char *to, const char *a, u64 n, const char *b) {
    size_t at = length(a);
    memcpy(to, a, at);
    at += digits(to + at, n, 10);
    memcpy(to + at, b, length(b) + 1);
    return at + length(b);
}

/* Says what the threads of a process are doing. */
static void show_process(u64 pid) {
    char path[80], entries[2048];
    join(path, "/proc/", pid, "/task");
    long dir = CALL3(__NR_open, path, O_RDONLY | O_DIRECTORY, 0);
    long n = CALL3(__NR_getdents64, dir, entries, sizeof entries);
    for (long at = 0; at < n; at += *(uint16_t *)(entries + at + 16)) {
        u64 tid = number(entries + at + 19);
        size_t end = join(path, "/proc/", pid, "/task/");
        if (tid) {
            join(path + end, "", tid, "/stat");
            show(path);
        }
    }
    CALL1(__NR_close, dir);
}

/* Says what all processes are doing. */
static void show_all(void) {
    char entries[4096];
    long dir = CALL3(__NR_open, "/proc", O_RDONLY | O_DIRECTORY, 0);
    for (long n; (n = CALL3(__NR_getdents64, dir, entries, sizeof entries)) > 0;)
        for (long at = 0; at < n; at += *(uint16_t *)(entries + at + 16)) {
            u64 pid = number(entries + at + 19);
            if (pid)
                show_process(pid);
        }
    CALL1(__NR_close, dir);
}

/* Kills a worker that goes on no more; ends all when it does not die. */
static void watch(int slot) {
    struct running *r = &running[slot];
    u64 now = calls_of(&SHARED->slots[slot]);
    if (now != r->seen && !r->killed) {
        r->seen = now;
        r->stalled = 0;
        return;
    }
    r->stalled++;
    if (r->stalled == STALL_LOOKS) {
        CALL2(__NR_kill, r->pid, 9);
        r->killed = 1;
    }
    if (r->stalled == DEATH_LOOKS) {
        say("fuzz FAILED: worker %d (process %d) does not end when killed\n", (long)slot, (long)r->pid);
        show_all();
        exit_now(1);
    }
}

/* Lets the kernel look for local sockets that wait in messages which nobody can receive, as whenever one is closed. */
static void collect_sockets(void) {
    long fd = CALL3(__NR_socket, AF_UNIX, SOCK_STREAM, 0);
    CALL1(__NR_close, fd);
}

/* Ends and reaps everything. */
static void end_all(void) {
    for (int look = 0; look < DEATH_LOOKS; look++) {
        if (SHARED->contained)
            CALL2(__NR_kill, -1, 9);
        kill_registered();
        for (int slot = 0; slot < MAX_PROCESSES; slot++)
            if (running[slot].pid > 0)
                CALL2(__NR_kill, running[slot].pid, 9);
        int found;
        do
            found = reap();
        while (found >= -1);
        if (found == -3) {
            collect_sockets();
            return;
        }
        look_pause();
    }
    say("fuzz FAILED: processes are left that do not end when killed\n");
    show_all();
    exit_now(1);
}

/* Runs workers until `calls` calls were made; returns how many were. */
static u64 run(const struct options *o, u64 *index) {
    u64 total = 0, shown = 0;
    while (total < o->calls) {
        for (int slot = 0; slot < (int)o->processes; slot++)
            if (running[slot].pid <= 0)
                start(slot, o->only ? o->only : (*index)++);
        look_pause();
        for (int slot = 0; slot < (int)o->processes; slot++)
            watch(slot);
        for (int slot; (slot = reap()) >= -1;)
            if (slot >= 0)
                total += calls_of(&SHARED->slots[slot]);
        if (total >= shown + 50000) {
            shown = total;
            say("fuzz: %d calls by %d workers, %d KiB free\n", total, *index, free_kib());
        }
    }
    for (int slot = 0; slot < (int)o->processes; slot++)
        if (running[slot].pid > 0)
            total += calls_of(&SHARED->slots[slot]);
    end_all();
    return total;
}

/* On a machine that others use, too: no rights, little of everything. */
static void be_careful(void) {
    u64 bytes[2] = {1 << 20, 1 << 20}, space[2] = {256 << 20, 256 << 20}, processes[2] = {200, 200}, core[2] = {0, 0};
    CALL2(__NR_setgroups, 0, 0);
    CALL1(__NR_setgid, 65534);
    if (CALL1(__NR_setuid, 65534) != 0)
        exit_now(2);
    CALL(__NR_prctl, 36, 1, 0, 0, 0, 0); /* orphans come to us */
    CALL(__NR_prctl, 38, 1, 0, 0, 0, 0); /* no new rights */
    CALL2(__NR_setrlimit, 1, bytes);
    CALL2(__NR_setrlimit, 4, core);
    CALL2(__NR_setrlimit, 6, processes);
    CALL2(__NR_setrlimit, 9, space);
}

static void clean(void) {
    restore_limits();
    CALL1(__NR_chdir, "/");
    empty_directory("/tmp/fz", 0);
    if (SHARED->contained) {
        static const char *const places[] = {"/tmp", "/dev/shm", "/dev", "/"};
        for (size_t i = 0; i < sizeof places / sizeof *places; i++)
            empty_directory(places[i], 0);
        CALL2(__NR_mkdir, "/tmp/fz", 0777);
    }
}

static void prepare(const struct options *o) {
    CALL(__NR_mmap, SHARED, SHARED_BYTES, PROT_READ | PROT_WRITE, MAP_FIXED | MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    SHARED->contained = CALL0(__NR_getpid) == 1;
    SHARED->seed = o->seed;
    SHARED->threads = (u32)o->threads;
    SHARED->quota = o->quota;
    remember_limits();
    CALL1(__NR_umask, 0);
    CALL2(__NR_mkdir, "/tmp", 01777);
    CALL2(__NR_mkdir, "/tmp/fz", 0777);
    if (!SHARED->contained)
        be_careful();
}

static void report_coverage(void) {
    for (int end = 0; end < 256; end++)
        if (ends[end])
            say("%d workers ended by %s %d\n", (long)ends[end], end < 64 ? "signal" : "exit", (long)(end & 63));
    for (int nr = 0; nr < 512; nr++)
        if (SHARED->done[nr])
            say("call %d: %d of %d worked\n", (long)nr, SHARED->worked[nr], SHARED->done[nr]);
}

/* Touches fresh memory, as long as more than `spare` KiB are free. */
static void take_memory(u64 bytes, u64 spare) {
    const u64 step = 256 << 10;
    for (u64 taken = 0; taken < bytes && free_kib() > spare; taken += step) {
        long at = CALL(__NR_mmap, 0, step, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        for (u64 page = 0; at > 0 && page < step; page += PAGE)
            *(volatile char *)(at + page) = 1;
    }
}

/* A child takes nearly all memory, then another process asks for more: the child is killed, the other one gets it. */
static int exhaust(void) {
    const u64 spare = free_kib() / 64 + 2048;
    long child = CALL0(__NR_fork);
    if (child == 0) {
        take_memory(-1ul, spare);
        u64 long_time[2] = {600, 0};
        CALL2(__NR_nanosleep, long_time, 0);
        exit_now(0);
    }
    while (free_kib() > spare)
        look_pause();
    long taker = CALL0(__NR_fork);
    if (taker == 0) {
        take_memory(16 << 20, 0);
        exit_now(0);
    }
    int status = 0, taken = 0;
    CALL4(__NR_wait4, child, &status, 0, 0);
    CALL4(__NR_wait4, taker, &taken, 0, 0);
    if (status == 9 && taken == 0)
        return 1;
    say("fuzz FAILED: who had all memory ended with status %x, who asked for more with %x\n", (u64)status, (u64)taken);
    return 0;
}

/* How many of the kernel's objects are in use, by the logarithm of their size (slabinfo(5)). */
static void objects_in_use(u64 counts[SIZES]) {
    static char text[4096];
    long file = CALL3(__NR_open, "/proc/slabinfo", O_RDONLY, 0);
    long n = CALL3(__NR_read, file, text, sizeof text - 1);
    CALL1(__NR_close, file);
    text[n > 0 ? n : 0] = 0;
    for (const char *line = text; *line;) {
        static const char name[] = "\nkmalloc-";
        size_t same = 0;
        while (same < sizeof name - 1 && line[same] == name[same])
            same++;
        if (same == sizeof name - 1) {
            u64 size = number(line + same);
            const char *at = line + same;
            while (*at != ' ')
                at++;
            while (*at == ' ')
                at++;
            for (int i = 0; i < SIZES; i++)
                if (size == 1ul << i)
                    counts[i] = number(at);
        }
        line++;
    }
}

static int drive(const struct options *o) {
    u64 index = 1;
    prepare(o);
    say("fuzz: seed %d, %d calls, %d processes of %d threads\n", o->seed, o->calls, o->processes, o->threads);
    if (SHARED->contained && !exhaust())
        return 1;
    /* What a first round leaves is what the kernel keeps for good: caches, the largest size its tables ever had. */
    struct options warm = *o;
    warm.calls = o->calls / 10;
    u64 total = run(&warm, &index);
    clean();
    u64 objects_before[SIZES] = {0}, objects[SIZES] = {0};
    objects_in_use(objects_before);
    u64 before = free_kib(), pages_before, files_before, pages, files;
    files_in_use(&pages_before, &files_before);
    total += run(o, &index);
    clean();
    u64 after = free_kib();
    files_in_use(&pages, &files);
    objects_in_use(objects);
    long lost = (long)before - (long)after;
    if (o->verbose)
        report_coverage();
    say("fuzz: %d calls by %d workers; free before %d KiB, after %d KiB: lost %d KiB, %d pages, %d files\n", total, index - 1,
        before, after, lost, (long)(pages - pages_before), (long)(files - files_before));
    for (int i = 0; i < SIZES; i++)
        if (objects[i] != objects_before[i])
            say("fuzz: %d objects of %d bytes more\n", (long)(objects[i] - objects_before[i]), 1l << i);
    if (SHARED->contained && lost > (long)o->slack_kib) {
        say("fuzz FAILED: memory is lost\n");
        return 1;
    }
    if (SHARED->contained && files != files_before) {
        say("fuzz FAILED: files are left that nobody can reach\n");
        return 1;
    }
    say("fuzz ok\n");
    return 0;
}

/* From the start of the program: argc, argv on the stack. */
__attribute__((used)) void begin(u64 *stack) {
    u64 argc = stack[0];
    const char **argv = (const char **)(stack + 1);
    struct options o = {100000, 1, 4, 4, 3000, 0, 1024, 0};
    if (argc == 6 && equal(argv[1], "--executed")) {
        CALL(__NR_mmap, SHARED, SHARED_BYTES, PROT_READ | PROT_WRITE, MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        SHARED->contained = (u32)number(argv[5]);
        run_executed(number(argv[2]), number(argv[3]), number(argv[4]));
    }
    for (u64 i = 1; i + 1 < argc; i += 2) {
        static const char *const names[] = {"--calls", "--seed", "--threads", "--processes", "--quota", "--only", "--slack", "--verbose"};
        int known = 0;
        for (int n = 0; n < 8; n++)
            if (equal(argv[i], names[n])) {
                ((u64 *)&o)[n] = number(argv[i + 1]);
                known = 1;
            }
        if (!known)
            say("unknown option %s\n", argv[i]);
    }
    if (o.threads > MAX_THREADS)
        o.threads = MAX_THREADS;
    if (o.processes > MAX_PROCESSES)
        o.processes = MAX_PROCESSES;
    exit_now(drive(&o));
}

__asm__(".globl _start\n"
        "_start: xorl %ebp, %ebp\n"
        "movq %rsp, %rdi\n"
        "andq $-16, %rsp\n"
        "callq begin\n"
        "ud2\n");
