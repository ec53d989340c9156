/* Blocks of lines. What is left of a line behind a block's last line break is moved to the front of
 * the buffer, which grows until a whole line is in it. */
#include "tokens/lines.h"

#include <errno.h>
#include <fcntl.h>
#include <noken/base.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BLOCK = 4 << 20, LONGEST = 64 << 20 };

struct tokens_lines {
  const char *name;
  int fd;
  char *data;               /* [capacity] */
  size_t size, capacity;    /* bytes read; bytes allocated */
  size_t given;             /* bytes of data that the last block held */
  struct tokens_line *line; /* [line_capacity] */
  size_t line_capacity;
  size_t n_given; /* lines of all blocks */
  size_t done, total;
  bool ended; /* the file's end was read */
};

struct tokens_lines *tokens_lines_open(const char *path) {
  struct tokens_lines *lines = nk_calloc(1, sizeof *lines);
  if (lines == NULL) return NULL;
  struct stat status;
  bool standard = strcmp(path, "-") == 0;
  lines->name = standard ? "standard input" : path;
  lines->fd = standard ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
  if (lines->fd < 0 || fstat(lines->fd, &status) != 0)
    nk_fail_errno("%s", lines->name);
  else if (S_ISDIR(status.st_mode))
    nk_fail(NK_EIO, "%s: is a directory, expected a file", lines->name);
  else if (standard && isatty(lines->fd))
    nk_fail(NK_EUSAGE, "standard input is a terminal: name a file or use a pipe");
  else if ((lines->data = nk_alloc(2 * (size_t)BLOCK, 1)) != NULL) {
    lines->capacity = 2 * (size_t)BLOCK;
    if (S_ISREG(status.st_mode)) lines->total = (size_t)status.st_size;
    return lines;
  }
  tokens_lines_free(lines);
  return NULL;
}

void tokens_lines_free(struct tokens_lines *lines) {
  if (lines == NULL) return;
  if (lines->fd > STDIN_FILENO) close(lines->fd);
  nk_free(lines->data);
  nk_free(lines->line);
  nk_free(lines);
}

const char *tokens_lines_name(const struct tokens_lines *lines) {
  return lines->name;
}

size_t tokens_lines_done(const struct tokens_lines *lines) {
  return lines->done;
}

size_t tokens_lines_total(const struct tokens_lines *lines) {
  return lines->total;
}

/* ---- Reading ---- */

/* The buffer is full only where one line fills it. */
static int grow(struct tokens_lines *lines) {
  if (lines->size < lines->capacity) return NK_OK;
  if (lines->capacity >= LONGEST)
    return nk_fail(NK_EDATA, "line %zu has %d MiB or more: break it, or split the file by records",
                   lines->n_given + 1, LONGEST >> 20);
  char *grown = nk_realloc(lines->data, lines->capacity, 2 * lines->capacity, 1);
  if (grown == NULL) return NK_EMEMORY;
  lines->data = grown;
  lines->capacity *= 2;
  return NK_OK;
}

/* Reads until the buffer holds a block that ends in a line break at *end, or all that is left. */
static int fill(struct tokens_lines *lines, size_t *end) {
  int code = NK_OK;
  *end = 0;
  while (code == NK_OK && !lines->ended && (lines->size < BLOCK || *end == 0)) {
    code = grow(lines);
    if (code != NK_OK) break;
    ssize_t n = read(lines->fd, lines->data + lines->size, lines->capacity - lines->size);
    if (n < 0 && errno != EINTR) code = nk_fail_errno("%s", lines->name);
    if (n == 0) lines->ended = true;
    if (n <= 0) continue;
    const char *from = lines->data + lines->size;
    const char *last = memrchr(from, '\n', (size_t)n);
    if (last != NULL) *end = (size_t)(last - lines->data) + 1;
    lines->size += (size_t)n;
  }
  if (lines->ended) *end = lines->size;
  return code;
}

static int add_line(struct tokens_lines *lines, size_t *n, const char *bytes, size_t length) {
  if (*n == lines->line_capacity) {
    size_t more = *n != 0 ? 2 * *n : 4096;
    struct tokens_line *grown = nk_realloc(lines->line, *n, more, sizeof *grown);
    if (grown == NULL) return NK_EMEMORY;
    lines->line = grown;
    lines->line_capacity = more;
  }
  if (length > 0 && bytes[length - 1] == '\r') length--;
  lines->line[(*n)++] = (struct tokens_line){bytes, length};
  return NK_OK;
}

int tokens_lines_next(struct tokens_lines *lines, const struct tokens_line **line, size_t *n) {
  size_t end = 0;
  lines->size -= lines->given;
  memmove(lines->data, lines->data + lines->given, lines->size);
  *n = lines->given = 0;
  int code = fill(lines, &end);
  for (size_t at = 0, next; at < end && code == NK_OK; at = next) {
    const char *stop = memchr(lines->data + at, '\n', end - at);
    size_t length = stop != NULL ? (size_t)(stop - lines->data) - at : end - at;
    next = at + length + (stop != NULL);
    code = add_line(lines, n, lines->data + at, length);
  }
  lines->given = end;
  lines->n_given += *n;
  lines->done += end;
  *line = lines->line;
  return code;
}
