/* Files as the tools meet them. Input: a regular file (also as `< file`) is mapped, anything else
 * (a pipe) is read to its end. Output: standard output, or a file that appears under its name only
 * when it is complete. */
#ifndef NOKEN_FILE_H
#define NOKEN_FILE_H

#include <noken/error.h>
#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Input ---- */

struct nk_file {
  const unsigned char *data; /* [size]; not NULL even when size is 0 */
  size_t size;
  char *name;  /* for messages: the path, or "standard input" */
  bool mapped; /* data is a private read-only mapping, else memory */
};

/* Opens path, or standard input for "-" or NULL. NULL on failure (not there, a directory, a
 * terminal as standard input, no memory). Free with nk_file_close. */
struct nk_file *nk_file_open(const char *path);
void nk_file_close(struct nk_file *file);

/* Tells the system that data[offset, offset + n) of a mapped file was read and is not needed again
 * soon, so that streaming through a large file does not count against this process's memory. */
void nk_file_forget(const struct nk_file *file, size_t offset, size_t n);

/* ---- Output ---- */

struct nk_output;

enum {
  NK_OUTPUT_TEXT = 0,
  NK_OUTPUT_BINARY = 1, /* refused when it would go to a terminal */
};

/* Opens path for writing, or standard output for "-" or NULL. The file is written beside its target
 * without a name (or under a temporary one where the file system cannot do that) and replaces the
 * target in nk_output_commit. NULL on failure. */
struct nk_output *nk_output_open(const char *path, int kind);
/* Buffered write. Returns 0, NK_EPIPE or NK_EIO; after a failure every later call fails too. */
int nk_output_write(struct nk_output *output, const void *bytes, size_t n);
int nk_output_printf(struct nk_output *output, const char *format, ...) NK_PRINTF(2, 3);
/* Flushes, checks for errors (a full disk shows here), and gives the file its name. */
int nk_output_commit(struct nk_output *output);
/* Frees output; without a commit before it, a file that was being written never appears. */
void nk_output_close(struct nk_output *output);
/* Where it goes: the path, or "standard output". */
const char *nk_output_name(const struct nk_output *output);

#ifdef __cplusplus
}
#endif
#endif
