/* What the benchmarks share. A benchmark prints lines of
 *
 *   ratio NAME VALUE limit LIMIT ok|over
 *
 * where VALUE is a time (or size) over that of the same work done by the yardstick in the same run:
 * other load on the machine then disturbs both. It ends with status 1 when a limit is exceeded.
 * Times are the least of a few repetitions. */
#ifndef NOKEN_BENCH_H
#define NOKEN_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static inline double bench_now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* The least time in seconds of `repeats` calls of work(argument). */
static inline double bench_min(int repeats, void (*work)(void *), void *argument) {
  double least = 1e300;
  for (int i = 0; i < repeats; i++) {
    double start = bench_now();
    work(argument);
    double seconds = bench_now() - start;
    if (seconds < least) least = seconds;
  }
  return least;
}

struct bench_child {
  double seconds;
  double mebibytes; /* the largest resident size of any process of the command */
};

/* Runs a shell's command line. A child counts its parent's size as its own until it has become
 * another program, and that stays in its maximum: call this while this program is small. */
static inline struct bench_child bench_command(const char *command) {
  struct rusage usage;
  int status;
  double start = bench_now();
  pid_t child = fork();
  if (child == 0) {
    execl("/bin/sh", "sh", "-c", command, (char *)NULL);
    _exit(127);
  }
  if (child < 0 || wait4(child, &status, 0, &usage) < 0 || status != 0) {
    fprintf(stderr, "failed: %s\n", command);
    exit(2);
  }
  return (struct bench_child){bench_now() - start, (double)usage.ru_maxrss / 1024};
}

/* The least time and size of `repeats` runs. */
static inline struct bench_child bench_command_min(int repeats, const char *command) {
  struct bench_child least = bench_command(command);
  for (int i = 1; i < repeats; i++) {
    struct bench_child next = bench_command(command);
    if (next.seconds < least.seconds) least.seconds = next.seconds;
    if (next.mebibytes < least.mebibytes) least.mebibytes = next.mebibytes;
  }
  return least;
}

/* The folder of the programs: that of this one, where the tools are as well. */
static inline const char *bench_tools(void) {
  static char folder[4096];
  ssize_t n = readlink("/proc/self/exe", folder, sizeof folder - 1);
  if (n <= 0) exit(2);
  folder[n] = 0;
  *strrchr(folder, '/') = 0;
  return folder;
}

static inline void bench_title(const char *what) {
  printf("# %s; %ld processors\n", what, sysconf(_SC_NPROCESSORS_ONLN));
  fflush(stdout);
}

static int bench_over; /* limits exceeded: what main returns */

static inline void bench_ratio(const char *name, double value, double limit) {
  bool over = !(value <= limit);
  printf("ratio %s %.2f limit %.2f %s\n", name, value, limit, over ? "over" : "ok");
  fflush(stdout);
  if (over) bench_over = 1;
}

#endif
