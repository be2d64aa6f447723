/* Says how it was loaded, and how it was called: the same on Linux and on Tyn. */
#include <elf.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

static __thread int local = 7;
static int zero[4096];
static int *const pointer = &zero[4095];

static void *in_thread(void *argument) {
    local += *(int *)argument;
    return (void *)(long)local;
}

int main(int argc, char **argv) {
    int add = 3;
    void *sum;
    pthread_t thread;
    for (int i = 0; i < argc; i++)
        printf("argument %d: %s\n", i, argv[i]);
    printf("name: %s\n", (char *)getauxval(AT_EXECFN));
    /* Where the program's own first page would be if it were not moved. */
    printf("moved: %d\n", (unsigned long)&main > 0x10000000);
    printf("interpreted: %d\n", getauxval(AT_BASE) != 0);
    printf("relocated: %d %d\n", pointer == zero + 4095, *pointer);
    if (pthread_create(&thread, NULL, in_thread, &add) || pthread_join(thread, &sum))
        return 1;
    printf("thread: %ld, main: %d\n", (long)sum, local);
    printf("open: %s\n", fopen("/none", "r") ? "yes" : strerror(errno));
    char *memory = malloc(10 << 20);
    memset(memory, 1, 10 << 20);
    printf("memory: %d\n", memory[(10 << 20) - 1]);
    free(memory);
    fflush(stdout);
    return 42;
}
