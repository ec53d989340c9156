/* Errors. A function of the library returns 0, or a negative code of enum nk_code, or NULL; the
 * message for people is then kept for the calling thread and read with nk_error(). The message says
 * what, where and why: "model.safetensors: tensor 'wte.weight': needs 154389504 bytes, file has
 * 1024". The library never prints, exits or aborts. */
#ifndef NOKEN_ERROR_H
#define NOKEN_ERROR_H

#ifdef __cplusplus
extern "C" {
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
const char *nk_error(void);

/* The code of this thread's last failure, for a caller that got NULL; NK_OK before any. */
int nk_error_code(void);

/* Sets this thread's message and returns code, so that a function can end `return nk_fail(...)`. */
int nk_fail(int code, const char *format, ...) NK_PRINTF(2, 3);

/* Puts "CONTEXT: " before this thread's message, for a caller that knows the file's name, and
 * returns code. */
int nk_fail_in(int code, const char *format, ...) NK_PRINTF(2, 3);

/* "WHAT: reason" from errno; returns NK_EPIPE, NK_ENOTFOUND (no such file) or NK_EIO. */
int nk_fail_errno(const char *format, ...) NK_PRINTF(1, 2);

#ifdef __cplusplus
}
#endif
#endif
