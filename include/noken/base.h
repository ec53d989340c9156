/* What the other headers stand on: errors, memory, threads, warnings and progress, text, files. */
#ifndef NOKEN_BASE_H
#define NOKEN_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The version of this header; nk_version() is that of the library at hand. */
#define NK_VERSION_MAJOR 0
#define NK_VERSION_MINOR 2
#define NK_VERSION_PATCH 0

/* Marks what libnoken.so exports. */
#if defined(__GNUC__)
#define NK_API __attribute__((visibility("default")))
#else
#define NK_API
#endif

#if defined(__GNUC__)
#define NK_PRINTF(format_index, first_index) \
  __attribute__((format(printf, format_index, first_index)))
#else
#define NK_PRINTF(format_index, first_index)
#endif

/* ==== Errors ==== */

/* A function of the library returns NK_OK, or a negative code, or NULL; the message of a failure is
 * kept for the calling thread and read with nk_error(). It states what, where and why:
 * "model.safetensors: tensor 'wte.weight': needs 154389504 bytes, file has 1024". It is one line of
 * printable UTF-8: control bytes in names from files are escaped as nk_escape does. A call that
 * succeeds leaves the message as it was. A function given NULL for an object returns NULL or a
 * negative code and leaves the message of the call that failed to make the object, so that a chain
 * of calls needs one check at its end. The library never prints, exits or aborts. */

enum nk_code {
  NK_OK = 0,
  NK_EUSAGE = -1,       /* an argument is invalid (a tool exits 2) */
  NK_EDATA = -2,        /* a file or a value is invalid */
  NK_EIO = -3,          /* a system call failed: open, read, write, no space */
  NK_EPIPE = -4,        /* the reader of the output closed it: end without a message */
  NK_EMEMORY = -5,      /* out of memory */
  NK_EUNSUPPORTED = -6, /* valid, but of a kind that noken does not implement */
  NK_ENOTFOUND = -7,    /* no such file, tensor, column, ... */
  NK_EINTERRUPTED = -8, /* the progress hook asked to stop */
};

/* The message of this thread's last failure; "" before any. Valid until the thread's next failure.
 * Never NULL. */
NK_API const char *nk_error(void);

/* The code of this thread's last failure, for a caller that got NULL; NK_OK before any. */
NK_API int nk_error_code(void);

/* Sets this thread's message and returns code, so that a function can end `return nk_fail(...)`.
 * The arguments may point into the present message. */
NK_API int nk_fail(int code, const char *format, ...) NK_PRINTF(2, 3);

/* Puts "CONTEXT: " before this thread's message, for a caller that knows the file's name, and
 * returns code. */
NK_API int nk_fail_in(int code, const char *format, ...) NK_PRINTF(2, 3);

/* "WHAT: reason" from errno; returns NK_EPIPE, NK_ENOTFOUND (no such file), NK_EMEMORY or else
 * NK_EIO. */
NK_API int nk_fail_errno(const char *format, ...) NK_PRINTF(1, 2);

/* ==== Memory ==== */

/* Allocation is malloc and free, aligned for vector instructions: objects are few and large, each
 * with one owner and one free function. Products of sizes that come from a file are checked. */

/* *out = a * b; false, with *out unchanged, when that does not fit in size_t. */
static inline bool nk_size_mul(size_t a, size_t b, size_t *out) {
  if (b != 0 && a > SIZE_MAX / b) return false;
  *out = a * b;
  return true;
}

/* *out = a + b; false, with *out unchanged, when that does not fit in size_t. */
static inline bool nk_size_add(size_t a, size_t b, size_t *out) {
  if (a > SIZE_MAX - b) return false;
  *out = a + b;
  return true;
}

/* count x size bytes, aligned to 64 bytes, not initialized (nk_calloc: set to zero). A size of 0
 * gives a pointer that can be freed. Free with nk_free. NULL on failure: the message names the
 * number of bytes. */
