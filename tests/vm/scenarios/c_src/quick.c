/* The least program: writes one byte and exits. Starting it is all that it costs. */
static long call(long number, long a, long b, long c) {
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c)
                     : "rcx", "r11", "memory");
    return result;
}

void _start(void) {
    call(1, 1, (long)"x", 1); /* write */
    call(231, 0, 0, 0);       /* exit_group */
}
