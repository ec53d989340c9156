/* What the tests of lib/text share: temporary files, and the data of real tokenizers. */
#ifndef TEXT_FILES_H
#define TEXT_FILES_H

#include <unistd.h>

#include "unit.h"

/* Writes n bytes to a new temporary file and returns its name, which is good until the next call.
 * The caller unlinks it. */
static inline const char *temporary_file(const void *bytes, size_t n) {
  static char path[] = "/tmp/noken-test-XXXXXX";
  memcpy(path + sizeof path - 7, "XXXXXX", 6);
  int fd = mkstemp(path);
  assert_true(fd >= 0);
  assert_int_equal(write(fd, bytes, n), n);
  close(fd);
  return path;
}

/* Where `setup.sh --test-data` puts what it makes: NOKEN_TEST_DATA, or a folder of the cache. */
static inline void test_data_folder(char *path, size_t size) {
  const char *own = getenv("NOKEN_TEST_DATA"), *cache = getenv("XDG_CACHE_HOME");
  const char *home = getenv("HOME");
  if (own != NULL)
    snprintf(path, size, "%s", own);
  else if (cache != NULL && cache[0] != 0)
    snprintf(path, size, "%s/noken/test-data", cache);
  else
    snprintf(path, size, "%s/.cache/noken/test-data", home != NULL ? home : "");
}

/* Path of a file of a real vocabulary: in the data that lies beside the repository (NOKEN_SHARED
 * says where) or in what `setup.sh --test-data` made. NULL, with the reason printed, where it is
 * absent. */
static inline const char *shared_file(const char *name) {
  static char path[5000];
  char made[2000], own[2000] = "";
  const char *roots[] = {own, "../shared/data", "../../shared/data", made};
  if (getenv("NOKEN_SHARED") != NULL) snprintf(own, sizeof own, "%s/data", getenv("NOKEN_SHARED"));
  test_data_folder(made, sizeof made);
  for (size_t i = 0; i < sizeof roots / sizeof *roots; i++) {
    if (roots[i][0] == 0) continue;
    snprintf(path, sizeof path, "%s/%s", roots[i], name);
    if (access(path, R_OK) == 0) return path;
  }
  print_message("no %s: run ./setup.sh --test-data\n", name);
  return NULL;
}

#endif
