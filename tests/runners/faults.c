/* A library for LD_PRELOAD that makes one call of a program fail: call FAULT_AT (from 1) of the
 * kind FAULT_KIND: alloc, write, read, open, map, name (rename, link) or close. Calls are counted
 * from main on, without those of OpenMP and OpenBLAS, which end the process when memory is out.
 * With FAULT_COUNT=FILE, the number of calls is written to that file when the process ends. With
 * FAULT_KILLS the process is killed at that call.
 * Programs that the program starts are left alone. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <unistd.h>

static atomic_long calls;
static atomic_bool armed;
static long fault_at;
static bool kills;
static const char *fault_kind = "";
static char count_path[512];

/* ---- Who calls ---- */

enum { MAX_RANGES = 256 };
static struct { uintptr_t first, end; } ignored[MAX_RANGES];
static int n_ignored;

/* Takes the mappings of libraries that do not survive a failed allocation. */
static void find_ignored(void) {
  static const char *const names[] = {"libgomp", "libopenblas", "libblas", "liblapack", "ld-linux"};
  char line[1024];
  FILE *maps = fopen("/proc/self/maps", "r");
  while (maps != NULL && fgets(line, sizeof line, maps) != NULL)
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
      if (strstr(line, names[i]) != NULL && n_ignored < MAX_RANGES) {
        unsigned long first, end;
        if (sscanf(line, "%lx-%lx", &first, &end) != 2) continue;
        ignored[n_ignored].first = first;
        ignored[n_ignored++].end = end;
      }
  if (maps != NULL) fclose(maps);
}

static bool is_ignored(const void *caller) {
  for (int i = 0; i < n_ignored; i++)
    if ((uintptr_t)caller >= ignored[i].first && (uintptr_t)caller < ignored[i].end) return true;
  return false;
}

/* Counts a call; true where it has to fail. */
static bool fails(const char *kind, const void *caller) {
  if (!atomic_load(&armed) || strcmp(kind, fault_kind) != 0 || is_ignored(caller)) return false;
  bool here = atomic_fetch_add(&calls, 1) + 1 == fault_at;
  if (here && kills) raise(SIGKILL);
  return here;
}

#define CALLER __builtin_return_address(0)
#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

/* ---- Memory ---- */

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *block, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);

static void *no_memory(void) {
  errno = ENOMEM;
  return NULL;
}

void *malloc(size_t size) {
  return fails("alloc", CALLER) ? no_memory() : __libc_malloc(size);
}

void *calloc(size_t count, size_t size) {
  return fails("alloc", CALLER) ? no_memory() : __libc_calloc(count, size);
}

void *realloc(void *block, size_t size) {
  return fails("alloc", CALLER) ? no_memory() : __libc_realloc(block, size);
}

void *aligned_alloc(size_t alignment, size_t size) {
  return fails("alloc", CALLER) ? no_memory() : __libc_memalign(alignment, size);
}

int posix_memalign(void **out, size_t alignment, size_t size) {
  if (fails("alloc", CALLER)) return ENOMEM;
  *out = __libc_memalign(alignment, size);
  return *out != NULL ? 0 : ENOMEM;
}

/* ---- Files ---- */

static ssize_t failed_with(int reason) {
  errno = reason;
  return -1;
}

ssize_t write(int file, const void *bytes, size_t n) {
  if (file != STDERR_FILENO && fails("write", CALLER)) return failed_with(ENOSPC);
  return REAL(write)(file, bytes, n);
}

ssize_t read(int file, void *bytes, size_t n) {
  return fails("read", CALLER) ? failed_with(EIO) : REAL(read)(file, bytes, n);
}

int open(const char *path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  mode_t mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(arguments, mode_t) : 0;
  va_end(arguments);
  return fails("open", CALLER) ? (int)failed_with(EMFILE) : REAL(open)(path, flags, mode);
}

int open64(const char *path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  mode_t mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(arguments, mode_t) : 0;
  va_end(arguments);
  return fails("open", CALLER) ? (int)failed_with(EMFILE) : REAL(open64)(path, flags, mode);
}

int rename(const char *from, const char *to) {
  return fails("name", CALLER) ? (int)failed_with(EIO) : REAL(rename)(from, to);
}

int linkat(int from_folder, const char *from, int to_folder, const char *to, int flags) {
  return fails("name", CALLER) ? (int)failed_with(EIO)
                               : REAL(linkat)(from_folder, from, to_folder, to, flags);
}

int close(int file) {
  if (!fails("close", CALLER)) return REAL(close)(file);
  REAL(close)(file);
  return (int)failed_with(EIO);
}

void *mmap(void *address, size_t n, int protection, int flags, int file, off_t offset) {
  if (!fails("map", CALLER)) return REAL(mmap)(address, n, protection, flags, file, offset);
  errno = ENOMEM;
  return MAP_FAILED;
}

void *mmap64(void *address, size_t n, int protection, int flags, int file, off_t offset) {
  if (!fails("map", CALLER)) return REAL(mmap)(address, n, protection, flags, file, offset);
  errno = ENOMEM;
  return MAP_FAILED;
}

/* ---- The beginning and the end of main ---- */

static int (*real_main)(int, char **, char **);

static void write_count(void) {
  atomic_store(&armed, false);
  FILE *file = count_path[0] != 0 ? fopen(count_path, "w") : NULL;
  if (file == NULL) return;
  fprintf(file, "%ld\n", atomic_load(&calls));
  fclose(file);
}

static int main_with_faults(int argc, char **argv, char **environment) {
  const char *at = getenv("FAULT_AT"), *kind = getenv("FAULT_KIND"), *count = getenv("FAULT_COUNT");
  fault_at = at != NULL ? strtol(at, NULL, 10) : 0;
  if (kind != NULL) fault_kind = kind;
  kills = getenv("FAULT_KILLS") != NULL;
  if (count != NULL) snprintf(count_path, sizeof count_path, "%s", count);
  unsetenv("LD_PRELOAD");
  find_ignored();
  atexit(write_count);
  atomic_store(&armed, true);
  return real_main(argc, argv, environment);
}

int __libc_start_main(int (*program)(int, char **, char **), int argc, char **argv,
                      void (*begin)(void), void (*end)(void), void (*end_of_linker)(void),
                      void *stack_end) {
  __typeof__(&__libc_start_main) start =
      (__typeof__(&__libc_start_main))dlsym(RTLD_NEXT, "__libc_start_main");
  real_main = program;
  return start(main_with_faults, argc, argv, begin, end, end_of_linker, stack_end);
}
