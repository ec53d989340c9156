/* What the library tells its program while it works: warnings (something was found that the caller
 * should know and that is not a failure) and progress. The library prints nothing: a program
 * installs the hooks it wants, and without them both are silent. The hooks belong to the process;
 * set them before starting threads. */
#ifndef NOKEN_REPORT_H
#define NOKEN_REPORT_H

#include <noken/error.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* message: one line without a newline. */
typedef void nk_warning_hook(const char *message, void *user);

/* done of total units of `what` ("nearest neighbours") are finished; done == total closes it.
 * Returns 0 to go on; anything else asks the library to stop with NK_EINTERRUPTED. */
typedef int nk_progress_hook(const char *what, size_t done, size_t total, void *user);

void nk_on_warning(nk_warning_hook *hook, void *user);
void nk_on_progress(nk_progress_hook *hook, void *user);

/* Called by the library: passes a warning on. */
void nk_warn(const char *format, ...) NK_PRINTF(1, 2);

/* Called by the library, from one thread at a time, once per block of work (not per row).
 * Returns 0, or NK_EINTERRUPTED with nk_error() set. */
int nk_progress(const char *what, size_t done, size_t total);

#ifdef __cplusplus
}
#endif
#endif