NK_API void *nk_alloc(size_t count, size_t size);
NK_API void *nk_calloc(size_t count, size_t size);
/* As realloc, for a block from nk_alloc of old_count elements; on failure the old block stays. */
NK_API void *nk_realloc(void *block, size_t old_count, size_t count, size_t size);
NK_API void nk_free(void *block);

/* A copy of n bytes and a closing 0. Free with nk_free. NULL on failure. */
NK_API char *nk_strndup(const char *bytes, size_t n);
static inline char *nk_strdup(const char *string) {
  return nk_strndup(string, strlen(string));
}

/* ==== Threads and version ==== */

/* One pool of threads, OpenMP's, is shared by the library's loops, OpenBLAS (its OpenMP build) and
 * FAISS. */

/* Sets how many threads the parallel parts use in all later calls of the calling thread; 0: as many
 * as OMP_NUM_THREADS says, or else the cores of this process, which is also what a thread begins
 * with. Other threads keep theirs. */
NK_API void nk_set_threads(size_t n);
/* How many that is for the calling thread. */
NK_API size_t nk_threads(void);

/* The kernels that OpenBLAS runs ("Haswell"), as its core types are named. */
NK_API const char *nk_blas_kernels(void);
/* The core type that OPENBLAS_CORETYPE has to name, before the program starts, for faster kernels
 * than OpenBLAS chose: it takes its slowest for processors newer than itself. A warning says so.
 * NULL where the choice is right. */
NK_API const char *nk_blas_faster(void);

/* The version of the library, "0.2.0". */
NK_API const char *nk_version(void);

/* ==== Warnings and progress ==== */

/* The library prints nothing: a program that wants its warnings (something was found that is not a
 * failure, but changes the result) and its progress installs hooks. They belong to the process; set
 * them before starting threads. */

/* message: one line without a newline. */
typedef void nk_warning_hook(const char *message, void *user);

/* `done` of `total` units of `what` ("nearest neighbours") are finished; the last call has
 * done == total. Return 0 to continue; any other value stops the work with NK_EINTERRUPTED. */
typedef int nk_progress_hook(const char *what, size_t done, size_t total, void *user);

/* Install a hook (NULL: none); `user` is passed to each call of it. */
NK_API void nk_on_warning(nk_warning_hook *hook, void *user);
NK_API void nk_on_progress(nk_progress_hook *hook, void *user);

/* Calls the warning hook. */
NK_API void nk_warn(const char *format, ...) NK_PRINTF(1, 2);

/* Calls the progress hook: from one thread at a time, once per block of work (not per row).
 * Returns NK_OK or NK_EINTERRUPTED. */
NK_API int nk_progress(const char *what, size_t done, size_t total);

/* ==== Text ==== */

/* A growing array of bytes. Start from `struct nk_buffer b = {0};`, end with nk_buffer_free. An
 * append that finds no memory sets `failed` and later ones do nothing, so that a series of appends
 * needs one check at its end. data is 0-terminated after the first append, NULL before. */
struct nk_buffer {
  char *data;
  size_t size;     /* bytes in use, without the closing 0 */
  size_t capacity; /* bytes allocated */
  bool failed;     /* out of memory */
};

/* Append n bytes, a 0-terminated string, a byte. */
NK_API void nk_buffer_append(struct nk_buffer *buffer, const void *bytes, size_t n);
static inline void nk_buffer_text(struct nk_buffer *buffer, const char *string) {
  nk_buffer_append(buffer, string, strlen(string));
}
static inline void nk_buffer_byte(struct nk_buffer *buffer, int byte) {
  char c = (char)byte;
  nk_buffer_append(buffer, &c, 1);
}
/* As printf. */
NK_API void nk_buffer_printf(struct nk_buffer *buffer, const char *format, ...) NK_PRINTF(2, 3);
/* Append what printf's %.9g and %lld give, faster. */
NK_API void nk_buffer_number(struct nk_buffer *buffer, double value);
NK_API void nk_buffer_integer(struct nk_buffer *buffer, int64_t value);
/* Appends n bytes of valid UTF-8 as a JSON string with its quotes. */
NK_API void nk_buffer_quote(struct nk_buffer *out, const char *bytes, size_t n);
/* Empties the buffer and keeps its memory. */
static inline void nk_buffer_clear(struct nk_buffer *buffer) {
  buffer->size = 0;
  if (buffer->data != NULL) buffer->data[0] = 0;
}
NK_API void nk_buffer_free(struct nk_buffer *buffer);
/* Appends the names and versions of the libraries that noken runs with, separated by ", ". */
NK_API void nk_describe_libraries(struct nk_buffer *out);

