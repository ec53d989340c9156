/* What the benchmarks share. A benchmark prints
 *
 *   # TITLE
 *   on PROCESSOR; kernels NAME; N threads
 *   ratio NAME VALUE limit LIMIT ok|over
 *
 * and more lines of the last kind. The second line names the matrix kernels that OpenBLAS chose.
 * VALUE is a time (or size) over that of the same work done by the yardstick in the same run: other
 * load on the machine then disturbs both. A benchmark ends with status 1 when a limit is exceeded.
 * Times are the least of a few repetitions. tests/runners/bench-results.sh reads these lines. */
#ifndef NOKEN_BENCH_H
#define NOKEN_BENCH_H

#include <cblas.h>
#include <noken/base.h>
#include <omp.h>
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

/* OPENBLAS_CORETYPE overrides the kernels that OpenBLAS would choose. It is read when the library
 * is loaded; a benchmark started with it therefore starts itself again without it, or with the
 * kernels that the tools choose on a processor that OpenBLAS does not know. The yardstick and the
 * tools then run on the kernels that a user has; commands of other programs unset it. */
__attribute__((constructor)) static void bench_use_own_kernels(int argc, char **argv) {
  static const char core_type[] = "OPENBLAS_CORETYPE", chosen[] = "NOKEN_BENCH_KERNELS";
  const char *given = getenv(core_type), *ours = getenv(chosen);
  (void)argc;
  if (given != NULL && ours != NULL && strcmp(given, ours) == 0) return;
  const char *faster = given == NULL ? nk_blas_faster() : NULL;
  if (given == NULL && faster == NULL) return;
  if (faster != NULL) {
    setenv(core_type, faster, 1);
    setenv(chosen, faster, 1);
  } else {
    unsetenv(core_type);
  }
  execv("/proc/self/exe", argv);
}

/* The value of a line "KEY : VALUE" of /proc/cpuinfo, with `before` in front of it; nothing where
 * this processor has no such line. */
static inline void bench_append_cpuinfo(char *text, size_t size, const char *before,
                                        const char *key) {
  char line[512];
  size_t length = strlen(text);
  FILE *file = fopen("/proc/cpuinfo", "r");
  while (file != NULL && fgets(line, sizeof line, file) != NULL) {
    size_t n = strlen(key);
    if (strncmp(line, key, n) != 0 || line[n + strspn(line + n, " \t")] != ':') continue;
    char *value = strchr(line, ':') + 1;
    value[strcspn(value, "\n")] = 0;
    snprintf(text + length, size - length, "%s%s", before, value + strspn(value, " "));
    break;
  }
  if (file != NULL) fclose(file);
}

/* Such as "AMD EPYC family 25 model 17": names of processors in the cloud are often no more than
 * the maker's. */
static inline const char *bench_processor(void) {
  static char name[1024];
  name[0] = 0;
  bench_append_cpuinfo(name, sizeof name, "", "model name");
  bench_append_cpuinfo(name, sizeof name, " family ", "cpu family");
  bench_append_cpuinfo(name, sizeof name, " model ", "model");
  bench_append_cpuinfo(name, sizeof name, "implementer ", "CPU implementer"); /* of arm64 */
  bench_append_cpuinfo(name, sizeof name, " part ", "CPU part");
  return name[0] != 0 ? name : "unknown";
}

static inline void bench_title(const char *what) {
  printf("# %s\n", what);
  printf("on %s; kernels %s; %d threads\n", bench_processor(), openblas_get_corename(),
         omp_get_max_threads());
  fflush(stdout);
}

static int bench_over; /* limits exceeded: what main returns */

static inline void bench_ratio(const char *name, double value, double limit) {
  bool over = !(value <= limit);
  printf("ratio %s %.3f limit %.3g %s\n", name, value, limit, over ? "over" : "ok");
  fflush(stdout);
  if (over) bench_over = 1;
}

#endif
