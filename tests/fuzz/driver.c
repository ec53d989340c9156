/* fuzz_NAME CORPUS [SEED]: replays the files of the folder CORPUS, then mutates them for
 * NOKEN_FUZZ_SECONDS (4). The n-th mutation of a seed is always the same input. What makes
 * a sanitizer or the watchdog stop the program is left in crash-NAME for a replay
 * (fuzz_NAME CRASH-FILE). Prints TAP. */
#include <dirent.h>
#include <errno.h>
#include <sanitizer/common_interface_defs.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "fuzz.h"

enum { MAX_SIZE = 1 << 16, MAX_SEEDS = 256, WATCHDOG_SECONDS = 20 };

struct input {
  uint8_t *data; /* [MAX_SIZE] */
  size_t size;
};

static struct input seeds[MAX_SEEDS];
static size_t n_seeds;
static struct input current;
static const char *program;

/* ---- Leaving the input that failed ---- */

static void save_current(void) {
  char path[256];
  snprintf(path, sizeof path, "crash-%s", program);
  FILE *file = fopen(path, "wb");
  if (file == NULL) return;
  fwrite(current.data, 1, current.size, file);
  fclose(file);
  fprintf(stderr, "fuzz: the input is in %s (%zu bytes)\n", path, current.size);
}

static void on_signal(int number) {
  save_current();
  signal(number, SIG_DFL);
  raise(number);
}

/* ---- Mutations ---- */

static uint64_t state; /* of splitmix64 (Steele, Lea and Flood 2014) */

static uint64_t draw(void) {
  uint64_t z = (state += 0x9E3779B97F4A7C15U);
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
  return z ^ (z >> 31);
}

static size_t below(size_t n) {
  return n ? (size_t)(draw() % n) : 0;
}

/* Replaces removed bytes at a place by n others; does nothing when the result would be too long. */
static void splice(struct input *in, size_t at, size_t removed, const void *bytes, size_t n) {
  if (at > in->size) at = in->size;
  if (removed > in->size - at) removed = in->size - at;
  if (in->size - removed + n > MAX_SIZE) return;
  memmove(in->data + at + n, in->data + at + removed, in->size - at - removed);
  if (n > 0) memcpy(in->data + at, bytes, n);
  in->size = in->size - removed + n;
}

static void put_integer(struct input *in) {
  static const uint64_t odd[] = {
      0,          1,          2,          7,          8,          127,        128,
      255,        256,        1U << 15,   1U << 16,   0x7FFFFFFF, 0x80000000, 0xFFFFFFFF,
      1ULL << 32, 1ULL << 60, 1ULL << 61, 1ULL << 62, 1ULL << 63, ~0ULL,      ~0ULL - 7};
  uint64_t value = odd[below(sizeof odd / sizeof odd[0])] + below(3) - 1;
  if (below(4) == 0) value = in->size + below(17) - 8;
  size_t width = (size_t)1 << below(4);
  if (in->size < width) return;
  memcpy(in->data + below(in->size - width + 1), &value, width);
}

/* Replaces a run of digits, found from a random place on, by another number. */
static void put_number(struct input *in) {
  static const char *const odd[] = {"0",
                                    "-1",
                                    "1",
                                    "2",
                                    "65536",
                                    "4294967296",
                                    "1e999",
                                    "-0.5",
                                    "9223372036854775807",
                                    "9223372036854775808",
                                    "1e-400",
                                    "18446744073709551615",
                                    "18446744073709551616",
                                    "nan",
                                    "inf",
                                    "4611686018427387904",
                                    "1.5",
                                    "null",
                                    "\"1\"",
                                    "[]",
                                    "{}"};
  size_t at = below(in->size);
  while (at < in->size && (in->data[at] < '0' || in->data[at] > '9')) at++;
  size_t end = at;
  while (end < in->size && in->data[end] >= '0' && in->data[end] <= '9') end++;
  if (at == end) return;
  const char *number = odd[below(sizeof odd / sizeof odd[0])];
  splice(in, at, end - at, number, strlen(number));
}

static void put_word(struct input *in) {
  size_t n = 0;
  while (fuzz_words[n] != NULL) n++;
  if (n == 0) return;
  const char *word = fuzz_words[below(n)];
  splice(in, below(in->size + 1), below(2) ? strlen(word) : 0, word, strlen(word));
}

