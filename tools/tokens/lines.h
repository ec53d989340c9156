/* The lines of a file of any size, a block of them at a time: pipes are read as they come, and
 * memory holds one block, or the longest line. */
#ifndef TOKENS_LINES_H
#define TOKENS_LINES_H

#include <stddef.h>
#include <stdint.h>

struct tokens_line {
  const char *bytes; /* [n] without the line break, \n or \r\n */
  size_t n;
};

struct tokens_lines;

/* Opens path, or standard input for "-". NULL on failure. */
struct tokens_lines *tokens_lines_open(const char *path);
void tokens_lines_free(struct tokens_lines *lines);

/* The file's name, for messages; how many bytes were given as lines; the size of a regular file,
 * else 0. */
const char *tokens_lines_name(const struct tokens_lines *lines);
size_t tokens_lines_done(const struct tokens_lines *lines);
size_t tokens_lines_total(const struct tokens_lines *lines);

/* The next lines: *line [*n], valid until the next call; *n is 0 at the end. Returns NK_OK or a
 * negative code (a read that failed; a line of 64 MiB or more). */
int tokens_lines_next(struct tokens_lines *lines, const struct tokens_line **line, size_t *n);

#endif
