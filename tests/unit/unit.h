/* What the unit tests share: cmocka, a folder for their files, whole files, columns of sets. */
#ifndef NOKEN_UNIT_H
#define NOKEN_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* cmocka's own header comes after those that it needs. */
#include <cmocka.h>
#include <noken/noken.h>

/* A group's set-up and tear-down: *state is the path of an empty folder, removed at the end. */
static inline int make_folder(void **state) {
  char *folder = strdup("/tmp/noken-unit-XXXXXX");
  *state = folder;
  return folder != NULL && mkdtemp(folder) != NULL ? 0 : -1;
}

static inline int remove_folder(void **state) {
  char command[256];
  snprintf(command, sizeof command, "rm -rf '%s'", (char *)*state);
  int status = system(command);
  free(*state);
  return status;
}

static inline void write_bytes(const char *path, const void *bytes, size_t n) {
  FILE *file = fopen(path, "wb");
  assert_non_null(file);
  assert_int_equal(fwrite(bytes, 1, n, file), n);
  assert_int_equal(fclose(file), 0);
}

/* The values of a set's column, which has to be there. */
static inline const double *numbers(const struct nk_vectors *set, const char *name) {
  const struct nk_column *column = nk_vectors_column(set, name);
  if (column == NULL || column->dtype == NK_I64) fail_msg("no numbers called %s", name);
  return column->data.number;
}

static inline const int64_t *integers(const struct nk_vectors *set, const char *name) {
  const struct nk_column *column = nk_vectors_column(set, name);
  if (column == NULL || column->dtype != NK_I64) fail_msg("no integers called %s", name);
  return column->data.integer;
}

#endif
