/*
 * pty PROGRAM ARGUMENT...: run a program on a new terminal, read all of it to nowhere, and print
 * MB/s and the CPU seconds of this reader.
 */
#define _GNU_SOURCE
#include <pty.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    static char buffer[64 << 10];
    struct winsize size = {.ws_row = 24, .ws_col = 80};
    struct timespec start, end;
    struct rusage used;
    long long total = 0;
    ssize_t count;
    int master;
    if (argc < 2)
        return 64;
    clock_gettime(CLOCK_MONOTONIC, &start);
    pid_t pid = forkpty(&master, NULL, NULL, &size);
    if (pid == 0) {
        execv(argv[1], argv + 1);
        _exit(127);
    }
    while ((count = read(master, buffer, sizeof buffer)) > 0)
        total += count;
    waitpid(pid, NULL, 0);
    clock_gettime(CLOCK_MONOTONIC, &end);
    getrusage(RUSAGE_SELF, &used);
    double seconds = (end.tv_sec - start.tv_sec) + (end.tv_nsec - start.tv_nsec) / 1e9;
    double cpu = used.ru_utime.tv_sec + used.ru_stime.tv_sec +
                 (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
    printf("%.2f\n%.4f\n", total / seconds / 1e6, cpu);
    return 0;
}