/* Appends n raw bytes of a token's text as printable UTF-8 of one line: tab, newline, carriage
 * return and backslash as \t \n \r \\, other control bytes and bytes that are not valid UTF-8 as
 * \xNN, the rest unchanged. nk_unescape is the inverse (an unknown escape is left as it is). */
NK_API void nk_escape(struct nk_buffer *out, const char *bytes, size_t n);
NK_API void nk_unescape(struct nk_buffer *out, const char *text, size_t n);

/* Length in bytes (1 to 4) of the valid UTF-8 sequence at the start of bytes[0..n), 0 if there is
 * none. Overlong forms, surrogates and code points over U+10FFFF are not valid (Unicode 15,
 * table 3-7). */
static inline size_t nk_utf8_length(const char *bytes, size_t n) {
  const unsigned char *s = (const unsigned char *)bytes;
  if (n == 0) return 0;
  if (s[0] < 0x80) return 1;
  if (s[0] < 0xC2 || s[0] > 0xF4) return 0;
  size_t length = s[0] < 0xE0 ? 2 : s[0] < 0xF0 ? 3 : 4;
  if (n < length) return 0;
  /* The range of the second byte excludes overlong forms, surrogates and code points too large. */
  unsigned low = s[0] == 0xE0 ? 0xA0 : s[0] == 0xF0 ? 0x90 : 0x80;
  unsigned high = s[0] == 0xED ? 0x9F : s[0] == 0xF4 ? 0x8F : 0xBF;
  if (s[1] < low || s[1] > high) return 0;
  for (size_t i = 2; i < length; i++)
    if ((s[i] & 0xC0) != 0x80) return 0;
  return length;
}

/* ==== Files ==== */

/* ---- Input ---- */

/* A whole file: a regular one (also as `< file`) is mapped, anything else (a pipe) is read to its
 * end. */
struct nk_file {
  const unsigned char *data; /* [size]; not NULL even when size is 0 */
  size_t size;
  char *name;  /* for messages: the path, or "standard input" */
  bool mapped; /* data is a private read-only mapping, else memory */
};

/* Opens path, or standard input for "-" or NULL. NULL on failure (no such file, a directory, a
 * terminal as standard input, a Git LFS pointer in place of the file, no memory). Free with
 * nk_file_free. */
NK_API struct nk_file *nk_file_open(const char *path);
NK_API void nk_file_free(struct nk_file *file);

/* ---- Output ---- */

/* Standard output, or a file that appears under its name only when it is complete. */
struct nk_output;

enum {
  NK_OUTPUT_TEXT = 0,
  NK_OUTPUT_BINARY = 1, /* not to a terminal */
};

/* Opens path for writing, or standard output for "-" or NULL. The file is written beside its target
 * without a name (or under a temporary one where the file system cannot do that) and replaces the
 * target in nk_output_commit. NULL on failure. */
NK_API struct nk_output *nk_output_open(const char *path, int kind);
/* Buffered write. Returns NK_OK, NK_EPIPE or NK_EIO; after a failure every later call fails too. */
NK_API int nk_output_write(struct nk_output *output, const void *bytes, size_t n);
/* Flushes, checks for errors (a full disk shows here), and gives the file its name. */
NK_API int nk_output_commit(struct nk_output *output);
/* Frees output; without a commit before it, a file that was being written never appears. */
NK_API void nk_output_free(struct nk_output *output);

#ifdef __cplusplus
}
#endif
#endif
