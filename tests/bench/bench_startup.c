/* What a tool takes before its work, as ratios of times that nobody waits for:
 *
 *   help-to-20ms             --help of the slowest tool
 *   version-to-20ms          --version of the slowest tool: OpenBLAS's kernels are chosen as well
 *   run-gpt2-tiny-to-150ms   nk-run with one vector in one prompt: its reference is 512 tokens that
 *   run-llama-tiny-to-150ms  the model can repeat
 *
 * Each is the median of several runs. The parts of nk-run are printed as the time that it takes
 * without them. */
#include <dirent.h>

#include "bench.h"

enum { REPEATS = 11, MOST_TOOLS = 64 };

static int ascending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double median(const char *command) {
  double seconds[REPEATS];
  bench_command(command); /* its files are read */
  for (int i = 0; i < REPEATS; i++) seconds[i] = bench_command(command).seconds;
  qsort(seconds, REPEATS, sizeof *seconds, ascending);
  return seconds[REPEATS / 2];
}

static int by_name(const void *a, const void *b) {
  return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The slowest tool's time with an option. */
static void compare_tools(char **tools, size_t n, const char *option, const char *name) {
  double slowest = 0;
  printf("%s, in ms:", option);
  for (size_t i = 0; i < n; i++) {
    char command[5000];
    snprintf(command, sizeof command, "exec %s/%s %s >/dev/null", bench_tools(), tools[i], option);
    double seconds = median(command);
    printf(" %s %.1f", tools[i], seconds * 1e3);
    if (seconds > slowest) slowest = seconds;
  }
  printf("\n");
  bench_ratio(name, slowest / 0.020, 1);
}

static void measure_help(void) {
  char *tools[MOST_TOOLS];
  size_t n = 0;
  DIR *folder = opendir(bench_tools());
  for (struct dirent *entry; folder != NULL && (entry = readdir(folder)) != NULL;)
    if (n < MOST_TOOLS &&
        (strcmp(entry->d_name, "nk") == 0 || strncmp(entry->d_name, "nk-", 3) == 0))
      tools[n++] = strdup(entry->d_name);
  if (folder == NULL || n == 0) exit(2);
  closedir(folder);
  qsort(tools, n, sizeof *tools, by_name);
  compare_tools(tools, n, "--help", "help-to-20ms");
  compare_tools(tools, n, "--version", "version-to-20ms");
  for (size_t i = 0; i < n; i++) free(tools[i]);
}

static void measure_run(const char *model, const char *set) {
  static const struct {
    const char *without, *options;
  } runs[] = {{NULL, ""},
              {"the check that reference tokens are repeated", "--unverified"},
              {"all but 16 of the reference's tokens too", "--unverified --reference 8"},
              {"a reference", "--generate 1 --flag-summary --flag data/prompts/flags.tsv"}};
  char command[5000], name[64];
  for (size_t i = 0; i < sizeof runs / sizeof *runs; i++) {
    snprintf(command, sizeof command,
             "exec %s/nk-run -q -p 'The word {} means' %s data/%s %s >/dev/null", bench_tools(),
             runs[i].options, model, set);
    double seconds = median(command);
    printf("nk-run of one vector in %s: %.0f ms%s%s\n", model, seconds * 1e3,
           runs[i].without != NULL ? " without " : "",
           runs[i].without != NULL ? runs[i].without : "");
    snprintf(name, sizeof name, "run-%s-to-150ms", model);
    if (i == 0) bench_ratio(name, seconds / 0.150, 1);
  }
}

int main(void) {
  char folder[] = "/tmp/noken-bench-XXXXXX", set[64], command[5000];
  if (mkdtemp(folder) == NULL) return 2;
  bench_title("start-up");
  unsetenv("OPENBLAS_CORETYPE"); /* the tools choose their kernels, as for a user */
  measure_help();
  snprintf(set, sizeof set, "%s/set", folder);
  snprintf(command, sizeof command, "%s/nk-extract -q data/gpt2-tiny --ids 300 -o %s",
           bench_tools(), set);
  bench_command(command);
  measure_run("gpt2-tiny", set);
  measure_run("llama-tiny", set);
  snprintf(command, sizeof command, "rm -r %s", folder);
  return system(command) != 0 ? 2 : bench_over;
}
