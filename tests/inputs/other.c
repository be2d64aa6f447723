// A port program that is linked with another C library than the emulator's.
#include <stdio.h>

int main(int argc, char **argv) {
    printf("musl's program got %d argument, %s\n", argc - 1, argv[1]);
    return 3;
}
