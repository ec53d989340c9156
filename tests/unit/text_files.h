/* What the tests of lib/text share: temporary files, and the real data that may lie beside the
 * repository. */
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

/* Path of a file of the shared data; NULL, with the reason printed, where it is absent. */
static inline const char *shared_file(const char *name) {
  static char path[4096];
  const char *roots[] = {getenv("NOKEN_SHARED"), "../shared", "../../shared"};
  for (size_t i = 0; i < 3; i++) {
    if (!roots[i]) continue;
    snprintf(path, sizeof path, "%s/data/%s", roots[i], name);
    if (access(path, R_OK) == 0) return path;
  }
  print_message("no %s beside the repository (NOKEN_SHARED says where): skipped\n", name);
  return NULL;
}

#endif
