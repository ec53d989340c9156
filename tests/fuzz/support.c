/* Files in memory and the bound on memory, for the harnesses. */
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz.h"

/* ---- Files in memory ---- */

const char *fuzz_file(int slot, const void *data, size_t size) {
  static int files[4] = {-1, -1, -1, -1};
  static char paths[4][64];
  if (files[slot] >= 0) close(files[slot]);
  files[slot] = memfd_create("fuzz", MFD_CLOEXEC);
  if (files[slot] < 0 || (size > 0 && write(files[slot], data, size) != (ssize_t)size)) {
    perror("fuzz_file");
    exit(2);
  }
  snprintf(paths[slot], sizeof paths[slot], "/proc/self/fd/%d", files[slot]);
  return paths[slot];
}

/* ---- Memory ---- */

/* The sanitizers' allocator interface; gcc ships the functions without their header. */
int __sanitizer_install_malloc_and_free_hooks(void (*on_malloc)(const volatile void *, size_t),
                                              void (*on_free)(const volatile void *));
size_t __sanitizer_get_allocated_size(const volatile void *block);

/* A parsed JSON value takes some 60 bytes for its two characters; with their copies in the reader's
 * own structures that is well below this multiple. The constant part is for tables of a fixed size
 * and the threads' stacks of buffers. */
enum { MULTIPLE = 256, CONSTANT = 8 << 20 };

static atomic_bool watching;
static atomic_size_t live;
static size_t bound;

static void on_malloc(const volatile void *block, size_t size) {
  (void)block;
  if (!watching || atomic_fetch_add(&live, size) + size <= bound) return;
  watching = false;
  fprintf(stderr, "fuzz: %zu bytes live after asking for %zu, bound %zu\n", (size_t)live, size,
          bound);
  abort();
}

static void on_free(const volatile void *block) {
  if (!watching || block == NULL) return;
  size_t size = __sanitizer_get_allocated_size(block);
  size_t before = live;
  atomic_fetch_sub(&live, size < before ? size : before);
}

void fuzz_memory_begin(size_t input_size) {
  static bool installed;
  if (!installed) __sanitizer_install_malloc_and_free_hooks(on_malloc, on_free);
  installed = true;
  live = 0;
  bound = CONSTANT + MULTIPLE * input_size;
  watching = true;
}

void fuzz_memory_end(void) {
  watching = false;
}

void fuzz_use(const void *bytes, size_t n) {
  static volatile unsigned char sink;
  const unsigned char *p = bytes;
  unsigned char sum = 0;
  for (size_t i = 0; i < n; i++) sum = (unsigned char)(sum + p[i]);
  sink = sum;
  (void)sink;
}
