/* What everything else stands on: errors, memory, threads, reports, text, files. */
#ifndef NOKEN_BASE_H
#define NOKEN_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ==== Errors ==== */

/* Errors. A function of the library returns 0, or a negative code of enum nk_code, or NULL; the
 * message for people is then kept for the calling thread and read with nk_error(). The message says
 * what, where and why: "model.safetensors: tensor 'wte.weight': needs 154389504 bytes, file has
 * 1024". The library never prints, exits or aborts. */

/* What libnoken.so exports. */
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

enum nk_code {
  NK_OK = 0,
  NK_EUSAGE = -1,       /* the caller asked for what makes no sense (a tool exits 2) */
  NK_EDATA = -2,        /* a file or value is not what it has to be */
  NK_EIO = -3,          /* the system failed: open, read, write, no space */
  NK_EPIPE = -4,        /* whoever read the output has gone: not a fault, end quietly */
  NK_EMEMORY = -5,      /* no memory */
  NK_EUNSUPPORTED = -6, /* well-formed, but a kind that noken does not implement */
  NK_ENOTFOUND = -7,    /* no such file, tensor, column, ... */
  NK_EINTERRUPTED = -8, /* the progress hook asked to stop */
};

/* The message of this thread's last failure; "" before any. Valid until the thread's next failing
 * call. Never NULL. */
NK_API const char *nk_error(void);

/* The code of this thread's last failure, for a caller that got NULL; NK_OK before any. */
NK_API int nk_error_code(void);

/* Sets this thread's message and returns code, so that a function can end `return nk_fail(...)`. */
NK_API int nk_fail(int code, const char *format, ...) NK_PRINTF(2, 3);

/* Puts "CONTEXT: " before this thread's message, for a caller that knows the file's name, and
 * returns code. */
NK_API int nk_fail_in(int code, const char *format, ...) NK_PRINTF(2, 3);

/* "WHAT: reason" from errno; returns NK_EPIPE, NK_ENOTFOUND (no such file) or NK_EIO. */
NK_API int nk_fail_errno(const char *format, ...) NK_PRINTF(1, 2);

/* ==== Memory ==== */

/* Memory and sizes. Allocation is plain malloc and free: objects here are few and large, each with
 * one owner and one free function, so an arena would save nothing and would hide overruns from the
 * sanitizers. What is needed is that no product of sizes from a file overflows unseen. */

/* *out = a * b (a + b); false, with *out untouched, when that does not fit in size_t. */
NK_API bool nk_size_mul(size_t a, size_t b, size_t *out);
NK_API bool nk_size_add(size_t a, size_t b, size_t *out);

/* count x size bytes, aligned to 64 bytes, not set to anything (nk_calloc: to zero). A size of 0
 * gives a pointer that can be freed. Free with nk_free. NULL with nk_error() set on failure: it
 * names the number of bytes. */
NK_API void *nk_alloc(size_t count, size_t size);
NK_API void *nk_calloc(size_t count, size_t size);
/* As realloc, for a block from nk_alloc of old_count elements; on failure the old block stays. */
NK_API void *nk_realloc(void *block, size_t old_count, size_t count, size_t size);
NK_API void nk_free(void *block);

/* A copy of n bytes and a closing 0. Free with nk_free. */
NK_API char *nk_strndup(const char *bytes, size_t n);
NK_API char *nk_strdup(const char *string);

/* ==== Threads and version ==== */

/* The one pool of threads: OpenMP's, shared by the library's loops, OpenBLAS (its OpenMP build) and
 * FAISS. */

/* Sets how many threads every parallel part takes; 0: as many as the machine has cores for this
 * process (or OMP_NUM_THREADS says). */
NK_API void nk_set_threads(size_t n);
NK_API size_t nk_threads(void);

/* The kernels that OpenBLAS runs ("Haswell"), as its core types are named. */
NK_API const char *nk_blas_kernels(void);
/* The core type that OPENBLAS_CORETYPE has to name, before the program starts, for faster kernels
 * than OpenBLAS chose: it takes its slowest for processors newer than itself. A warning says so.
 * NULL where the choice is right. */
NK_API const char *nk_blas_faster(void);

/* The version of the library, "0.1.0". */
NK_API const char *nk_version(void);

/* ==== Warnings and progress ==== */

/* What the library tells its program while it works: warnings (something was found that the caller
 * should know and that is not a failure) and progress. The library prints nothing: a program
 * installs the hooks it wants, and without them both are silent. The hooks belong to the process;
 * set them before starting threads. */

/* message: one line without a newline. */
typedef void nk_warning_hook(const char *message, void *user);

/* done of total units of `what` ("nearest neighbours") are finished; done == total closes it.
 * Returns 0 to go on; anything else asks the library to stop with NK_EINTERRUPTED. */
typedef int nk_progress_hook(const char *what, size_t done, size_t total, void *user);

