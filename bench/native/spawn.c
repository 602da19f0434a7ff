/* spawn COUNT PROGRAM: microseconds of vfork + execve + waitpid, one line each. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

int main(int argc, char **argv)
{
    if (argc != 3)
        return 64;
    char *child[] = {argv[2], NULL};
    for (int left = atoi(argv[1]); left > 0; left--) {
        struct timespec from, to;
        clock_gettime(CLOCK_MONOTONIC, &from);
        pid_t pid = vfork();
        if (pid == 0) {
            execve(child[0], child, environ);
            _exit(127);
        }
        if (pid < 0 || waitpid(pid, NULL, 0) != pid)
            return 1;
        clock_gettime(CLOCK_MONOTONIC, &to);
        printf("%.1f\n", (to.tv_sec - from.tv_sec) * 1e6 + (to.tv_nsec - from.tv_nsec) / 1e3);
    }
    return 0;
}
