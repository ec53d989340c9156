/* The folders of tests/fixtures/forward: small random models, one or more of each family. */
#ifndef NOKEN_FAMILIES_H
#define NOKEN_FAMILIES_H

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_FIXTURES = 128 };
static const char FIXTURES[] = "tests/fixtures/forward";
static char NAMES[MAX_FIXTURES][64]; /* the folders, in the order of the alphabet */
static size_t N_NAMES;

/* Whether the entry is a model's folder: the scripts beside them have a dot in their names. */
static inline int is_fixture(const struct dirent *entry) {
  return strchr(entry->d_name, '.') == NULL && strcmp(entry->d_name, "__pycache__") != 0;
}

/* Fills NAMES; 0, or -1 where these are not the fixtures. */
static inline int list_fixtures(void) {
  struct dirent **entries;
  int n = scandir(FIXTURES, &entries, is_fixture, alphasort);
  N_NAMES = 0;
  for (int i = 0; i < n; i++) {
    if (i < MAX_FIXTURES) snprintf(NAMES[N_NAMES++], sizeof NAMES[0], "%.63s", entries[i]->d_name);
    free(entries[i]);
  }
  if (n >= 0) free(entries);
  return n < 16 || n > MAX_FIXTURES ? -1 : 0;
}

#endif
