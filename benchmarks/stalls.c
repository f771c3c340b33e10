/* One thread for each processor, above every other in the machine, wakes up every half millisecond. Where it wakes up
 * late, the processor was not there: a line with its number and both moments, CLOCK_MONOTONIC seconds. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { STEP_NS = 500000, LATE_NS = 500000, SECOND_NS = 1000000000 };

static double seconds(struct timespec at) { return at.tv_sec + at.tv_nsec * 1e-9; }

static void *watch(void *argument) {
    long processor = (long)argument;
    cpu_set_t own;
    CPU_ZERO(&own);
    CPU_SET(processor, &own);
    struct sched_param highest = {.sched_priority = sched_get_priority_max(SCHED_FIFO)};
    if (sched_setaffinity(0, sizeof own, &own) || pthread_setschedparam(pthread_self(), SCHED_FIFO, &highest)) exit(3);
    struct timespec due, woken;
    clock_gettime(CLOCK_MONOTONIC, &due);
    for (;;) {
        due.tv_nsec += STEP_NS;
        if (due.tv_nsec >= SECOND_NS) due.tv_nsec -= SECOND_NS, due.tv_sec++;
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL);
        clock_gettime(CLOCK_MONOTONIC, &woken);
        long late = (woken.tv_sec - due.tv_sec) * SECOND_NS + woken.tv_nsec - due.tv_nsec;
        if (late > LATE_NS) {
            printf("%ld %.6f %.6f\n", processor, seconds(due), seconds(woken));
            fflush(stdout);
            due = woken;
        }
    }
    return NULL;
}

int main(void) {
    cpu_set_t all;
    if (sched_getaffinity(0, sizeof all, &all) || mlockall(MCL_CURRENT | MCL_FUTURE)) return 3;
    for (long processor = 0; processor < CPU_SETSIZE; processor++) {
        pthread_t thread;
        if (CPU_ISSET(processor, &all) && pthread_create(&thread, NULL, watch, (void *)processor)) return 3;
    }
    pause();
}