NK_API void nk_on_warning(nk_warning_hook *hook, void *user);
NK_API void nk_on_progress(nk_progress_hook *hook, void *user);

/* Called by the library: passes a warning on. */
NK_API void nk_warn(const char *format, ...) NK_PRINTF(1, 2);

/* Called by the library, from one thread at a time, once per block of work (not per row).
 * Returns 0, or NK_EINTERRUPTED with nk_error() set. */
NK_API int nk_progress(const char *what, size_t done, size_t total);

/* ==== Text ==== */

/* A growing array of bytes, for building text. Start from `struct nk_buffer b = {0};`, end with
 * nk_buffer_free. An append that finds no memory sets `failed` and every later one does nothing,
 * so that a run of appends needs one check at its end. data is 0-terminated once anything was
 * appended. */

struct nk_buffer {
  char *data;
  size_t size;     /* bytes in use, without the closing 0 */
  size_t capacity; /* bytes allocated */
  bool failed;     /* memory ran out */
};

NK_API void nk_buffer_append(struct nk_buffer *buffer, const void *bytes, size_t n);
NK_API void nk_buffer_text(struct nk_buffer *buffer, const char *string);
NK_API void nk_buffer_byte(struct nk_buffer *buffer, int byte);
NK_API void nk_buffer_printf(struct nk_buffer *buffer, const char *format, ...) NK_PRINTF(2, 3);
/* Appends what printf's %.9g (%lld) gives, faster. */
NK_API void nk_buffer_number(struct nk_buffer *buffer, double value);
NK_API void nk_buffer_integer(struct nk_buffer *buffer, int64_t value);
/* Appends n bytes, which have to be valid UTF-8, as a JSON string with its quotes. */
NK_API void nk_buffer_quote(struct nk_buffer *out, const char *bytes, size_t n);
NK_API void nk_buffer_clear(struct nk_buffer *buffer); /* size = 0, memory kept */
NK_API void nk_buffer_free(struct nk_buffer *buffer);

/* Appends n raw bytes of a token's text so that they make one printable piece of one line:
 * tab, newline, carriage return and backslash as \t \n \r \\, other control bytes and bytes that
 * are not valid UTF-8 as \xNN, the rest as it is. nk_unescape is the inverse (an unknown escape
 * stands for itself). */
NK_API void nk_escape(struct nk_buffer *out, const char *bytes, size_t n);
NK_API void nk_unescape(struct nk_buffer *out, const char *text, size_t n);

/* Length in bytes (1 to 4) of the valid UTF-8 sequence at the start of bytes[0..n), 0 if there is
 * none. Overlong forms, surrogates and code points over U+10FFFF are not valid (Unicode 15,
 * table 3-7). */
NK_API size_t nk_utf8_length(const char *bytes, size_t n);

/* ==== Files ==== */

/* Files as the tools meet them. Input: a regular file (also as `< file`) is mapped, anything else
 * (a pipe) is read to its end. Output: standard output, or a file that appears under its name only
 * when it is complete. */

/* ---- Input ---- */

struct nk_file {
  const unsigned char *data; /* [size]; not NULL even when size is 0 */
  size_t size;
  char *name;  /* for messages: the path, or "standard input" */
  bool mapped; /* data is a private read-only mapping, else memory */
};

/* Opens path, or standard input for "-" or NULL. NULL on failure (not there, a directory, a
 * terminal as standard input, no memory). Free with nk_file_free. */
NK_API struct nk_file *nk_file_open(const char *path);
NK_API void nk_file_free(struct nk_file *file);

/* Tells the system that data[offset, offset + n) of a mapped file was read and is not needed again
 * soon, so that streaming through a large file does not count against this process's memory. */
NK_API void nk_file_forget(const struct nk_file *file, size_t offset, size_t n);

/* ---- Output ---- */

struct nk_output;

enum {
  NK_OUTPUT_TEXT = 0,
  NK_OUTPUT_BINARY = 1, /* refused when it would go to a terminal */
};

/* Opens path for writing, or standard output for "-" or NULL. The file is written beside its target
 * without a name (or under a temporary one where the file system cannot do that) and replaces the
 * target in nk_output_commit. NULL on failure. */
NK_API struct nk_output *nk_output_open(const char *path, int kind);
/* Buffered write. Returns 0, NK_EPIPE or NK_EIO; after a failure every later call fails too. */
NK_API int nk_output_write(struct nk_output *output, const void *bytes, size_t n);
NK_API int nk_output_printf(struct nk_output *output, const char *format, ...) NK_PRINTF(2, 3);
/* Flushes, checks for errors (a full disk shows here), and gives the file its name. */
NK_API int nk_output_commit(struct nk_output *output);
/* Frees output; without a commit before it, a file that was being written never appears. */
NK_API void nk_output_free(struct nk_output *output);
/* Where it goes: the path, or "standard output". */
NK_API const char *nk_output_name(const struct nk_output *output);

#ifdef __cplusplus
}
#endif
#endif