static void mutate_once(struct input *in) {
  uint8_t byte = (uint8_t)draw();
  size_t at = below(in->size);
  size_t n = below(in->size - at + 1);
  if (below(4) != 0 && n > 16) n = 1 + below(16);
  const struct input *other = &seeds[below(n_seeds)];
  size_t from = below(other->size);
  switch (below(10)) {
    case 0:
      if (in->size > 0) in->data[at] ^= (uint8_t)(1U << below(8));
      break;
    case 1:
      if (in->size > 0) in->data[at] = byte;
      break;
    case 2:
      splice(in, at, 0, &byte, 1);
      break;
    case 3:
      splice(in, at, n, NULL, 0);
      break;
    case 4: /* again what stands there */
      if (in->size + n <= MAX_SIZE) {
        memmove(in->data + at + n, in->data + at, in->size - at);
        in->size += n;
      }
      break;
    case 5:
      in->size = below(4) ? in->size : at; /* cut short */
      break;
    case 6:
      put_integer(in);
      break;
    case 7:
      put_number(in);
      break;
    case 8:
      put_word(in);
      break;
    default:
      splice(in, at, below(2) ? n : 0, other->data + from, below(other->size - from + 1));
  }
}

/* ---- The run ---- */

static void run_current(void) {
  alarm(WATCHDOG_SECONDS);
  LLVMFuzzerTestOneInput(current.data, current.size);
  alarm(0);
}

static bool load(const char *path) {
  FILE *file = fopen(path, "rb");
  if (file == NULL || n_seeds == MAX_SEEDS) {
    fprintf(stderr, "fuzz: %s: %s\n", path, file != NULL ? "too many seeds" : strerror(errno));
    if (file != NULL) fclose(file);
    return false;
  }
  struct input *seed = &seeds[n_seeds++];
  seed->data = malloc(MAX_SIZE);
  seed->size = fread(seed->data, 1, MAX_SIZE, file);
  fclose(file);
  return true;
}

static int by_name(const struct dirent **a, const struct dirent **b) {
  return strcmp((*a)->d_name, (*b)->d_name); /* the same order on every machine */
}

static bool load_all(const char *corpus) {
  struct stat status;
  if (stat(corpus, &status) == 0 && S_ISREG(status.st_mode)) return load(corpus);
  struct dirent **entries = NULL;
  int n = scandir(corpus, &entries, NULL, by_name);
  bool good = n >= 0;
  for (int i = 0; i < n; i++) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", corpus, entries[i]->d_name);
    if (entries[i]->d_name[0] != '.') good = load(path) && good;
    free(entries[i]);
  }
  free(entries);
  if (n_seeds == 0) fprintf(stderr, "fuzz: no seeds in %s\n", corpus);
  return good && n_seeds > 0;
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

int main(int argc, char **argv) {
  if (argc < 2) {
    fprintf(stderr, "usage: fuzz_NAME CORPUS [SEED]\n");
    return 2;
  }
  program = strrchr(argv[0], '/') != NULL ? strrchr(argv[0], '/') + 1 : argv[0];
  const char *text = getenv("NOKEN_FUZZ_SECONDS");
  double seconds = text != NULL ? strtod(text, NULL) : 4;
  uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
  if (!load_all(argv[1])) return 2;
  current.data = malloc(MAX_SIZE);
  __sanitizer_set_death_callback(save_current);
  signal(SIGABRT, on_signal);
  signal(SIGALRM, on_signal);

  printf("1..2\n");
  for (size_t i = 0; i < n_seeds; i++) {
    current.size = seeds[i].size;
    memcpy(current.data, seeds[i].data, current.size);
    run_current();
  }
  printf("ok 1 - %zu seeds replayed\n", n_seeds);
  fflush(stdout);

  double begun = now();
  uint64_t n = 0;
  for (; now() - begun < seconds; n++) {
    state = seed * 0x100000001U + n;
    const struct input *chosen = &seeds[below(n_seeds)];
    current.size = chosen->size;
    memcpy(current.data, chosen->data, current.size);
    for (size_t k = 1 + below(6); k > 0; k--) mutate_once(&current);
    run_current();
  }
  printf("ok 2 - %llu mutations survived\n", (unsigned long long)n);
  __sanitizer_set_death_callback(NULL); /* a leak found at the end is no one input's */
  return 0;
}
